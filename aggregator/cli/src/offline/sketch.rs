//! `hsw sketch eval`: how well a sketch of a given size answers, against exact counting of the same question. (step 15)
//!
//! In: one key a line, with `--timed` after a time and a blank, tab or comma. Out: mean absolute error and recall of the
//! hundred heaviest for each twentieth of the ticks. The question: `cms`, `ada-cell`, `hokusai`: how often an item came in
//! a tick, asked at the end about every item and tick that occurred; `ada-decayed`: the decayed count, `lossy`: the count
//! so far, both asked at the end of each twentieth about every item that has come. Cells have four bytes in all tables.
//! Memory: 16 bytes a line and the distinct keys.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use hsw_sketch::{
    AdaParams, AdaptiveLossyCounting, CellSketch, CountMin, DecayedSketch, ItemAggregation, Shape,
    Weighting, cell_key,
};
use hsw_types::fnv1a_64;
use serde_json::{Value, json};

use super::input::Input;

/// Parts of the answer.
const N_PARTS: usize = 20;
/// Recall is asked for so many.
const N_TOP: usize = 100;
const SEED: u64 = 0x6873_775f_6576_616c;
/// A map's entry of 16 bytes in a B-tree that is two thirds full.
const LOSSY_ENTRY_BYTES: usize = 24;

/// What to do with sketches.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Feeds a stream of keys to a sketch and compares its answers with exact counts.
    Eval(Options),
}

/// The evaluation.
#[derive(Debug, Args)]
pub struct Options {
    /// One key a line; plain, .gz or .zst; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub keys: PathBuf,
    /// Which sketch.
    #[arg(long, value_enum)]
    pub kind: Kind,
    /// Its size.
    #[arg(long, value_name = "N")]
    pub bytes: usize,
    /// Ticks that the stream is divided into: equal numbers of lines, or equal spans of time with --timed.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(20..=1 << 20))]
    pub ticks: u64,
    /// Each line begins with a number, its time, which a blank, a tab or a comma ends.
    #[arg(long)]
    pub timed: bool,
    /// How many times plain count-min's error an adaptive sketch may have on the oldest tick.
    #[arg(long, value_name = "FACTOR", default_value_t = 100.0)]
    pub gamma: f64,
    /// Rows of a table; `hokusai` takes so many or fewer, whichever fill the size best.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub depth: u32,
}

/// A sketch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Count-min over items and ticks.
    Cms,
    /// Time-adaptive count-min over items and ticks.
    AdaCell,
    /// Time-adaptive count-min with decayed counts.
    AdaDecayed,
    /// Hokusai's item aggregation: a table a tick, narrower with age.
    Hokusai,
    /// Lossy counting.
    Lossy,
}

/// A key at a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    tick: u64,
    key: u64,
}

/// What was asked: truth and estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Answer {
    truth: f64,
    estimate: f64,
}

/// Runs it.
///
/// # Errors
/// The file cannot be read, holds fewer lines than ticks or a line without a time, the size is too small, or standard
/// output is gone.
pub fn run(command: &Command, is_json: bool) -> anyhow::Result<()> {
    let Command::Eval(options) = command;
    let mut events = read(options)?;
    let answers = match options.kind {
        Kind::Cms | Kind::AdaCell | Kind::Hokusai => cells(options, &mut events)?,
        Kind::AdaDecayed | Kind::Lossy => totals(options, &events)?,
    };
    let twentieths: Vec<Value> = answers.parts.into_iter().map(twentieth).collect();
    let kind = options.kind.to_possible_value();
    let kind = kind.as_ref().map_or("", |kind| kind.get_name());
    let mut out = std::io::stdout().lock();
    if is_json {
        let whole = json!({
            "kind": kind,
            "bytes": options.bytes,
            "bytes_used": answers.bytes_used,
            "ticks": options.ticks,
            "rows": events.len(),
            "twentieths": twentieths,
        });
        return writeln!(out, "{whole}").context("write to standard output");
    }
    let mut text = format!(
        "{kind}: {} of {} bytes\n",
        answers.bytes_used, options.bytes
    );
    for (i, part) in twentieths.iter().enumerate() {
        let number = |name: &str| part[name].as_f64().unwrap_or(f64::NAN);
        text += &format!(
            "{:>3}  mean absolute error {:>12.4}  recall of {N_TOP} {:.2}\n",
            i + 1,
            number("mae"),
            number("recall_100")
        );
    }
    out.write_all(text.as_bytes())
        .context("write to standard output")
}

