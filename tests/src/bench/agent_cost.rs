//! `agent-cost` and `log-storm`: what one agent uses beside a database at work, and while a log floods.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::usage::rss_max_bytes;
use super::watched::Watched;
use super::{Args, Figure, Report};
use crate::testbed::Stop;

const MIB: f64 = 1_048_576.0;
/// The agent reports once a minute; wire figures lie between two reports.
const REPORT: Duration = Duration::from_secs(62);
const REPORT_S: f64 = 60.0;

/// Measures `agent-cost`.
pub(super) fn agent_cost(args: &Args, stop: &Stop) -> Result<Report> {
    let seconds = args.seconds.unwrap_or(600).max(125);
    let mut report = Report::new("agent-cost");
    let mut watched = Watched::start(args, stop)?;
    let _load = watched.modest_load()?;
    watched.agent_on()?;
    wait(stop, REPORT)?;
    let calm = phase(&watched, stop, Duration::from_secs(seconds), 0)?;
    let how = format!("{seconds} s at 1 Hz, 100 tables, load of 100 transactions/s");
    report.add(calm.agent_share("agent, % of one core", &how).at_most(1.0));
    report
        .add(Figure::new("agent, largest resident memory, MiB", calm.rss_mib, &how).at_most(30.0));
    report.add(Figure::new(
        "database back end of the agent, % of one core",
        calm.backend_percent,
        &how,
    ));
    report.add(Figure::new(
        "series",
        watched.n_series()?,
        "as the aggregator counts them",
    ));
    report.add(Figure::new(
        "statements in pg_stat_statements",
        watched.n_statements()?,
        "counted by the database",
    ));
    wire(&mut report, &watched.reports()?)?;

    let lined = phase(&watched, stop, Duration::from_secs(60), 1_000)?;
    let how = "60 s with 1,000 more log lines a second";
    report.add(
        lined
            .agent_share("agent at 1,000 log lines/s, % of one core", how)
            .at_most(1.0),
    );
    report.add(
        Figure::new(
            "agent at 1,000 log lines/s, largest memory, MiB",
            lined.rss_mib,
            how,
        )
        .at_most(30.0),
    );
    if calm.is_other_backend {
        report.note("the agent's database session changed during the measurement: its cost is a lower bound");
    }
    Ok(report)
}

/// Measures `log-storm`.
pub(super) fn log_storm(args: &Args, stop: &Stop) -> Result<Report> {
    let seconds = args.seconds.unwrap_or(60);
    let mut report = Report::new("log-storm");
    let mut watched = Watched::start(args, stop)?;
    let _load = watched.modest_load()?;
    watched.agent_on()?;
    wait(stop, Duration::from_secs(15))?;
    let storm = phase(&watched, stop, Duration::from_secs(seconds), 100_000)?;
    let how = format!("{seconds} s with 100,000 log lines a second");
    report.add(
        storm
            .agent_share("agent, % of one core", &how)
            .at_most(20.0),
    );
    report
        .add(Figure::new("agent, largest resident memory, MiB", storm.rss_mib, &how).at_most(64.0));
    report.add(Figure::new(
        "lines written per second",
        storm.lines_per_second,
        "by the benchmark",
    ));
    let after = phase(&watched, stop, Duration::from_secs(30), 0)?;
    report.add(after.agent_share(
        "agent after the storm, % of one core",
        "30 s after it, while it catches up",
    ));
    report.add(
        Figure::new(
            "agent after the storm, largest memory, MiB",
            after.rss_mib,
            "30 s after it",
        )
        .at_most(64.0),
    );
    Ok(report)
}

/// One phase's cost.
struct Phase {
    agent_percent: f64,
    backend_percent: f64,
    rss_mib: f64,
    lines_per_second: f64,
    is_other_backend: bool,
    /// Share of a core in each tenth of the phase.
    parts: Vec<f64>,
}

impl Phase {
    fn agent_share(&self, metric: &str, how: &str) -> Figure {
        let mut figure = Figure::of(metric, &self.parts, &format!("mean; {how}"));
        figure.value = self.agent_percent;
        figure.how = format!("mean over {how}; smallest and largest tenth of that time");
        figure
    }
}

fn phase(watched: &Watched, stop: &Stop, span: Duration, lines_per_second: u32) -> Result<Phase> {
    let mut storm = (lines_per_second > 0)
        .then(|| Storm::open(watched, lines_per_second))
        .transpose()?;
    let pid = watched.agent_pid()?;
    let (before, began) = (watched.cost()?, Instant::now());
    let mut parts = Vec::new();
    let (mut last_s, mut last_at) = (before.agent_s, began);
    for part in 1..=10 {
        let until = began + span * part / 10;
        while Instant::now() < until {
            if let Some(storm) = &mut storm {
                storm.write()?;
            }
            let left = until.saturating_duration_since(Instant::now());
            wait(
                stop,
                left.min(Duration::from_millis(if storm.is_some() {
                    20
                } else {
                    500
                })),
            )?;
        }
        let now_s = super::usage::cpu_seconds(pid).context("the agent is gone")?;
        parts.push(100.0 * (now_s - last_s) / last_at.elapsed().as_secs_f64());
        (last_s, last_at) = (now_s, Instant::now());
    }
    let (after, wall) = (watched.cost()?, began.elapsed().as_secs_f64());
    Ok(Phase {
        agent_percent: 100.0 * (after.agent_s - before.agent_s) / wall,
        backend_percent: 100.0 * (after.backend_s - before.backend_s) / wall,
        rss_mib: rss_max_bytes(pid).context("the agent is gone")? / MIB,
        lines_per_second: storm.map_or(0.0, |storm| storm.n_lines as f64 / wall),
        is_other_backend: before.backends != after.backends,
        parts,
    })
}

