//! What a PostgreSQL server writes about a second, as `jsonlog`. (step 1)
//!
//! In: a [`Node`] after its second. Out: lines, bounded in number. Statements, plans and names are those of the test bed.

use std::borrow::Cow;
use std::fmt::Write as _;

use hsw_types::WallTime;

use crate::node::{Event, Kind, Node};

/// Lines of one kind in a second.
const LINES_MAX: f64 = 60.0;
/// Share of statements that `auto_explain` logs.
const SAMPLED: f64 = 0.01;

/// One line under way; texts are written as they stand within JSON.
struct Line {
    user: &'static str,
    severity: &'static str,
    code: &'static str,
    message: Cow<'static, str>,
    detail: &'static str,
    statement: &'static str,
    application: &'static str,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            user: "app",
            severity: "LOG",
            code: "",
            message: Cow::Borrowed(""),
            detail: "",
            statement: "",
            application: "coordinator/tenant-1",
        }
    }
}

impl Line {
    /// Of a session that fails.
    fn error(code: &'static str, message: &'static str) -> Self {
        Self {
            severity: if code == "53300" { "FATAL" } else { "ERROR" },
            code,
            message: Cow::Borrowed(message),
            ..Self::default()
        }
    }

    /// Of the server's own processes.
    fn server(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            user: "",
            application: "",
            message: message.into(),
            ..Self::default()
        }
    }
}

/// Writes each line to `tell`, without its end.
pub(crate) fn lines(node: &mut Node, second: i64, buffer: &mut String, tell: &mut dyn FnMut(&str)) {
    let events = std::mem::take(&mut node.events);
    for event in &events {
        say(node, *event, second, buffer, tell);
    }
    node.events = events;
    sampled(node, second, buffer, tell);
}

fn say(
    node: &mut Node,
    event: Event,
    second: i64,
    buffer: &mut String,
    tell: &mut dyn FnMut(&str),
) {
    let pid = 4_000 + node.random.below(900);
    let (n, line) = match event {
        Event::Connected(n) => {
            let received = format!("connection received: host=10.0.0.9 port={}", 40_000 + pid);
            repeat(n, &Line::server(received), (second, pid), buffer, tell);
            (n, authorized())
        }
        Event::Refused(n)
        | Event::LockWait(n)
        | Event::Deadlock(n)
        | Event::Failed(n)
        | Event::NoSpace(n)
        | Event::Slow { n, .. } => (n, of_session(event, pid, node.totals.updated)),
        _ => (1.0, of_server(event)),
    };
    repeat(n, &line, (second, pid), buffer, tell);
}

fn repeat(
    n: f64,
    line: &Line,
    (second, pid): (i64, usize),
    buffer: &mut String,
    tell: &mut dyn FnMut(&str),
) {
    for i in 0..n.min(LINES_MAX) as usize {
        write(buffer, second, (i * 7) % 1_000, pid + i, line);
        tell(buffer);
    }
}

fn authorized() -> Line {
    Line {
        user: "reports",
        ..Line::server(
            "connection authorized: user=reports database=shop application_name=healthcheck",
        )
    }
}

fn of_session(event: Event, pid: usize, updated: f64) -> Line {
    match event {
        Event::Refused(_) => Line::error("53300", "sorry, too many clients already"),
        Event::Deadlock(_) => Line {
            detail: "Process 1 waits for ShareLock on transaction 2; blocked by process 3.",
            statement: UPDATE,
            application: "transfers",
            ..Line::error("40P01", "deadlock detected")
        },
        Event::Failed(_) => Line {
            statement: "SELECT loyalty FROM accounts WHERE id = $1",
            ..Line::error("42703", "column \\\"loyalty\\\" does not exist")
        },
        Event::NoSpace(_) => Line {
            statement: UPDATE,
            ..Line::error(
                "53100",
                "could not extend file \\\"base/16390/16402\\\": No space left on device",
            )
        },
        Event::Slow { ms, .. } => Line {
            message: format!("duration: {ms:.3} ms  statement: {LOOKUP}").into(),
            ..Line::default()
        },
        _ => Line {
            message: format!(
                "process {pid} still waiting for ShareLock on transaction {} after 1000.117 ms",
                700.0 + updated
            )
            .into(),
            detail: "Process holding the lock: 4711. Wait queue: 4712, 4713.",
            statement: UPDATE,
            ..Line::default()
        },
    }
}

