//! An incident for tests, as the engine would raise it.

use hsw_engine::{Evidence, Incident, IncidentId, IncidentState, Symptom};
use hsw_types::{LogSample, NodeId, SeriesKey, ShardId, WindowIndex, metric_spec};

/// When the fixture's incident starts, Unix seconds.
pub(crate) const T0: i64 = 1_700_000_000;

/// An open incident of `shard` with one piece of evidence.
pub(crate) fn incident(id: u64, shard: &str) -> Incident {
    let key = SeriesKey::node("pg.sessions_waiting_lock");
    let spec = metric_spec(&key.metric).unwrap();
    Incident {
        id: IncidentId(id),
        state: IncidentState::Open,
        root: ShardId::new(shard).unwrap(),
        node: NodeId::new(&format!("{shard}-a")).unwrap(),
        started: WindowIndex(T0),
        raised: WindowIndex(T0 + 6),
        ended: None,
        confidence: 0.8,
        summary: format!("{shard}: sessions wait for a lock"),
        evidence: vec![Evidence {
            symptom: Symptom::Deviation,
            node: NodeId::new(&format!("{shard}-a")).unwrap(),
            shard: ShardId::new(shard).unwrap(),
            series: key,
            family: spec.family,
            unit: spec.unit,
            since: WindowIndex(T0),
            value: 7.0,
            usual: Some(0.0),
            siblings: Some(0.0),
            residual: 14.0,
            weight: 1.0,
            sentence: "sessions waiting for a lock: 7 (usually 0; siblings 0)".to_owned(),
        }],
        affected: Vec::new(),
        log_samples: vec![LogSample {
            at: WindowIndex(T0 + 2).start(),
            severity: "LOG".to_owned(),
            code: String::new(),
            text: "process ? still waiting for ShareLock on transaction ? after ? ms".to_owned(),
        }],
        judgement: None,
        intrusion: None,
        revision: 1,
    }
}

/// Ends it so many seconds after it began.
pub(crate) fn close(incident: &mut Incident, after_s: i64) {
    incident.state = IncidentState::Closed;
    incident.ended = Some(WindowIndex(T0 + after_s));
    incident.revision += 1;
}
