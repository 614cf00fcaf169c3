//! A small aggregator: real QUIC, real certificates, a store in memory, and misbehaviour on order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use hsw_delivery::{Entry, Receiver, Verdict};
use hsw_shell::tls::{self, Identity};
use hsw_types::{Incarnation, NodeId, Sequence, WindowIndex};
use hsw_wire::{
    FRAME_HEADER_BYTES, RefusalCode, ToAgent, ToAggregator, VERSION, decode_summary, frame_length,
};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, ServerConfig};

/// What to do wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manners {
    /// Break the connection after this many summaries of it, the last of them committed and not acknowledged.
    pub(crate) break_after: Option<usize>,
    pub(crate) refuse: bool,
    /// Answer Hello with bytes that are no message.
    pub(crate) babble: bool,
    /// Claim to have this much of every incarnation but those that really spoke.
    pub(crate) pretend: Option<u64>,
}

/// What survives the fake's connections.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) windows: Vec<i64>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) overlaps: u64,
    pub(crate) hellos: Vec<(NodeId, u64)>,
    pub(crate) heartbeats: Vec<(u64, u64)>,
    pub(crate) goodbyes: u64,
    pub(crate) manners: Manners,
}

#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<Mutex<Store>>,
    endpoint: Endpoint,
    accepting: tokio::task::JoinHandle<()>,
}

impl Fake {
    pub(crate) fn start(identity: &Arc<Identity>, manners: Manners) -> Self {
        let store = Arc::new(Mutex::new(Store {
            manners,
            ..Store::default()
        }));
        Self::start_with(identity, store, "127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn start_with(
        identity: &Arc<Identity>,
        store: Arc<Mutex<Store>>,
        at: SocketAddr,
    ) -> Self {
        let crypto = QuicServerConfig::try_from(tls::server_config(identity).unwrap()).unwrap();
        let endpoint = Endpoint::server(ServerConfig::with_crypto(Arc::new(crypto)), at).unwrap();
        let address = endpoint.local_addr().unwrap();
        let (listening, kept) = (endpoint.clone(), Arc::clone(&store));
        let accepting = tokio::spawn(async move {
            while let Some(incoming) = listening.accept().await {
                let store = Arc::clone(&kept);
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.await {
                        let _ = serve(&connection, &store).await;
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                        connection.close(0u32.into(), b"");
                    }
                });
            }
        });
        Self {
            address,
            store,
            endpoint,
            accepting,
        }
    }

    pub(crate) async fn stop(self) -> Arc<Mutex<Store>> {
        self.endpoint.close(0u32.into(), b"");
        self.endpoint.wait_idle().await;
        self.accepting.abort();
        let _ = self.accepting.await;
        drop(self.endpoint);
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        self.store
    }
}

/// A conversation that has been welcomed.
struct Guest {
    node: NodeId,
    incarnation: Incarnation,
    receiver: Receiver,
    send: SendStream,
    recv: RecvStream,
}

async fn greet(connection: &Connection, store: &Mutex<Store>) -> Option<Guest> {
    let chain = connection
        .peer_identity()?
        .downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>()
        .ok()?;
    let node = tls::peer_node(&chain).ok()?;
    let (mut send, mut recv) = connection.accept_bi().await.ok()?;
    let ToAggregator::Hello { incarnation, .. } = read(&mut recv).await? else {
        return None;
    };
    let manners = store.lock().unwrap().manners;
    if manners.babble {
        send.write_all(&[9, 0, 0, 0, VERSION, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])
            .await
            .ok()?;
    }
    if manners.refuse {
        let code = RefusalCode::UnknownNode;
        let message = format!("{node} is not in the shard map");
        write(&mut send, &ToAgent::Refused { code, message }).await?;
        return None;
    }
    let incarnation = Incarnation(incarnation);
    let receiver = Receiver::restore(store.lock().unwrap().entries.clone());
    let (mut last, _) = receiver.last(&node, incarnation);
    {
        let mut store = store.lock().unwrap();
        if store.hellos.is_empty()
            && let Some(pretend) = manners.pretend
        {
            last = Sequence(pretend);
        }
        store.hellos.push((node.clone(), incarnation.0));
    }
    let welcome = ToAgent::Welcome {
        version: VERSION,
        last_sequence: last.0,
        last_window: i64::MIN,
        wall_us: 0,
    };
    write(&mut send, &welcome).await?;
    Some(Guest {
        node,
        incarnation,
        receiver,
        send,
        recv,
    })
}

