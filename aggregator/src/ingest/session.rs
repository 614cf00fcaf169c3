//! One connection: who is it, hello, then frames until it ends. (step 6)
//!
//! In: an authenticated connection. Out: what its frames say, to store and driver; acknowledgements and answers back.
//! Invariants: SE-1 nothing is read before the certificate is judged. SE-2 the writing half waits for nobody who reads.
//! Limits: [`HELLO`] until the hello, one frame in memory, [`ANSWERS`] unsent answers, [`LISTS`] of messages about triggers.

use std::time::Duration;

use hsw_shell::tls;
use hsw_trigger::Up;
use hsw_types::{NodeId, WallTime};
use hsw_wire::{
    Error, FRAME_HEADER_BYTES, RefusalCode, ToAgent, ToAggregator, TriggerDown, TriggerUp, VERSION,
    VERSION_MAX, VERSION_ROLES, VERSION_TRIGGERS, decode_summary, frame_length,
};
use quinn::{Connection, RecvStream, SendStream, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::Ingest;
use super::agents::micros;
use crate::driver::Event;
use crate::shared::Counter;
use crate::store::{Received, wall_now};

/// How long an agent may take to say hello.
const HELLO: Duration = Duration::from_secs(10);

/// How long the last words to an agent may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Answers that may wait to be sent; heartbeats beyond it are not answered, they repeat.
const ANSWERS: usize = 8;

/// Lists of messages about triggers that may wait to be sent; what does not fit is told again.
const LISTS: usize = 64;

/// Seconds of its rate that an agent may send at once.
const BURST_S: f64 = 2.0;

/// Why a connection is over.
enum End {
    /// It is told why.
    Refused(RefusalCode, String),
    /// The agent is gone, has said goodbye, or the store has stopped.
    Gone,
}

/// A connection whose hello was good.
struct Session<'a> {
    ingest: &'a Ingest,
    connection: &'a Connection,
    node: NodeId,
    incarnation: u64,
    /// Highest version both sides read.
    version: u8,
    triggers: mpsc::Sender<Vec<TriggerDown>>,
    role: watch::Sender<Option<bool>>,
    answers: &'a mpsc::Sender<ToAgent>,
    ack: watch::Sender<u64>,
}

/// What a connection sends, frame by frame.
struct Frames {
    recv: RecvStream,
    buffer: Vec<u8>,
    pace: Pace,
}

/// Serves a connection until it ends.
pub(super) async fn serve(connection: Connection, ingest: &Ingest) {
    ingest.counters.count(Counter::Connections);
    let Ok(Ok((send, recv))) = timeout(HELLO, connection.accept_bi()).await else {
        connection.close(VarInt::from_u32(1), b"no stream was opened");
        return;
    };
    let (answers, waiting) = mpsc::channel(ANSWERS);
    let ack = watch::Sender::new(0);
    let (triggers, lists) = mpsc::channel(LISTS);
    let role = watch::Sender::new(None);
    let told = (waiting, lists, role.subscribe(), ack.subscribe());
    let writing = tokio::spawn(write(send, told));
    let ways = (&answers, triggers, role, ack);
    let frames = Frames {
        recv,
        buffer: Vec::new(),
        pace: Pace::new(ingest.config.node_bytes_per_second),
    };
    if let End::Refused(code, message) = talk(&connection, ingest, frames, ways).await {
        count_refusal(ingest, code);
        let address = connection.remote_address();
        if let Some(left_out) = ingest.refused.now() {
            tracing::warn!(%address, reason = message, left_out, "refused an agent");
        }
        let refusal = answers.send(ToAgent::Refused { code, message });
        let _told_or_gone = timeout(FAREWELL, refusal).await;
    }
    drop(answers);
    let _written_or_late = timeout(FAREWELL, writing).await;
    connection.close(VarInt::from_u32(0), b"done");
}

/// Ways to the writing half: answers, messages about triggers, whether the node is a landmark, the highest acknowledgement.
type Ways<'a> = (
    &'a mpsc::Sender<ToAgent>,
    mpsc::Sender<Vec<TriggerDown>>,
    watch::Sender<Option<bool>>,
    watch::Sender<u64>,
);

