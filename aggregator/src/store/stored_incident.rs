//! An incident as JSON in the store, and back. (step 7)
//!
//! In: the engine's incident. Out: text that a later program can read: new fields must have defaults.
//! Invariants: SI-1 what was written reads back equal, but for numbers that are not finite (they read back as NaN).

use hsw_engine::{
    Evidence, Incident, IncidentId, IncidentState, Intrusion, IntrusionEdge, Pattern, Symptom,
};
use hsw_types::{
    EdgeKind, EdgeSubject, Family, LogSample, NodeId, SeriesKey, ShardId, Subject, Unit, WallTime,
    WindowIndex,
};
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::stored_weights::JudgementDto;

/// The incident as JSON.
pub(super) fn to_json(incident: &Incident) -> Result<String, StoreError> {
    serde_json::to_string(&IncidentDto::from(incident))
        .map_err(|error| StoreError(format!("write an incident as JSON: {error}")))
}

/// Reads what [`to_json`] wrote.
pub(super) fn from_json(text: &str) -> Result<Incident, StoreError> {
    serde_json::from_str::<IncidentDto>(text)
        .map_err(|error| StoreError(format!("read a stored incident: {error}")))?
        .try_into()
}

/// A closed enum of the domain as a word; both directions from one list.
macro_rules! words {
    ($write:ident $read:ident $type:ident: $($word:literal $variant:ident)*) => {
        pub(super) const fn $write(value: $type) -> &'static str {
            match value { $($type::$variant => $word),* }
        }
        pub(super) fn $read(word: &str) -> Result<$type, StoreError> {
            match word {
                $($word => Ok($type::$variant),)*
                _ => Err(StoreError(format!("read a stored incident: `{word}` is no {}", stringify!($type)))),
            }
        }
    };
}

words! { state_word state_of IncidentState: "open" Open "closed" Closed }
words! { symptom_word symptom_of Symptom:
"deviation" Deviation "database_silent" DatabaseSilent "database_down" DatabaseDown
"agent_lost" AgentLost "host_lost" HostLost "log_line" LogLine "hot" Hot "interaction" Interaction }
words! { pattern_word pattern_of Pattern:
"unexpected_pair" UnexpectedPair "fan_out" FanOut "bridge" Bridge "escalation" Escalation "sybils" Sybils }
words! { unit_word unit_of Unit:
"count" Count "per_second" PerSecond "bytes" Bytes "bytes_per_second" BytesPerSecond
"milliseconds" Milliseconds "milliseconds_per_second" MillisecondsPerSecond "seconds" Seconds
"ratio" Ratio "cores" Cores }
words! { family_word family_of Family:
"latency" Latency "throughput" Throughput "locks" Locks "connections" Connections "errors" Errors
"cpu" Cpu "memory" Memory "storage" Storage "network" Network "maintenance" Maintenance
"access" Access "replication" Replication "liveness" Liveness }
words! { edge_word edge_of EdgeKind:
"client" Client "foreign_server" ForeignServer "replication" Replication "membership" Membership "refused_login" RefusedLogin }

#[derive(Serialize, Deserialize)]
struct IncidentDto {
    id: u64,
    state: String,
    root: String,
    node: String,
    started: i64,
    raised: i64,
    ended: Option<i64>,
    confidence: Option<f64>,
    summary: String,
    evidence: Vec<EvidenceDto>,
    affected: Vec<(String, EvidenceDto)>,
    log_samples: Vec<SampleDto>,
    #[serde(default)]
    judgement: Option<JudgementDto>,
    #[serde(default)]
    intrusion: Option<IntrusionDto>,
    revision: u32,
}

#[derive(Serialize, Deserialize)]
struct IntrusionDto {
    pattern: String,
    client: String,
    edges: Vec<IntrusionEdgeDto>,
    #[serde(default)]
    reasons: Vec<String>,
    p: Option<f64>,
    n_distances: usize,
    #[serde(default)]
    is_accepted: bool,
}

