//! The summary on the wire: names in bincode's format, values in packed columns. (step 4)

use hsw_types::{
    EdgeKind, EdgeSubject, HotKind, HotWindow, Latencies, LogSample, NodeFacts, Role, SeriesDef,
    SeriesId, SeriesKey, ShardSummary, SourceState, SourceStatus, Subject, WallTime, WindowIndex,
};
use wincode::{SchemaRead, SchemaWrite};

use crate::column;
use crate::frame::{self, Error};

/// Summaries longer than this are refused: half a frame. A usual one has 3 KiB, a first one 40.
pub const SUMMARY_BYTES_MAX: usize = frame::FRAME_BYTES_MAX / 2;

/// Windows in one summary at most: an hour, far above any sensible pace.
const N_WINDOWS_MAX: u16 = 3600;

#[derive(SchemaWrite, SchemaRead)]
enum SubjectDto {
    Node,
    Object(String),
    Edge {
        kind: u8,
        port: u16,
        peer: String,
        user: String,
        application: String,
        database: String,
    },
    Template {
        hash: u64,
        text: String,
    },
}

#[derive(SchemaWrite, SchemaRead)]
struct DefDto {
    id: u32,
    metric: String,
    subject: SubjectDto,
}

#[derive(SchemaWrite, SchemaRead)]
struct FactsDto {
    shard: String,
    cluster: String,
    role: u8,
    database: String,
    system_identifier: String,
    address: String,
    host: String,
    operating_system: String,
    cpu_cores: u32,
    memory_bytes: u64,
    boot_id: String,
    database_started: i64,
    agent_started: i64,
    agent_version: String,
}

#[derive(SchemaWrite, SchemaRead)]
struct StatusDto {
    source: String,
    state: u8,
    dropped: u64,
    message: String,
}

#[derive(SchemaWrite, SchemaRead)]
struct SampleDto {
    at_us: i64,
    severity: String,
    code: String,
    text: String,
}

#[derive(SchemaWrite, SchemaRead)]
struct SummaryDto {
    first_window: i64,
    n_windows: u16,
    dictionary_epoch: u64,
    facts: Option<FactsDto>,
    dictionary: Vec<DefDto>,
    columns: Vec<u8>,
    latencies: Vec<(u32, Vec<u8>)>,
    log_samples: Vec<SampleDto>,
    sources: Vec<StatusDto>,
}

/// Follows the summary where there is one: a summary of before there was any ends without.
#[derive(SchemaWrite, SchemaRead)]
struct HotDto {
    kind: u8,
    sketch: Vec<u8>,
    distinct: Vec<u8>,
    names: Vec<(u64, String)>,
}

/// The summary as bytes.
///
/// # Errors
/// [`Error::TooLong`] over [`SUMMARY_BYTES_MAX`].
pub fn encode_summary(summary: &ShardSummary) -> Result<Vec<u8>, Error> {
    let dto = SummaryDto {
        first_window: summary.first_window.0,
        n_windows: summary.n_windows,
        dictionary_epoch: summary.dictionary_epoch,
        facts: summary.facts.as_ref().map(facts_dto),
        dictionary: summary.dictionary.iter().map(def_dto).collect(),
        columns: column::pack(&summary.series, usize::from(summary.n_windows)),
        latencies: summary
            .latencies
            .iter()
            .map(|l| (l.id.0, l.sketch.clone()))
            .collect(),
        log_samples: summary.log_samples.iter().map(sample_dto).collect(),
        sources: summary.sources.iter().map(status_dto).collect(),
    };
    let mut bytes = frame::to_bytes("summary", &dto)?;
    if !summary.hot.is_empty() {
        let hot: Vec<HotDto> = summary.hot.iter().map(hot_dto).collect();
        bytes.extend(frame::to_bytes("what is hot", &hot)?);
    }
    if bytes.len() > SUMMARY_BYTES_MAX {
        return Err(Error::TooLong {
            what: "summary",
            bytes: bytes.len(),
            limit: SUMMARY_BYTES_MAX,
        });
    }
    Ok(bytes)
}

/// Reads what [`encode_summary`] wrote.
///
/// # Errors
/// [`Error::TooLong`] over the limits, [`Error::Malformed`] for anything that is not a summary.
pub fn decode_summary(bytes: &[u8]) -> Result<ShardSummary, Error> {
    if bytes.len() > SUMMARY_BYTES_MAX {
        return Err(Error::TooLong {
            what: "summary",
            bytes: bytes.len(),
            limit: SUMMARY_BYTES_MAX,
        });
    }
    let (dto, rest): (SummaryDto, _) = frame::decode_first(bytes)?;
    let hot: Vec<HotDto> = if rest.is_empty() {
        Vec::new()
    } else {
        frame::decode(rest)?
    };
    if dto.n_windows == 0 || dto.n_windows > N_WINDOWS_MAX {
        return Err(malformed("number of windows"));
    }
    let series = column::unpack(&dto.columns, usize::from(dto.n_windows))?;
    Ok(ShardSummary {
        first_window: WindowIndex(dto.first_window),
        n_windows: dto.n_windows,
        dictionary_epoch: dto.dictionary_epoch,
        facts: dto.facts.map(facts_of).transpose()?,
        dictionary: dto
            .dictionary
            .into_iter()
            .map(def_of)
            .collect::<Result<_, _>>()?,
        series,
        latencies: dto
            .latencies
            .into_iter()
            .map(|(id, sketch)| Latencies {
                id: SeriesId(id),
                sketch,
            })
            .collect(),
        log_samples: dto.log_samples.into_iter().map(sample_of).collect(),
        sources: dto
            .sources
            .into_iter()
            .map(status_of)
            .collect::<Result<_, _>>()?,
        hot: hot.into_iter().map(hot_of).collect::<Result<_, _>>()?,
    })
}