/// The writing half's ends of them.
type Told = (
    mpsc::Receiver<ToAgent>,
    mpsc::Receiver<Vec<TriggerDown>>,
    watch::Receiver<Option<bool>>,
    watch::Receiver<u64>,
);

/// Hello, then frames; returns how it ended.
async fn talk(
    connection: &Connection,
    ingest: &Ingest,
    mut frames: Frames,
    (answers, triggers, role, ack): Ways<'_>,
) -> End {
    let node = match admitted(connection, ingest) {
        Ok(node) => node,
        Err(end) => return end,
    };
    let hello = match timeout(HELLO, frames.next(ingest)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(end)) => return end,
        Err(_) => {
            let message = format!("no hello within {} s", HELLO.as_secs());
            return End::Refused(RefusalCode::Malformed, message);
        }
    };
    let ToAggregator::Hello {
        versions: (lowest, highest),
        incarnation,
        agent_version,
    } = hello
    else {
        let message = "the first message must be a hello".to_owned();
        return End::Refused(RefusalCode::Malformed, message);
    };
    if !(lowest..=highest).contains(&VERSION) {
        return End::Refused(
            RefusalCode::Version,
            format!(
                "the agent reads frame versions {lowest} to {highest}, this aggregator {VERSION} to {VERSION_MAX}: upgrade the older side"
            ),
        );
    }
    let session = Session {
        ingest,
        connection,
        node,
        incarnation,
        version: highest.min(VERSION_MAX),
        triggers,
        role,
        answers,
        ack,
    };
    let end = session.run(&agent_version, &mut frames).await;
    session.update(|view| view.is_connected = false);
    end
}

/// The node of the certificate, if the shard map has it.
fn admitted(connection: &Connection, ingest: &Ingest) -> Result<NodeId, End> {
    let chain = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .unwrap_or_default();
    let node = tls::peer_node(&chain).map_err(|error| {
        End::Refused(
            RefusalCode::UnknownNode,
            format!("the certificate: {error:#}"),
        )
    })?;
    if ingest.map.admits(&node) {
        return Ok(node);
    }
    Err(End::Refused(
        RefusalCode::UnknownNode,
        format!(
            "node `{node}` is not in the shard map: name it under a [[shard]] of the aggregator's configuration, or set open = true"
        ),
    ))
}

