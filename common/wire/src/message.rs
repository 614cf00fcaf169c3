//! The messages of both directions. (steps 5–6)

use wincode::{SchemaRead, SchemaWrite};

use crate::frame::{self, Error, VERSION, VERSION_ROLES, VERSION_TRIGGERS};
use crate::trigger::{TriggerDown, TriggerUp, check_down, check_up};

/// From an agent to the aggregator.
#[derive(Debug, Clone, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum ToAggregator {
    /// First message of a connection; the certificate, not this message, says who the node is.
    Hello {
        /// Lowest and highest frame version the agent can read.
        versions: (u8, u8),
        /// Life of the agent's spool directory.
        incarnation: u64,
        /// The agent's version, for people.
        agent_version: String,
    },
    /// One summary; `payload` is [`encode_summary`](crate::encode_summary).
    Summary {
        /// Number within the incarnation.
        sequence: u64,
        /// Encoded summary.
        payload: Vec<u8>,
    },
    /// Every few seconds, before any data that waits.
    Heartbeat {
        /// The agent's clock, microseconds since the Unix epoch.
        wall_us: i64,
        /// Bytes in the spool that are not acknowledged.
        spool_bytes: u64,
        /// Summaries in the spool that are not acknowledged.
        spool_summaries: u64,
        /// Summaries dropped because the spool was full, since the spool was made.
        dropped: u64,
    },
    /// The agent stops in order; its silence is not a fault.
    Goodbye,
    /// What it has counted for triggers; version 2.
    Triggers(Vec<TriggerUp>),
}

/// Why an aggregator refuses; the agent logs it and tries again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum RefusalCode {
    /// No common frame version.
    Version,
    /// The certificate's node is not in the shard map.
    UnknownNode,
    /// Admission limits are reached; later.
    Busy,
    /// A message that could not be read.
    Malformed,
}

/// From the aggregator to an agent.
#[derive(Debug, Clone, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum ToAgent {
    /// First message: the agent is connected when this has arrived.
    Welcome {
        /// Highest version both sides read.
        version: u8,
        /// Highest sequence committed of this incarnation; 0 for none.
        last_sequence: u64,
        /// Last window committed of this node, Unix seconds; `i64::MIN` for none.
        last_window: i64,
        /// The aggregator's clock, microseconds since the Unix epoch.
        wall_us: i64,
    },
    /// Everything up to and including this sequence is committed.
    Ack {
        /// Highest committed sequence.
        sequence: u64,
    },
    /// Answer to a heartbeat.
    Heartbeat {
        /// The agent's own clock from its heartbeat, so that it can tell the round trip.
        echo_us: i64,
        /// The aggregator's clock, microseconds since the Unix epoch.
        wall_us: i64,
    },
    /// The connection will be closed.
    Refused {
        /// Why.
        code: RefusalCode,
        /// One line for the operator.
        message: String,
    },
    /// What to count for triggers; version 2.
    Triggers(Vec<TriggerDown>),
    /// What the agent's node is in the interaction graph; version 3. Holds until the next one.
    Role {
        /// It is a landmark, or stands for one: its connections are looked at, and told, more often.
        is_landmark: bool,
    },
}

impl ToAggregator {
    /// The message as a whole frame.
    ///
    /// # Errors
    /// [`Error::TooLong`] when the frame would be longer than the limit.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let version = match self {
            Self::Triggers(_) => VERSION_TRIGGERS,
            _ => VERSION,
        };
        frame::encode(self, version)
    }

    /// Reads a frame's body (what follows the header).
    ///
    /// # Errors
    /// [`Error::Malformed`] when the bytes are not exactly one message, [`Error::TooLong`] for a list over its limit.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let message = frame::decode(body)?;
        if let Self::Triggers(list) = &message {
            check_up(list)?;
        }
        Ok(message)
    }
}

impl ToAgent {
    /// The message as a whole frame.
    ///
    /// # Errors
    /// [`Error::TooLong`] when the frame would be longer than the limit.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let version = match self {
            Self::Triggers(_) => VERSION_TRIGGERS,
            Self::Role { .. } => VERSION_ROLES,
            _ => VERSION,
        };
        frame::encode(self, version)
    }

    /// Reads a frame's body (what follows the header).
    ///
    /// # Errors
    /// [`Error::Malformed`] when the bytes are not exactly one message, [`Error::TooLong`] for a list over its limit.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let message = frame::decode(body)?;
        if let Self::Triggers(list) = &message {
            check_down(list)?;
        }
        Ok(message)
    }
}
