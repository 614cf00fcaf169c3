//! Ingest over real QUIC, with a store on disk behind it: what an agent sees. (step 6)

mod roles;
mod triggers;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hsw_shell::cert;
use hsw_shell::tls::{self, Identity};
use hsw_types::{NodeId, SeriesDef, SeriesId, SeriesKey, SeriesValues, ShardSummary, WindowIndex};
use hsw_wire::{FRAME_HEADER_BYTES, RefusalCode, ToAgent, ToAggregator, frame_length};
use quinn::crypto::rustls::QuicClientConfig;
use tokio::time::timeout;

use crate::config::{Config, Shard, Tls};
use crate::shared::Counter;
use crate::{Service, store};

const PATIENCE: Duration = Duration::from_secs(10);

/// An authority, an aggregator's identity, and a running service in a directory of its own.
struct Stage {
    dir: tempfile::TempDir,
    service: Service,
}

impl Stage {
    fn config(dir: &Path) -> Config {
        let authority = dir.join("ca");
        let ids = dir.join("ids");
        if !authority.exists() {
            cert::init(&authority).unwrap();
            issue(dir, "aggregator");
        }
        Config {
            data_dir: dir.join("data"),
            listen: "127.0.0.1:0".parse().unwrap(),
            open: false,
            tls: Tls {
                cert: ids.join("aggregator.crt"),
                key: ids.join("aggregator.key"),
                ca: ids.join("ca.crt"),
            },
            store: store::Config {
                gather_ms: 5,
                ..store::Config::default()
            },
            shard: vec![Shard {
                name: "shard-1".to_owned(),
                nodes: vec!["shard-1-a".to_owned()],
                router: false,
            }],
            ..Config::default()
        }
    }

    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let service = Service::start(&Self::config(dir.path())).unwrap();
        Self { dir, service }
    }

    async fn agent(&self, name: &str) -> Agent {
        Agent::connect(self.service.listening, &issue(self.dir.path(), name)).await
    }

    fn counter(&self, counter: Counter) -> u64 {
        self.service.shared.counters.value(counter)
    }
}

/// The folder with `name`'s certificate, made if need be.
fn issue(dir: &Path, name: &str) -> PathBuf {
    let ids = dir.join("ids");
    let certificate = ids.join(format!("{name}.crt"));
    if !certificate.exists() {
        let node = NodeId::new(name).unwrap();
        let local = ["127.0.0.1".parse().unwrap()];
        cert::issue(&dir.join("ca"), &node, &local, &ids).unwrap();
    }
    certificate
}

/// A client that speaks the protocol by hand.
struct Agent {
    connection: quinn::Connection,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    _endpoint: quinn::Endpoint,
}

impl Agent {
    async fn connect(address: std::net::SocketAddr, certificate: &Path) -> Self {
        Self::try_connect(address, certificate).await.unwrap()
    }

    async fn try_connect(
        address: std::net::SocketAddr,
        certificate: &Path,
    ) -> Result<Self, quinn::ConnectionError> {
        let key = certificate.with_extension("key");
        let ca = certificate.with_file_name("ca.crt");
        let identity = Arc::new(Identity::load(certificate, &key, &ca).unwrap());
        let crypto = QuicClientConfig::try_from(tls::client_config(&identity).unwrap()).unwrap();
        let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        let connecting = endpoint.connect(address, "aggregator").unwrap();
        let connection = connecting.await?;
        let (send, recv) = connection.open_bi().await?;
        Ok(Self {
            connection,
            send,
            recv,
            _endpoint: endpoint,
        })
    }

    async fn say(&mut self, message: &ToAggregator) {
        self.send
            .write_all(&message.encode().unwrap())
            .await
            .unwrap();
    }

    async fn hello(&mut self, incarnation: u64) {
        self.say(&ToAggregator::Hello {
            versions: (1, 1),
            incarnation,
            agent_version: "test".to_owned(),
        })
        .await;
    }

    async fn summary(&mut self, sequence: u64) {
        let payload = hsw_wire::encode_summary(&summary(sequence)).unwrap();
        self.say(&ToAggregator::Summary { sequence, payload }).await;
    }

    async fn hear(&mut self) -> ToAgent {
        timeout(PATIENCE, async {
            let mut header = [0; FRAME_HEADER_BYTES];
            self.recv.read_exact(&mut header).await.unwrap();
            let mut body = vec![0; frame_length(header).unwrap()];
            self.recv.read_exact(&mut body).await.unwrap();
            ToAgent::decode(&body).unwrap()
        })
        .await
        .expect("an answer in time")
    }

