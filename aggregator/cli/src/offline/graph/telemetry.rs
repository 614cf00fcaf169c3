//! Telemetry that leaves with a published graph: of groups, never of one vertex. (step 15)
//!
//! In: rows of numbers by vertex, groups of at least k + ℓ vertices. Out: the mean of each group, and how much that does not say.
//! Invariant: TE-1 all members of a group are told the same, and a mean is of at least k + ℓ vertices or is not told: with the graph's
//! distances and this telemetry together everybody shares what is known of him as without it. Limits: [`COLUMNS_MAX`] metrics.

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, ensure};
use hsw_landmark::Export;
use serde_json::{Value, json};

use crate::offline::edges::{Edges, each_row};

const COLUMNS_MAX: usize = 1_000;

/// What was measured: of each vertex and metric, how much in all and how often.
#[derive(Debug)]
pub(super) struct Telemetry {
    metrics: Vec<String>,
    sums: Vec<Vec<(f64, u32)>>,
    /// Rows of vertices that the graph does not have.
    pub(super) n_unknown: usize,
}

/// What is published of it.
pub(super) struct Public {
    pub(super) heading: String,
    pub(super) lines: Vec<String>,
    pub(super) lost: Vec<Lost>,
}

/// What a metric's means do not say.
#[derive(Debug, PartialEq)]
pub(super) struct Lost {
    metric: String,
    /// Share of the variance among vertices that lies within groups, 0 to 1; `None` where there is none.
    share: Option<f64>,
    /// Groups in which too few vertices have it.
    n_withheld: usize,
}

impl Telemetry {
    /// Reads `vertex,METRIC,…`, the first line names.
    ///
    /// # Errors
    /// The file cannot be read, or a line is not as the first one says.
    pub(super) fn read(path: &Path, edges: &Edges) -> anyhow::Result<Self> {
        let mut told = Self {
            metrics: Vec::new(),
            sums: Vec::new(),
            n_unknown: 0,
        };
        each_row(path, |fields| {
            if told.metrics.is_empty() {
                ensure!(
                    fields.len() > 1 && fields[0].eq_ignore_ascii_case("vertex"),
                    "the first line names the columns: vertex,METRIC,…"
                );
                ensure!(
                    fields.len() <= COLUMNS_MAX,
                    "more than {COLUMNS_MAX} columns"
                );
                told.metrics = fields[1..].to_vec();
                told.sums = vec![vec![(0.0, 0); told.metrics.len()]; edges.names.len()];
                return Ok(());
            }
            ensure!(
                fields.len() == told.metrics.len() + 1,
                "{} fields where the first line names {}",
                fields.len(),
                told.metrics.len() + 1
            );
            let Some(v) = edges.find(&fields[0]) else {
                told.n_unknown += 1;
                return Ok(());
            };
            for (cell, text) in told.sums[v as usize].iter_mut().zip(&fields[1..]) {
                if !text.is_empty() {
                    let value: f64 = text
                        .parse()
                        .with_context(|| format!("`{text}` is no number"))?;
                    ensure!(value.is_finite(), "`{text}` is no finite number");
                    *cell = (cell.0 + value, cell.1 + 1);
                }
            }
            Ok(())
        })?;
        ensure!(!told.metrics.is_empty(), "{}: no line", path.display());
        Ok(told)
    }

    fn value(&self, v: u32, metric: usize) -> Option<f64> {
        let (sum, n) = self.sums[v as usize][metric];
        (n > 0).then(|| sum / f64::from(n))
    }

