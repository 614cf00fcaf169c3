//! Recordings of simulated clusters, and of what an aggregator's store holds.
//!
//! In: a scenario; or lines `node|received_us|payload in hex`, as `sqlite3 hypershardwatch.db "SELECT n.name, s.received_us,
//! hex(s.payload) FROM summary s JOIN node n ON n.id = s.node ORDER BY s.id"` prints them. Out: a recording.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use anyhow::{Context, ensure};
use hsw_engine::{Config, ShardMap};
use hsw_recording::{Entry, Header, Writer};
use hsw_simulator::{Simulation, Truth};
use hsw_types::{Monotonic, NodeFacts, NodeId, SeriesDef, SeriesId, ShardSummary, WallTime};
use serde_json::{Value, json};

/// Plays a simulation into a recording.
///
/// # Errors
/// When it cannot be written.
pub fn simulated<W: Write>(simulation: &mut Simulation, seconds: u32, out: W) -> anyhow::Result<W> {
    let map = crate::map(simulation)?;
    let header = Header::new(
        env!("CARGO_PKG_VERSION"),
        "simulated",
        Config::default(),
        &map,
    );
    let mut writer = Writer::new(out, &header)?;
    let mut wrong = None;
    let mut last = Monotonic::default();
    crate::play(simulation, seconds, &mut |now, input| {
        last = now;
        if let Some(entry) = Entry::of(&input)
            && let Err(error) = writer.push(now, &entry)
        {
            wrong.get_or_insert(error);
        }
    })?;
    match wrong {
        Some(error) => Err(error.into()),
        None => Ok(writer.finish(last, 0)?),
    }
}

/// What was really wrong, as JSON.
#[must_use]
pub fn truth(all: &[Truth]) -> Value {
    let one = |truth: &Truth| {
        json!({
            "shard": truth.shard,
            "node": truth.node.as_str(),
            "kind": truth.fault.name(),
            "from": truth.from,
            "to": truth.until,
            "severity": truth.severity,
        })
    };
    Value::Array(all.iter().map(one).collect())
}

/// Names and facts a node has told before the recorded span.
#[derive(Default)]
struct Known {
    epoch: u64,
    names: BTreeMap<SeriesId, SeriesDef>,
    facts: Option<NodeFacts>,
    is_told: bool,
}

impl Known {
    /// Hears a summary; the first one of the span is completed by what was told before.
    fn hear(&mut self, summary: &mut ShardSummary, is_within: bool) {
        if summary.dictionary_epoch != self.epoch {
            self.epoch = summary.dictionary_epoch;
            self.names.clear();
        }
        let own = summary.dictionary.iter().map(|def| (def.id, def.clone()));
        self.names.extend(own);
        self.facts = summary.facts.clone().or_else(|| self.facts.take());
        if is_within && !self.is_told {
            self.is_told = true;
            summary.dictionary = self.names.values().cloned().collect();
            summary.facts.clone_from(&self.facts);
        }
    }
}

/// Summaries received from one moment to another (Unix seconds) into a recording of a cluster whose nodes say their shards.
/// The clock ticks at each second, as it does where nothing stops it.
///
/// # Errors
/// When a line is none, or nothing was received in that time.
pub fn stored<W: Write>(
    lines: impl BufRead,
    (from, until): (i64, i64),
    out: W,
) -> anyhow::Result<W> {
    let map = ShardMap::new(Vec::new(), true)?;
    let header = Header::new(env!("CARGO_PKG_VERSION"), "main", Config::default(), &map);
    let mut writer = Writer::new(out, &header)?;
    let mut known: BTreeMap<NodeId, Known> = BTreeMap::new();
    let mut second = from;
    let now = |us: i64| Monotonic(u64::try_from(us - from * 1_000_000).unwrap_or(0));
    let wall = WallTime::from_unix_seconds(from);
    writer.push(Monotonic(0), &Entry::ReplayDone { wall })?;
    let mut n = 0;
    for (number, line) in lines.lines().enumerate() {
        let line = line.context("read the lines")?;
        let (node, received, mut summary) =
            parse(&line).with_context(|| format!("line {}", number + 1))?;
        let is_within = (from * 1_000_000..until * 1_000_000).contains(&received);
        known
            .entry(node.clone())
            .or_default()
            .hear(&mut summary, is_within);
        if !is_within {
            continue;
        }
        n += 1;
        while second * 1_000_000 < received {
            let wall = WallTime::from_unix_seconds(second);
            writer.push(now(wall.0), &Entry::Clock { wall })?;
            second += 1;
        }
        let entry = Entry::Summary {
            node,
            received: WallTime(received),
            is_replay: false,
            summary: Box::new(summary),
        };
        writer.push(now(received), &entry)?;
    }
    ensure!(n > 0, "nothing was received from {from} to {until}");
    let wall = WallTime::from_unix_seconds(second.max(until));
    writer.push(now(wall.0), &Entry::Clock { wall })?;
    Ok(writer.finish(now(wall.0), 0)?)
}

fn parse(line: &str) -> anyhow::Result<(NodeId, i64, ShardSummary)> {
    let mut parts = line.split('|');
    let mut part = || parts.next().context("three parts, with | between them");
    let (node, received, hex) = (part()?, part()?, part()?);
    let byte = |at: usize| {
        hex.get(at..at + 2)
            .and_then(|two| u8::from_str_radix(two, 16).ok())
    };
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
    let bytes = bytes.context("the payload is not in hex")?;
    Ok((
        NodeId::new(node)?,
        received.parse()?,
        hsw_wire::decode_summary(&bytes)?,
    ))
}
