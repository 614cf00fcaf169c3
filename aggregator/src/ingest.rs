//! Ingest: agents connect by QUIC with certificates of both sides; admission, frames, acknowledgements. (step 6)
//!
//! In: connections. Out: summaries to the store, heartbeats to the driver, acknowledgements back.
//! Invariants: IN-1 the node is what the certificate says. IN-2 an acknowledgement is sent only after the store raised
//! the mark, so after the commit. IN-3 heartbeats are answered ahead of acknowledgements and data. IN-4 of one node the
//! newest connection speaks, older ones are closed. IN-5 what is refused is told why, in one line with the remedy.
//! Limits: [`Config`]. Pressure: the store's queue is bounded; when it is full, connections are not read, QUIC's flow
//! control stops the agents, and they keep their spools. Does not: decode more than it must, judge.

mod agents;
mod session;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hsw_engine::ShardMap;
use hsw_shell::tls::{self, Identity};
use hsw_shell::{Seldom, Shutdown};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::driver::Event;
use crate::shared::{Counter, Counters};
use crate::store::StoreHandle;

pub use agents::Agents;

/// Limits of admission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Connections at most; more are refused and try again later. 4,096 by default.
    pub connections_max: usize,
    /// Bytes a second one node may send; a resending agent is read no faster. 262,144 by default.
    pub node_bytes_per_second: u32,
    /// Seconds without a packet after which a connection is over. 15 by default.
    pub idle_seconds: u32,
    /// Receive buffer asked of the kernel, bytes; it grants at most `net.core.rmem_max`. 8 MiB by default.
    pub udp_receive_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            node_bytes_per_second: 256 << 10,
            idle_seconds: 15,
            udp_receive_bytes: 8 << 20,
        }
    }
}

/// What every connection needs.
#[derive(Debug)]
pub struct Ingest {
    /// Limits.
    pub config: Config,
    /// Who may connect.
    pub map: ShardMap,
    /// Takes summaries.
    pub store: StoreHandle,
    /// Hears who is there.
    pub driver: mpsc::Sender<Event>,
    /// Agents' connections.
    pub agents: Arc<Agents>,
    /// The shell's counters.
    pub counters: Arc<Counters>,
    /// Handshakes that failed, in the log.
    pub strangers: Seldom,
    /// Refused agents, in the log.
    pub refused: Seldom,
    /// Summaries that cannot be read, in the log.
    pub unreadable: Seldom,
}

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Bytes QUIC may hold of a stream that is not read: small, for thousands of agents.
const STREAM_WINDOW: u32 = 128 << 10;

/// Bytes QUIC may hold of a connection.
const CONNECTION_WINDOW: u32 = 256 << 10;

/// Unacknowledged bytes towards an agent: acknowledgements and heartbeats only.
const SEND_WINDOW: u64 = 64 << 10;

/// Opens the socket agents connect to.
///
/// # Errors
/// One line that names the address, or what is wrong with the identity.
pub fn bind(
    listen: SocketAddr,
    config: &Config,
    identity: &Arc<Identity>,
) -> anyhow::Result<quinn::Endpoint> {
    let crypto = QuicServerConfig::try_from(tls::server_config(identity)?)
        .context("use the TLS configuration for QUIC")?;
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let mut transport = TransportConfig::default();
    let idle = VarInt::from_u32(config.idle_seconds.clamp(2, 600) * 1_000);
    transport
        .max_idle_timeout(Some(IdleTimeout::from(idle)))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None);
    server.transport_config(Arc::new(transport));

    let socket = UdpSocket::bind(listen)
        .with_context(|| format!("listen on UDP {listen}: is another aggregator running?"))?;
    if let Err(error) =
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, config.udp_receive_bytes)
    {
        tracing::warn!(%error, "cannot raise the UDP receive buffer");
    }
    quinn::Endpoint::new(
        EndpointConfig::default(),
        Some(server),
        socket,
        Arc::new(quinn::TokioRuntime),
    )
    .with_context(|| format!("serve QUIC on {listen}"))
}

/// Serves connections until shutdown, then closes them: agents resend what was not acknowledged.
pub async fn serve(endpoint: quinn::Endpoint, ingest: Arc<Ingest>, mut shutdown: Shutdown) {
    let places = Arc::new(Semaphore::new(ingest.config.connections_max));
    let mut sessions = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            () = shutdown.requested() => break,
            Some(_) = sessions.join_next() => continue,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            ingest.counters.count(Counter::RefusedBusy);
            incoming.refuse();
            continue;
        };
        // When it gets crowded, an address must prove that it can be answered before it takes a place.
        let is_crowded = places.available_permits() < ingest.config.connections_max / 2;
        if is_crowded && !incoming.remote_address_validated() {
            let _asked_or_gone = incoming.retry();
            continue;
        }
        let ingest = Arc::clone(&ingest);
        sessions.spawn(async move {
            let _place = place;
            let address = incoming.remote_address();
            let connected = tokio::time::timeout(HANDSHAKE, async { incoming.await }).await;
            match connected {
                Ok(Ok(connection)) => session::serve(connection, &ingest).await,
                Ok(Err(error)) => {
                    ingest.counters.count(Counter::HandshakeFailures);
                    if let Some(left_out) = ingest.strangers.now() {
                        tracing::warn!(%address, %error, left_out, "a handshake failed; if it was an agent of ours, its certificate and the aggregator's must come from one authority");
                    }
                }
                Err(_) => ingest.counters.count(Counter::HandshakeFailures),
            }
        });
    }
    sessions.shutdown().await;
    endpoint.close(VarInt::from_u32(0), b"the aggregator stops");
    let closed = tokio::time::timeout(Duration::from_secs(2), endpoint.wait_idle());
    let _late_ones_time_out = closed.await;
}
