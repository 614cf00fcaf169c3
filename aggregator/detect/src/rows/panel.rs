//! A table of metrics, row by row: every judge asked, calibrated and fused into one score. (step 10)
//!
//! In: a time and a value a column. Out: a [`Verdict`]. Fusion: the sum of −ln p over the judges that know (Fisher 1925,
//! Statistical methods for research workers, §21.1). They depend on one another, so the sum's p-value is not chi-squared's:
//! it is calibrated on its own past as each judge's score is, where Brown (Biometrics 31, 1975) would correct by moments.
//! Blame: each judge's evidence about each column, in squared standard deviations, added up.
//! See [the contract](super).

use hsw_fusion::Tail;

use super::column::Column;
use super::correlated::Correlated;
use super::drift::Drift;
use super::modes::Modes;
use super::own::Own;
use super::rhythm::Rhythm;
use super::step::Step;
use super::{Judge, Row};

/// What is said of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// How bad, ≥ 0, higher is worse. Of a table: the sum of the judges' −ln p. Of a single series: novelty, in ranges.
    pub score: f64,
    /// How often it has been at least as bad before, 0 < p ≤ 1.
    pub p: f64,
    /// Whether anything could judge: where not, the score is 0 and p is 1.
    pub is_known: bool,
}

impl Verdict {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        score: 0.0,
        p: 1.0,
        is_known: false,
    };
}

/// A judge, the past of its scores, and what it said last.
#[derive(Debug)]
struct Calibrated {
    judge: Box<dyn Judge + Send>,
    tail: Tail,
    score: Option<f64>,
    surprise: f64,
}

/// The detectors of one table. See the module's header.
#[derive(Debug)]
pub struct Panel {
    rhythm: Rhythm,
    columns: Vec<Column>,
    judges: Vec<Calibrated>,
    fused: Tail,
    slow: Vec<f64>,
    fast: Vec<f64>,
    change: Vec<f64>,
    share: Vec<f64>,
    blame: Vec<f64>,
}

impl Panel {
    /// A panel for so many columns that knows nothing yet.
    #[must_use]
    pub fn new(n_columns: usize) -> Self {
        let judges: [Box<dyn Judge + Send>; 5] = [
            Box::new(Own::default()),
            Box::new(Step),
            Box::new(Correlated::default()),
            Box::new(Modes::default()),
            Box::new(Drift::default()),
        ];
        let calibrated = judges.into_iter().map(|judge| Calibrated {
            judge,
            tail: Tail::default(),
            score: None,
            surprise: 0.0,
        });
        Self {
            rhythm: Rhythm::default(),
            columns: vec![Column::default(); n_columns],
            judges: calibrated.collect(),
            fused: Tail::default(),
            slow: vec![f64::NAN; n_columns],
            fast: vec![f64::NAN; n_columns],
            change: vec![f64::NAN; n_columns],
            share: vec![0.0; n_columns],
            blame: vec![0.0; n_columns],
        }
    }

    /// Judges the next row, then learns it. `time_s` in seconds, where it is known; `values` one a column, NaN where
    /// unknown: columns that `values` lacks are unknown, what it has beyond them is left out.
    /// O(columns × rank), no allocation after the first rows.
    pub fn step(&mut self, time_s: Option<f64>, values: &[f64]) -> Verdict {
        self.look(time_s, values, true)
    }

    /// [`step`](Self::step), which learns nothing unless `learns`: what is known to be wrong must not become usual.
    pub fn look(&mut self, time_s: Option<f64>, values: &[f64], learns: bool) -> Verdict {
        let moment = self.rhythm.tick(time_s);
        let value = |at: usize| values.get(at).copied().unwrap_or(f64::NAN);
        for (at, column) in self.columns.iter().enumerate() {
            let deviations = column.judge(value(at), &moment);
            self.slow[at] = deviations.slow;
            self.fast[at] = deviations.fast;
            self.change[at] = deviations.change;
        }
        let row = Row {
            moment,
            slow: &self.slow,
            fast: &self.fast,
            change: &self.change,
        };
        self.blame.fill(0.0);
        let mut verdict = Verdict::UNKNOWN;
        for one in &mut self.judges {
            one.score = one.judge.judge(&row, &mut self.share);
            let surprise = one.score.and_then(|score| one.tail.surprise(score));
            one.surprise = surprise.unwrap_or(0.0);
            if surprise.is_some() {
                verdict.is_known = true;
                verdict.score += one.surprise;
                for (blame, share) in self.blame.iter_mut().zip(&self.share) {
                    *blame += share;
                }
            }
        }
        for one in self.judges.iter_mut().filter(|_| learns) {
            if let Some(score) = one.score {
                one.tail.learn(score);
            }
            one.judge.learn(&row);
        }
        if verdict.is_known {
            let surprise = self.fused.surprise(verdict.score).unwrap_or(0.0);
            verdict.p = hsw_stats::exp(-surprise);
            if learns {
                self.fused.learn(verdict.score);
            }
        }
        for (at, column) in self.columns.iter_mut().enumerate().filter(|_| learns) {
            column.learn(value(at), &moment);
        }
        verdict
    }

    /// How much each column has to do with the last row's score: evidence in squared standard deviations, ≥ 0.
    #[must_use]
    pub fn blame(&self) -> &[f64] {
        &self.blame
    }

    /// −ln p of what the judge of this name said of the last row; `None` where it does not know.
    #[must_use]
    pub fn surprise(&self, name: &str) -> Option<f64> {
        let one = self.judges.iter().find(|one| one.judge.name() == name)?;
        one.score
            .and_then(|_| (one.tail.n() >= 8.0).then_some(one.surprise))
    }

    /// What each judge said of the last row: its name and −ln p, 0 where it does not know.
    pub fn evidence(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let of = |one: &Calibrated| (one.judge.name(), one.surprise);
        self.judges.iter().map(of)
    }
}

#[cfg(test)]
impl Panel {
    /// Bytes of columns, judges and calibration, as allocated.
    pub(crate) fn bytes(&self) -> usize {
        let numbers = [
            &self.slow,
            &self.fast,
            &self.change,
            &self.share,
            &self.blame,
        ];
        let judges: usize = self.judges.iter().map(|one| one.judge.bytes()).sum();
        self.columns.capacity() * size_of::<Column>()
            + numbers
                .iter()
                .map(|list| list.capacity() * size_of::<f64>())
                .sum::<usize>()
            + judges
            + (self.judges.len() + 1) * (size_of::<Calibrated>() + self.fused.bytes())
    }
}
