//! The shipper: brings summaries from the spool to the aggregator and frees what it has acknowledged. (step 5)
//!
//! In: the spool, an identity. Out: frames over QUIC; [`Statistics`] to watch.
//! Invariants: SI-1 connected means that the aggregator's Welcome arrived. SI-2 a heartbeat is never behind a summary that
//! was not yet written, nor is what was counted for triggers. SI-3 reconnects back off from 0.2 s to 10 s, each agent at its own pace. SI-4 a trouble is logged
//! when it begins and when it ends, not in between.
//! Limits: the sender's window, [`Config::summaries_per_second_max`]. Does not: hold summaries (the spool does).

mod link;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hsw_delivery::{Input, Output, Sender};
use hsw_shell::Shutdown;
use hsw_shell::tls::Identity;
use hsw_trigger::Down;
use hsw_types::Sequence;
use hsw_wire::{ToAgent, ToAggregator, VERSION_TRIGGERS};
use quinn::{Connection, Endpoint, VarInt};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use crate::clock::Clock;
use crate::pace::Setter;
use crate::spool::{self, Answer, Spool};
use crate::triggers::{Heard, Line};
use link::Writer;

const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A connection that held this long was a good one: the next attempt starts without delay.
const GOOD_AFTER: Duration = Duration::from_secs(5);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// An aggregator that answers no heartbeat for this long is gone, whatever its kernel says.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long shutdown waits for acknowledgements.
const GRACE: Duration = Duration::from_secs(2);
const PROBE_PATIENCE: Duration = Duration::from_secs(1);
const GOODBYE_PATIENCE: Duration = Duration::from_millis(300);

/// Where the aggregator is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `host:port` (UDP); the host may be a DNS name, resolved at each attempt.
    pub address: String,
    /// The DNS name in the aggregator's certificate.
    #[serde(default = "default_name")]
    pub name: String,
    /// Pace when catching up after an absence, so that the database does not feel it. 100; a day takes 8 minutes.
    #[serde(default = "default_pace")]
    pub summaries_per_second_max: u32,
}

fn default_name() -> String {
    "aggregator".to_owned()
}

fn default_pace() -> u32 {
    100
}

impl Config {
    /// # Errors
    /// One line that names the key.
    pub fn check(&self) -> anyhow::Result<()> {
        let port = self.address.rsplit_once(':').map(|(_, port)| port);
        anyhow::ensure!(
            port.is_some_and(|p| p.parse::<u16>().is_ok_and(|p| p > 0)),
            "aggregator.address = `{}`: write it as host:port",
            self.address
        );
        rustls::pki_types::DnsName::try_from(self.name.as_str())
            .with_context(|| format!("aggregator.name = `{}`: not a DNS name", self.name))?;
        anyhow::ensure!(
            (1..=10_000).contains(&self.summaries_per_second_max),
            "aggregator.summaries_per_second_max = {}: choose 1 to 10000",
            self.summaries_per_second_max
        );
        Ok(())
    }
}

/// What there is to know of shipping.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statistics {
    /// The aggregator has welcomed us and the connection stands.
    pub connected: bool,
    /// Welcomes so far.
    pub connects: u64,
    /// Attempts that failed and connections that broke.
    pub failures: u64,
    /// Refusals by the aggregator.
    pub refusals: u64,
    /// Highest acknowledged sequence.
    pub acked: u64,
    /// Of the sender's core.
    pub delivery: hsw_delivery::Statistics,
    /// Bytes in UDP datagrams sent and received, over all connections.
    pub wire_bytes: (u64, u64),
    /// Datagrams sent and received.
    pub wire_datagrams: (u64, u64),
    /// Round trip of the current connection, microseconds.
    pub rtt_us: u64,
    /// Whether the node is a landmark, as an aggregator last said; `None` before one has.
    pub is_landmark: Option<bool>,
    /// Why there is no connection; `None` while there is one.
    pub trouble: Option<String>,
}

/// Why a connection ended in order.
#[derive(Debug)]
enum End {
    /// We stop.
    Stopped,
    /// The spool has another incarnation: connect again at once.
    Renewed,
    /// The aggregator does not want us.
    Refused(String),
}