#[derive(Serialize, Deserialize)]
struct IntrusionEdgeDto {
    from: String,
    to: String,
    kind: String,
    users: Vec<String>,
    since_us: i64,
}

#[derive(Serialize, Deserialize)]
struct EvidenceDto {
    symptom: String,
    node: String,
    shard: String,
    metric: String,
    subject: SubjectDto,
    family: String,
    unit: String,
    since: i64,
    value: Option<f64>,
    usual: Option<f64>,
    siblings: Option<f64>,
    residual: Option<f64>,
    weight: Option<f64>,
    sentence: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SubjectDto {
    Node,
    Object(String),
    Edge {
        kind: String,
        peer: String,
        port: u16,
        user: String,
        application: String,
        database: String,
    },
    Template {
        hash: u64,
        text: String,
    },
}

#[derive(Serialize, Deserialize)]
struct SampleDto {
    at_us: i64,
    severity: String,
    code: String,
    text: String,
}

impl From<&Incident> for IncidentDto {
    fn from(incident: &Incident) -> Self {
        Self {
            id: incident.id.0,
            state: state_word(incident.state).to_owned(),
            root: incident.root.to_string(),
            node: incident.node.to_string(),
            started: incident.started.0,
            raised: incident.raised.0,
            ended: incident.ended.map(|window| window.0),
            confidence: Some(incident.confidence),
            summary: incident.summary.clone(),
            evidence: incident.evidence.iter().map(EvidenceDto::from).collect(),
            affected: incident
                .affected
                .iter()
                .map(|(shard, evidence)| (shard.to_string(), evidence.into()))
                .collect(),
            log_samples: incident.log_samples.iter().map(SampleDto::from).collect(),
            judgement: incident.judgement.as_ref().map(JudgementDto::from),
            intrusion: incident.intrusion.as_ref().map(IntrusionDto::from),
            revision: incident.revision,
        }
    }
}

impl TryFrom<IncidentDto> for Incident {
    type Error = StoreError;

    fn try_from(dto: IncidentDto) -> Result<Self, StoreError> {
        Ok(Self {
            id: IncidentId(dto.id),
            state: state_of(&dto.state)?,
            root: shard_of(&dto.root)?,
            node: node_of(&dto.node)?,
            started: WindowIndex(dto.started),
            raised: WindowIndex(dto.raised),
            ended: dto.ended.map(WindowIndex),
            confidence: number(dto.confidence),
            summary: dto.summary,
            evidence: dto
                .evidence
                .into_iter()
                .map(Evidence::try_from)
                .collect::<Result<_, _>>()?,
            affected: dto
                .affected
                .into_iter()
                .map(|(shard, evidence)| Ok((shard_of(&shard)?, evidence.try_into()?)))
                .collect::<Result<_, StoreError>>()?,
            log_samples: dto.log_samples.into_iter().map(LogSample::from).collect(),
            judgement: dto.judgement.map(hsw_engine::Judgement::from),
            intrusion: dto.intrusion.map(Intrusion::try_from).transpose()?,
            revision: dto.revision,
        })
    }
}

impl From<&Intrusion> for IntrusionDto {
    fn from(intrusion: &Intrusion) -> Self {
        let edge = |edge: &IntrusionEdge| IntrusionEdgeDto {
            from: edge.from.clone(),
            to: edge.to.clone(),
            kind: edge_word(edge.kind).to_owned(),
            users: edge.users.clone(),
            since_us: edge.since.0,
        };
        Self {
            pattern: pattern_word(intrusion.pattern).to_owned(),
            client: intrusion.client.clone(),
            edges: intrusion.edges.iter().map(edge).collect(),
            reasons: intrusion.reasons.clone(),
            p: Some(intrusion.p),
            n_distances: intrusion.n_distances,
            is_accepted: intrusion.is_accepted,
        }
    }
}

impl TryFrom<IntrusionDto> for Intrusion {
    type Error = StoreError;

