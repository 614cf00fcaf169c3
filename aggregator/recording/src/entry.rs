//! What a recording holds: its header, and one entry for each thing the engine was told.

use std::collections::BTreeMap;

use hsw_engine::{Config, IncidentId, Input, ShardEntry, ShardMap};
use hsw_fusion::Scores;
use hsw_types::{Monotonic, NodeId, ShardId, ShardSummary, WallTime, WindowIndex};

use crate::Error;
use crate::code::{Cursor, put_bytes, put_i64, put_u64};

/// Shards of a map, and nodes of a shard.
const SHARDS_MAX: u64 = 100_000;

/// Whose engine it was, and how it was set up.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Version of the program that recorded.
    pub program: String,
    /// Name of the cluster.
    pub cluster: String,
    /// The engine's limits.
    pub config: Config,
    /// Shards as they were known at the begin.
    pub shards: Vec<ShardEntry>,
    /// Nodes that are not named may join.
    pub is_open: bool,
}

impl Header {
    /// Of an engine with this map.
    #[must_use]
    pub fn new(program: &str, cluster: &str, config: Config, map: &ShardMap) -> Self {
        Self {
            program: program.to_owned(),
            cluster: cluster.to_owned(),
            config,
            shards: map.shards().cloned().collect(),
            is_open: map.is_open(),
        }
    }

    /// The map to begin with.
    ///
    /// # Errors
    /// When the shards contradict each other.
    pub fn map(&self) -> Result<ShardMap, Error> {
        ShardMap::new(self.shards.clone(), self.is_open)
            .map_err(|_| Error::Damaged("its shard map contradicts itself"))
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.program.as_bytes());
        put_bytes(out, self.cluster.as_bytes());
        put_u64(out, self.config.n_series_per_node_max as u64);
        put_u64(out, self.config.n_incidents_max as u64);
        put_u64(out, u64::from(self.config.learn_s));
        put_u64(out, self.config.score_ms_max.map_or(0, u64::from));
        out.push(u8::from(self.is_open));
        put_u64(out, self.shards.len() as u64);
        for shard in &self.shards {
            put_bytes(out, shard.shard.as_str().as_bytes());
            out.push(u8::from(shard.is_router));
            put_u64(out, shard.nodes.len() as u64);
            for node in &shard.nodes {
                put_bytes(out, node.as_str().as_bytes());
            }
        }
    }

    pub(crate) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, Error> {
        let (program, cluster) = (cursor.text()?, cursor.text()?);
        // What a damaged file asks for must not be what is kept in memory.
        let limit = |n: u64, max: u64| usize::try_from(n.min(max)).unwrap_or(usize::MAX);
        #[allow(
            clippy::needless_update,
            reason = "what later versions add to it keeps its default"
        )]
        let config = Config {
            n_series_per_node_max: limit(cursor.u64()?, 100_000),
            n_incidents_max: limit(cursor.u64()?, 100_000),
            learn_s: u32::try_from(cursor.u64()?).unwrap_or(u32::MAX),
            score_ms_max: match cursor.u64()? {
                0 => None,
                ms => Some(u32::try_from(ms).unwrap_or(u32::MAX)),
            },
            ..Config::default()
        };
        let is_open = cursor.u8()? != 0;
        let mut shards = Vec::new();
        for _ in 0..count(cursor)? {
            let shard =
                ShardId::new(&cursor.text()?).map_err(|_| Error::Damaged("a shard's name"))?;
            let is_router = cursor.u8()? != 0;
            let mut nodes = Vec::new();
            for _ in 0..count(cursor)? {
                nodes.push(node(cursor)?);
            }
            shards.push(ShardEntry {
                shard,
                nodes,
                is_router,
            });
        }
        Ok(Self {
            program,
            cluster,
            config,
            shards,
            is_open,
        })
    }
}

fn count(cursor: &mut Cursor<'_>) -> Result<u64, Error> {
    match cursor.u64()? {
        n if n <= SHARDS_MAX => Ok(n),
        _ => Err(Error::Damaged("too many shards or nodes")),
    }
}

fn node(cursor: &mut Cursor<'_>) -> Result<NodeId, Error> {
    NodeId::new(&cursor.text()?).map_err(|_| Error::Damaged("a node's name"))
}