    /// Means of groups under their published numbers; of fewer than `n_least` vertices none.
    pub(super) fn publish(&self, made: &Export, numbers: &[usize], n_least: usize) -> Public {
        let mut rows: Vec<(usize, usize, Vec<Option<f64>>)> = numbers
            .iter()
            .zip(&made.groups)
            .map(|(number, members)| (*number, members.len(), Vec::new()))
            .collect();
        let mut lost = Vec::new();
        for (metric, name) in self.metrics.iter().enumerate() {
            let mut n_withheld = 0;
            let (mut values, mut within) = (Vec::new(), 0.0);
            for (row, members) in rows.iter_mut().zip(&made.groups) {
                let own: Vec<f64> = members
                    .iter()
                    .filter_map(|v| self.value(*v, metric))
                    .collect();
                let is_told = own.len() >= n_least;
                n_withheld += usize::from(!is_told && !own.is_empty());
                let centre = mean(&own);
                if is_told {
                    within += own.iter().map(|x| (x - centre).powi(2)).sum::<f64>();
                    values.extend(own);
                }
                row.2.push(is_told.then_some(centre));
            }
            let centre = mean(&values);
            let all: f64 = values.iter().map(|x| (x - centre).powi(2)).sum();
            lost.push(Lost {
                metric: name.clone(),
                share: (all > 0.0).then(|| (within / all).min(1.0)),
                n_withheld,
            });
        }
        rows.sort_by_key(|(number, ..)| *number);
        let line = |(number, n, means): (usize, usize, Vec<Option<f64>>)| {
            let cell = |x: Option<f64>| x.map_or_else(String::new, |x| x.to_string());
            let cells: Vec<String> = means.into_iter().map(cell).collect();
            format!("g{number},{n},{}", cells.join(","))
        };
        Public {
            heading: format!("group,members,{}", self.metrics.join(",")),
            lines: rows.into_iter().map(line).collect(),
            lost,
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

impl Lost {
    pub(super) fn as_json(&self) -> Value {
        json!({ "metric": self.metric, "variance_lost": self.share, "groups_withheld": self.n_withheld })
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.share {
            Some(share) => write!(
                f,
                "{}: {:.1} % of what tells vertices apart is lost",
                self.metric,
                share * 100.0
            )?,
            None => write!(f, "{}: all vertices are alike", self.metric)?,
        }
        if self.n_withheld > 0 {
            write!(
                f,
                "; {} groups in which too few have it are withheld",
                self.n_withheld
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(dir: &Path, n: u32) -> Edges {
        // A hub each for the first and the second half.
        let rows = (0..n).map(|v| format!("v{v} hub{}\n", v * 2 / n));
        let path = dir.join("edges");
        std::fs::write(&path, rows.collect::<String>()).unwrap();
        Edges::read(&path).unwrap()
    }

    #[test]
    fn a_group_is_told_its_mean_and_what_is_lost_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let edges = edges(dir.path(), 10);
        let path = dir.path().join("told");
        let rows = (0..10).map(|v| format!("v{v},{},{}\n", v / 5, if v == 3 { "9" } else { "" }));
        let all = format!(
            "vertex,half,rare\nstranger,1,1\n{}",
            rows.collect::<String>()
        );
        std::fs::write(&path, all).unwrap();
        let told = Telemetry::read(&path, &edges).unwrap();
        assert_eq!(told.n_unknown, 1);
        let of = |half: u32| -> Vec<u32> {
            let names = edges.names.iter().enumerate();
            let own = names.filter(|(_, name)| {
                name.strip_prefix('v')
                    .is_some_and(|v| v.parse::<u32>().unwrap() / 5 == half)
            });
            own.map(|(at, _)| at as u32).collect()
        };
        let groups = vec![of(0), of(1)];
        let made = Export {
            group_of: Vec::new(),
            groups,
            edges: Vec::new(),
        };
        let public = told.publish(&made, &[1, 0], 5);
        assert_eq!(public.heading, "group,members,half,rare");
        assert_eq!(public.lines, ["g0,5,1,", "g1,5,0,"]);
        assert_eq!(
            (public.lost[0].share, public.lost[0].n_withheld),
            (Some(0.0), 0)
        );
        assert_eq!((public.lost[1].share, public.lost[1].n_withheld), (None, 1));
        let mixed = vec![
            [of(0)[..2].to_vec(), of(1)[..3].to_vec()].concat(),
            [of(0)[2..].to_vec(), of(1)[3..].to_vec()].concat(),
        ];
        let made = Export {
            group_of: Vec::new(),
            groups: mixed,
            edges: Vec::new(),
        };
        let share = told.publish(&made, &[0, 1], 5).lost[0].share.unwrap();
        assert!((share - 0.96).abs() < 1e-9, "{share}");
        assert_eq!(told.publish(&made, &[0, 1], 6).lines, ["g0,5,,", "g1,5,,"]);
    }

    #[test]
    fn a_line_that_is_not_as_the_first_says_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let edges = edges(dir.path(), 4);
        let path = dir.path().join("told");
        for (text, said) in [
            ("v1,2\n", "first line"),
            ("vertex,a\nv1\n", "fields"),
            ("vertex,a\nv1,x\n", "no number"),
            ("", "no line"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = format!("{:#}", Telemetry::read(&path, &edges).unwrap_err());
            assert!(error.contains(said), "{error}");
        }
    }
}
