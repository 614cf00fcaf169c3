//! `hsw templates`: what kinds of lines a log holds. (step 15)
//!
//! In: lines. Out: one JSON object a line. Memory: the miner's bound; besides, four bytes a line where the final template
//! of every line is asked for (neither `--stream` nor `--summary`).

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use hsw_pipeline::mine::{Config, Event, Miner, TemplateNumber};
use hsw_types::fnv1a_64;
use serde_json::json;

use super::input::Input;

/// Mine templates from log files.
#[derive(Debug, Args)]
pub struct Options {
    /// Log files, plain, .gz or .zst; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print each line's template as it is known at that moment, without waiting for the end.
    #[arg(long, conflicts_with = "summary")]
    pub stream: bool,
    /// Print one object per template, the most frequent first.
    #[arg(long)]
    pub summary: bool,
    /// Templates kept apart at a time; beyond it the nearest are merged.
    #[arg(long, value_name = "N", default_value_t = Config::default().n_templates_max as u64,
          value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    pub max: u64,
}

/// Where a line lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    file: usize,
    line: u64,
}

/// What is known of a template beside its lines' number.
#[derive(Debug)]
struct Known {
    id: String,
    text: String,
    n_lines: u64,
    first: Place,
    last: Place,
}

/// The miner and what its numbers stand for.
struct Book {
    miner: Miner,
    known: HashMap<u32, Known>,
    /// By number: the one it was merged into, or itself. Kept only where final templates are asked for.
    merged_into: Option<Vec<u32>>,
}

impl Book {
    fn new(options: &Options) -> Self {
        let config = Config {
            n_templates_max: options.max as usize,
            ..Config::default()
        };
        Self {
            miner: Miner::new(config),
            known: HashMap::new(),
            merged_into: (!options.stream && !options.summary).then(Vec::new),
        }
    }

    fn take(&mut self, place: Place, line: &[u8]) -> u32 {
        let text = String::from_utf8_lossy(line);
        let number = self.miner.observe(&text);
        let events: Vec<Event> = self.miner.take_events().collect();
        for event in events {
            self.follow(event);
        }
        if !self.known.contains_key(&number.0) {
            self.known.insert(number.0, self.open(number, place));
            if let Some(all) = &mut self.merged_into {
                let n = all.len() as u32;
                all.extend(n..=number.0);
            }
        }
        if let Some(known) = self.known.get_mut(&number.0) {
            known.n_lines += 1;
            known.last = place;
        }
        number.0
    }

    fn follow(&mut self, event: Event) {
        match event {
            Event::Widened(number) => {
                let (id, text) = self.say(number);
                if let Some(known) = self.known.get_mut(&number.0) {
                    (known.id, known.text) = (id, text);
                }
            }
            Event::Merged { from, to } => {
                if let Some(all) = &mut self.merged_into
                    && let Some(one) = all.get_mut(from.0 as usize)
                {
                    *one = to.0;
                }
                let Some(gone) = self.known.remove(&from.0) else {
                    return;
                };
                if !self.known.contains_key(&to.0) {
                    self.known.insert(to.0, self.open(to, gone.first));
                }
                if let Some(kept) = self.known.get_mut(&to.0) {
                    kept.n_lines += gone.n_lines;
                    kept.first = kept.first.min(gone.first);
                    kept.last = kept.last.max(gone.last);
                }
            }
        }
    }

    fn open(&self, number: TemplateNumber, first: Place) -> Known {
        let (id, text) = self.say(number);
        Known {
            id,
            text,
            n_lines: 0,
            first,
            last: first,
        }
    }

    fn say(&self, number: TemplateNumber) -> (String, String) {
        let text = self.miner.text(number).unwrap_or_default();
        (format!("{:016x}", fnv1a_64(text.as_bytes())), text)
    }

    /// The number whose template a line has in the end.
    fn find(&self, mut number: u32) -> u32 {
        while let Some(&next) = self
            .merged_into
            .as_ref()
            .and_then(|all| all.get(number as usize))
        {
            if next == number {
                break;
            }
            number = next;
        }
        number
    }
}

/// Runs it.
///
/// # Errors
/// A file cannot be read, or standard output is gone.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut book = Book::new(options);
    let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    let mut lines: Vec<u32> = Vec::new();
    let mut n_lines = Vec::new();
    let mut failed = None;
    for (file, path) in options.files.iter().enumerate() {
        let mut input = Input::open(path)?;
        let mut line = 0;
        let name = path.display().to_string();
        let read = input.each_line(|bytes| {
            line += 1;
            let number = book.take(Place { file, line }, bytes);
            if options.stream {
                print(&mut out, &name, line, &book, number)?;
            } else if !options.summary {
                lines.push(number);
            }
            Ok(())
        });
        if let Err(error) = read {
            if options.stream {
                return Err(error);
            }
            // What was read is told all the same.
            failed.get_or_insert(error);
        }
        n_lines.push(line);
    }
    if options.summary {
        summary(&mut out, options, &book).context("write to standard output")?;
        return failed.map_or(Ok(()), Err);
    }
    let mut lines = lines.into_iter();
    for (path, n) in options.files.iter().zip(n_lines) {
        let name = path.display().to_string();
        for line in 1..=n {
            let Some(number) = lines.next() else { break };
            print(&mut out, &name, line, &book, book.find(number))?;
        }
    }
    out.flush().context("write to standard output")?;
    failed.map_or(Ok(()), Err)
}

fn print(
    out: &mut impl Write,
    file: &str,
    line: u64,
    book: &Book,
    number: u32,
) -> anyhow::Result<()> {
    let Some(known) = book.known.get(&number) else {
        return Ok(());
    };
    let object = json!({ "file": file, "line": line, "id": known.id, "template": known.text });
    writeln!(out, "{object}").context("write to standard output")
}

fn summary(out: &mut impl Write, options: &Options, book: &Book) -> io::Result<()> {
    let mut all: Vec<&Known> = book.known.values().collect();
    all.sort_by_key(|known| (std::cmp::Reverse(known.n_lines), known.first));
    let place = |place: Place| json!({ "file": options.files[place.file].display().to_string(), "line": place.line });
    for known in all {
        let object = json!({
            "id": known.id,
            "template": known.text,
            "count": known.n_lines,
            "first": place(known.first),
            "last": place(known.last),
        });
        writeln!(out, "{object}")?;
    }
    out.flush()
}
