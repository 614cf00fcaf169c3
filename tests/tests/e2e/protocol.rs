//! What a peer may say: broken frames, other versions. The raw peer is quinn with our own frames, changed by a byte.

use std::sync::Arc;
use std::time::Duration;

use hsw_shell::tls::{self, Identity};
use hsw_wire::{FRAME_HEADER_BYTES, RefusalCode, ToAgent, ToAggregator, frame_length};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, RecvStream, SendStream};

use crate::rig::{Rig, absent, wait_for};

pub(crate) struct Peer {
    pub(crate) connection: Connection,
    send: SendStream,
    recv: RecvStream,
    _endpoint: Endpoint,
}

pub(crate) fn identity(rig: &Rig, node: &str) -> Arc<Identity> {
    let certs = rig.certs(node);
    let file = |name: String| certs.join(name);
    let identity = Identity::load(
        &file(format!("{node}.crt")),
        &file(format!("{node}.key")),
        &certs.join("ca.crt"),
    );
    Arc::new(identity.unwrap())
}

impl Peer {
    pub(crate) async fn connect(rig: &Rig, node: &str) -> Result<Self, quinn::ConnectionError> {
        let crypto = tls::client_config(&identity(rig, node)).unwrap();
        let config = QuicClientConfig::try_from(crypto).unwrap();
        let endpoint = Endpoint::client("0.0.0.0:0".parse().unwrap()).unwrap();
        let connection = endpoint
            .connect_with(
                quinn::ClientConfig::new(Arc::new(config)),
                rig.listen.parse().unwrap(),
                "aggregator",
            )
            .unwrap()
            .await?;
        let (send, recv) = connection.open_bi().await?;
        Ok(Self {
            connection,
            send,
            recv,
            _endpoint: endpoint,
        })
    }

    async fn say(&mut self, bytes: &[u8]) {
        // One that is refused may be cut off already; what it hears tells.
        let _cut_off = self.send.write_all(bytes).await;
    }

    pub(crate) async fn hello(&mut self, versions: (u8, u8)) {
        self.say(&hello(versions)).await;
    }

    async fn hear(&mut self) -> ToAgent {
        self.hear_or_end().await.unwrap()
    }

    /// The next message; `None` when the connection ends instead.
    pub(crate) async fn hear_or_end(&mut self) -> Option<ToAgent> {
        let mut header = [0; FRAME_HEADER_BYTES];
        self.recv.read_exact(&mut header).await.ok()?;
        let mut body = vec![0; frame_length(header).unwrap()];
        self.recv.read_exact(&mut body).await.ok()?;
        Some(ToAgent::decode(&body).unwrap())
    }
}

