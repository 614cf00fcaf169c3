//! One connection to the aggregator: frames over a bidirectional stream. (step 5)
//!
//! In: messages. Out: messages. Invariants: LI-1 reading may be cancelled at any await without losing a byte.
//! LI-2 a frame that is too long or not of our version ends the connection. Does not: decide what to send.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use hsw_shell::tls::{self, Identity};
use hsw_trigger::Up;
use hsw_types::{Incarnation, Sequence};
use hsw_wire::{
    FRAME_HEADER_BYTES, ToAgent, ToAggregator, TriggerUp, VERSION, VERSION_MAX, frame_length,
};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, TransportConfig, VarInt};
use tokio::time::timeout;

/// A connection that is not up after this is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const WELCOME_TIMEOUT: Duration = Duration::from_secs(5);
/// A write that the aggregator does not take for this long ends the connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Resolves `address` (`host:port`) and connects to the first of its addresses that answers.
pub(super) async fn connect(
    endpoint: &mut Option<Endpoint>,
    identity: &Arc<Identity>,
    address: &str,
    name: &str,
) -> anyhow::Result<Connection> {
    let found: Vec<SocketAddr> = timeout(CONNECT_TIMEOUT, tokio::net::lookup_host(address))
        .await
        .with_context(|| format!("resolving {address} takes too long: check the name server"))?
        .with_context(|| format!("cannot resolve aggregator.address {address}"))?
        .take(8)
        .collect();
    let mut last = None;
    for address in found {
        match connect_to(endpoint, identity, address, name).await {
            Ok(connection) => return Ok(connection),
            Err(why) => last = Some(why),
        }
    }
    Err(last.with_context(|| format!("{address} has no address"))?)
}

async fn connect_to(
    endpoint: &mut Option<Endpoint>,
    identity: &Arc<Identity>,
    address: SocketAddr,
    name: &str,
) -> anyhow::Result<Connection> {
    let fits = endpoint.as_ref().is_some_and(|e| {
        e.local_addr()
            .is_ok_and(|local| local.is_ipv6() == address.is_ipv6())
    });
    let here = match endpoint.take().filter(|_| fits) {
        Some(here) => here,
        None => {
            let unspecified: SocketAddr = if address.is_ipv6() {
                (Ipv6Addr::UNSPECIFIED, 0).into()
            } else {
                (Ipv4Addr::UNSPECIFIED, 0).into()
            };
            Endpoint::client(unspecified).context("cannot open a UDP socket")?
        }
    };
    let here = endpoint.insert(here);
    let connecting = here
        .connect_with(client_config(identity)?, address, name)
        .with_context(|| format!("aggregator.name `{name}`"))?;
    timeout(CONNECT_TIMEOUT, connecting)
        .await
        .with_context(|| {
            format!("{address} does not answer: is the aggregator up, is UDP let through?")
        })?
        .map_err(|why| explain(&why).context(format!("connect to {address}")))
}

/// A connection's end in one line, with the remedy where one is known.
pub(super) fn explain(why: &quinn::ConnectionError) -> anyhow::Error {
    let code = match why {
        quinn::ConnectionError::TransportError(error) => Some((
            u64::from(error.code),
            "the aggregator's certificate is not good here: check [tls] ca and aggregator.name",
        )),
        quinn::ConnectionError::ConnectionClosed(close) => Some((
            u64::from(close.error_code),
            "the aggregator refuses our certificate: was it issued by its authority, is it still valid?",
        )),
        _ => None,
    };
    match code {
        // 0x100 to 0x1ff carry TLS alerts (RFC 9001, 4.8).
        Some((0x100..=0x1ff, remedy)) => anyhow::anyhow!("{why}; {remedy}"),
        _ => anyhow::anyhow!("{why}"),
    }
}