impl Session<'_> {
    async fn run(&self, agent_version: &str, frames: &mut Frames) -> End {
        let (store, node) = (&self.ingest.store, &self.node);
        let now = wall_now();
        let replaced = self
            .ingest
            .agents
            .enter(node, self.connection, agent_version, now);
        if let Some(older) = replaced {
            self.ingest.counters.count(Counter::ReplacedConnections);
            tracing::info!(%node, address = %older.remote_address(), "a newer connection replaces this one");
            older.close(VarInt::from_u32(2), b"replaced by a newer connection");
        }
        // Waits behind everything older of this node, so that the answer holds it.
        let Ok(resume) = store.hello(node.clone(), self.incarnation).await else {
            return End::Gone;
        };
        let welcome = ToAgent::Welcome {
            version: self.version,
            last_sequence: resume.last_sequence,
            last_window: resume.last_window.map_or(i64::MIN, |window| window.0),
            wall_us: wall_now().0,
        };
        if self.answers.send(welcome).await.is_err() {
            return End::Gone;
        }
        if self.version >= VERSION_TRIGGERS {
            // Behind the welcome, which the writing half has first.
            let to = self.triggers.clone();
            self.ingest.agents.takes_triggers(node, self.connection, to);
        }
        if self.version >= VERSION_ROLES {
            let to = self.role.clone();
            self.ingest.agents.takes_role(node, self.connection, to);
        }
        self.heard(None);
        tracing::info!(%node, address = %self.connection.remote_address(), agent_version, "agent connected");
        loop {
            let message = match frames.next(self.ingest).await {
                Ok(message) => message,
                Err(end) => return end,
            };
            if let Some(end) = self.take(message).await {
                return end;
            }
        }
    }

    /// Does what a message asks; returns how the connection ends, if it does.
    async fn take(&self, message: ToAggregator) -> Option<End> {
        let now = wall_now();
        match message {
            ToAggregator::Summary { sequence, payload } => {
                self.update(|view| {
                    view.last_heard = now;
                    view.summaries += 1;
                });
                self.summary(sequence, payload, now).await
            }
            ToAggregator::Heartbeat {
                wall_us,
                spool_bytes,
                spool_summaries,
                dropped,
            } => {
                self.ingest.counters.count(Counter::Heartbeats);
                let answer = ToAgent::Heartbeat {
                    echo_us: wall_us,
                    wall_us: now.0,
                };
                // No room: eight answers wait already, the agent does not read.
                let _ = self.answers.try_send(answer);
                let one_way_us = i64::try_from(micros(self.connection.rtt()) / 2).unwrap_or(0);
                let offset_us = wall_us.saturating_add(one_way_us).saturating_sub(now.0);
                self.update(|view| {
                    view.last_heard = now;
                    view.spool_bytes = spool_bytes;
                    view.spool_summaries = spool_summaries;
                    view.dropped = dropped;
                    view.clock_offset_us = Some(offset_us);
                });
                self.heard(Some(offset_us));
                None
            }
            ToAggregator::Goodbye => {
                self.update(|view| view.is_stopped = true);
                tracing::info!(node = %self.node, "agent stopped in order");
                let _store_stopped = self.ingest.store.stopped(self.node.clone()).await;
                Some(End::Gone)
            }
            ToAggregator::Triggers(list) => self.counted(list, now).await,
            ToAggregator::Hello { .. } => Some(End::Refused(
                RefusalCode::Malformed,
                "a second hello on one connection".to_owned(),
            )),
        }
    }

    /// What the agent counted for triggers; the driver is waited for, so that nothing told is lost here.
    async fn counted(&self, list: Vec<TriggerUp>, now: WallTime) -> Option<End> {
        if self.version < VERSION_TRIGGERS {
            let message = "a message of version 2 on a connection of version 1".to_owned();
            return Some(End::Refused(RefusalCode::Malformed, message));
        }
        self.update(|view| view.last_heard = now);
        if !self.ingest.agents.is_current(&self.node, self.connection) {
            return Some(End::Gone);
        }
        let event = Event::Counted {
            node: self.node.clone(),
            messages: list.into_iter().map(Up::from).collect(),
        };
        let sent = self.ingest.driver.send(event).await;
        sent.is_err().then_some(End::Gone)
    }

    async fn summary(&self, sequence: u64, payload: Vec<u8>, received: WallTime) -> Option<End> {
        if sequence == 0 {
            let message = "summaries count from 1".to_owned();
            return Some(End::Refused(RefusalCode::Malformed, message));
        }
        // A connection that was replaced must not overtake the newer one.
        if !self.ingest.agents.is_current(&self.node, self.connection) {
            return Some(End::Gone);
        }
        let summary = match decode_summary(&payload) {
            Ok(summary) => Some(Box::new(summary)),
            Err(error) => {
                // Refusing it would make the agent offer it for ever and everything behind it wait.
                self.ingest.counters.count(Counter::Unreadable);
                if let Some(left_out) = self.ingest.unreadable.now() {
                    tracing::warn!(node = %self.node, sequence, %error, left_out, "stored a summary that cannot be read");
                }
                None
            }
        };
        let received = Received {
            node: self.node.clone(),
            incarnation: self.incarnation,
            sequence,
            payload,
            summary,
            received,
            ack: self.ack.clone(),
        };
        match self.ingest.store.summary(received).await {
            Ok(()) => None,
            Err(_) => Some(End::Gone),
        }
    }

    /// Tells the driver that the agent is there; left out when it is busy, heartbeats repeat.
    fn heard(&self, clock_offset_us: Option<i64>) {
        let event = Event::Heard {
            node: self.node.clone(),
            clock_offset_us,
        };
        if self.ingest.driver.try_send(event).is_err() {
            self.ingest.counters.count(Counter::HeardDropped);
        }
    }

    fn update(&self, change: impl FnOnce(&mut crate::shared::AgentView)) {
        self.ingest
            .agents
            .update(&self.node, self.connection, change);
    }
}

