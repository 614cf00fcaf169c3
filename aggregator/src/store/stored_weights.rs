//! Weights and judgements as JSON, and where they are kept. (step 7)
//!
//! In: versions of weights, labels. Out: the same at the next start. One row: all of it is a few hundred kilobytes at most, and changes when
//! an operator says something. Does not: weigh.

use hsw_engine::{Judgement, Said};
use hsw_fusion::{DetectorId, Label, N_DETECTORS, Origin, State, Version, Weights};
use hsw_types::{WallTime, WindowIndex};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::StoreError;

/// Versions of weights and labels, as they are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredWeights {
    /// Ascending.
    pub versions: Vec<Version>,
    /// Oldest first.
    pub labels: Vec<Label>,
}

#[derive(Serialize, Deserialize)]
struct WeightsDto {
    versions: Vec<VersionDto>,
    labels: Vec<LabelDto>,
}

#[derive(Serialize, Deserialize)]
struct VersionDto {
    id: u32,
    at_us: i64,
    weights: Vec<f64>,
    origin: String,
    state: String,
    n_labels: usize,
}

#[derive(Serialize, Deserialize)]
struct LabelDto {
    at_us: i64,
    said: Vec<Option<f64>>,
    is_sick: bool,
}

/// A judgement within a stored incident.
#[derive(Serialize, Deserialize)]
pub(super) struct JudgementDto {
    window: i64,
    probability: f64,
    surprise: f64,
    version: u32,
    said: Vec<(String, Option<f64>, f64)>,
}

/// The word of a state.
#[must_use]
pub const fn state_word(state: State) -> &'static str {
    match state {
        State::Active => "active",
        State::Shadow => "shadow",
        State::Retired => "retired",
        State::Dropped => "dropped",
        State::RolledBack => "rolled_back",
    }
}

/// The word of an origin.
#[must_use]
pub const fn origin_word(origin: Origin) -> &'static str {
    match origin {
        Origin::Operator => "operator",
        Origin::Labels => "labels",
    }
}

fn state_of(word: &str) -> Option<State> {
    let all = [
        State::Active,
        State::Shadow,
        State::Retired,
        State::Dropped,
        State::RolledBack,
    ];
    all.into_iter().find(|state| state_word(*state) == word)
}

fn origin_of(word: &str) -> Option<Origin> {
    [Origin::Operator, Origin::Labels]
        .into_iter()
        .find(|origin| origin_word(*origin) == word)
}

impl From<&Judgement> for JudgementDto {
    fn from(judgement: &Judgement) -> Self {
        let said = judgement
            .said
            .iter()
            .map(|s| (s.detector.name().to_owned(), s.surprise, s.weight));
        Self {
            window: judgement.window.0,
            probability: judgement.probability,
            surprise: judgement.surprise,
            version: judgement.version,
            said: said.collect(),
        }
    }
}

impl From<JudgementDto> for Judgement {
    /// A detector that this program does not know is left out.
    fn from(dto: JudgementDto) -> Self {
        let said = dto.said.into_iter().filter_map(|(name, surprise, weight)| {
            Some(Said {
                detector: DetectorId::named(&name)?,
                surprise,
                weight,
            })
        });
        Self {
            window: WindowIndex(dto.window),
            probability: dto.probability,
            surprise: dto.surprise,
            version: dto.version,
            said: said.collect(),
        }
    }
}

impl From<&StoredWeights> for WeightsDto {
    fn from(kept: &StoredWeights) -> Self {
        let version = |v: &Version| VersionDto {
            id: v.id,
            at_us: v.at.0,
            weights: v.weights.all().to_vec(),
            origin: origin_word(v.origin).to_owned(),
            state: state_word(v.state).to_owned(),
            n_labels: v.n_labels,
        };
        let label = |l: &Label| LabelDto {
            at_us: l.at.0,
            said: l.said.to_vec(),
            is_sick: l.is_sick,
        };
        Self {
            versions: kept.versions.iter().map(version).collect(),
            labels: kept.labels.iter().map(label).collect(),
        }
    }
}

impl From<WeightsDto> for StoredWeights {
    /// What cannot be read is left out: a version of another number of detectors, a word of a newer program.
    fn from(dto: WeightsDto) -> Self {
        let version = |v: VersionDto| {
            Some(Version {
                id: v.id,
                at: WallTime(v.at_us),
                weights: Weights::new(&v.weights).ok()?,
                origin: origin_of(&v.origin)?,
                state: state_of(&v.state)?,
                n_labels: v.n_labels,
            })
        };
        let label = |l: LabelDto| {
            let said: [Option<f64>; N_DETECTORS] = l.said.try_into().ok()?;
            Some(Label {
                at: WallTime(l.at_us),
                said,
                is_sick: l.is_sick,
            })
        };
        Self {
            versions: dto.versions.into_iter().filter_map(version).collect(),
            labels: dto.labels.into_iter().filter_map(label).collect(),
        }
    }
}

/// Takes the place of what was kept.
pub(super) fn put(connection: &Connection, kept: &StoredWeights) -> Result<(), StoreError> {
    let body = serde_json::to_string(&WeightsDto::from(kept))
        .map_err(|error| StoreError(format!("write weights: {error}")))?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO weights (id, body) VALUES (1, ?1)")?
        .execute(params![body])?;
    Ok(())
}

/// What was kept; `None` where there is nothing, or nothing that can be read.
pub(super) fn load(connection: &Connection) -> Result<Option<StoredWeights>, StoreError> {
    let body: Option<String> = connection
        .prepare_cached("SELECT body FROM weights WHERE id = 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let read = body.map(|body| serde_json::from_str::<WeightsDto>(&body));
    Ok(match read {
        Some(Ok(dto)) => Some(dto.into()),
        Some(Err(error)) => {
            tracing::warn!(%error, "left out stored weights: begins with the operator's");
            None
        }
        None => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_and_labels_read_back_equal_and_what_is_not_known_is_left_out() {
        let mut said = [None; N_DETECTORS];
        said[1] = Some(12.5);
        let kept = StoredWeights {
            versions: vec![Version {
                id: 3,
                at: WallTime(7),
                weights: Weights::default(),
                origin: Origin::Labels,
                state: State::RolledBack,
                n_labels: 40,
            }],
            labels: vec![Label {
                at: WallTime(5),
                said,
                is_sick: true,
            }],
        };
        let file = tempfile::tempdir().unwrap();
        let connection = super::super::schema::open(&file.path().join("a.db")).unwrap();
        assert_eq!(load(&connection).unwrap(), None);
        put(&connection, &kept).unwrap();
        assert_eq!(load(&connection).unwrap(), Some(kept.clone()));
        let mut dto = WeightsDto::from(&kept);
        dto.versions[0].weights.pop();
        dto.labels[0].said.pop();
        let read = StoredWeights::from(dto);
        assert!(read.versions.is_empty() && read.labels.is_empty());
        connection
            .execute("UPDATE weights SET body = 'torn'", [])
            .unwrap();
        assert_eq!(load(&connection).unwrap(), None);
    }
}