fn hello(versions: (u8, u8)) -> Vec<u8> {
    let hello = ToAggregator::Hello {
        versions,
        incarnation: 77,
        agent_version: "e2e".to_owned(),
    };
    hello.encode().unwrap()
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn a_malformed_frame_is_refused_and_counted_and_the_aggregator_lives_on() {
    let rig = Rig::new(38);
    rig.configure_aggregator("", "");
    rig.issue(&rig.authority(), "shard-1-a");
    let mut aggregator = rig.start_aggregator();
    let noise = [vec![9, 0, 0, 0, 1], vec![0xff; 8]].concat();
    let giant = vec![0xff, 0xff, 0xff, 0x7f, 1];
    let empty = vec![0, 0, 0, 0, 1];
    let too_early = ToAggregator::Goodbye.encode().unwrap();
    let twice = hello((1, 1));
    let number_zero = ToAggregator::Summary {
        sequence: 0,
        payload: Vec::new(),
    };
    runtime().block_on(async {
        let cases = [
            (false, noise.clone()),
            (false, giant),
            (false, empty),
            (false, too_early),
            (true, noise),
            (true, twice),
            (true, number_zero.encode().unwrap()),
        ];
        for (n, (greets, bytes)) in cases.into_iter().enumerate() {
            let mut peer = Peer::connect(&rig, "shard-1-a").await.unwrap();
            if greets {
                peer.hello((1, 1)).await;
                assert!(matches!(peer.hear().await, ToAgent::Welcome { .. }));
            }
            peer.say(&bytes).await;
            match peer.hear().await {
                ToAgent::Refused { code, message } => {
                    assert_eq!(code, RefusalCode::Malformed, "{message}");
                    assert!(!message.is_empty() && !message.contains('\n'), "{message}");
                }
                other => panic!("case {n}: {other:?}"),
            }
            let counted = rig.metric("hsw_ingest_refused_malformed_total");
            assert!(counted >= (n + 1) as f64, "case {n}: {counted}");
        }
    });
    assert!(aggregator.running());
    rig.configure_agent("shard-1-a", &absent(), "");
    let _agent = rig.start_agent("shard-1-a");
    rig.wait_connected("shard-1-a");
}

#[test]
fn an_agent_of_another_protocol_version_is_told_which_side_to_upgrade() {
    let rig = Rig::new(39);
    rig.configure_aggregator("", "");
    rig.issue(&rig.authority(), "shard-1-a");
    let _aggregator = rig.start_aggregator();
    runtime().block_on(async {
        let mut older = hello((0, 0));
        older[FRAME_HEADER_BYTES - 1] = 0;
        let mut newer = hello((4, 4));
        newer[FRAME_HEADER_BYTES - 1] = 4;
        for bytes in [older, newer, hello((4, 5)), hello((0, 0))] {
            let mut peer = Peer::connect(&rig, "shard-1-a").await.unwrap();
            peer.say(&bytes).await;
            match peer.hear().await {
                ToAgent::Refused { code, message } => {
                    assert_eq!(code, RefusalCode::Version, "{message}");
                    assert!(message.contains("upgrade the older side"), "{message}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(rig.metric("hsw_ingest_refused_version_total") >= 4.0);
        // One that also speaks the next version is welcome in ours, one that speaks only the first in that.
        for (versions, highest) in [((1, 4), 3), ((1, 3), 3), ((1, 2), 2), ((1, 1), 1)] {
            let mut peer = Peer::connect(&rig, "shard-1-a").await.unwrap();
            peer.hello(versions).await;
            let welcome = peer.hear().await;
            assert!(
                matches!(welcome, ToAgent::Welcome { version, .. } if version == highest),
                "{versions:?}: {welcome:?}"
            );
        }
    });
}

#[test]
fn an_aggregator_of_a_newer_protocol_leaves_the_agent_waiting_with_a_full_spool() {
    let rig = Rig::new(40);
    rig.issue(&rig.authority(), "aggregator");
    rig.configure_agent("shard-1-a", &absent(), "");
    let crypto = tls::server_config(&identity(&rig, "aggregator")).unwrap();
    let config = QuicServerConfig::try_from(crypto).unwrap();
    let runtime = runtime();
    let _entered = runtime.enter();
    let config = quinn::ServerConfig::with_crypto(Arc::new(config));
    let endpoint = Endpoint::server(config, rig.listen.parse().unwrap()).unwrap();
    let answering = endpoint.clone();
    runtime.spawn(async move {
        while let Some(incoming) = answering.accept().await {
            let connection = incoming.await.unwrap();
            let (mut send, _recv) = connection.accept_bi().await.unwrap();
            let welcome = ToAgent::Welcome {
                version: 4,
                last_sequence: 0,
                last_window: i64::MIN,
                wall_us: 0,
            };
            let mut frame = welcome.encode().unwrap();
            frame[FRAME_HEADER_BYTES - 1] = 4;
            send.write_all(&frame).await.unwrap();
            let _gone = tokio::time::timeout(Duration::from_secs(2), connection.closed()).await;
        }
    });
    let mut agent = rig.start_agent("shard-1-a");
    let line = rig.line("shard-1-a", &["WARN", "summaries wait in the spool"]);
    assert!(
        line.contains("version 4") && line.contains("upgrade"),
        "{line}"
    );
    drop(endpoint);
    wait_for("summaries wait on disk", || {
        let segments = std::fs::read_dir(rig.state_dir("shard-1-a").join("spool")).ok()?;
        let bytes: u64 = segments
            .flatten()
            .filter_map(|f| Some(f.metadata().ok()?.len()))
            .sum();
        (bytes > 1_000).then_some(())
    });
    assert!(agent.running(), "{:#}", agent.obituary());
}
