//! Trials in a file, a line of JSON each, so that a hundred of them can be played in many sittings.
//!
//! In: the file. Out: what stands in it, and what is still to be played. Invariant: a line is written as soon as its trial is over.
//! A line that a stop cut off is an error that names it: the file is a result, and nothing is left out of it in silence.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::one::Trial;
use crate::simagents::{GOLDEN, unit};
use crate::testbed::Fault;

/// A trial and what it was played with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Line {
    /// Commit of the checkout, if it is one.
    pub(super) commit: String,
    #[serde(flatten)]
    pub(super) trial: Trial,
}

/// All trials so far.
#[derive(Debug, Default)]
pub(super) struct Kept {
    file: Option<PathBuf>,
    pub(super) lines: Vec<Line>,
}

impl Kept {
    /// What stands in the file; nothing where there is none.
    pub(super) fn open(file: Option<&Path>) -> Result<Self> {
        let mut kept = Self {
            file: file.map(Path::to_owned),
            lines: Vec::new(),
        };
        let Some(file) = file.filter(|file| file.exists()) else {
            return Ok(kept);
        };
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        for (n, line) in text.lines().enumerate() {
            let line = serde_json::from_str(line)
                .with_context(|| format!("{}, line {}: remove it", file.display(), n + 1))?;
            kept.lines.push(line);
        }
        Ok(kept)
    }

    pub(super) fn add(&mut self, line: Line) -> Result<()> {
        if let Some(file) = &self.file {
            let mut out = OpenOptions::new().create(true).append(true).open(file);
            let out = out.as_mut().map_err(|e| anyhow::anyhow!("{e}"));
            let text = serde_json::to_string(&line).context("write a trial")?;
            writeln!(
                out.with_context(|| format!("open {}", file.display()))?,
                "{text}"
            )
            .with_context(|| format!("write {}", file.display()))?;
        }
        self.lines.push(line);
        Ok(())
    }

    /// How often the fault was injected alone.
    pub(super) fn times(&self, fault: Fault) -> usize {
        let is_it = |line: &&Line| line.trial.fault() == Some(fault.name());
        self.lines.iter().filter(is_it).count()
    }

    /// How often two faults were injected at once.
    pub(super) fn pairs(&self) -> usize {
        let is_pair = |line: &&Line| line.trial.injected.len() == 2;
        self.lines.iter().filter(is_pair).count()
    }
}

/// The `n`th pair: two different faults, each with an incident of its own, on two shards, all drawn by chance from a fixed seed.
/// `None` where there are not two of each.
pub(super) fn pair(n: usize, faults: &[Fault], n_shards: usize) -> Option<[(Fault, usize); 2]> {
    let alone: Vec<Fault> = faults
        .iter()
        .copied()
        .filter(|fault| fault.wants_incident() && fault.intruder().is_none())
        .collect();
    if alone.len() < 2 || n_shards < 2 {
        return None;
    }
    let mut state = GOLDEN.wrapping_mul(4 * n as u64 + 1);
    let mut draw = |below: usize| {
        state = state.wrapping_add(GOLDEN);
        (unit(state) * below as f64) as usize
    };
    let mut two = |below: usize| {
        let first = draw(below);
        // Any but the first, each as likely.
        let second = (first + 1 + draw(below - 1)) % below;
        (first, second)
    };
    let (a, b) = two(alone.len());
    let (one, other) = two(n_shards);
    Some([(alone[a], one + 1), (alone[b], other + 1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(faults: &[&str]) -> Line {
        Line {
            commit: "abc".to_owned(),
            trial: Trial {
                injected: faults
                    .iter()
                    .map(|fault| ((*fault).to_owned(), "shard-1".to_owned()))
                    .collect(),
                outcome: "right".to_owned(),
                seconds: Some(5.5),
                summaries: Vec::new(),
                others: Vec::new(),
                closed: true,
                words: None,
            },
        }
    }

    #[test]
    fn trials_are_counted_over_all_sittings() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trials.jsonl");
        for faults in [&["crash"][..], &["crash", "frozen"], &["crash"]] {
            Kept::open(Some(&file)).unwrap().add(line(faults)).unwrap();
        }
        let kept = Kept::open(Some(&file)).unwrap();
        assert_eq!(kept.lines.len(), 3);
        assert_eq!((kept.times(Fault::Crash), kept.pairs()), (2, 1));
        assert_eq!(kept.times(Fault::Frozen), 0);
    }

    #[test]
    fn a_line_cut_off_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trials.jsonl");
        Kept::open(Some(&file))
            .unwrap()
            .add(line(&["crash"]))
            .unwrap();
        let whole = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{whole}{}", &whole[..20])).unwrap();
        let problem = Kept::open(Some(&file)).unwrap_err();
        assert!(format!("{problem:#}").contains("line 2: remove it"));
    }

    #[test]
    fn pairs_are_two_faults_on_two_shards_and_the_same_each_time() {
        let mut all = std::collections::BTreeSet::new();
        for n in 0..40 {
            let [(a, one), (b, other)] = pair(n, &Fault::ALL, 4).unwrap();
            assert!(a != b && one != other);
            assert!((1..=4).contains(&one) && (1..=4).contains(&other));
            assert!(a.wants_incident() && b.intruder().is_none());
            assert_eq!(pair(n, &Fault::ALL, 4).unwrap(), [(a, one), (b, other)]);
            all.insert((a.name(), b.name(), one, other));
        }
        assert!(all.len() > 35, "{}", all.len());
        assert_eq!(pair(0, &[Fault::Crash], 4), None);
        assert_eq!(pair(0, &Fault::ALL, 1), None);
    }
}