fn malformed(why: &str) -> Error {
    Error::Malformed {
        what: "summary",
        why: why.to_owned(),
    }
}

fn def_dto(def: &SeriesDef) -> DefDto {
    let subject = match &def.key.subject {
        Subject::Node => SubjectDto::Node,
        Subject::Object(object) => SubjectDto::Object(object.clone()),
        Subject::Edge(edge) => SubjectDto::Edge {
            kind: match edge.kind {
                EdgeKind::Client => 0,
                EdgeKind::ForeignServer => 1,
                EdgeKind::Replication => 2,
                EdgeKind::Membership => 3,
                EdgeKind::RefusedLogin => 4,
            },
            port: edge.port,
            peer: edge.peer.clone(),
            user: edge.user.clone(),
            application: edge.application.clone(),
            database: edge.database.clone(),
        },
        Subject::Template { hash, text } => SubjectDto::Template {
            hash: *hash,
            text: text.clone(),
        },
    };
    DefDto {
        id: def.id.0,
        metric: def.key.metric.clone(),
        subject,
    }
}

fn def_of(dto: DefDto) -> Result<SeriesDef, Error> {
    let subject = match dto.subject {
        SubjectDto::Node => Subject::Node,
        SubjectDto::Object(object) => Subject::Object(object),
        SubjectDto::Edge {
            kind,
            port,
            peer,
            user,
            application,
            database,
        } => {
            let kind = match kind {
                0 => EdgeKind::Client,
                1 => EdgeKind::ForeignServer,
                2 => EdgeKind::Replication,
                3 => EdgeKind::Membership,
                4 => EdgeKind::RefusedLogin,
                _ => return Err(malformed("kind of edge")),
            };
            Subject::Edge(Box::new(EdgeSubject {
                kind,
                peer,
                port,
                user,
                application,
                database,
            }))
        }
        SubjectDto::Template { hash, text } => Subject::Template { hash, text },
    };
    Ok(SeriesDef {
        id: SeriesId(dto.id),
        key: SeriesKey {
            metric: dto.metric,
            subject,
        },
    })
}

fn facts_dto(facts: &NodeFacts) -> FactsDto {
    FactsDto {
        shard: facts.shard.clone(),
        cluster: facts.cluster.clone(),
        role: match facts.role {
            Role::Unknown => 0,
            Role::Primary => 1,
            Role::Replica => 2,
            Role::Router => 3,
        },
        database: facts.database.clone(),
        system_identifier: facts.system_identifier.clone(),
        address: facts.address.clone(),
        host: facts.host.clone(),
        operating_system: facts.operating_system.clone(),
        cpu_cores: facts.cpu_cores,
        memory_bytes: facts.memory_bytes,
        boot_id: facts.boot_id.clone(),
        database_started: facts.database_started,
        agent_started: facts.agent_started,
        agent_version: facts.agent_version.clone(),
    }
}

fn facts_of(dto: FactsDto) -> Result<NodeFacts, Error> {
    Ok(NodeFacts {
        shard: dto.shard,
        cluster: dto.cluster,
        role: match dto.role {
            0 => Role::Unknown,
            1 => Role::Primary,
            2 => Role::Replica,
            3 => Role::Router,
            _ => return Err(malformed("role")),
        },
        database: dto.database,
        system_identifier: dto.system_identifier,
        address: dto.address,
        host: dto.host,
        operating_system: dto.operating_system,
        cpu_cores: dto.cpu_cores,
        memory_bytes: dto.memory_bytes,
        boot_id: dto.boot_id,
        database_started: dto.database_started,
        agent_started: dto.agent_started,
        agent_version: dto.agent_version,
    })
}

const STATES: [SourceState; 6] = [
    SourceState::Ok,
    SourceState::Silent,
    SourceState::Unreachable,
    SourceState::Refused,
    SourceState::Absent,
    SourceState::Restarted,
];

fn status_dto(status: &SourceStatus) -> StatusDto {
    let state = STATES
        .iter()
        .position(|s| *s == status.state)
        .unwrap_or_default() as u8;
    StatusDto {
        source: status.source.clone(),
        state,
        dropped: status.dropped,
        message: status.message.clone(),
    }
}

fn status_of(dto: StatusDto) -> Result<SourceStatus, Error> {
    let state = STATES.get(usize::from(dto.state)).copied();
    Ok(SourceStatus {
        source: dto.source,
        state: state.ok_or_else(|| malformed("state of a source"))?,
        dropped: dto.dropped,
        message: dto.message,
    })
}

fn hot_dto(hot: &HotWindow) -> HotDto {
    let kind = HotKind::ALL.iter().position(|kind| *kind == hot.kind);
    HotDto {
        kind: kind.unwrap_or_default() as u8,
        sketch: hot.sketch.clone(),
        distinct: hot.distinct.clone(),
        names: hot.names.clone(),
    }
}

fn hot_of(dto: HotDto) -> Result<HotWindow, Error> {
    let kind = HotKind::ALL.get(usize::from(dto.kind)).copied();
    Ok(HotWindow {
        kind: kind.ok_or_else(|| malformed("kind of what is hot"))?,
        sketch: dto.sketch,
        distinct: dto.distinct,
        names: dto.names,
    })
}

fn sample_dto(sample: &LogSample) -> SampleDto {
    SampleDto {
        at_us: sample.at.0,
        severity: sample.severity.clone(),
        code: sample.code.clone(),
        text: sample.text.clone(),
    }
}

fn sample_of(dto: SampleDto) -> LogSample {
    LogSample {
        at: WallTime(dto.at_us),
        severity: dto.severity,
        code: dto.code,
        text: dto.text,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