async fn serve(connection: &Connection, store: &Mutex<Store>) -> Option<()> {
    let Guest {
        node,
        incarnation,
        mut receiver,
        mut send,
        mut recv,
    } = greet(connection, store).await?;
    let break_after = store.lock().unwrap().manners.break_after;
    let mut n = 0;
    loop {
        match read(&mut recv).await? {
            // It welcomed in version 1, which has no triggers.
            ToAggregator::Hello { .. } | ToAggregator::Triggers(_) => return None,
            ToAggregator::Heartbeat {
                wall_us,
                spool_summaries,
                dropped,
                ..
            } => {
                store
                    .lock()
                    .unwrap()
                    .heartbeats
                    .push((spool_summaries, dropped));
                write(
                    &mut send,
                    &ToAgent::Heartbeat {
                        echo_us: wall_us,
                        wall_us,
                    },
                )
                .await?;
            }
            ToAggregator::Goodbye => {
                store.lock().unwrap().goodbyes += 1;
                return None;
            }
            ToAggregator::Summary { sequence, payload } => {
                let summary = decode_summary(&payload).ok()?;
                let (first, count) = (summary.first_window, summary.n_windows);
                commit(
                    &mut receiver,
                    store,
                    &node,
                    incarnation,
                    Sequence(sequence),
                    first,
                    count,
                );
                n += 1;
                if break_after == Some(n) {
                    connection.close(1u32.into(), b"on order");
                    return None;
                }
                let (acked, _) = receiver.last(&node, incarnation);
                write(&mut send, &ToAgent::Ack { sequence: acked.0 }).await?;
            }
        }
    }
}

fn commit(
    receiver: &mut Receiver,
    store: &Mutex<Store>,
    node: &NodeId,
    incarnation: Incarnation,
    sequence: Sequence,
    first: WindowIndex,
    n: u16,
) {
    let verdict = receiver.judge(node, incarnation, sequence, Some((first, n)));
    let mut store = store.lock().unwrap();
    let last_window = match verdict {
        Verdict::Duplicate => return,
        Verdict::Overlap => {
            store.overlaps += 1;
            receiver.skipped(node, incarnation, sequence);
            None
        }
        Verdict::Accept { .. } => {
            store.windows.extend(first.0..first.0 + i64::from(n));
            receiver.committed(node, incarnation, sequence, first, n);
            Some(first + (i64::from(n) - 1))
        }
    };
    store.entries.push(Entry {
        node: node.clone(),
        incarnation,
        sequence,
        last_window,
    });
}

async fn read(recv: &mut RecvStream) -> Option<ToAggregator> {
    let mut header = [0; FRAME_HEADER_BYTES];
    recv.read_exact(&mut header).await.ok()?;
    let mut body = vec![0; frame_length(header).ok()?];
    recv.read_exact(&mut body).await.ok()?;
    ToAggregator::decode(&body).ok()
}

async fn write(send: &mut SendStream, message: &ToAgent) -> Option<()> {
    send.write_all(&message.encode().ok()?).await.ok()
}

/// An identity issued by the authority in `dir`.
pub(crate) fn identity(dir: &Path, node: &str) -> Arc<Identity> {
    if !dir.join("ca.crt").exists() {
        hsw_shell::cert::init(dir).unwrap();
    }
    hsw_shell::cert::issue(dir, &NodeId::new(node).unwrap(), &[], dir).unwrap();
    Arc::new(
        Identity::load(
            &dir.join(format!("{node}.crt")),
            &dir.join(format!("{node}.key")),
            &dir.join("ca.crt"),
        )
        .unwrap(),
    )
}