fn put_scores(out: &mut Vec<u8>, scores: &Scores) {
    put_i64(out, scores.window.0);
    put_u64(out, scores.shards.len() as u64);
    for shard in &scores.shards {
        put_bytes(out, shard.as_str().as_bytes());
    }
    for list in [&scores.sick, &scores.soon] {
        put_u64(out, list.len() as u64);
        out.extend(list.iter().flat_map(|score| score.to_bits().to_le_bytes()));
    }
    put_u64(out, scores.reasons.len() as u64);
    for (shard, reasons) in &scores.reasons {
        put_bytes(out, shard.as_str().as_bytes());
        put_u64(out, reasons.len() as u64);
        for (name, share) in reasons {
            put_bytes(out, name.as_bytes());
            out.extend(share.to_bits().to_le_bytes());
        }
    }
}

fn scores(cursor: &mut Cursor<'_>) -> Result<Scores, Error> {
    let window = WindowIndex(cursor.i64()?);
    let mut shards = Vec::new();
    for _ in 0..count(cursor)? {
        shards.push(shard(cursor)?);
    }
    let mut lists = [Vec::new(), Vec::new()];
    for list in &mut lists {
        for _ in 0..count(cursor)? {
            list.push(float(cursor)?);
        }
    }
    let mut reasons = BTreeMap::new();
    for _ in 0..count(cursor)? {
        let shard = shard(cursor)?;
        let one = |cursor: &mut Cursor<'_>| Ok((cursor.text()?, float(cursor)?));
        let list = (0..count(cursor)?).map(|_| one(cursor));
        reasons.insert(shard, list.collect::<Result<_, Error>>()?);
    }
    let [sick, soon] = lists;
    Ok(Scores {
        window,
        shards,
        sick,
        soon,
        reasons,
    })
}

fn shard(cursor: &mut Cursor<'_>) -> Result<ShardId, Error> {
    ShardId::new(&cursor.text()?).map_err(|_| Error::Damaged("a shard's name"))
}

fn float(cursor: &mut Cursor<'_>) -> Result<f32, Error> {
    let bits = [cursor.u8()?, cursor.u8()?, cursor.u8()?, cursor.u8()?];
    Ok(f32::from_bits(u32::from_le_bytes(bits)))
}

/// One thing the engine was told, at a moment of timer time.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A committed summary.
    Summary {
        /// From whom.
        node: NodeId,
        /// When it was received.
        received: WallTime,
        /// From the store, before the recording began.
        is_replay: bool,
        /// The summary.
        summary: Box<ShardSummary>,
    },
    /// An agent was heard.
    Heard {
        /// Who.
        node: NodeId,
        /// Its clock minus the aggregator's.
        clock_offset_us: Option<i64>,
    },
    /// An agent said goodbye.
    Stopped {
        /// Who.
        node: NodeId,
    },
    /// An operator accepted an incident about edges.
    Accepted(IncidentId),
    /// What was before is told; silence counts from here.
    ReplayDone {
        /// The aggregator's clock.
        wall: WallTime,
    },
    /// The clock.
    Clock {
        /// The aggregator's clock.
        wall: WallTime,
    },
    /// What the model said of a batch.
    Scored(Scores),
    /// The recording ends as it should; entries that found no room are counted.
    End {
        /// How many were lost.
        lost: u64,
    },
}

const SUMMARY: u8 = 1;
const HEARD: u8 = 2;
const STOPPED: u8 = 3;
const ACCEPTED: u8 = 4;
const REPLAY_DONE: u8 = 5;
const CLOCK: u8 = 6;
const SCORED: u8 = 7;
const END: u8 = 8;

