//! Figures, their targets, and how they are told.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Serialize;

/// One measured number.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What it is, with its unit.
    pub metric: String,
    /// The number: a median or mean where there are several measurements.
    pub value: f64,
    /// Smallest and largest of the measurements, or the 95 % interval; `how` says which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<(f64, f64)>,
    /// How `value` and `range` came about.
    pub how: String,
    /// What it must not exceed (or, for `at_least`, fall below).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// The target is a floor.
    pub at_least: bool,
}

impl Figure {
    /// A number by itself.
    #[must_use]
    pub fn new(metric: &str, value: f64, how: &str) -> Self {
        Self {
            metric: metric.to_owned(),
            value,
            range: None,
            how: how.to_owned(),
            target: None,
            at_least: false,
        }
    }

    /// Several measurements: their median, smallest and largest.
    #[must_use]
    pub fn of(metric: &str, values: &[f64], how: &str) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let median = hsw_stats::median(&mut sorted).unwrap_or(f64::NAN);
        let how = format!("{how}; median, smallest and largest of {}", values.len());
        let mut figure = Self::new(metric, median, &how);
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        figure.range = Some((low, high));
        figure
    }

    /// With what it may be at most.
    #[must_use]
    pub fn at_most(mut self, target: f64) -> Self {
        self.target = Some(target);
        self
    }

    /// With what it must be at least.
    #[must_use]
    pub fn at_least(mut self, target: f64) -> Self {
        self.target = Some(target);
        self.at_least = true;
        self
    }

    /// Whether the target is reached; what has none is. Not a number never is.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        match self.target {
            None => true,
            Some(target) if self.at_least => self.value >= target,
            Some(target) => self.value <= target,
        }
    }
}

/// What one benchmark has found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// The numbers.
    pub figures: Vec<Figure>,
    /// What a reader must know about the circumstances.
    pub notes: Vec<String>,
}

#[derive(Serialize)]
struct Machine {
    cores: usize,
    kernel: String,
    processor: String,
    load_average_after: String,
}

#[derive(Serialize)]
struct Written<'a, T> {
    command: &'a str,
    commit: String,
    date: String,
    machine: Machine,
    #[serde(flatten)]
    report: &'a Report,
    #[serde(flatten)]
    more: &'a T,
}

/// Nothing beside the figures.
#[derive(Serialize)]
struct Nothing {}

impl Report {
    /// Nothing yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Adds a figure.
    pub fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Adds a circumstance.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Whether every target is reached.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.figures.iter().all(Figure::is_reached)
    }

    /// One line for each figure.
    #[expect(clippy::print_stdout, reason = "the answer of a command")]
    pub fn print(&self, command: &str) {
        println!("\n{}  ({command})", self.name);
        for figure in &self.figures {
            let range = figure.range.map_or_else(String::new, |(low, high)| {
                format!(" [{} … {}]", number(low), number(high))
            });
            let target = figure.target.map_or_else(String::new, |target| {
                let sign = if figure.at_least { '≥' } else { '≤' };
                format!("{sign} {}", number(target))
            });
            let verdict = match (figure.target, figure.is_reached()) {
                (None, _) => "",
                (_, true) => "pass",
                (_, false) => "fall short",
            };
            println!(
                "  {:<58} {:>12}{range:<28} {target:>10}  {verdict}",
                figure.metric,
                number(figure.value)
            );
        }
        for note in &self.notes {
            println!("  note: {note}");
        }
    }

    /// Writes `FOLDER/NAME.json`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, folder: &Path, command: &str) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let path = folder.join(format!("{}.json", self.name));
        self.write_with(&path, command, &Nothing {})
    }

    /// Writes a file with more beside the figures, field by field.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_with(&self, path: &Path, command: &str, more: &impl Serialize) -> Result<()> {
        let written = Written {
            command,
            commit: said("git", &["rev-parse", "HEAD"]),
            date: said("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
            machine: machine(),
            report: self,
            more,
        };
        let mut text = serde_json::to_string_pretty(&written).context("write JSON")?;
        text.push('\n');
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }
}

fn machine() -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or_else(String::new, |(_, name)| name.to_owned());
    Machine {
        cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        processor,
        load_average_after: read("/proc/loadavg").trim().to_owned(),
    }
}

/// What a command prints; empty when it cannot.
fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// Four digits that matter.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 1_000.0 => 0,
        size if size >= 10.0 => 2,
        _ => 4,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_number_reaches_no_target() {
        assert!(!Figure::new("m", f64::NAN, "").at_most(1.0).is_reached());
        assert!(!Figure::new("m", f64::NAN, "").at_least(1.0).is_reached());
        assert!(Figure::new("m", f64::NAN, "").is_reached());
    }

    #[test]
    fn a_target_is_a_ceiling_or_a_floor() {
        assert!(Figure::new("m", 1.0, "").at_most(1.0).is_reached());
        assert!(!Figure::new("m", 0.9, "").at_least(1.0).is_reached());
    }

    #[test]
    fn several_measurements_show_their_middle_and_their_ends() {
        let figure = Figure::of("m", &[3.0, 1.0, 2.0], "");
        assert_eq!((figure.value, figure.range), (2.0, Some((1.0, 3.0))));
    }
}