/// All lines, by tick.
fn read(options: &Options) -> anyhow::Result<Vec<Event>> {
    let name = options.keys.display();
    let mut times: Vec<f64> = Vec::new();
    let mut events: Vec<Event> = Vec::new();
    let mut n = 0_u64;
    Input::open(&options.keys)?.each_line(|line| {
        n += 1;
        if line.is_empty() {
            return Ok(());
        }
        let mut key = line;
        if options.timed {
            let (time, rest) = timed(line).with_context(|| {
                format!("{name}, line {n}: write a number, a blank and a key, or leave out --timed")
            })?;
            times.push(time);
            key = rest;
        }
        events.push(Event {
            tick: 0,
            key: fnv1a_64(key),
        });
        Ok(())
    })?;
    let n = events.len();
    anyhow::ensure!(
        n as u64 >= options.ticks,
        "{name} holds {n} keys: give fewer --ticks or more keys"
    );
    let n_ticks = options.ticks;
    if options.timed {
        let first = times.iter().copied().fold(f64::INFINITY, f64::min);
        let last = times.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for (event, time) in events.iter_mut().zip(times) {
            let share = (time - first) / (last - first).max(f64::MIN_POSITIVE);
            event.tick = ((share * n_ticks as f64) as u64).min(n_ticks - 1);
        }
        events.sort_by_key(|event| event.tick);
    } else {
        for (i, event) in events.iter_mut().enumerate() {
            event.tick = (i as u128 * u128::from(n_ticks) / n as u128) as u64;
        }
    }
    Ok(events)
}

fn timed(line: &[u8]) -> Option<(f64, &[u8])> {
    let end = line.iter().position(|byte| b" \t,".contains(byte))?;
    let time: f64 = std::str::from_utf8(&line[..end]).ok()?.parse().ok()?;
    time.is_finite().then_some((time, &line[end + 1..]))
}

/// What each twentieth answered, and the size that was used.
struct Answers {
    parts: Vec<Vec<Answer>>,
    bytes_used: usize,
}

impl Answers {
    fn new() -> Self {
        Self {
            parts: vec![Vec::new(); N_PARTS],
            bytes_used: 0,
        }
    }
}

fn part_of(tick: u64, n_ticks: u64) -> usize {
    (u128::from(tick) * N_PARTS as u128 / u128::from(n_ticks)) as usize
}

/// The count of an item in a tick, asked when all is counted.
fn cells(options: &Options, events: &mut [Event]) -> anyhow::Result<Answers> {
    let n_ticks = options.ticks;
    let shape =
        Shape::for_bytes(options.bytes, 4, options.depth, SEED).context("--bytes is too small")?;
    let mut answers = Answers::new();
    let ask: Box<dyn Fn(Event) -> f64> = match options.kind {
        Kind::AdaCell => {
            let weighting = growth(options)?;
            let mut sketch = CellSketch::<f32>::new(shape, weighting, 0)?;
            events
                .iter()
                .for_each(|event| sketch.add(event.key, event.tick, 1.0));
            answers.bytes_used = sketch.bytes();
            Box::new(move |event| sketch.estimate_whole(event.key, event.tick))
        }
        Kind::Hokusai => {
            let mut sketch = hokusai(options)?;
            for event in events.iter() {
                while sketch.tick() < event.tick {
                    sketch.turn();
                }
                sketch.add(event.key, 1);
            }
            answers.bytes_used = sketch.bytes();
            Box::new(move |event| f64::from(sketch.estimate(event.key, event.tick).unwrap_or(0)))
        }
        _ => {
            let mut sketch = CountMin::<u32>::new(shape);
            events
                .iter()
                .for_each(|event| sketch.add(cell_key(event.key, event.tick), 1));
            answers.bytes_used = sketch.bytes();
            Box::new(move |event| f64::from(sketch.estimate(cell_key(event.key, event.tick))))
        }
    };
    events.sort_unstable();
    for run in events.chunk_by(|a, b| a == b) {
        let answer = Answer {
            truth: run.len() as f64,
            estimate: ask(run[0]),
        };
        answers.parts[part_of(run[0].tick, n_ticks)].push(answer);
    }
    Ok(answers)
}