/// Wire figures between the agent's first report and its last.
fn wire(report: &mut Report, reports: &[Value]) -> Result<()> {
    let [first, .., last] = reports else {
        bail!(
            "the agent's log has {} reports, two are needed",
            reports.len()
        );
    };
    let grown = |key: &str| Some(last.get(key)?.as_f64()? - first.get(key)?.as_f64()?);
    let of = |key: &str| grown(key).with_context(|| format!("find {key} in the agent's reports"));
    let summaries = of("summaries")?;
    let span_s = (reports.len() - 1) as f64 * REPORT_S;
    let how = "between two of the agent's reports, UDP payload";
    report.add(Figure::new("sent, bytes/s", of("wire_bytes_sent")? / span_s, how).at_most(2_000.0));
    report.add(Figure::new(
        "received, bytes/s",
        of("wire_bytes_received")? / span_s,
        how,
    ));
    report.add(Figure::new(
        "bytes/summary",
        of("summary_bytes")? / summaries,
        "mean, with repeated names",
    ));
    Ok(())
}

/// Writes PostgreSQL's JSON log lines at a pace.
struct Storm {
    file: File,
    per_second: f64,
    began: Instant,
    n_lines: u64,
    text: String,
}

impl Storm {
    fn open(watched: &Watched, per_second: u32) -> Result<Self> {
        let path = watched.storm_dir().join(format!("storm-{per_second}.json"));
        let file = File::create(&path).with_context(|| format!("make {}", path.display()))?;
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&path, readable).context("let the agent read it")?;
        Ok(Self {
            file,
            per_second: f64::from(per_second),
            began: Instant::now(),
            n_lines: 0,
            text: String::new(),
        })
    }

    /// Writes what is due by now.
    fn write(&mut self) -> Result<()> {
        let due = (self.began.elapsed().as_secs_f64() * self.per_second) as u64;
        self.text.clear();
        for n in self.n_lines..due {
            line(&mut self.text, n)?;
        }
        self.n_lines = due;
        self.file
            .write_all(self.text.as_bytes())
            .context("write the storm's log")
    }
}

/// Forty kinds of line, as a busy and unhappy database writes them.
fn line(into: &mut String, n: u64) -> Result<()> {
    let seconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_secs()
        % 86_400;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let (severity, code, message) = match n % 4 {
        0 => (
            "ERROR",
            "23505",
            format!(
                "duplicate key value violates unique constraint \\\"part_{}_pkey\\\"",
                n / 4 % 10
            ),
        ),
        1 => (
            "LOG",
            "00000",
            format!(
                "duration: {}.{:03} ms  statement: SELECT v FROM part_{} WHERE id = {n}",
                n % 900,
                n % 1_000,
                n / 4 % 10
            ),
        ),
        2 => (
            "ERROR",
            "40001",
            format!(
                "could not serialize access due to concurrent update {}",
                n / 4 % 10
            ),
        ),
        _ => (
            "LOG",
            "00000",
            format!(
                "connection authorized: user=app database=shop application_name=bench{}",
                n / 4 % 10
            ),
        ),
    };
    writeln!(
        into,
        "{{\"timestamp\":\"2026-11-20 {hour:02}:{minute:02}:{second:02}.{:03} UTC\",\"user\":\"app\",\"dbname\":\"shop\",\"pid\":{},\
         \"remote_host\":\"127.0.0.1\",\"remote_port\":{},\"session_id\":\"6560.{:x}\",\"line_num\":{},\"ps\":\"SELECT\",\
         \"error_severity\":\"{severity}\",\"state_code\":\"{code}\",\"message\":\"{message}\",\"application_name\":\"bench\",\
         \"backend_type\":\"client backend\",\"query_id\":{}}}",
        n % 1_000, 4_000 + n % 50, 20_000 + n % 9_000, n % 4_096, n % 100_000, n * 7_919
    )
    .context("write a line")
}

fn wait(stop: &Stop, span: Duration) -> Result<()> {
    if stop.sleep(span) {
        return Ok(());
    }
    bail!("stopped by a signal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_storm_is_json() {
        let mut text = String::new();
        for n in 0..80 {
            line(&mut text, n).unwrap();
        }
        let parsed = text.lines().map(serde_json::from_str::<Value>);
        assert_eq!(parsed.filter(Result::is_ok).count(), 80);
    }

    #[test]
    fn wire_figures_need_two_reports() {
        let one = serde_json::json!({"summaries": 1.0, "wire_bytes_sent": 0.0});
        assert!(wire(&mut Report::new("x"), &[one]).is_err());
    }
}
