//! The committed results as people read them: the README's table, a report of every figure, a plot.
//!
//! In: a folder of `evaluate-*.json`. Out: Markdown and SVG, the same for the same files. Invariants: TO-1 what falls short is
//! always told; of the rest the README has the figures nearest to their targets. Does not: measure.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::bench::Figure;

/// Around the README's generated table.
pub const MARK: &str = "<!-- accuracy: tests/evaluate report writes this -->";
/// Reached figures of a set in the README.
const N_SHOWN: usize = 3;
/// The plot, in pixels: a row, the names' column, what a doubling is wide.
const ROW: usize = 18;
const NAMES: usize = 420;
const DOUBLING: f64 = 110.0;
/// Doublings to either side that are drawn.
const DOUBLINGS: f64 = 2.0;

/// What each set is, and what others reach on it.
const SETS: [(&str, &str); 16] = [
    (
        "asd",
        "sick rows of six real servers, 19 metrics each, one setting, no point adjustment (whitened PCA 0.215, robust z 0.076; guilty metrics 0.757)",
    ),
    (
        "nab",
        "NAB, 58 real and artificial series, one setting, NAB's own threshold (HTM 70.1, ARTime 74.9, random cut forest 51.7)",
    ),
    (
        "loghub_2k",
        "log lines to templates on labelled logs of 8 systems, one setting (published, tuned per system: Brain 0.990, Drain 0.886)",
    ),
    ("sql_templates", "statements to fingerprints"),
    (
        "db_logs",
        "logs of real databases: state changes of a Galera cluster, lines read",
    ),
    (
        "dbsherlock",
        "causes of real faults of MySQL, 10 kinds, 60 cases, whole variants left out (region: interval scan 0.30, the paper's rule 0.31)",
    ),
    (
        "dbpa",
        "causes of database faults learned on one size of machine and named on another, 9 kinds (random forest on levels 0.394, 0.523)",
    ),
    ("petshop", "root causes in PetShop, six groups of cases"),
    ("rcd", "root causes in Sock Shop without a graph"),
    (
        "nezha_tt",
        "root causes in TrainTicket (best published 0.867)",
    ),
    ("nezha_ob", "root causes in Online Boutique"),
    (
        "graphs",
        "landmarks on graphs of known dimension, real and named ones",
    ),
    (
        "streams",
        "how often an item came in a tick: error over a peer's at equal bytes, newest quarter of three real key streams",
    ),
    (
        "structure",
        "intrusions put into service topologies that no constant was chosen on, learned for a day",
    ),
    (
        "simulated",
        "a simulated sharded database, through the production engine",
    ),
    ("features", "what models read, from simulated faults"),
];

/// Figures without a target that the README tells all the same: what a method cannot do.
const LOSSES: [&str; 4] = [
    "none of the known causes: AUROC",
    "all, metrics alone: AC@1",
    "30 % spurious edges, told once or twice: F1",
    "30 % spurious edges, told for ten minutes: F1",
];

/// One set's committed file.
struct Set {
    name: String,
    command: String,
    commit: String,
    figures: Vec<Figure>,
    notes: Vec<String>,
}

/// Reads all sets of a folder, by name.
fn read(folder: &Path) -> Result<Vec<Set>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    let mut sets = Vec::new();
    for file in files {
        let stem = file.file_stem().and_then(|stem| stem.to_str());
        let Some(name) = stem.and_then(|stem| stem.strip_prefix("evaluate-")) else {
            continue;
        };
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let value: Value = serde_json::from_str(&text)
            .with_context(|| format!("understand {}", file.display()))?;
        sets.push(Set::new(name, &value));
    }
    Ok(sets)
}

impl Set {
    fn new(name: &str, file: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |key: &str| file[key].as_array().cloned().unwrap_or_default();
        let figure = |value: &Value| {
            let mut figure = Figure::new(
                value["metric"].as_str().unwrap_or_default(),
                value["value"].as_f64().unwrap_or(f64::NAN),
                value["how"].as_str().unwrap_or_default(),
            );
            figure.target = value["target"].as_f64();
            figure.at_least = value["at_least"].as_bool().unwrap_or(false);
            let end = |at: usize| value["range"][at].as_f64();
            figure.range = end(0).zip(end(1));
            figure
        };
        Self {
            name: name.to_owned(),
            command: text(&file["command"]),
            commit: text(&file["commit"]),
            figures: list("figures").iter().map(figure).collect(),
            notes: list("notes").iter().map(text).collect(),
        }
    }

