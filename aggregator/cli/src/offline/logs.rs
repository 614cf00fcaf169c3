//! Log files as records: the format given or told from the first lines, then the agent's own assembler. (step 15)

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::Args;
use hsw_pipeline::{Assembler, AssemblerCounters, LogFormat, LogRecord, TimeDefaults, detect};
use hsw_types::WallTime;

use super::input::Input;

/// Lines and bytes the format is told from.
const SAMPLE_LINES: usize = 50;
const SAMPLE_BYTES: usize = 1024 * 1024;

/// Which log files, and how to read them.
#[derive(Debug, Args)]
pub struct Logs {
    /// Log files, plain, .gz or .zst; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How they are written: auto, jsonlog, csvlog, stderr, mysql-error, mysql-slow, mongodb, mongodb-text, redis, plain.
    #[arg(long, default_value = "auto", value_name = "NAME", value_parser = known_format)]
    pub format: String,
    /// PostgreSQL's log_line_prefix of stderr logs; with `auto`, usual ones are tried.
    #[arg(long, value_name = "PREFIX")]
    pub line_prefix: Option<String>,
    /// Hours east of Greenwich of times without a zone, or with one that could be several (IST), e.g. 2 or -3.5.
    #[arg(long, default_value_t = 0.0, value_name = "HOURS", allow_negative_numbers = true, value_parser = offset)]
    pub utc_offset: f64,
}

/// What was read of one file.
#[derive(Debug, Clone)]
pub struct Read {
    /// The file as it was named.
    pub file: String,
    /// The format it was read as.
    pub format: LogFormat,
    /// What was odd.
    pub counters: AssemblerCounters,
    /// Lines that are in a record; with those outside, all lines.
    pub lines_in_records: u64,
    /// Lines longer than the limit.
    pub n_cut: u64,
}

fn known_format(name: &str) -> Result<String, String> {
    if name == "auto" || LogFormat::names().contains(&name) {
        return Ok(name.to_owned());
    }
    Err(format!(
        "use auto or one of {}",
        LogFormat::names().join(", ")
    ))
}

fn offset(text: &str) -> Result<f64, String> {
    let hours: f64 = text
        .parse()
        .map_err(|_| "use a number of hours".to_owned())?;
    if (-24.0..=24.0).contains(&hours) {
        Ok(hours)
    } else {
        Err("use -24 to 24 hours".to_owned())
    }
}

impl Logs {
    /// Hands out each record of a file in order, with its format.
    ///
    /// # Errors
    /// The file cannot be read, or `take` failed.
    pub fn each_record(
        &self,
        path: &Path,
        mut take: impl FnMut(&LogFormat, &LogRecord) -> anyhow::Result<()>,
    ) -> anyhow::Result<Read> {
        let mut input = Input::open(path)?;
        let mut lines_in_records = 0;
        let mut take = |format: &LogFormat, record: &LogRecord| {
            lines_in_records += record.n_lines;
            take(format, record)
        };
        let defaults = TimeDefaults {
            utc_offset_s: Some((self.utc_offset * 3_600.0) as i64),
            not_after: Some(written(path)),
        };
        let mut reader = Reader {
            logs: self,
            defaults,
            name: path
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            sample: Vec::new(),
            n_sample: 0,
            open: None,
        };
        let context = || format!("read {}", path.display());
        input
            .each_line(|line| reader.line(line, &mut take))
            .with_context(context)?;
        let (format, counters) = reader.finish(&mut take)?;
        Ok(Read {
            file: path.display().to_string(),
            format,
            counters,
            lines_in_records,
            n_cut: input.n_cut(),
        })
    }
}

