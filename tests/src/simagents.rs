//! Many agents in one process: real QUIC, real certificates, real summaries, invented numbers. (steps 4–6)
//!
//! In: [`Load`]. Out: [`Report`]: what was sent, acknowledged, how late. The same seed sends the same bytes.
//! Invariants: LG-1 each agent keeps the agents' protocol: hello, heartbeats, a summary an interval, names again every
//! five minutes, goodbye. LG-2 nobody sends faster than the clock says. Does not: spool, resend or reconnect.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use hsw_shell::tls::Identity;
use hsw_shell::{cert, tls};
use hsw_types::{
    CATALOGUE, NodeFacts, NodeId, Role, SeriesDef, SeriesId, SeriesKey, SeriesValues, ShardSummary,
    SourceState, SourceStatus, Unit, WindowIndex,
};
use hsw_wire::{
    FRAME_HEADER_BYTES, ToAgent, ToAggregator, VERSION, VERSION_MAX, encode_summary, frame_length,
};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

/// Agents repeat the names of their series this often.
const NAMES_EVERY: Duration = Duration::from_secs(300);

/// How long to wait for the last acknowledgements.
const LAST_ACKS: Duration = Duration::from_secs(10);

/// Agents on one UDP socket.
const AGENTS_PER_SOCKET: usize = 64;

/// What to put on an aggregator.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where the aggregator listens.
    pub address: SocketAddr,
    /// The name in its certificate.
    pub server_name: String,
    /// Folder of the authority (`hsw_shell::cert::init`).
    pub authority: PathBuf,
    /// Folder the agents' certificates are issued into.
    pub identities: PathBuf,
    /// How many agents; they are called `sim-0000` and so on, each the primary of its own shard.
    pub n_agents: usize,
    /// Series of each.
    pub n_series: usize,
    /// A summary this often; it covers as many windows as it has whole seconds.
    pub interval: Duration,
    /// For how long, after all are connected.
    pub duration: Duration,
    /// Seed of the numbers.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Summaries sent.
    pub sent: u64,
    /// Summaries acknowledged.
    pub acknowledged: u64,
    /// Payload bytes sent.
    pub payload_bytes: u64,
    /// Milliseconds from sending to acknowledgement, ascending.
    pub ack_ms: Vec<f64>,
    /// Agents that ended before their time, and why.
    pub failures: Vec<String>,
}

impl Report {
    /// Milliseconds within which this share of summaries was acknowledged; `None` when none was.
    #[must_use]
    pub fn ack_ms_at(&self, share: f64) -> Option<f64> {
        let last = self.ack_ms.len().checked_sub(1)?;
        let at = (last as f64 * share.clamp(0.0, 1.0)).round() as usize;
        self.ack_ms.get(at).copied()
    }

    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.payload_bytes += other.payload_bytes;
        self.ack_ms.extend(other.ack_ms);
        self.failures.extend(other.failures);
    }
}

/// Connects all agents, then lets them send for the given time, spread evenly over the interval.
///
/// # Errors
/// When a certificate cannot be issued or an agent cannot connect.
pub async fn run(load: &Load) -> anyhow::Result<Report> {
    let mut agents = Vec::with_capacity(load.n_agents);
    let mut endpoint = None;
    for n in 0..load.n_agents {
        if n % AGENTS_PER_SOCKET == 0 {
            let local = if load.address.is_ipv4() {
                "0.0.0.0:0"
            } else {
                "[::]:0"
            };
            endpoint = Some(Endpoint::client(local.parse()?).context("open a UDP socket")?);
        }
        if let Some(endpoint) = &endpoint {
            let agent = SimAgent::connect(load, n, endpoint).await;
            agents.push(agent.with_context(|| format!("connect agent {n}"))?);
        }
    }
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (n, agent) in agents.into_iter().enumerate() {
        let offset = load.interval.mul_f64(n as f64 / load.n_agents as f64);
        tasks.spawn(agent.live(load.clone(), began + offset));
    }
    let mut report = Report::default();
    while let Some(ended) = tasks.join_next().await {
        report.add(ended.context("an agent's task panicked")?);
    }
    report.ack_ms.sort_by(f64::total_cmp);
    Ok(report)
}