/// See the module's header.
#[derive(Debug)]
pub struct Shipper {
    config: Config,
    identity: Arc<Identity>,
    spool: Spool,
    sender: Sender,
    clock: Clock,
    line: Line,
    pace: Option<Setter>,
    endpoint: Option<Endpoint>,
    statistics: watch::Sender<Statistics>,
    /// Traffic of connections that are gone.
    past: [u64; 4],
    last_write: Instant,
}

impl Shipper {
    /// A shipper, and its statistics to watch.
    #[must_use]
    pub fn new(
        config: Config,
        identity: Arc<Identity>,
        spool: Spool,
        clock: Clock,
        line: Line,
    ) -> (Self, watch::Receiver<Statistics>) {
        let state = spool.state();
        let (statistics, watched) = watch::channel(Statistics::default());
        let sender = Sender::new(hsw_delivery::Config::default(), state.acked, state.newest);
        let shipper = Self {
            config,
            identity,
            spool,
            sender,
            clock,
            line,
            pace: None,
            endpoint: None,
            statistics,
            past: [0; 4],
            last_write: Instant::now(),
        };
        (shipper, watched)
    }

    /// Says here what the aggregator says of the node's role.
    #[must_use]
    pub fn sets(mut self, pace: Setter) -> Self {
        self.pace = Some(pace);
        self
    }