impl Frames {
    /// The next message, at the pace this node may keep.
    async fn next(&mut self, ingest: &Ingest) -> Result<ToAggregator, End> {
        let mut header = [0; FRAME_HEADER_BYTES];
        self.read(&mut header).await?;
        let length = frame_length(header).map_err(refusal)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(length, 0);
        let read = self.read(&mut buffer).await;
        self.buffer = buffer;
        read?;
        let bytes = length + FRAME_HEADER_BYTES;
        ingest.counters.count(Counter::Frames);
        ingest.counters.add(Counter::Bytes, bytes as u64);
        let message = ToAggregator::decode(&self.buffer).map_err(refusal)?;
        self.pace.keep(bytes).await;
        Ok(message)
    }

    async fn read(&mut self, into: &mut [u8]) -> Result<(), End> {
        self.recv.read_exact(into).await.map_err(|_| End::Gone)
    }
}

/// A token bucket: sleeping between frames leaves data unread, which stops the sender.
struct Pace {
    per_second: f64,
    tokens: f64,
    at: Instant,
}

impl Pace {
    fn new(bytes_per_second: u32) -> Self {
        let per_second = f64::from(bytes_per_second.max(1_024));
        Self {
            per_second,
            tokens: per_second * BURST_S,
            at: Instant::now(),
        }
    }

    async fn keep(&mut self, bytes: usize) {
        let wait = self.spend(bytes, Instant::now());
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }

    /// How long to wait after `bytes` that came at `now`.
    fn spend(&mut self, bytes: usize, now: Instant) -> Duration {
        let gained = now.duration_since(self.at).as_secs_f64() * self.per_second;
        self.at = now;
        self.tokens = (self.tokens + gained).min(self.per_second * BURST_S) - bytes as f64;
        Duration::from_secs_f64((-self.tokens / self.per_second).max(0.0))
    }
}

/// The writing half: answers first, then messages about triggers and the role, then the newest acknowledgement; ends with the
/// session.
async fn write(mut send: SendStream, (mut answers, mut lists, mut role, mut ack): Told) {
    // The last acknowledgement may be marked while the session ends: its sender is gone then, its value is not.
    let (mut acks_end, mut roles_end) = (false, false);
    loop {
        let message = tokio::select! {
            biased;
            answer = answers.recv() => match answer {
                Some(answer) => answer,
                None => break,
            },
            Some(list) = lists.recv() => ToAgent::Triggers(list),
            changed = role.changed(), if !roles_end => {
                roles_end = changed.is_err();
                let Some(is_landmark) = *role.borrow_and_update() else { continue };
                if roles_end {
                    continue;
                }
                ToAgent::Role { is_landmark }
            }
            changed = ack.changed(), if !acks_end => {
                acks_end = changed.is_err();
                if acks_end {
                    continue;
                }
                ToAgent::Ack { sequence: *ack.borrow_and_update() }
            }
        };
        let Ok(frame) = message.encode() else { break };
        if send.write_all(&frame).await.is_err() {
            return;
        }
    }
    if send.finish().is_ok() {
        let _arrived_or_gone = send.stopped().await;
    }
}

fn refusal(error: Error) -> End {
    let code = match error {
        Error::UnknownVersion { .. } => RefusalCode::Version,
        Error::TooLong { .. } | Error::Malformed { .. } => RefusalCode::Malformed,
    };
    End::Refused(code, error.to_string())
}

fn count_refusal(ingest: &Ingest, code: RefusalCode) {
    ingest.counters.count(match code {
        RefusalCode::Version => Counter::RefusedVersion,
        RefusalCode::UnknownNode => Counter::RefusedUnknownNode,
        RefusalCode::Busy => Counter::RefusedBusy,
        RefusalCode::Malformed => Counter::RefusedMalformed,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_over_its_rate_is_read_no_faster() {
        let mut pace = Pace::new(10_000);
        let start = Instant::now();
        assert_eq!(pace.spend(20_000, start), Duration::ZERO);
        assert_eq!(pace.spend(5_000, start), Duration::from_millis(500));
        let later = start + Duration::from_millis(500);
        assert_eq!(pace.spend(10_000, later), Duration::from_secs(1));
        let much_later = start + Duration::from_secs(60);
        assert_eq!(pace.spend(20_000, much_later), Duration::ZERO);
    }
}