/// Tuned for a few kilobytes a second for months: small windows, no probes, few packets.
fn client_config(identity: &Arc<Identity>) -> anyhow::Result<quinn::ClientConfig> {
    let crypto = QuicClientConfig::try_from(tls::client_config(identity)?)
        .context("set up QUIC's encryption")?;
    let mut transport = TransportConfig::default();
    let mut acks = quinn::AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(10));
    acks.max_ack_delay(Some(Duration::from_millis(100)));
    transport
        .max_idle_timeout(Some(VarInt::from_u32(30_000).into()))
        .keep_alive_interval(Some(Duration::from_secs(10)))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(64 << 10))
        .receive_window(VarInt::from_u32(64 << 10))
        .send_window(256 << 10)
        .datagram_receive_buffer_size(None)
        .mtu_discovery_config(None)
        .ack_frequency_config(Some(acks));
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Hello and Welcome: the highest sequence the aggregator has, and the version to speak; or why it does not want us.
pub(super) async fn greet(
    writer: &mut Writer,
    reader: &mut Reader,
    incarnation: Incarnation,
) -> anyhow::Result<Result<(Sequence, u8), String>> {
    writer
        .write(&ToAggregator::Hello {
            versions: (VERSION, VERSION_MAX),
            incarnation: incarnation.0,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        })
        .await?;
    let welcome = timeout(WELCOME_TIMEOUT, reader.read())
        .await
        .context("the aggregator does not welcome us")??;
    match welcome {
        ToAgent::Welcome {
            last_sequence,
            version,
            ..
        } => Ok(Ok((Sequence(last_sequence), version))),
        ToAgent::Refused { message, .. } => Ok(Err(message)),
        other => anyhow::bail!("the aggregator began with {other:?}"),
    }
}

/// Sends what was counted for triggers; an aggregator that does not know them is told nothing.
pub(super) async fn tell(
    writer: &mut Writer,
    list: Vec<Up>,
    knows_triggers: bool,
) -> anyhow::Result<()> {
    if !knows_triggers {
        return Ok(());
    }
    let list = list.into_iter().map(TriggerUp::from).collect();
    writer.write(&ToAggregator::Triggers(list)).await
}

/// Writes whole messages.
#[derive(Debug)]
pub(super) struct Writer {
    stream: SendStream,
}

/// Reads whole messages.
#[derive(Debug)]
pub(super) struct Reader {
    stream: RecvStream,
    buffer: Vec<u8>,
}

/// The stream of a new connection, both ways.
pub(super) async fn open(connection: &Connection) -> anyhow::Result<(Writer, Reader)> {
    let (send, recv) = connection.open_bi().await.map_err(|why| explain(&why))?;
    Ok((
        Writer { stream: send },
        Reader {
            stream: recv,
            buffer: Vec::new(),
        },
    ))
}

impl Writer {
    /// One message in one write.
    pub(super) async fn write(&mut self, message: &ToAggregator) -> anyhow::Result<()> {
        let frame = message.encode().context("encode a message")?;
        timeout(WRITE_TIMEOUT, self.stream.write_all(&frame))
            .await
            .context("the aggregator takes no more data")?
            .map_err(|why| match why {
                quinn::WriteError::ConnectionLost(lost) => explain(&lost),
                other => anyhow::anyhow!("{other}"),
            })
    }

    /// Says goodbye and waits a moment for the aggregator to have it.
    pub(super) async fn finish(&mut self, patience: Duration) {
        if self.write(&ToAggregator::Goodbye).await.is_ok() && self.stream.finish().is_ok() {
            let _ = timeout(patience, self.stream.stopped()).await;
        }
    }
}

impl Reader {
    /// The next message.
    pub(super) async fn read(&mut self) -> anyhow::Result<ToAgent> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(message);
            }
            let mut chunk = [0; 2048];
            match self.stream.read(&mut chunk).await {
                Ok(Some(n)) => self.buffer.extend_from_slice(&chunk[..n]),
                Ok(None) => bail!("the aggregator ended the conversation"),
                Err(quinn::ReadError::ConnectionLost(lost)) => return Err(explain(&lost)),
                Err(why) => bail!("{why}"),
            }
        }
    }

    fn take(&mut self) -> anyhow::Result<Option<ToAgent>> {
        let Some(header) = self.buffer.first_chunk::<FRAME_HEADER_BYTES>() else {
            return Ok(None);
        };
        let end = FRAME_HEADER_BYTES + frame_length(*header).context("frame of the aggregator")?;
        let Some(body) = self.buffer.get(FRAME_HEADER_BYTES..end) else {
            return Ok(None);
        };
        let message = ToAgent::decode(body).context("message of the aggregator")?;
        self.buffer.drain(..end);
        Ok(Some(message))
    }
}