fn of_server(event: Event) -> Line {
    match event {
        Event::CheckpointBegins { is_requested: true } => {
            Line::server("checkpoint starting: immediate force wait")
        }
        Event::CheckpointBegins { .. } => Line::server("checkpoint starting: time"),
        Event::CheckpointEnds { buffers, seconds } => Line::server(format!(
            "checkpoint complete: wrote {buffers:.0} buffers (3.1%); 0 WAL file(s) added, 0 removed, 1 recycled; write={seconds:.3} s, sync=0.004 s, total={seconds:.3} s"
        )),
        Event::ArchiveFailed => Line::server("archive command failed with exit code 1"),
        Event::Vacuumed => {
            Line::server("automatic vacuum of table \\\"shop.public.accounts\\\": index scans: 1")
        }
        _ => Line::server("database system is ready to accept connections"),
    }
}

const UPDATE: &str = "UPDATE public.accounts SET balance = $2, updated_at = $3 WHERE ctid = $1";
const LOOKUP: &str =
    "SELECT id, balance, note FROM public.accounts WHERE ((customer_no = 28000640))";
const BY_INDEX: &str = "\\nIndex Scan using accounts_customer_no_idx on accounts  (cost=0.29..8.32 rows=1 width=76)\\n  Index Cond: (customer_no = 28000640)";
const BY_TABLE: &str = "\\nSeq Scan on accounts  (cost=0.00..3421.00 rows=1 width=76)\\n  Filter: (customer_no = 28000640)";
const BY_KEY: &str = "\\nUpdate on accounts  (cost=0.00..4.01 rows=0 width=0)\\n  ->  Tid Scan on accounts  (cost=0.00..4.01 rows=1 width=22)\\n        TID Cond: (ctid = $1)";
const REPORT: &str = "SELECT count(*), sum(amount) FROM tenant_1.orders WHERE customer_id = 77;";
const OF_ORDERS: &str = "\\nAggregate  (cost=14.90..14.91 rows=1 width=16)\\n  ->  Bitmap Heap Scan on orders  (cost=4.33..14.87 rows=6 width=4)";

/// The plans that `auto_explain` shows of a few statements.
fn sampled(node: &mut Node, second: i64, buffer: &mut String, tell: &mut dyn FnMut(&str)) {
    if node.kind == Kind::Router {
        return;
    }
    let work = node.work;
    let scanned = work.lookups * node.stress.seq_scans;
    let kinds = [
        (
            work.lookups - scanned,
            work.lookup_ms.min(60_000.0),
            LOOKUP,
            BY_INDEX,
        ),
        (scanned, work.lookup_ms, LOOKUP, BY_TABLE),
        (work.updates, work.update_ms, UPDATE, BY_KEY),
        (work.reports, work.report_ms, REPORT, OF_ORDERS),
    ];
    for (n, ms, text, plan) in kinds {
        let n = node.random.poisson(n.max(0.0) * SAMPLED).min(10.0) as usize;
        for i in 0..n {
            let ms = ms * (0.5 + node.random.unit());
            let line = Line {
                message: format!("duration: {ms:.3} ms  plan:\\nQuery Text: {text}{plan}").into(),
                ..Line::default()
            };
            write(buffer, second, 100 + i, 4_000 + i, &line);
            tell(buffer);
        }
    }
}

/// One object, in the server's order of keys.
fn write(buffer: &mut String, second: i64, ms: usize, pid: usize, line: &Line) {
    buffer.clear();
    let at = WallTime::from_unix_seconds(second).to_rfc3339();
    let (day, time) = (&at[..10], &at[11..19]);
    let _ = write!(buffer, "{{\"timestamp\":\"{day} {time}.{ms:03} UTC\"");
    if !line.user.is_empty() {
        let user = line.user;
        let _ = write!(
            buffer,
            ",\"user\":\"{user}\",\"dbname\":\"shop\",\"remote_host\":\"10.0.0.9\""
        );
    }
    let _ = write!(
        buffer,
        ",\"pid\":{pid},\"session_id\":\"6b0143ca.{pid:x}\",\"line_num\":4,\"error_severity\":\"{}\"",
        line.severity
    );
    for (key, value) in [
        ("state_code", line.code),
        ("message", &line.message),
        ("detail", line.detail),
        ("statement", line.statement),
        ("application_name", line.application),
    ] {
        if !value.is_empty() {
            let _ = write!(buffer, ",\"{key}\":\"{value}\"");
        }
    }
    buffer.push_str(",\"backend_type\":\"client backend\",\"query_id\":0}");
}