/// Of as many rows as asked for down to half as many those that fill the size best: powers of two would otherwise waste up to half of it.
fn hokusai(options: &Options) -> anyhow::Result<ItemAggregation<u32>> {
    let of = |depth| ItemAggregation::for_bytes(options.bytes, depth, SEED, options.ticks as usize);
    let fitting = (options.depth.div_ceil(2)..=options.depth).filter_map(|depth| of(depth).ok());
    fitting
        .max_by_key(ItemAggregation::bytes_max)
        .context("--bytes is too small for so many --ticks")
}

fn growth(options: &Options) -> anyhow::Result<Weighting> {
    let params = AdaParams::solve(options.ticks, options.gamma).context("--gamma is at least 1")?;
    Ok(params.weighting())
}

/// The decayed count, or the count so far, asked at the end of each twentieth.
fn totals(options: &Options, events: &[Event]) -> anyhow::Result<Answers> {
    let mut answers = Answers::new();
    let weighting = match options.kind {
        Kind::Lossy => Weighting::Constant,
        _ => growth(options)?,
    };
    let mut sketch = Totals::new(options, weighting)?;
    answers.bytes_used = sketch.bytes();
    let mut numbers: HashMap<u64, usize> = HashMap::new();
    // By first appearance: key and exact count, decayed up to the tick it last came in.
    let mut exact: Vec<(u64, f64, u64)> = Vec::new();
    let decay = |ticks: u64| match weighting {
        Weighting::Exponential { log2_growth } => (-log2_growth * ticks as f64).exp2(),
        _ => 1.0,
    };
    for part in
        events.chunk_by(|a, b| part_of(a.tick, options.ticks) == part_of(b.tick, options.ticks))
    {
        for event in part {
            sketch.add(*event);
            let number = *numbers.entry(event.key).or_insert(exact.len());
            if number == exact.len() {
                exact.push((event.key, 0.0, event.tick));
            }
            let (_, count, tick) = &mut exact[number];
            *count = *count * decay(event.tick - *tick) + 1.0;
            *tick = event.tick;
        }
        let now = part[part.len() - 1].tick;
        answers.parts[part_of(now, options.ticks)] = exact
            .iter()
            .map(|(key, count, tick)| Answer {
                truth: count * decay(now - tick),
                estimate: sketch.estimate(*key, now),
            })
            .collect();
    }
    Ok(answers)
}

/// A sketch that answers for all time.
enum Totals {
    Decayed(DecayedSketch<f32>),
    Lossy {
        counts: AdaptiveLossyCounting,
        bytes: usize,
    },
}

impl Totals {
    fn new(options: &Options, weighting: Weighting) -> anyhow::Result<Self> {
        if options.kind == Kind::Lossy {
            let n = (options.bytes / LOSSY_ENTRY_BYTES).max(1);
            // On skewed streams it needs up to twice as many entries as 1/ε.
            let epsilon = (2.0 / n as f64).min(0.5);
            let counts = AdaptiveLossyCounting::new(epsilon, n, weighting, 0)?;
            return Ok(Self::Lossy {
                counts,
                bytes: n * LOSSY_ENTRY_BYTES,
            });
        }
        let shape = Shape::for_bytes(options.bytes, 4, options.depth, SEED)
            .context("--bytes is too small")?;
        Ok(Self::Decayed(DecayedSketch::new(shape, weighting, 0)?))
    }

    fn add(&mut self, event: Event) {
        match self {
            Self::Decayed(sketch) => sketch.add(event.key, event.tick, 1.0),
            Self::Lossy { counts, .. } => counts.add(event.key, event.tick, 1.0),
        }
    }

    fn estimate(&self, key: u64, now: u64) -> f64 {
        match self {
            Self::Decayed(sketch) => sketch.estimate(key, now),
            Self::Lossy { counts, .. } => counts.estimate(key, now),
        }
    }