/// When the file was last written: no line in it is younger. Standard input: now.
fn written(path: &Path) -> WallTime {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    let since = modified
        .unwrap_or_else(|_| SystemTime::now())
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    WallTime(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

struct Reader<'a> {
    logs: &'a Logs,
    defaults: TimeDefaults,
    name: String,
    /// The first lines, until there are enough to tell the format.
    sample: Vec<Vec<u8>>,
    n_sample: usize,
    open: Option<(LogFormat, Assembler)>,
}

impl Reader<'_> {
    fn line(
        &mut self,
        line: &[u8],
        take: &mut impl FnMut(&LogFormat, &LogRecord) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if let Some(open) = &mut self.open {
            return feed(open, Some(line), take);
        }
        self.n_sample += line.len();
        self.sample.push(line.to_vec());
        if self.sample.len() >= SAMPLE_LINES || self.n_sample >= SAMPLE_BYTES {
            self.begin(take)?;
        }
        Ok(())
    }

    /// Decides on the format and plays the lines kept for it.
    fn begin(
        &mut self,
        take: &mut impl FnMut(&LogFormat, &LogRecord) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let prefix = self.logs.line_prefix.as_deref();
        let named = LogFormat::named(&self.logs.format, prefix);
        let format = named.unwrap_or_else(|| {
            let lines: Vec<&[u8]> = self.sample.iter().map(Vec::as_slice).collect();
            match detect(&lines, &self.name) {
                LogFormat::Stderr(_) | LogFormat::Plain if prefix.is_some() => {
                    LogFormat::named("stderr", prefix).unwrap_or(LogFormat::Plain)
                }
                found => found,
            }
        });
        let assembler = Assembler::with_defaults(format.clone(), self.defaults);
        let open = self.open.insert((format, assembler));
        for line in std::mem::take(&mut self.sample) {
            feed(open, Some(&line), take)?;
        }
        Ok(())
    }

    fn finish(
        mut self,
        take: &mut impl FnMut(&LogFormat, &LogRecord) -> anyhow::Result<()>,
    ) -> anyhow::Result<(LogFormat, AssemblerCounters)> {
        if self.open.is_none() {
            self.begin(take)?;
        }
        let Some(mut open) = self.open else {
            anyhow::bail!("no format was chosen");
        };
        feed(&mut open, None, take)?;
        Ok((open.0, open.1.counters()))
    }
}

/// One line, or the end.
fn feed(
    open: &mut (LogFormat, Assembler),
    line: Option<&[u8]>,
    take: &mut impl FnMut(&LogFormat, &LogRecord) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (format, assembler) = open;
    let mut failed = Ok(());
    let mut emit = |record: &LogRecord| {
        if failed.is_ok() {
            failed = take(format, record);
        }
    };
    match line {
        // Where a line begins matters only to who wants to come back to it.
        Some(line) => assembler.line(0, line, &mut emit),
        None => assembler.flush(&mut emit),
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(format: &str, line_prefix: Option<&str>) -> Logs {
        Logs {
            files: Vec::new(),
            format: format.to_owned(),
            line_prefix: line_prefix.map(str::to_owned),
            utc_offset: 1.0,
        }
    }

    fn read(name: &str, text: &str, logs: &Logs) -> (Read, Vec<LogRecord>) {
        let path = std::env::temp_dir().join(format!("hsw-logs-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let mut records = Vec::new();
        let read = logs.each_record(&path, |_, record| {
            records.push(record.clone());
            Ok(())
        });
        std::fs::remove_file(&path).unwrap();
        (read.unwrap(), records)
    }

    #[test]
    fn the_format_is_told_from_the_first_lines_and_no_line_is_lost() {
        let text: String = (0..200)
            .map(|i| format!("2026-11-20 17:50:{:02} 0 [Note] x\nmore\n\n", i % 60))
            .collect();
        let (read, records) = read("auto", &text, &logs("auto", None));
        assert_eq!((read.format.name(), records.len()), ("mysql-error", 200));
        assert_eq!(read.counters.lines, 600);
        assert_eq!(read.lines_in_records + read.counters.lines_outside, 600);
        // An hour east of Greenwich.
        assert_eq!(
            records[0].at.unwrap().to_rfc3339(),
            "2026-11-20T16:50:00.000Z"
        );
    }

    #[test]
    fn a_format_or_prefix_that_is_given_is_taken() {
        let text = "app|shop LOG:  x\n\tmore\n";
        let (read_, records) = read("prefix", text, &logs("auto", Some("%u|%d ")));
        assert_eq!(
            (read_.format.name(), records[0].user.as_str()),
            ("stderr", "app")
        );
        let (read_, records) = read("plain", text, &logs("plain", None));
        assert_eq!((read_.format.name(), records.len()), ("plain", 1));
        let (empty, records) = read("empty", "", &logs("auto", None));
        assert_eq!((empty.counters.lines, records.len()), (0, 0));
        assert!(known_format("oracle").is_err_and(|why| why.contains("mysql-slow")));
    }
}