/// A summary of a node with `n_series` series of the catalogue: a third at zero, a quarter constant, the rest moving.
#[must_use]
pub fn summary(
    node: usize,
    n_series: usize,
    first_window: WindowIndex,
    n_windows: u16,
    with_names: bool,
    seed: u64,
) -> ShardSummary {
    let keys = (0..n_series).map(|n| {
        let metric = CATALOGUE[n % CATALOGUE.len()].name;
        match n / CATALOGUE.len() {
            0 => SeriesKey::node(metric),
            copy => SeriesKey::object(metric, &format!("part_{copy}")),
        }
    });
    let id = |n: usize| SeriesId(u32::try_from(n).unwrap_or(u32::MAX));
    let mut random = Random(seed ^ (node as u64) << 32 ^ first_window.0.cast_unsigned());
    ShardSummary {
        first_window,
        n_windows,
        dictionary_epoch: 1,
        facts: with_names.then(|| facts(node)),
        dictionary: if with_names {
            let defs = keys
                .enumerate()
                .map(|(n, key)| SeriesDef { id: id(n), key });
            defs.collect()
        } else {
            Vec::new()
        },
        series: (0..n_series)
            .map(|n| SeriesValues {
                id: id(n),
                values: (0..n_windows)
                    .map(|_| Some(value(n, &mut random)))
                    .collect(),
            })
            .collect(),
        latencies: Vec::new(),
        log_samples: Vec::new(),
        sources: vec![SourceStatus {
            source: "postgres".to_owned(),
            state: SourceState::Ok,
            dropped: 0,
            message: String::new(),
        }],
        hot: Vec::new(),
    }
}

/// A calm node's value: its database answers, shares stay below one, the rest stays within a tenth of its level.
fn value(n: usize, random: &mut Random) -> f64 {
    let spec = &CATALOGUE[n % CATALOGUE.len()];
    if spec.name == "pg.up" {
        return 1.0;
    }
    if spec.unit == Unit::Ratio {
        return 0.2 + 0.02 * random.unit();
    }
    let level = 10.0 * (1 + n % 97) as f64;
    match n % 12 {
        0..4 => 0.0,
        4..7 => level,
        7..9 => (level * (0.9 + 0.2 * random.unit())).round(),
        _ => level * (0.9 + 0.2 * random.unit()),
    }
}

fn facts(node: usize) -> NodeFacts {
    NodeFacts {
        shard: format!("shard-{node:04}"),
        cluster: "simulated".to_owned(),
        role: Role::Primary,
        database: "PostgreSQL 15".to_owned(),
        system_identifier: node.to_string(),
        address: format!("10.0.{}.{}:5432", node / 250, node % 250),
        host: format!("host-{node}"),
        boot_id: format!("boot-{node}"),
        database_started: 1_700_000_000,
        agent_started: 1_700_000_000,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..NodeFacts::default()
    }
}

/// One connected agent, welcome.
#[derive(Debug)]
pub(crate) struct SimAgent {
    n: usize,
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
}

impl SimAgent {
    pub(crate) async fn connect(
        load: &Load,
        n: usize,
        endpoint: &Endpoint,
    ) -> anyhow::Result<Self> {
        let identity = identity(&load.authority, &load.identities, n)?;
        let crypto = QuicClientConfig::try_from(tls::client_config(&identity)?)?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        let mut transport = quinn::TransportConfig::default();
        // The first of many waits long for the last to be connected.
        transport.keep_alive_interval(Some(Duration::from_secs(5)));
        config.transport_config(Arc::new(transport));
        let connection = endpoint
            .connect_with(config, load.address, &load.server_name)?
            .await?;
        let (mut send, mut recv) = connection.open_bi().await?;
        let hello = ToAggregator::Hello {
            versions: (VERSION, VERSION_MAX),
            incarnation: now_us().cast_unsigned() | 1,
            agent_version: "simulated".to_owned(),
        };
        send.write_all(&hello.encode()?).await?;
        match hear(&mut recv).await? {
            ToAgent::Welcome { .. } => {}
            other => bail!("not welcome: {other:?}"),
        }
        Ok(Self {
            n,
            connection,
            send,
            recv,
        })
    }

    /// Sends until the time is over; never fails, the report says what went wrong.
    async fn live(mut self, load: Load, begin: Instant) -> Report {
        let mut report = Report::default();
        let (sent_at, sent) = tokio::sync::mpsc::unbounded_channel();
        let recv = self.recv;
        let acks = tokio::spawn(count_acks(recv, sent));
        if let Err(error) = send(&mut self.send, self.n, &load, begin, &sent_at, &mut report).await
        {
            report.failures.push(format!("agent {}: {error:#}", self.n));
        }
        drop(sent_at);
        match timeout(LAST_ACKS, acks).await {
            Ok(Ok(ack_ms)) => {
                report.acknowledged = ack_ms.len() as u64;
                report.ack_ms = ack_ms;
            }
            _ => report.failures.push(format!(
                "agent {}: the last acknowledgements did not come",
                self.n
            )),
        }
        if let Ok(frame) = ToAggregator::Goodbye.encode() {
            let _gone_either_way = self.send.write_all(&frame).await;
            let _arrived_or_late = timeout(Duration::from_secs(1), self.connection.closed()).await;
        }
        report
    }
}