    fn title(&self) -> &str {
        let own = SETS.iter().find(|(name, _)| *name == self.name);
        own.map_or(&self.name, |(_, title)| title)
    }

    /// Figures with a target, the worst first.
    fn judged(&self) -> Vec<&Figure> {
        let mut judged: Vec<&Figure> = self.figures.iter().filter(|f| f.target.is_some()).collect();
        // What falls short first: where nothing is the target, no margin says so.
        let rank = |figure: &Figure| (figure.is_reached(), margin(figure));
        judged.sort_by(|a, b| {
            let (a, b) = (rank(a), rank(b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
        judged
    }
}

/// Doublings by which a figure is better than its target; negative where it falls short, −∞ where it is no number.
fn margin(figure: &Figure) -> f64 {
    let Some(target) = figure.target else {
        return f64::INFINITY;
    };
    let ratio = if figure.at_least {
        figure.value / target
    } else {
        target / figure.value
    };
    let margin = ratio.log2();
    if margin.is_nan() {
        f64::NEG_INFINITY
    } else {
        margin
    }
}

/// Towards the worse, so that no figure looks better than it is.
fn value(figure: &Figure) -> String {
    match figure.target {
        Some(_) if figure.at_least => short(figure.value, |value| (value + 1e-9).floor()),
        Some(_) => short(figure.value, |value| (value - 1e-9).ceil()),
        None => short(figure.value, f64::round),
    }
}

/// Three digits that matter.
fn short(value: f64, whole: impl Fn(f64) -> f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    // Nothing has no sign.
    let unit = 10_f64.powi(digits);
    let text = format!("{:.*}", digits as usize, whole(value * unit) / unit + 0.0);
    match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => text,
    }
}

fn target(figure: &Figure) -> String {
    let sign = if figure.at_least { '≥' } else { '≤' };
    figure.target.map_or_else(String::new, |target| {
        format!("{sign} {}", short(target, f64::round))
    })
}

/// The README's table, between two lines of [`MARK`].
///
/// # Errors
/// When the folder or a file of it cannot be read.
pub fn readme(folder: &Path) -> Result<String> {
    let mut text = format!("{MARK}\n| on what | measured (target) | command |\n|---|---|---|\n");
    for set in read(folder)? {
        let judged = set.judged();
        if judged.is_empty() {
            continue;
        }
        let n_short = judged.iter().filter(|figure| !figure.is_reached()).count();
        let shown = n_short.max(N_SHOWN).min(judged.len());
        let mut cell: Vec<String> = judged[..shown]
            .iter()
            .map(|figure| {
                let short = if figure.is_reached() {
                    ""
                } else {
                    ": falls short"
                };
                let value = value(figure);
                format!("{} **{value}** ({}){short}", figure.metric, target(figure))
            })
            .collect();
        let more = judged.len() - shown;
        if more > 0 {
            cell.push(format!("{more} more, all reached"));
        }
        let is_loss = |figure: &&Figure| LOSSES.contains(&figure.metric.as_str());
        let losses = set.figures.iter().filter(is_loss);
        cell.extend(losses.map(|figure| format!("{} **{}**", figure.metric, value(figure))));
        let (title, command) = (set.title(), &set.command);
        writeln!(text, "| {title} | {} | `{command}` |", cell.join("; ")).context("write")?;
    }
    text.push_str(MARK);
    Ok(text)
}

/// Every figure of every set.
///
/// # Errors
/// As [`readme`].
pub fn report(folder: &Path) -> Result<String> {
    let mut text = "# Accuracy\n\nWritten by `tests/evaluate report` from the JSON files beside it; nothing here is typed by hand.\n\n\
        ![Every figure with a target, in doublings from it](accuracy.svg)\n"
        .to_owned();
    for set in read(folder)? {
        let (name, title, command) = (&set.name, set.title(), &set.command);
        let commit = set.commit.get(..12).unwrap_or(&set.commit);
        write!(
            text,
            "\n## {name}\n\n{title}. `{command}`, commit {commit}.\n\n"
        )
        .context("write")?;
        text.push_str("| figure | value | target | | how |\n|---|---|---|---|---|\n");
        for figure in &set.figures {
            let verdict = match figure.target {
                None => "",
                Some(_) if figure.is_reached() => "reached",
                Some(_) => "falls short",
            };
            let range = figure.range.map_or_else(String::new, |(low, high)| {
                format!(" [{}, {}]", short(low, f64::floor), short(high, f64::ceil))
            });
            let (metric, value, target) = (&figure.metric, value(figure), target(figure));
            let how = figure.how.replace('|', "\\|");
            writeln!(
                text,
                "| {metric} | {value}{range} | {target} | {verdict} | {how} |"
            )
            .context("write")?;
        }
        for note in &set.notes {
            write!(text, "\n{note}\n").context("write")?;
        }
    }
    Ok(text)
}

/// Every figure with a target as a bar: how many doublings it is from its target, right of the line where it is reached.
///
/// # Errors
/// As [`readme`].
pub fn plot(folder: &Path) -> Result<String> {
    let mut bars = Vec::new();
    for set in read(folder)? {
        bars.extend(set.judged().into_iter().map(|figure| {
            let reach = margin(figure).clamp(-DOUBLINGS, DOUBLINGS);
            (
                format!("{}: {}", set.name, figure.metric),
                reach,
                figure.is_reached(),
            )
        }));
    }
    let height = (bars.len() + 2) * ROW;
    let width = NAMES as f64 + 2.0 * DOUBLINGS * DOUBLING;
    let middle = NAMES as f64 + DOUBLINGS * DOUBLING;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (n, (name, reach, is_reached)) in bars.iter().enumerate() {
        let y = (n + 1) * ROW;
        let wide = (reach.abs() * DOUBLING).max(2.0);
        let x = if *reach < 0.0 { middle - wide } else { middle };
        let colour = if *is_reached { "#2a7f4f" } else { "#c0392b" };
        let name = name.replace('&', "&amp;").replace('<', "&lt;");
        let (text_x, text_y, bar) = (NAMES - 8, y + 12, ROW - 4);
        writeln!(
            text,
            "<text x=\"{text_x}\" y=\"{text_y}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{x:.1}\" y=\"{y}\" width=\"{wide:.1}\" height=\"{bar}\" fill=\"{colour}\"/>"
        )
        .context("write")?;
    }
    writeln!(
        text,
        "<line x1=\"{middle}\" x2=\"{middle}\" y1=\"{ROW}\" y2=\"{height}\" stroke=\"black\"/>\
         <text x=\"{middle}\" y=\"12\" text-anchor=\"middle\">target</text>\
         <text x=\"{}\" y=\"12\" text-anchor=\"end\">better, each step a doubling</text>\n</svg>",
        width - 4.0
    )
    .context("write")?;
    Ok(text)
}

/// Writes report and plot into the folder, and the table into the README.
///
/// # Errors
/// A file cannot be read or written, or the README has not two lines of [`MARK`].
pub fn write(folder: &Path, readme_file: &Path) -> Result<()> {
    let put = |path: &Path, text: String| {
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
    };
    put(&folder.join("ACCURACY.md"), report(folder)?)?;
    put(&folder.join("accuracy.svg"), plot(folder)?)?;
    let text = std::fs::read_to_string(readme_file)
        .with_context(|| format!("read {}", readme_file.display()))?;
    let parts: Vec<&str> = text.split(MARK).collect();
    let [before, _, after] = parts.as_slice() else {
        anyhow::bail!("{} needs two lines of {MARK}", readme_file.display());
    };
    put(readme_file, format!("{before}{}{after}", readme(folder)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(figures: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            r#"{{"command":"tests/evaluate x","commit":"c","figures":[{figures}],"notes":[]}}"#
        );
        std::fs::write(folder.path().join("evaluate-x.json"), text).unwrap();
        readme(folder.path()).unwrap()
    }

    #[test]
    fn what_falls_short_is_told_first_and_the_rest_is_counted() {
        let figure = |name: &str, value: f64| {
            format!(
                r#"{{"metric":"{name}","value":{value},"how":"","target":0.5,"at_least":true}}"#
            )
        };
        let all = [
            ("a", 0.9),
            ("b", 0.499_99),
            ("c", 0.6),
            ("d", 0.7),
            ("e", 0.8),
        ];
        let text = told(&all.map(|(name, value)| figure(name, value)).join(","));
        let wanted = "b **0.499** (≥ 0.5): falls short; c **0.6** (≥ 0.5); d **0.7** (≥ 0.5); 2 more, all reached";
        assert!(text.contains(wanted), "{text}");
    }

    #[test]
    fn what_is_no_number_falls_short_and_what_has_no_target_is_not_told() {
        let text = told(r#"{"metric":"a","value":null,"how":"","target":1.0,"at_least":false}"#);
        assert!(text.contains("falls short"), "{text}");
        let text = told(r#"{"metric":"a","value":1.0,"how":"","at_least":false}"#);
        assert!(!text.contains("**"), "{text}");
    }
}
