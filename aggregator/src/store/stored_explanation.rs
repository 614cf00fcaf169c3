//! An explanation as JSON in the store, and back; the cases that operators named likewise. (step 7)
//!
//! In: the engine's explanation. Out: text that a later program can read: new fields must have defaults. Cases are written in the
//! format that `hsw-explain` has for them, so that one can be taken out and shared.
//! Invariants: SE-1 what was written reads back equal, numbers of cases to twelve digits. Limits: [`BYTES_MAX`] an explanation.

use hsw_engine::{Cause, Culprit, Explanation, Feedback, IncidentId, Reason, Similar};
use hsw_explain::{NamedCase, format};
use hsw_types::{SeriesKey, WindowIndex};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};

use super::stored_incident::{SubjectDto, node_of, number, shard_of, unit_of, unit_word};
use super::{Committed, StoreError};

/// Longest text of an explanation; one that is longer is kept without its case. An agent of 600 attributes makes about 60 KiB.
const BYTES_MAX: usize = 96 << 10;

#[derive(Serialize, Deserialize)]
struct ExplanationDto {
    shard: String,
    abnormal: (i64, i64),
    normal: (i64, i64),
    n_siblings: usize,
    n_attributes: usize,
    revision: u32,
    reasons: Vec<ReasonDto>,
    causes: Vec<CauseDto>,
    none: f64,
    culprits: Vec<CulpritDto>,
    similar: Vec<SimilarDto>,
    feedback: Option<FeedbackDto>,
    /// A file of one case.
    case: String,
}

#[derive(Serialize, Deserialize)]
struct ReasonDto {
    metric: String,
    subject: SubjectDto,
    node: String,
    unit: String,
    min: Option<f64>,
    max: Option<f64>,
    power: Option<f64>,
    during: Option<f64>,
    before: Option<f64>,
    siblings: Option<f64>,
    sentence: String,
}