async fn send(
    stream: &mut SendStream,
    n: usize,
    load: &Load,
    begin: Instant,
    sent_at: &tokio::sync::mpsc::UnboundedSender<(u64, Instant)>,
    report: &mut Report,
) -> anyhow::Result<()> {
    sleep_until(begin).await;
    let mut clock = interval(load.interval);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let n_windows = u16::try_from(load.interval.as_secs().clamp(1, 60))?;
    let mut named: Option<Instant> = None;
    let mut sequence = 0;
    let mut next_window = WindowIndex(i64::MIN);
    while begin.elapsed() < load.duration {
        clock.tick().await;
        let with_names = named.is_none_or(|at| at.elapsed() >= NAMES_EVERY);
        if with_names {
            named = Some(Instant::now());
        }
        // As a real agent's: a window is told once, however the ticks fall.
        let window = next_window.max(WindowIndex(now_us() / 1_000_000 - i64::from(n_windows)));
        next_window = window + i64::from(n_windows);
        let summary = summary(n, load.n_series, window, n_windows, with_names, load.seed);
        let payload = encode_summary(&summary)?;
        report.payload_bytes += payload.len() as u64;
        report.sent += 1;
        sequence += 1;
        sent_at.send((sequence, Instant::now()))?;
        let heartbeat = ToAggregator::Heartbeat {
            wall_us: now_us(),
            spool_bytes: payload.len() as u64,
            spool_summaries: 1,
            dropped: 0,
        };
        let mut frames = heartbeat.encode()?;
        frames.extend(ToAggregator::Summary { sequence, payload }.encode()?);
        stream.write_all(&frames).await?;
    }
    Ok(())
}

/// Milliseconds until each summary was acknowledged; ends when all are, or with the connection.
async fn count_acks(
    mut recv: RecvStream,
    mut sent: tokio::sync::mpsc::UnboundedReceiver<(u64, Instant)>,
) -> Vec<f64> {
    let mut ack_ms = Vec::new();
    let mut highest = 0;
    while let Some((sequence, at)) = sent.recv().await {
        while highest < sequence {
            match hear(&mut recv).await {
                Ok(ToAgent::Ack { sequence }) => highest = highest.max(sequence),
                Ok(_) => {}
                Err(_) => return ack_ms,
            }
        }
        ack_ms.push(at.elapsed().as_secs_f64() * 1e3);
    }
    ack_ms
}

pub(crate) async fn hear(recv: &mut RecvStream) -> anyhow::Result<ToAgent> {
    let mut header = [0; FRAME_HEADER_BYTES];
    recv.read_exact(&mut header).await?;
    let mut body = vec![0; frame_length(header)?];
    recv.read_exact(&mut body).await?;
    Ok(ToAgent::decode(&body)?)
}

fn identity(authority: &Path, folder: &Path, n: usize) -> anyhow::Result<Arc<Identity>> {
    let name = format!("sim-{n:04}");
    let certificate = folder.join(format!("{name}.crt"));
    if !certificate.exists() {
        cert::issue(authority, &NodeId::new(&name)?, &[], folder)?;
    }
    let key = certificate.with_extension("key");
    let ca = folder.join("ca.crt");
    Ok(Arc::new(Identity::load(&certificate, &key, &ca)?))
}

fn now_us() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}

/// SplitMix64 (Steele, Lea and Flood 2014, figure 15): small, seeded, good enough for load.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        unit(self.0)
    }
}

/// 2⁶⁴ over the golden ratio, SplitMix64's step.
pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// 0 to 1: SplitMix64's finaliser of a state.
pub(crate) fn unit(state: u64) -> f64 {
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_aggregator::Service;
    use hsw_aggregator::config::{Config, Tls};
    use hsw_aggregator::shared::Counter;

    #[test]
    fn a_simulated_summary_has_the_size_of_a_real_one() {
        let usual = encode_summary(&summary(0, 500, WindowIndex(1_000), 2, false, 1)).unwrap();
        assert!((1_200..3_500).contains(&usual.len()), "{}", usual.len());
        let named = encode_summary(&summary(0, 500, WindowIndex(1_000), 2, true, 1)).unwrap();
        assert!((8_000..50_000).contains(&named.len()), "{}", named.len());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_summary_of_a_fleet_is_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let (authority, ids) = (dir.path().join("ca"), dir.path().join("ids"));
        cert::init(&authority).unwrap();
        cert::issue(&authority, &NodeId::new("aggregator").unwrap(), &[], &ids).unwrap();
        let service = Service::start(&Config {
            data_dir: dir.path().join("data"),
            listen: "127.0.0.1:0".parse().unwrap(),
            tls: Tls {
                cert: ids.join("aggregator.crt"),
                key: ids.join("aggregator.key"),
                ca: ids.join("ca.crt"),
            },
            ..Config::default()
        })
        .unwrap();
        let report = run(&Load {
            address: service.listening,
            server_name: "aggregator".to_owned(),
            authority,
            identities: ids,
            n_agents: 6,
            n_series: 500,
            interval: Duration::from_millis(200),
            duration: Duration::from_secs(1),
            seed: 1,
        })
        .await
        .unwrap();
        assert_eq!(report.failures, Vec::<String>::new());
        assert!(report.sent >= 6 * 4, "{}", report.sent);
        assert_eq!(report.acknowledged, report.sent);
        let stored = service.shared.counters.value(Counter::Summaries);
        assert_eq!(stored, report.sent);
        service.stop().await.unwrap();
    }
}