    fn try_from(dto: IntrusionDto) -> Result<Self, StoreError> {
        let edge = |edge: IntrusionEdgeDto| {
            Ok(IntrusionEdge {
                from: edge.from,
                to: edge.to,
                kind: edge_of(&edge.kind)?,
                users: edge.users,
                since: WallTime(edge.since_us),
            })
        };
        Ok(Self {
            pattern: pattern_of(&dto.pattern)?,
            client: dto.client,
            edges: dto
                .edges
                .into_iter()
                .map(edge)
                .collect::<Result<_, StoreError>>()?,
            reasons: dto.reasons,
            p: number(dto.p),
            n_distances: dto.n_distances,
            is_accepted: dto.is_accepted,
        })
    }
}

impl From<&Evidence> for EvidenceDto {
    fn from(evidence: &Evidence) -> Self {
        Self {
            symptom: symptom_word(evidence.symptom).to_owned(),
            node: evidence.node.to_string(),
            shard: evidence.shard.to_string(),
            metric: evidence.series.metric.clone(),
            subject: SubjectDto::from(&evidence.series.subject),
            family: family_word(evidence.family).to_owned(),
            unit: unit_word(evidence.unit).to_owned(),
            since: evidence.since.0,
            value: Some(evidence.value),
            usual: evidence.usual,
            siblings: evidence.siblings,
            residual: Some(evidence.residual),
            weight: Some(evidence.weight),
            sentence: evidence.sentence.clone(),
        }
    }
}

impl TryFrom<EvidenceDto> for Evidence {
    type Error = StoreError;

    fn try_from(dto: EvidenceDto) -> Result<Self, StoreError> {
        Ok(Self {
            symptom: symptom_of(&dto.symptom)?,
            node: node_of(&dto.node)?,
            shard: shard_of(&dto.shard)?,
            series: SeriesKey {
                metric: dto.metric,
                subject: dto.subject.try_into()?,
            },
            family: family_of(&dto.family)?,
            unit: unit_of(&dto.unit)?,
            since: WindowIndex(dto.since),
            value: number(dto.value),
            usual: dto.usual,
            siblings: dto.siblings,
            residual: number(dto.residual),
            weight: number(dto.weight),
            sentence: dto.sentence,
        })
    }
}

impl From<&Subject> for SubjectDto {
    fn from(subject: &Subject) -> Self {
        match subject {
            Subject::Node => Self::Node,
            Subject::Object(object) => Self::Object(object.clone()),
            Subject::Edge(edge) => Self::Edge {
                kind: edge_word(edge.kind).to_owned(),
                peer: edge.peer.clone(),
                port: edge.port,
                user: edge.user.clone(),
                application: edge.application.clone(),
                database: edge.database.clone(),
            },
            Subject::Template { hash, text } => Self::Template {
                hash: *hash,
                text: text.clone(),
            },
        }
    }
}

impl TryFrom<SubjectDto> for Subject {
    type Error = StoreError;

    fn try_from(dto: SubjectDto) -> Result<Self, StoreError> {
        Ok(match dto {
            SubjectDto::Node => Self::Node,
            SubjectDto::Object(object) => Self::Object(object),
            SubjectDto::Edge {
                kind,
                peer,
                port,
                user,
                application,
                database,
            } => Self::Edge(Box::new(EdgeSubject {
                kind: edge_of(&kind)?,
                peer,
                port,
                user,
                application,
                database,
            })),
            SubjectDto::Template { hash, text } => Self::Template { hash, text },
        })
    }
}

impl From<&LogSample> for SampleDto {
    fn from(sample: &LogSample) -> Self {
        Self {
            at_us: sample.at.0,
            severity: sample.severity.clone(),
            code: sample.code.clone(),
            text: sample.text.clone(),
        }
    }
}

impl From<SampleDto> for LogSample {
    fn from(dto: SampleDto) -> Self {
        Self {
            at: WallTime(dto.at_us),
            severity: dto.severity,
            code: dto.code,
            text: dto.text,
        }
    }
}

/// JSON has no NaN: it was written as `null`.
pub(super) fn number(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::NAN)
}