    async fn refusal(&mut self) -> (RefusalCode, String) {
        match self.hear().await {
            ToAgent::Refused { code, message } => (code, message),
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Last committed sequence, as the welcome says.
    async fn welcome(&mut self) -> u64 {
        match self.hear().await {
            ToAgent::Welcome { last_sequence, .. } => last_sequence,
            other => panic!("not welcome: {other:?}"),
        }
    }

    async fn acknowledged(&mut self, sequence: u64) {
        loop {
            match self.hear().await {
                ToAgent::Ack { sequence: highest } if highest == sequence => return,
                ToAgent::Ack { sequence: highest } => assert!(highest < sequence),
                other => panic!("not an acknowledgement: {other:?}"),
            }
        }
    }
}

fn summary(sequence: u64) -> ShardSummary {
    let id = SeriesId(0);
    ShardSummary {
        first_window: WindowIndex(1_700_000_000 + 2 * i64::try_from(sequence).unwrap()),
        n_windows: 2,
        dictionary_epoch: 1,
        facts: None,
        dictionary: vec![SeriesDef {
            id,
            key: SeriesKey::node("pg.commits"),
        }],
        series: vec![SeriesValues {
            id,
            values: vec![Some(10.0), Some(11.0)],
        }],
        latencies: Vec::new(),
        log_samples: Vec::new(),
        sources: Vec::new(),
        hot: Vec::new(),
    }
}

/// Sequences in the file, opened when nobody holds it.
fn stored(dir: &Path) -> Vec<i64> {
    let file = store::file_in(&dir.join("data"));
    let connection = rusqlite::Connection::open(file).unwrap();
    let mut statement = connection
        .prepare("SELECT sequence FROM summary ORDER BY id")
        .unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_summary_is_in_the_file_when_the_process_dies() {
    let stage = Stage::start();
    let mut agent = stage.agent("shard-1-a").await;
    agent.hello(7).await;
    assert_eq!(agent.welcome().await, 0);
    for sequence in 1..=3 {
        agent.summary(sequence).await;
        agent.acknowledged(sequence).await;
        // As the disk would be after a kill -9 at this moment: copied, not closed.
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir(copy.path().join("data")).unwrap();
        for entry in std::fs::read_dir(stage.dir.path().join("data")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(
                entry.path(),
                copy.path().join("data").join(entry.file_name()),
            )
            .unwrap();
        }
        let expected: Vec<i64> = (1..=i64::try_from(sequence).unwrap()).collect();
        assert_eq!(stored(copy.path()), expected);
    }
    stage.service.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_is_acknowledged_again_and_stored_once_over_restarts() {
    let stage = Stage::start();
    let mut agent = stage.agent("shard-1-a").await;
    agent.hello(7).await;
    agent.welcome().await;
    agent.summary(1).await;
    agent.acknowledged(1).await;
    agent.summary(1).await;
    agent.acknowledged(1).await;
    assert_eq!(stage.counter(Counter::Duplicates), 1);
    let Stage { dir, service } = stage;
    service.stop().await.unwrap();

    let service = Service::start(&Stage::config(dir.path())).unwrap();
    let stage = Stage { dir, service };
    let mut agent = stage.agent("shard-1-a").await;
    agent.hello(7).await;
    assert_eq!(agent.welcome().await, 1);
    agent.summary(1).await;
    agent.acknowledged(1).await;
    agent.summary(2).await;
    agent.acknowledged(2).await;
    let mut other_life = stage.agent("shard-1-a").await;
    other_life.hello(8).await;
    assert_eq!(other_life.welcome().await, 0);
    let Stage { dir, service } = stage;
    service.stop().await.unwrap();
    assert_eq!(stored(dir.path()), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_outside_the_shard_map_is_refused_with_the_remedy() {
    let stage = Stage::start();
    let mut stranger = stage.agent("stranger").await;
    stranger.hello(7).await;
    let (code, message) = stranger.refusal().await;
    assert_eq!(code, RefusalCode::UnknownNode);
    assert!(
        message.contains("stranger") && message.contains("[[shard]]"),
        "{message}"
    );
    assert_eq!(stage.counter(Counter::RefusedUnknownNode), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_is_refused_before_a_word() {
    let stage = Stage::start();
    let foreign = tempfile::tempdir().unwrap();
    cert::init(&foreign.path().join("ca")).unwrap();
    let certificate = issue(foreign.path(), "shard-1-a");
    // The impostor trusts the true aggregator; only its own certificate is foreign.
    std::fs::copy(
        stage.dir.path().join("ids/ca.crt"),
        certificate.with_file_name("ca.crt"),
    )
    .unwrap();
    // With TLS 1.3 the client may believe for a moment that it is connected.
    let why = match Agent::try_connect(stage.service.listening, &certificate).await {
        Err(why) => why,
        Ok(impostor) => timeout(PATIENCE, impostor.connection.closed())
            .await
            .expect("an end in time"),
    };
    assert!(format!("{why}").contains("certificate"), "{why}");
    timeout(PATIENCE, async {
        while stage.counter(Counter::HandshakeFailures) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("a failure counted in time");
    assert_eq!(stage.counter(Counter::HandshakeFailures), 1);
    assert_eq!(stage.counter(Counter::Connections), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_versions_are_refused_and_say_what_to_do() {
    let stage = Stage::start();
    let mut newer = stage.agent("shard-1-a").await;
    newer
        .say(&ToAggregator::Hello {
            versions: (2, 3),
            incarnation: 1,
            agent_version: "9".to_owned(),
        })
        .await;
    let (code, message) = newer.refusal().await;
    assert_eq!(code, RefusalCode::Version);
    assert!(
        message.contains("2 to 3") && message.contains("upgrade"),
        "{message}"
    );

    let mut other_frames = stage.agent("shard-1-a").await;
    let mut frame = ToAggregator::Goodbye.encode().unwrap();
    frame[4] = 9;
    other_frames.send.write_all(&frame).await.unwrap();
    let (code, message) = other_frames.refusal().await;
    assert_eq!(code, RefusalCode::Version);
    assert!(message.contains("version 9"), "{message}");
    assert_eq!(stage.counter(Counter::RefusedVersion), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn torn_and_foreign_frames_are_counted_and_refused() {
    let stage = Stage::start();
    let huge = [0xff, 0xff, 0xff, 0x7f, 1];
    let nonsense = [5, 0, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef];
    for (n, bytes) in [&huge[..], &nonsense[..]].into_iter().enumerate() {
        let mut agent = stage.agent("shard-1-a").await;
        agent.hello(7).await;
        agent.welcome().await;
        agent.send.write_all(bytes).await.unwrap();
        let (code, _) = agent.refusal().await;
        assert_eq!(code, RefusalCode::Malformed);
        assert_eq!(stage.counter(Counter::RefusedMalformed), n as u64 + 1);
    }
    let mut hasty = stage.agent("shard-1-a").await;
    hasty.summary(1).await;
    let (code, message) = hasty.refusal().await;
    assert_eq!(code, RefusalCode::Malformed);
    assert!(message.contains("hello"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_that_cannot_be_read_does_not_block_those_behind_it() {
    let stage = Stage::start();
    let mut agent = stage.agent("shard-1-a").await;
    agent.hello(7).await;
    agent.welcome().await;
    let payload = vec![0xff; 20];
    agent
        .say(&ToAggregator::Summary {
            sequence: 1,
            payload,
        })
        .await;
    agent.summary(2).await;
    agent.acknowledged(2).await;
    assert_eq!(stage.counter(Counter::Unreadable), 1);
    let Stage { dir, service } = stage;
    service.stop().await.unwrap();
    assert_eq!(stored(dir.path()), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_is_answered_and_shown_and_a_goodbye_is_kept() {
    let stage = Stage::start();
    let mut agent = stage.agent("shard-1-a").await;
    agent.hello(7).await;
    agent.welcome().await;
    agent
        .say(&ToAggregator::Heartbeat {
            wall_us: 42,
            spool_bytes: 1_000,
            spool_summaries: 2,
            dropped: 3,
        })
        .await;
    let ToAgent::Heartbeat { echo_us, wall_us } = agent.hear().await else {
        panic!("not a heartbeat");
    };
    assert_eq!(echo_us, 42);
    assert!(wall_us > 1_600_000_000_000_000);
    agent.say(&ToAggregator::Goodbye).await;
    let mut snapshots = stage.service.shared.snapshot.clone();
    let seen = snapshots.wait_for(|snapshot| snapshot.agents.iter().any(|a| a.is_stopped));
    let snapshot = Arc::clone(&*timeout(PATIENCE, seen).await.unwrap().unwrap());
    let view = &snapshot.agents[0];
    assert_eq!(
        (view.spool_bytes, view.spool_summaries, view.dropped),
        (1_000, 2, 3)
    );
    assert!(view.clock_offset_us.unwrap() < -1_600_000_000_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_connection_of_a_node_replaces_the_older() {
    let stage = Stage::start();
    let mut older = stage.agent("shard-1-a").await;
    older.hello(7).await;
    older.welcome().await;
    let mut newer = stage.agent("shard-1-a").await;
    newer.hello(7).await;
    newer.welcome().await;
    let closed = timeout(PATIENCE, older.connection.closed()).await.unwrap();
    assert!(format!("{closed}").contains("newer connection"), "{closed}");
    newer.summary(1).await;
    newer.acknowledged(1).await;
    assert_eq!(stage.counter(Counter::ReplacedConnections), 1);
}