    const fn bytes(&self) -> usize {
        match self {
            Self::Decayed(sketch) => sketch.bytes(),
            Self::Lossy { bytes, .. } => *bytes,
        }
    }
}

/// Mean absolute error, and how many of the heaviest by truth are among as many heaviest by estimate; ties by order.
fn twentieth(answers: Vec<Answer>) -> Value {
    let n = answers.len();
    if n == 0 {
        return json!({ "n": 0, "mae": null, "recall_100": null });
    }
    let error: f64 = answers.iter().map(|a| (a.estimate - a.truth).abs()).sum();
    let heaviest = |of: fn(&Answer) -> f64| {
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|a, b| of(&answers[*b]).total_cmp(&of(&answers[*a])).then(a.cmp(b)));
        order.truncate(N_TOP);
        order.sort_unstable();
        order
    };
    let (truth, estimate) = (heaviest(|a| a.truth), heaviest(|a| a.estimate));
    let n_found = truth
        .iter()
        .filter(|i| estimate.binary_search(i).is_ok())
        .count();
    json!({
        "n": n,
        "mae": error / n as f64,
        "recall_100": n_found as f64 / truth.len() as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(kind: Kind, bytes: usize) -> Options {
        Options {
            keys: PathBuf::new(),
            kind,
            bytes,
            ticks: 40,
            timed: false,
            gamma: 10.0,
            depth: 4,
        }
    }

    /// Forty ticks of ten items, item i coming i + 1 times.
    fn events() -> Vec<Event> {
        let tick =
            |tick| (0..10_u64).flat_map(move |i| (0..=i).map(move |_| Event { tick, key: i }));
        (0..40).flat_map(tick).collect()
    }

    #[test]
    fn with_room_for_all_every_kind_answers_its_question_exactly() {
        for kind in [Kind::Cms, Kind::AdaCell, Kind::Hokusai] {
            let answers = cells(&options(kind, 1 << 22), &mut events()).unwrap();
            assert!(answers.bytes_used <= 1 << 22);
            for part in answers.parts {
                assert_eq!(part.len(), 20, "{kind:?}");
                assert!(part.iter().all(|a| a.truth == a.estimate), "{kind:?}");
            }
        }
        for kind in [Kind::AdaDecayed, Kind::Lossy] {
            let answers = totals(&options(kind, 1 << 22), &events()).unwrap();
            for part in answers.parts {
                assert_eq!(part.len(), 10, "{kind:?}");
                assert!(
                    part.iter()
                        .all(|a| (a.truth - a.estimate).abs() < 1e-4 * a.truth),
                    "{kind:?}"
                );
            }
        }
    }

    #[test]
    fn too_little_room_is_an_error_with_the_option_named() {
        for kind in [Kind::Cms, Kind::AdaCell, Kind::Hokusai] {
            let error = cells(&options(kind, 4), &mut events()).err().unwrap();
            assert!(error.to_string().contains("--bytes"), "{error}");
        }
    }

    #[test]
    fn errors_and_recall_are_over_what_was_asked() {
        let answers = [(5.0, 5.0), (4.0, 8.0)].map(|(truth, estimate)| Answer { truth, estimate });
        let part = twentieth(answers.to_vec());
        assert_eq!(
            (part["mae"].as_f64(), part["recall_100"].as_f64()),
            (Some(2.0), Some(1.0))
        );
        let many: Vec<Answer> = (0..200)
            .map(|i| Answer {
                truth: f64::from(i),
                estimate: f64::from(i % 150),
            })
            .collect();
        assert_eq!(twentieth(many)["recall_100"], 0.5);
        assert!(twentieth(Vec::new())["mae"].is_null());
    }

    #[test]
    fn a_time_ends_at_a_blank_a_tab_or_a_comma() {
        assert_eq!(timed(b"1.5 a b"), Some((1.5, &b"a b"[..])));
        assert_eq!(timed(b"-3,x"), Some((-3.0, &b"x"[..])));
        assert_eq!(timed(b"7\t"), Some((7.0, &b""[..])));
        assert_eq!(timed(b"x 1"), None);
        assert_eq!(timed(b"12"), None);
        assert_eq!(timed(b"nan 1"), None);
    }
}