#[derive(Serialize, Deserialize)]
struct CauseDto {
    cause: String,
    probability: f64,
    n_cases: usize,
    is_harmless: bool,
    action: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct CulpritDto {
    shard: String,
    share: f64,
    since: Option<i64>,
    since_uncertain_s: f64,
    metrics: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct SimilarDto {
    id: u64,
    shard: String,
    started: i64,
    alike: f64,
    cause: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FeedbackDto {
    Cause(String),
    FalseAlarm,
}

/// Writes an explanation; it takes the place of what was said of the incident before.
pub(super) fn put(
    transaction: &Transaction<'_>,
    id: IncidentId,
    why: &Explanation,
) -> Result<(), StoreError> {
    let mut text = to_json(why, true)?;
    if text.len() > BYTES_MAX {
        text = to_json(why, false)?;
    }
    transaction
        .prepare_cached("INSERT OR REPLACE INTO explanation (incident, body) VALUES (?1, ?2)")?
        .execute(params![id.0.cast_signed(), text])?;
    Ok(())
}

/// Writes all cases that operators named, in the place of those before.
pub(super) fn put_causes(
    transaction: &Transaction<'_>,
    cases: &[NamedCase],
) -> Result<(), StoreError> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO causes (id, body) VALUES (1, ?1)")?
        .execute([format::write(cases)])?;
    Ok(())
}

/// Tells what is stored: named cases, then the newest explanations.
pub(super) fn tell(
    connection: &Connection,
    n_max: usize,
    tell: &mut dyn FnMut(Committed),
) -> Result<(), StoreError> {
    let causes: Option<String> = connection
        .query_row("SELECT body FROM causes WHERE id = 1", [], |row| row.get(0))
        .optional()?;
    match causes.as_deref().map(format::read) {
        Some(Ok(cases)) => tell(Committed::Causes(cases)),
        Some(Err(error)) => tracing::error!(
            %error,
            "the stored causes cannot be read and are left out; the next word of an operator takes their place"
        ),
        None => {}
    }
    let mut statement = connection.prepare(
        "SELECT incident, explanation.body FROM explanation JOIN incident ON incident.id = incident
         ORDER BY started DESC, incident DESC LIMIT ?1",
    )?;
    let mut rows = statement.query([i64::try_from(n_max).unwrap_or(i64::MAX)])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        match from_json(&row.get::<_, String>(1)?) {
            Ok(why) => tell(Committed::Explained(
                IncidentId(id.cast_unsigned()),
                Box::new(why),
            )),
            Err(error) => tracing::warn!(id, %error, "left out a stored explanation"),
        }
    }
    Ok(())
}

fn to_json(why: &Explanation, with_case: bool) -> Result<String, StoreError> {
    let reason = |reason: &Reason| ReasonDto {
        metric: reason.series.metric.clone(),
        subject: SubjectDto::from(&reason.series.subject),
        node: reason.node.to_string(),
        unit: unit_word(reason.unit).to_owned(),
        min: reason.min,
        max: reason.max,
        power: Some(reason.power),
        during: Some(reason.during),
        before: reason.before,
        siblings: reason.siblings,
        sentence: reason.sentence.clone(),
    };
    let cause = |cause: &Cause| CauseDto {
        cause: cause.cause.clone(),
        probability: cause.probability,
        n_cases: cause.n_cases,
        is_harmless: cause.is_harmless,
        action: cause.action.clone(),
    };
    let culprit = |culprit: &Culprit| CulpritDto {
        shard: culprit.shard.to_string(),
        share: culprit.share,
        since: culprit.since.map(|window| window.0),
        since_uncertain_s: culprit.since_uncertain_s,
        metrics: culprit.metrics.clone(),
    };
    let similar = |similar: &Similar| SimilarDto {
        id: similar.id.0,
        shard: similar.shard.to_string(),
        started: similar.started.0,
        alike: similar.alike,
        cause: similar.cause.clone(),
    };
    let case = if with_case {
        std::slice::from_ref(&why.case)
    } else {
        &[]
    };
    let dto = ExplanationDto {
        shard: why.shard.to_string(),
        abnormal: (why.abnormal.0.0, why.abnormal.1.0),
        normal: (why.normal.0.0, why.normal.1.0),
        n_siblings: why.n_siblings,
        n_attributes: why.n_attributes,
        revision: why.revision,
        reasons: why.reasons.iter().map(reason).collect(),
        causes: why.causes.iter().map(cause).collect(),
        none: why.none,
        culprits: why.culprits.iter().map(culprit).collect(),
        similar: why.similar.iter().map(similar).collect(),
        feedback: why.feedback.as_ref().map(|word| match word {
            Feedback::Cause(cause) => FeedbackDto::Cause(cause.clone()),
            Feedback::FalseAlarm => FeedbackDto::FalseAlarm,
        }),
        case: format::write(case),
    };
    serde_json::to_string(&dto)
        .map_err(|error| StoreError(format!("write an explanation as JSON: {error}")))
}

fn from_json(text: &str) -> Result<Explanation, StoreError> {
    let broken =
        |error: &dyn std::fmt::Display| StoreError(format!("read a stored explanation: {error}"));
    let dto: ExplanationDto = serde_json::from_str(text).map_err(|error| broken(&error))?;
    let cases = format::read(&dto.case).map_err(|error| broken(&error))?;
    let span = |(first, last): (i64, i64)| (WindowIndex(first), WindowIndex(last));
    let mut reasons = Vec::with_capacity(dto.reasons.len());
    for reason in dto.reasons {
        reasons.push(reason_of(reason)?);
    }
    let culprit = |one: CulpritDto| {
        Ok(Culprit {
            shard: shard_of(&one.shard)?,
            share: one.share,
            since: one.since.map(WindowIndex),
            since_uncertain_s: one.since_uncertain_s,
            metrics: one.metrics,
        })
    };
    let similar = |one: SimilarDto| {
        Ok(Similar {
            id: IncidentId(one.id),
            shard: shard_of(&one.shard)?,
            started: WindowIndex(one.started),
            alike: one.alike,
            cause: one.cause,
        })
    };
    let cause = |one: CauseDto| Cause {
        cause: one.cause,
        probability: one.probability,
        n_cases: one.n_cases,
        is_harmless: one.is_harmless,
        action: one.action,
    };
    Ok(Explanation {
        shard: shard_of(&dto.shard)?,
        abnormal: span(dto.abnormal),
        normal: span(dto.normal),
        n_siblings: dto.n_siblings,
        n_attributes: dto.n_attributes,
        revision: dto.revision,
        reasons,
        causes: dto.causes.into_iter().map(cause).collect(),
        none: dto.none,
        culprits: dto
            .culprits
            .into_iter()
            .map(culprit)
            .collect::<Result<_, StoreError>>()?,
        similar: dto
            .similar
            .into_iter()
            .map(similar)
            .collect::<Result<_, StoreError>>()?,
        case: cases.into_iter().next().unwrap_or_else(|| NamedCase {
            cause: String::new(),
            predicates: Vec::new(),
            case: hsw_explain::Case::default(),
        }),
        feedback: dto.feedback.map(|word| match word {
            FeedbackDto::Cause(cause) => Feedback::Cause(cause),
            FeedbackDto::FalseAlarm => Feedback::FalseAlarm,
        }),
    })
}

fn reason_of(dto: ReasonDto) -> Result<Reason, StoreError> {
    Ok(Reason {
        series: SeriesKey {
            metric: dto.metric,
            subject: dto.subject.try_into()?,
        },
        node: node_of(&dto.node)?,
        unit: unit_of(&dto.unit)?,
        min: dto.min,
        max: dto.max,
        power: number(dto.power),
        during: number(dto.during),
        before: dto.before,
        siblings: dto.siblings,
        sentence: dto.sentence,
    })
}

/// An explanation with something in every place.
#[cfg(test)]
pub(crate) fn example(started: i64) -> std::sync::Arc<Explanation> {
    use hsw_types::{NodeId, ShardId, Unit};

    let shard = ShardId::new("shard-3").expect("a shard's name");
    std::sync::Arc::new(Explanation {
        shard: shard.clone(),
        abnormal: (WindowIndex(started), WindowIndex(started + 40)),
        normal: (WindowIndex(started - 190), WindowIndex(started - 6)),
        n_siblings: 4,
        n_attributes: 131,
        revision: 3,
        reasons: vec![Reason {
            series: SeriesKey::node("pg.sessions_waiting_lock"),
            node: NodeId::new("shard-3-a").expect("a node's name"),
            unit: Unit::Count,
            min: Some(1.5),
            max: None,
            power: 0.97,
            during: 7.0,
            before: Some(0.0),
            siblings: Some(0.0),
            sentence:
                "client sessions waiting for a lock ≥ 7 while every sibling stays ≤ 0 (before: ≤ 0)"
                    .to_owned(),
        }],
        causes: vec![
            Cause {
                cause: "lock-storm".to_owned(),
                probability: 0.86,
                n_cases: 3,
                is_harmless: false,
                action: Some("find the session that blocks the others".to_owned()),
            },
            Cause {
                cause: "deadlocks".to_owned(),
                probability: 0.05,
                n_cases: 2,
                is_harmless: false,
                action: None,
            },
        ],
        none: 0.09,
        culprits: vec![Culprit {
            shard: shard.clone(),
            share: 0.8,
            since: Some(WindowIndex(started)),
            since_uncertain_s: 1.002,
            metrics: vec!["pg.sessions_waiting_lock".to_owned()],
        }],
        similar: vec![Similar {
            id: IncidentId(77),
            shard,
            started: WindowIndex(started - 86_400),
            alike: 0.93,
            cause: Some("lock-storm".to_owned()),
        }],
        case: example_case(),
        feedback: Some(Feedback::FalseAlarm),
    })
}

/// The case of it.
#[cfg(test)]
fn example_case() -> NamedCase {
    use hsw_explain::{Case, Condition, Levels, Predicate};

    let levels = Levels {
        before: 0.25,
        drift: -0.125,
        during: 7.0,
    };
    NamedCase {
        cause: String::new(),
        predicates: vec![Predicate {
            attribute: "pg.sessions_waiting_lock".to_owned(),
            is_difference: false,
            condition: Condition::Range {
                min: Some(1.5),
                max: None,
            },
            power: 0.97,
            shift: 0.9,
            shift_of_labels: 0.8,
        }],
        case: Case {
            levels: [("pg.sessions_waiting_lock".to_owned(), levels)].into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_reads_back_equal_and_one_that_is_too_long_goes_without_its_case() {
        let why = example(1_000_000);
        let text = to_json(&why, true).unwrap();
        assert_eq!(from_json(&text).unwrap(), *why);
        let short = from_json(&to_json(&why, false).unwrap()).unwrap();
        assert_eq!(short.reasons, why.reasons);
        assert!(short.case.case.levels.is_empty());
    }
}
