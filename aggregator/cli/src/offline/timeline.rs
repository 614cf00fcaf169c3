//! `hsw timeline`: state changes of a cluster's nodes as CSV, oldest first. (step 15)
//!
//! The rules are the agent's ([`Timeline`]). Limits: `N_EVENTS_MAX` events; more are an error that says how to go on.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use hsw_pipeline::{Event, Timeline};

use super::input::Input;
use super::logs::Logs;

/// Events kept for sorting; some 100 bytes each.
const N_EVENTS_MAX: usize = 2_000_000;
/// Longest table of names.
const NODES_BYTES_MAX: u64 = 1024 * 1024;

/// The timeline command.
#[derive(Debug, Args)]
pub struct Options {
    /// The logs, one or more per node.
    #[command(flatten)]
    pub logs: Logs,
    /// CSV `file,node`: the names of the nodes; else what a log says of itself, else its file's name without ending.
    #[arg(long, value_name = "FILE")]
    pub nodes: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// A file cannot be read, or standard output is gone.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let names = match &options.nodes {
        Some(path) => nodes(path)?,
        None => BTreeMap::new(),
    };
    let mut all: Vec<(String, Event)> = Vec::new();
    for path in &options.logs.files {
        let (said, events) = of_file(&options.logs, path, N_EVENTS_MAX - all.len())?;
        let node = name_of(path, &names, &said);
        all.extend(events.into_iter().map(|event| (node.clone(), event)));
    }
    // Stable: what a log tells at one moment stays in its order.
    all.sort_by_key(|(_, event)| event.at);
    // Rotated files may overlap.
    all.dedup();
    let mut out = BufWriter::new(std::io::stdout().lock());
    writeln!(out, "time,node,kind,a,b")?;
    for (node, event) in &all {
        let kind = event.kind.as_str();
        let (node, a, b) = (quoted(node), quoted(&event.a), quoted(&event.b));
        writeln!(out, "{},{node},{kind},{a},{b}", time(event))?;
    }
    out.flush().context("write to standard output")
}

/// What the log calls its node, and what happened to it.
fn of_file(logs: &Logs, path: &Path, n_max: usize) -> anyhow::Result<(String, Vec<Event>)> {
    let mut timeline: Option<Timeline> = None;
    let mut events = Vec::new();
    logs.each_record(path, |format, record| {
        let timeline = timeline.get_or_insert_with(|| Timeline::new(format));
        timeline.record(record, &mut |event| events.push(event));
        anyhow::ensure!(
            events.len() <= n_max,
            "more than {N_EVENTS_MAX} events: give fewer files at a time"
        );
        Ok(())
    })?;
    let said = timeline.map_or_else(String::new, |timeline| timeline.name().to_owned());
    Ok((said, events))
}

fn name_of(path: &Path, names: &BTreeMap<String, String>, said: &str) -> String {
    let part =
        |text: Option<&std::ffi::OsStr>| text.map(|text| text.to_string_lossy().into_owned());
    let listed = names
        .get(&path.display().to_string())
        .or_else(|| names.get(&part(path.file_name())?));
    if let Some(node) = listed {
        return node.clone();
    }
    if !said.is_empty() {
        return said.to_owned();
    }
    // `db1.log.gz` is db1.
    let stem = part(path.file_name()).unwrap_or_default();
    stem.split('.')
        .find(|part| !part.is_empty())
        .unwrap_or("-")
        .to_owned()
}

/// `file,node` lines under a heading; names with commas are not expected and refused.
fn nodes(path: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let bytes = Input::open(path)?
        .text(NODES_BYTES_MAX)
        .with_context(|| format!("read {}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut names = BTreeMap::new();
    for (at, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || (at == 0 && line == "file,node") {
            continue;
        }
        let (file, node) = line
            .split_once(',')
            .filter(|(file, node)| !file.is_empty() && !node.is_empty() && !node.contains(','))
            .with_context(|| format!("{} line {}: write `file,node`", path.display(), at + 1))?;
        names.insert(file.trim().to_owned(), node.trim().to_owned());
    }
    Ok(names)
}

/// With microseconds: state changes of a cluster follow one another within less than a millisecond.
fn time(event: &Event) -> String {
    let written = event.at.to_rfc3339();
    let micros = event.at.0.rem_euclid(1_000_000);
    format!(
        "{}.{micros:06}Z",
        &written[..written.len().saturating_sub(5)]
    )
}

fn quoted(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if clean.contains([',', '"']) {
        return format!("\"{}\"", clean.replace('"', "\"\""));
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_the_table_then_by_its_log_then_by_its_file() {
        let names = BTreeMap::from([("a.log".to_owned(), "alpha".to_owned())]);
        assert_eq!(name_of(Path::new("/logs/a.log"), &names, "x"), "alpha");
        assert_eq!(name_of(Path::new("/logs/b.log"), &names, "x"), "x");
        assert_eq!(name_of(Path::new("/logs/db1.log.gz"), &names, ""), "db1");
    }

    #[test]
    fn times_keep_their_microseconds() {
        let event = Event {
            at: hsw_types::WallTime(1_795_197_048_000_123),
            kind: hsw_pipeline::EventKind::Start,
            a: String::new(),
            b: String::new(),
        };
        assert_eq!(time(&event), "2026-11-20T17:50:48.000123Z");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