impl Entry {
    /// What is kept of an input; `None` for what a recording does not hold.
    #[must_use]
    pub fn of(input: &Input) -> Option<Self> {
        Some(match input {
            Input::Summary {
                node,
                summary,
                received,
                is_replay,
            } => Self::Summary {
                node: node.clone(),
                received: *received,
                is_replay: *is_replay,
                summary: summary.clone(),
            },
            Input::Heard {
                node,
                clock_offset_us,
            } => Self::Heard {
                node: node.clone(),
                clock_offset_us: *clock_offset_us,
            },
            Input::Stopped { node } => Self::Stopped { node: node.clone() },
            Input::Accepted(id) => Self::Accepted(*id),
            Input::Scored(scores) => Self::Scored(scores.clone()),
            Input::ReplayDone { wall } => Self::ReplayDone { wall: *wall },
            Input::Clock { wall } => Self::Clock { wall: *wall },
            _ => return None,
        })
    }

    /// The input it was; `None` for what no engine is told.
    #[must_use]
    pub fn into_input(self) -> Option<Input> {
        Some(match self {
            Self::Summary {
                node,
                received,
                is_replay,
                summary,
            } => Input::Summary {
                node,
                summary,
                received,
                is_replay,
            },
            Self::Heard {
                node,
                clock_offset_us,
            } => Input::Heard {
                node,
                clock_offset_us,
            },
            Self::Stopped { node } => Input::Stopped { node },
            Self::Accepted(id) => Input::Accepted(id),
            Self::ReplayDone { wall } => Input::ReplayDone { wall },
            Self::Clock { wall } => Input::Clock { wall },
            Self::Scored(scores) => Input::Scored(scores),
            Self::End { .. } => return None,
        })
    }

    pub(crate) fn encode(&self, now: Monotonic, out: &mut Vec<u8>) -> Result<(), Error> {
        let kind = match self {
            Self::Summary { .. } => SUMMARY,
            Self::Heard { .. } => HEARD,
            Self::Stopped { .. } => STOPPED,
            Self::Accepted(_) => ACCEPTED,
            Self::ReplayDone { .. } => REPLAY_DONE,
            Self::Clock { .. } => CLOCK,
            Self::Scored(_) => SCORED,
            Self::End { .. } => END,
        };
        out.push(kind);
        put_u64(out, now.0);
        match self {
            Self::Summary {
                node,
                received,
                is_replay,
                summary,
            } => {
                put_bytes(out, node.as_str().as_bytes());
                put_i64(out, received.0);
                out.push(u8::from(*is_replay));
                put_bytes(out, &hsw_wire::encode_summary(summary)?);
            }
            Self::Heard {
                node,
                clock_offset_us,
            } => {
                put_bytes(out, node.as_str().as_bytes());
                out.push(u8::from(clock_offset_us.is_some()));
                put_i64(out, clock_offset_us.unwrap_or(0));
            }
            Self::Stopped { node } => put_bytes(out, node.as_str().as_bytes()),
            Self::Accepted(id) => put_u64(out, id.0),
            Self::ReplayDone { wall } | Self::Clock { wall } => put_i64(out, wall.0),
            Self::Scored(scores) => put_scores(out, scores),
            Self::End { lost } => put_u64(out, *lost),
        }
        Ok(())
    }

    pub(crate) fn decode(cursor: &mut Cursor<'_>) -> Result<(Monotonic, Self), Error> {
        let kind = cursor.u8()?;
        let now = Monotonic(cursor.u64()?);
        let entry = match kind {
            SUMMARY => Self::Summary {
                node: node(cursor)?,
                received: WallTime(cursor.i64()?),
                is_replay: cursor.u8()? != 0,
                summary: Box::new(hsw_wire::decode_summary(cursor.bytes()?)?),
            },
            HEARD => {
                let node = node(cursor)?;
                let is_known = cursor.u8()? != 0;
                let offset = cursor.i64()?;
                Self::Heard {
                    node,
                    clock_offset_us: is_known.then_some(offset),
                }
            }
            STOPPED => Self::Stopped {
                node: node(cursor)?,
            },
            ACCEPTED => Self::Accepted(IncidentId(cursor.u64()?)),
            REPLAY_DONE => Self::ReplayDone {
                wall: WallTime(cursor.i64()?),
            },
            CLOCK => Self::Clock {
                wall: WallTime(cursor.i64()?),
            },
            SCORED => Self::Scored(scores(cursor)?),
            END => Self::End {
                lost: cursor.u64()?,
            },
            _ => return Err(Error::Damaged("an entry of an unknown kind")),
        };
        Ok((now, entry))
    }
}