pub(super) fn node_of(name: &str) -> Result<NodeId, StoreError> {
    NodeId::new(name).map_err(|error| StoreError(format!("read a stored incident: {error}")))
}

pub(super) fn shard_of(name: &str) -> Result<ShardId, StoreError> {
    ShardId::new(name).map_err(|error| StoreError(format!("read a stored incident: {error}")))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn intrusion() -> Intrusion {
        Intrusion {
            pattern: Pattern::FanOut,
            client: "client:10.0.0.9/pg_dump".to_owned(),
            edges: vec![IntrusionEdge {
                from: "client:10.0.0.9/pg_dump".to_owned(),
                to: "node:shard-3-a".to_owned(),
                kind: EdgeKind::RefusedLogin,
                users: vec!["dba".to_owned()],
                since: WallTime(7),
            }],
            reasons: vec!["new".to_owned()],
            p: 1e-9,
            n_distances: 12,
            is_accepted: true,
        }
    }

    /// An incident with every kind of subject in it.
    pub(in crate::store) fn incident(id: u64, started: i64, state: IncidentState) -> Incident {
        let subjects = [
            Subject::Node,
            Subject::Object("sda".to_owned()),
            Subject::Edge(Box::new(EdgeSubject {
                kind: EdgeKind::ForeignServer,
                peer: "10.0.0.9".to_owned(),
                port: 5432,
                user: "app".to_owned(),
                application: "checkout".to_owned(),
                database: "shop".to_owned(),
            })),
            Subject::Template {
                hash: u64::MAX,
                text: "deadlock detected in <*>".to_owned(),
            },
        ];
        let evidence: Vec<Evidence> = subjects
            .into_iter()
            .map(|subject| Evidence {
                symptom: Symptom::Deviation,
                node: NodeId::new("shard-1-a").unwrap(),
                shard: ShardId::new("shard-1").unwrap(),
                series: SeriesKey {
                    metric: "pg.commits".to_owned(),
                    subject,
                },
                family: Family::Throughput,
                unit: Unit::PerSecond,
                since: WindowIndex(started),
                value: 0.1 + 0.2,
                usual: Some(1e300),
                siblings: None,
                residual: -7.25,
                weight: 0.25,
                sentence: "commits: 0.3 (usually many)".to_owned(),
            })
            .collect();
        Incident {
            id: IncidentId(id),
            state,
            root: ShardId::new("shard-1").unwrap(),
            node: NodeId::new("shard-1-a").unwrap(),
            started: WindowIndex(started),
            raised: WindowIndex(started + 4),
            ended: (state == IncidentState::Closed).then_some(WindowIndex(started + 60)),
            confidence: 0.9,
            summary: "shard-1: commits fell".to_owned(),
            affected: vec![(ShardId::new("shard-2").unwrap(), evidence[1].clone())],
            evidence,
            log_samples: vec![LogSample {
                at: WallTime(5),
                severity: "ERROR".to_owned(),
                code: "40P01".to_owned(),
                text: "deadlock detected".to_owned(),
            }],
            judgement: Some(hsw_engine::Judgement {
                window: WindowIndex(started + 5),
                probability: 0.9,
                surprise: 14.5,
                version: 2,
                said: vec![hsw_engine::Said {
                    detector: hsw_fusion::DetectorId::Siblings,
                    surprise: None,
                    weight: 0.25,
                }],
            }),
            intrusion: Some(intrusion()),
            revision: 3,
        }
    }

    #[test]
    fn an_incident_reads_back_equal() {
        let incident = incident(u64::MAX, 1_000, IncidentState::Closed);
        assert_eq!(from_json(&to_json(&incident).unwrap()).unwrap(), incident);
    }

    #[test]
    fn an_incident_with_an_infinite_number_can_still_be_read() {
        let mut incident = incident(1, 1_000, IncidentState::Open);
        incident.evidence[0].residual = f64::INFINITY;
        let read = from_json(&to_json(&incident).unwrap()).unwrap();
        assert!(read.evidence[0].residual.is_nan());
    }
}