    /// Ships until `stop`; then waits up to two seconds for acknowledgements, says goodbye and returns.
    pub async fn run(mut self, mut stop: Shutdown) {
        let mut backoff = BACKOFF_MIN;
        while !stop.is_requested() {
            let began = Instant::now();
            let outcome = self.attempt(&mut stop).await;
            self.sender.handle(self.clock.now(), Input::Disconnected);
            if began.elapsed() > GOOD_AFTER && self.statistics.borrow().trouble.is_none() {
                backoff = BACKOFF_MIN;
            }
            match outcome {
                Ok(End::Stopped) => break,
                Ok(End::Renewed) => tracing::warn!(
                    incarnation = self.spool.state().incarnation.0,
                    "spool began a new incarnation, connecting anew"
                ),
                Ok(End::Refused(message)) => {
                    self.statistics.send_modify(|s| s.refusals += 1);
                    self.trouble(&format!("refused by the aggregator: {message}"));
                }
                Err(why) => self.trouble(&format!("{why:#}")),
            }
            tokio::select! {
                () = stop.requested() => break,
                () = sleep(jittered(backoff)) => {}
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
        if let Some(endpoint) = self.endpoint.take() {
            let _ = timeout(GOODBYE_PATIENCE, endpoint.wait_idle()).await;
        }
    }

    async fn attempt(&mut self, stop: &mut Shutdown) -> anyhow::Result<End> {
        let connecting = link::connect(
            &mut self.endpoint,
            &self.identity,
            &self.config.address,
            &self.config.name,
        );
        let connection = tokio::select! {
            () = stop.requested() => return Ok(End::Stopped),
            connection = connecting => connection?,
        };
        let outcome = Box::pin(self.converse(&connection, stop)).await;
        let code = u32::from(outcome.is_err());
        connection.close(VarInt::from_u32(code), b"");
        self.measure(&connection);
        let stats = connection.stats();
        for (past, now) in self.past.iter_mut().zip([
            stats.udp_tx.bytes,
            stats.udp_rx.bytes,
            stats.udp_tx.datagrams,
            stats.udp_rx.datagrams,
        ]) {
            *past += now;
        }
        self.statistics.send_modify(|s| s.connected = false);
        outcome
    }

    /// Hello, Welcome, then whatever happens until the connection ends.
    async fn converse(
        &mut self,
        connection: &Connection,
        stop: &mut Shutdown,
    ) -> anyhow::Result<End> {
        let mut state = self.spool.watch();
        let incarnation = state.borrow_and_update().incarnation;
        let (mut writer, mut reader) = link::open(connection).await?;
        let (last, version) = match link::greet(&mut writer, &mut reader, incarnation).await? {
            Ok(welcome) => welcome,
            Err(refusal) => return Ok(End::Refused(refusal)),
        };
        self.welcomed(connection, last);
        let knows_triggers = version >= VERSION_TRIGGERS;
        if knows_triggers {
            let _driver_has_ended = self.line.heard.send(Heard::Connected).await;
        }

        let mut heartbeat = interval(HEARTBEAT_INTERVAL);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_heard = Instant::now();
        let mut answer: Option<Answer> = None;
        let mut stop_at: Option<Instant> = None;
        loop {
            if let Some(end) = self.outputs(&mut answer).await? {
                return Ok(end);
            }
            let is_empty = self.sender.acked_position() >= self.spool.state().newest;
            if stop_at.is_some_and(|at| is_empty || Instant::now() >= at) {
                while let Ok(list) = self.line.ups.try_recv() {
                    link::tell(&mut writer, list, knows_triggers).await?;
                }
                writer.finish(GOODBYE_PATIENCE).await;
                return Ok(End::Stopped);
            }
            let overdue = self.sender.poll_timeout().map(|at| self.clock.instant(at));
            tokio::select! {
                biased;
                _ = heartbeat.tick() => {
                    anyhow::ensure!(last_heard.elapsed() < SILENCE_MAX, "the aggregator is silent");
                    self.beat(&mut writer).await?;
                    self.measure(connection);
                }
                message = reader.read() => {
                    last_heard = Instant::now();
                    if let Some(end) = self.heard(message?).await {
                        return Ok(end);
                    }
                }
                list = self.line.next() => link::tell(&mut writer, list, knows_triggers).await?,
                found = arrival(&mut answer) => {
                    answer = None;
                    self.write(&mut writer, found).await?;
                }
                changed = state.changed() => {
                    changed.context("the spool's thread is gone")?;
                    let now = state.borrow_and_update().clone();
                    if now.incarnation != incarnation {
                        return Ok(End::Renewed);
                    }
                    self.sender.handle(self.clock.now(), Input::Appended(now.newest));
                }
                () = stop.requested(), if stop_at.is_none() => {
                    stop_at = Some(Instant::now() + GRACE);
                }
                () = sleep_until(stop_at.unwrap_or(last_heard)), if stop_at.is_some() => {}
                () = sleep_until(overdue.unwrap_or(last_heard)), if overdue.is_some() => {
                    self.sender.handle(self.clock.now(), Input::Timeout);
                }
            }
        }
    }

    fn welcomed(&mut self, connection: &Connection, last: Sequence) {
        let now = self.clock.now();
        let newest = self.spool.state().newest;
        self.sender.handle(now, Input::Appended(newest));
        self.sender.handle(now, Input::Connected { last });
        self.statistics.send_modify(|s| {
            s.connected = true;
            s.connects += 1;
            s.trouble = None;
        });
        tracing::info!(
            aggregator = %connection.remote_address(),
            last_sequence = last.0,
            waiting = self.spool.state().unacked_summaries,
            "connected"
        );
    }

    /// Does what the sender's core wants; an end when it wants another connection.
    async fn outputs(&mut self, answer: &mut Option<Answer>) -> anyhow::Result<Option<End>> {
        while let Some(output) = self.sender.poll_output() {
            match output {
                Output::Send { after } => {
                    *answer = self.spool.request(after);
                    if answer.is_none() {
                        // The disk hangs; the next append or acknowledgement asks again.
                        self.sender.handle(self.clock.now(), Input::NothingToSend);
                    }
                }
                Output::Release(acked) => {
                    self.spool.release(acked);
                    self.statistics.send_modify(|s| s.acked = acked.0);
                }
                Output::Reconnect => anyhow::bail!("no acknowledgement for 30 s"),
                Output::Diverged => {
                    tracing::warn!(
                        "the aggregator knows summaries this spool never wrote: was it restored from a copy?"
                    );
                    self.spool.renew().await;
                    return Ok(Some(End::Renewed));
                }
            }
        }
        Ok(None)
    }

    async fn beat(&mut self, writer: &mut Writer) -> anyhow::Result<()> {
        let spool::State {
            unacked_bytes,
            unacked_summaries,
            dropped,
            ..
        } = self.spool.state();
        writer
            .write(&ToAggregator::Heartbeat {
                wall_us: self.clock.wall().0,
                spool_bytes: unacked_bytes,
                spool_summaries: unacked_summaries,
                dropped: dropped + self.spool.overrun(),
            })
            .await
    }

    async fn heard(&mut self, message: ToAgent) -> Option<End> {
        match message {
            ToAgent::Ack { sequence } => {
                let acked = Input::Acked(Sequence(sequence));
                self.sender.handle(self.clock.now(), acked);
                None
            }
            ToAgent::Refused { message, .. } => Some(End::Refused(message)),
            ToAgent::Triggers(list) => {
                // Decoding has held each of them to what can be.
                let list = list.into_iter().filter_map(|one| Down::try_from(one).ok());
                let heard = Heard::Messages(list.collect());
                let _driver_has_ended = self.line.heard.send(heard).await;
                None
            }
            ToAgent::Role { is_landmark } => {
                if let Some(pace) = &self.pace {
                    pace.hear(is_landmark);
                }
                self.statistics
                    .send_modify(|s| s.is_landmark = Some(is_landmark));
                None
            }
            // A heartbeat's answer is heard, which is all it is for; the aggregator measures the clocks.
            ToAgent::Heartbeat { .. } | ToAgent::Welcome { .. } => None,
        }
    }

    async fn write(
        &mut self,
        writer: &mut Writer,
        found: Option<(Sequence, Vec<u8>)>,
    ) -> anyhow::Result<()> {
        let Some((sequence, payload)) = found else {
            self.sender.handle(self.clock.now(), Input::NothingToSend);
            return Ok(());
        };
        sleep_until(
            self.last_write + Duration::from_secs(1) / self.config.summaries_per_second_max,
        )
        .await;
        writer
            .write(&ToAggregator::Summary {
                sequence: sequence.0,
                payload,
            })
            .await?;
        self.last_write = Instant::now();
        self.sender.handle(self.clock.now(), Input::Sent(sequence));
        Ok(())
    }

    fn measure(&self, connection: &Connection) {
        let stats = connection.stats();
        let [tx, rx, tx_n, rx_n] = self.past;
        self.statistics.send_modify(|s| {
            s.wire_bytes = (tx + stats.udp_tx.bytes, rx + stats.udp_rx.bytes);
            s.wire_datagrams = (tx_n + stats.udp_tx.datagrams, rx_n + stats.udp_rx.datagrams);
            s.rtt_us = u64::try_from(connection.rtt().as_micros()).unwrap_or(u64::MAX);
            s.delivery = self.sender.statistics();
        });
    }

    /// Counts, and logs what is new: an aggregator that is away for a day makes one line.
    fn trouble(&self, why: &str) {
        let is_new = self.statistics.borrow().trouble.as_deref() != Some(why);
        if is_new {
            tracing::warn!(
                aggregator = self.config.address,
                error = why,
                "no connection, summaries wait in the spool"
            );
        }
        self.statistics.send_modify(|s| {
            s.failures += 1;
            if is_new {
                s.trouble = Some(why.to_owned());
            }
        });
    }
}

/// Whether the aggregator can be reached and takes our certificate; for `hsw-agent check`. Says nothing to it, because a
/// second conversation of the same node would end the agent's own.
///
/// # Errors
/// One line with the remedy.
pub async fn probe(config: &Config, identity: &Arc<Identity>) -> anyhow::Result<()> {
    let mut endpoint = None;
    let connection = link::connect(&mut endpoint, identity, &config.address, &config.name).await?;
    // In TLS 1.3 the client is done before the server has judged its certificate.
    let verdict = timeout(PROBE_PATIENCE, connection.closed()).await;
    connection.close(VarInt::from_u32(0), b"");
    verdict.map_or(Ok(()), |why| Err(link::explain(&why)))
}

/// What the spool answers; never, while nothing was asked.
async fn arrival(answer: &mut Option<Answer>) -> Option<(Sequence, Vec<u8>)> {
    match answer {
        Some(answer) => answer.await.ok().flatten(),
        None => std::future::pending().await,
    }
}

/// Between half and the whole of `backoff`, so that a thousand agents do not come back in the same moment.
fn jittered(backoff: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    backoff.mul_f64(0.5 + (random % 1024) as f64 / 2048.0)
}
