//! Logs and spans as CSV, for root causes. (step 15)
//!
//! In: files with a header; columns by name, others are passed over. Out: counts of templates, which the agent's miner finds in
//! all lines of both files together, and spans. Rows before the trouble are normal where no baseline is given.
//! Limits: [`BYTES_MAX`] of text, [`ROWS_MAX`] rows a file; the miner's own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use hsw_pipeline::mine::{Config, Event, Miner, TemplateNumber};
use hsw_pipeline::{Severity, plain_severity};
use hsw_rca::{Count, Span, Spans};
use hsw_types::fnv1a_64;

use crate::offline::input::Input;
use crate::offline::table::{BYTES_MAX, Records};

/// Most rows of one file: 4 Mi, under 300 MB.
const ROWS_MAX: usize = 1 << 22;

/// Counts of templates by service, in normal and abnormal time.
pub(super) fn lines(
    path: &Path,
    baseline: Option<&Path>,
    since: Option<f64>,
) -> anyhow::Result<Vec<Count>> {
    let mut miner = Miner::new(Config::default());
    let mut merged: BTreeMap<u32, u32> = BTreeMap::new();
    // By service, template and whether it is an error: normal and abnormal lines.
    let mut counts: BTreeMap<(String, u32, bool), [u64; 2]> = BTreeMap::new();
    let mut totals: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    let names = ["service", "message"];
    each(
        path,
        baseline,
        since,
        names,
        "time_unix_ns",
        |[service, message], is_normal| {
            let severity = plain_severity(message);
            let number = miner.observe_of(severity as u8, message);
            for event in miner.take_events() {
                if let Event::Merged { from, to } = event {
                    merged.insert(from.0, to.0);
                }
            }
            let time = usize::from(!is_normal);
            let is_error = severity >= Severity::Error;
            counts
                .entry((service.to_owned(), number.0, is_error))
                .or_default()[time] += 1;
            totals.entry(service.to_owned()).or_default()[time] += 1;
            Ok(())
        },
    )?;
    let last = |mut number: u32| {
        while let Some(next) = merged.get(&number).filter(|next| **next != number) {
            number = *next;
        }
        TemplateNumber(number)
    };
    let mut by_text: BTreeMap<(String, String, bool), [u64; 2]> = BTreeMap::new();
    for ((entity, number, is_error), [normal, abnormal]) in counts {
        let text = miner.text(last(number)).unwrap_or_default();
        let count = by_text.entry((entity, text, is_error)).or_default();
        *count = [count[0] + normal, count[1] + abnormal];
    }
    let count =
        |((entity, text, is_error), [normal, abnormal]): ((String, String, bool), [u64; 2])| {
            let [of_normal, of_abnormal] = totals[&entity];
            Count {
                entity,
                what: format!("log: {text}"),
                is_error,
                normal,
                abnormal,
                of_normal,
                of_abnormal,
            }
        };
    Ok(by_text.into_iter().map(count).collect())
}

/// Spans in normal and abnormal time.
pub(super) fn spans(
    path: &Path,
    baseline: Option<&Path>,
    since: Option<f64>,
) -> anyhow::Result<Spans> {
    let mut spans = Spans::default();
    let (mut services, mut operations) = (BTreeMap::new(), BTreeMap::new());
    let names = [
        "service",
        "operation",
        "trace_id",
        "span_id",
        "parent_span_id",
        "start_unix_ns",
        "duration_us",
    ];
    each(
        path,
        baseline,
        since,
        names,
        "start_unix_ns",
        |cells, is_normal| {
            let number = |cell: &str| cell.trim().parse::<f64>().ok().filter(|n| n.is_finite());
            let start_ns = number(cells[5]).context("start_unix_ns is no number")?;
            let duration_us = number(cells[6]).context("duration_us is no number")?;
            let span = Span {
                start_us: start_ns / 1_000.0,
                duration_us: duration_us.max(0.0),
                service: intern(&mut services, &mut spans.services, cells[0]),
                operation: intern(&mut operations, &mut spans.operations, cells[1]),
                trace: fnv1a_64(cells[2].as_bytes()),
                id: fnv1a_64(cells[3].as_bytes()),
                parent: (!cells[4].is_empty()).then(|| fnv1a_64(cells[4].as_bytes())),
            };
            if is_normal {
                spans.normal.push(span);
            } else {
                spans.abnormal.push(span);
            }
            Ok(())
        },
    )?;
    Ok(spans)
}

fn intern(numbers: &mut BTreeMap<String, u32>, names: &mut Vec<String>, name: &str) -> u32 {
    if let Some(number) = numbers.get(name) {
        return *number;
    }
    let number = names.len() as u32;
    numbers.insert(name.to_owned(), number);
    names.push(name.to_owned());
    number
}

/// Hands out the named cells of each row, those of the baseline first, with whether it is normal time.
fn each<const N: usize>(
    path: &Path,
    baseline: Option<&Path>,
    since: Option<f64>,
    names: [&str; N],
    time: &str,
    mut take: impl FnMut([&str; N], bool) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if let Some(baseline) = baseline {
        each_row(baseline, names, |_, cells| take(cells, true))?;
        return each_row(path, names, |_, cells| take(cells, false));
    }
    let since = since.with_context(|| {
        let path = path.display();
        format!("{path}: nothing says what is normal: give its baseline, or a table with unix seconds and --at")
    })?;
    let at = |columns: &BTreeMap<String, usize>| columns.get(time).copied();
    each_row_with(path, names, at, |time, cells| {
        let time_ns = time.and_then(|time| time.trim().parse::<f64>().ok());
        take(cells, time_ns.context("a row without its time")? < since)
    })
}

fn each_row<const N: usize>(
    path: &Path,
    names: [&str; N],
    take: impl FnMut(Option<&str>, [&str; N]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    each_row_with(path, names, |_| None, take)
}

fn each_row_with<const N: usize>(
    path: &Path,
    names: [&str; N],
    extra: impl Fn(&BTreeMap<String, usize>) -> Option<usize>,
    mut take: impl FnMut(Option<&str>, [&str; N]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let name = path.display();
    let bytes = Input::open(path)?
        .text(BYTES_MAX)
        .with_context(|| format!("read {name}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut records = Records::new(&text);
    let mut cells: Vec<Cow<'_, str>> = Vec::new();
    ensure!(records.next(&mut cells)?, "{name}: no header");
    let columns: BTreeMap<String, usize> = cells
        .iter()
        .enumerate()
        .map(|(at, cell)| (cell.trim().to_owned(), at))
        .collect();
    let mut places = [0; N];
    for (place, wanted) in places.iter_mut().zip(names) {
        *place = *columns
            .get(wanted)
            .with_context(|| format!("{name}: no column `{wanted}`"))?;
    }
    let extra = extra(&columns);
    let mut n_rows = 0;
    while records.next(&mut cells)? {
        n_rows += 1;
        ensure!(
            n_rows <= ROWS_MAX,
            "{name}: more than {ROWS_MAX} rows: split it"
        );
        let cell = |at: usize| cells.get(at).map_or("", Cow::as_ref);
        take(extra.map(cell), places.map(cell))
            .with_context(|| format!("{name} line {}", records.line))?;
    }
    Ok(())
}
