//! Logs as a busy cluster of several databases writes them: mostly durations and connections, some errors.

use std::fmt::Write as _;

use hsw_pipeline::LogFormat;

/// A small generator (xorshift64*), so that the same seed gives the same bytes.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n.max(1)
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }
}

/// What is written: a format, its name, a writer of one record.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) format: fn() -> LogFormat,
    write: fn(&mut String, &mut Dice, u64),
}

pub(super) const KINDS: [Kind; 7] = [
    Kind {
        name: "postgresql stderr",
        format: stderr,
        write: pg_stderr,
    },
    Kind {
        name: "postgresql csvlog",
        format: || LogFormat::Csv,
        write: pg_csv,
    },
    Kind {
        name: "postgresql jsonlog",
        format: || LogFormat::Json,
        write: pg_json,
    },
    Kind {
        name: "mysql error log",
        format: || LogFormat::MysqlError,
        write: mysql_error,
    },
    Kind {
        name: "mysql slow log",
        format: || LogFormat::MysqlSlow,
        write: mysql_slow,
    },
    Kind {
        name: "mongodb json",
        format: || LogFormat::Mongo,
        write: mongo,
    },
    Kind {
        name: "redis",
        format: || LogFormat::Redis,
        write: redis,
    },
];

impl Kind {
    /// At least `n_bytes` of it.
    pub(super) fn text(&self, n_bytes: usize) -> String {
        let mut dice = Dice::new(0x5eed);
        let mut out = String::with_capacity(n_bytes + 4_096);
        let mut n = 0;
        while out.len() < n_bytes {
            (self.write)(&mut out, &mut dice, n);
            n += 1;
        }
        out
    }
}

const PREFIX: &str = "%m [%p] %q%u@%d/%a ";
const USERS: [&str; 5] = ["app", "billing", "report", "etl", "admin"];
const TABLES: [&str; 6] = [
    "orders",
    "customers",
    "stock",
    "payments",
    "events",
    "sessions",
];
const COLUMNS: [&str; 6] = ["id", "tenant", "state", "created_at", "amount", "email"];

fn stderr() -> LogFormat {
    LogFormat::named("stderr", Some(PREFIX)).expect("it is among the names")
}

fn clock(n: u64) -> (u64, u64, u64, u64) {
    let ms = n * 7 % 86_400_000;
    (
        ms / 3_600_000,
        ms / 60_000 % 60,
        ms / 1_000 % 60,
        ms % 1_000,
    )
}

fn statement(dice: &mut Dice) -> String {
    let (table, column) = (dice.of(&TABLES), dice.of(&COLUMNS));
    let (a, b) = (dice.below(1_000_000), dice.below(10_000));
    match dice.below(5) {
        0 => {
            format!("SELECT * FROM {table} WHERE {column} = {a} ORDER BY created_at DESC LIMIT {b}")
        }
        1 => format!("UPDATE {table} SET state = 'done', amount = {a}.{b} WHERE id = {b}"),
        2 => format!(
            "INSERT INTO {table} (id, {column}, email) VALUES ({a}, {b}, 'user{a}@example.org')"
        ),
        3 => format!(
            "SELECT t.id, count(*) FROM {table} t JOIN customers c ON c.id = t.tenant WHERE c.email LIKE 'u{b}%' AND t.{column} IN ({a}, {b}, 7) GROUP BY t.id"
        ),
        _ => format!("DELETE FROM {table} WHERE {column} < {a}"),
    }
}

/// Severity, SQLSTATE, message; a statement where there is one.
fn pg_event(dice: &mut Dice) -> (&'static str, &'static str, String, Option<String>) {
    let (table, user) = (dice.of(&TABLES), dice.of(&USERS));
    match dice.below(20) {
        0 => {
            let text = format!("duplicate key value violates unique constraint \"{table}_pkey\"");
            ("ERROR", "23505", text, Some(statement(dice)))
        }
        1 => {
            let text = "deadlock detected".to_owned();
            ("ERROR", "40P01", text, Some(statement(dice)))
        }
        2 => {
            let text = format!("password authentication failed for user \"{user}\"");
            ("FATAL", "28P01", text, None)
        }
        _ => ("LOG", "00000", pg_log(dice, table, user), None),
    }
}

fn pg_log(dice: &mut Dice, table: &str, user: &str) -> String {
    let (a, b) = (dice.below(100_000), dice.below(1_000));
    match dice.below(17) {
        0..=9 => format!("duration: {a}.{b:03} ms  statement: {}", statement(dice)),
        10 | 11 => format!(
            "connection received: host=10.0.{}.{} port={a}",
            b % 9,
            b % 250
        ),
        12 | 13 => format!(
            "disconnection: session time: 0:00:{:02}.{b:03} user={user} database=shop host=10.0.0.{} port={a}",
            b % 60,
            b % 250
        ),
        14 => format!(
            "process {a} still waiting for ShareLock on transaction {b}{a} after 1000.{b:03} ms"
        ),
        15 => format!(
            "checkpoint complete: wrote {a} buffers ({}.{b}%); 0 WAL file(s) added, {} removed, 1 recycled; write={b}.{b:03} s, sync=0.001 s, total={b}.201 s",
            b % 100,
            b % 9
        ),
        _ => format!("automatic vacuum of table \"shop.public.{table}\": index scans: 1"),
    }
}

fn pg_stderr(out: &mut String, dice: &mut Dice, n: u64) {
    let (h, m, s, ms) = clock(n);
    let (severity, _, message, sql) = pg_event(dice);
    let user = dice.of(&USERS);
    let pid = 1_000 + dice.below(500);
    let head = format!("2026-11-20 {h:02}:{m:02}:{s:02}.{ms:03} UTC [{pid}] {user}@shop/web ");
    let _ = writeln!(out, "{head}{severity}:  {message}");
    if let Some(sql) = sql {
        let _ = writeln!(out, "{head}STATEMENT:  {sql}");
    }
}

fn pg_csv(out: &mut String, dice: &mut Dice, n: u64) {
    let (h, m, s, ms) = clock(n);
    let (severity, code, message, sql) = pg_event(dice);
    let user = dice.of(&USERS);
    let pid = 1_000 + dice.below(500);
    let quoted = |text: &str| text.replace('"', "\"\"");
    let sql = sql.map_or_else(String::new, |sql| format!("\"{}\"", quoted(&sql)));
    let _ = writeln!(
        out,
        "2026-11-20 {h:02}:{m:02}:{s:02}.{ms:03} UTC,\"{user}\",\"shop\",{pid},\"10.0.0.7:5432\",65af.{pid},{n},\"SELECT\",2026-11-20 00:00:01 UTC,5/{n},0,{severity},{code},\"{}\",,,,,,{sql},,,\"web\",\"client backend\",,0",
        quoted(&message)
    );
}

fn pg_json(out: &mut String, dice: &mut Dice, n: u64) {
    let (h, m, s, ms) = clock(n);
    let (severity, code, message, sql) = pg_event(dice);
    let mut object = serde_json::json!({
        "timestamp": format!("2026-11-20 {h:02}:{m:02}:{s:02}.{ms:03} UTC"),
        "user": dice.of(&USERS), "dbname": "shop", "pid": 1_000 + dice.below(500), "remote_host": "10.0.0.7",
        "session_id": "65af.1", "line_num": n, "error_severity": severity, "state_code": code, "message": message,
        "application_name": "web", "backend_type": "client backend", "query_id": 0,
    });
    if let Some(sql) = sql {
        object["statement"] = sql.into();
    }
    let _ = writeln!(out, "{object}");
}

fn mysql_error(out: &mut String, dice: &mut Dice, n: u64) {
    let (h, m, s, ms) = clock(n);
    let (a, b) = (dice.below(100_000), dice.below(1_000));
    let (level, code, system, message) = match dice.below(8) {
        0..=2 => (
            "Note",
            "MY-010914",
            "Server",
            format!(
                "Aborted connection {a} to db: 'shop' user: '{}' host: '10.0.0.{}' (Got timeout reading communication packets).",
                dice.of(&USERS),
                b % 250
            ),
        ),
        3 | 4 => (
            "Warning",
            "MY-010055",
            "Server",
            format!(
                "IP address '10.0.{}.{}' could not be resolved: Name or service not known",
                b % 9,
                b % 250
            ),
        ),
        5 => (
            "Note",
            "MY-012985",
            "InnoDB",
            format!(
                "Cannot flush {a} pages in {b} ms; page cleaner took {b}ms to flush {a} and evict 0 pages"
            ),
        ),
        6 => (
            "ERROR",
            "MY-010584",
            "Repl",
            format!(
                "Replica SQL for channel '': Could not execute Write_rows event on table shop.{}; Duplicate entry '{a}' for key 'PRIMARY', Error_code: 1062",
                dice.of(&TABLES)
            ),
        ),
        _ => (
            "Note",
            "MY-000000",
            "WSREP",
            format!("Member {}.0 (node{}) synced with group.", b % 3, b % 3),
        ),
    };
    let _ = writeln!(
        out,
        "2026-11-20T{h:02}:{m:02}:{s:02}.{ms:03}000Z {a} [{level}] [{code}] [{system}] {message}"
    );
}

fn mysql_slow(out: &mut String, dice: &mut Dice, n: u64) {
    let (h, m, s, ms) = clock(n);
    let (a, b) = (dice.below(100_000), dice.below(1_000));
    let _ = writeln!(
        out,
        "# Time: 2026-11-20T{h:02}:{m:02}:{s:02}.{ms:03}000Z\n# User@Host: {user}[{user}] @  [10.0.0.{}]  Id: {a}\n# Query_time: {}.{b:03}  Lock_time: 0.000{}  Rows_sent: {b}  Rows_examined: {a}\nSET timestamp={};\n{};",
        b % 250,
        b % 9,
        b % 9,
        1_795_000_000 + n,
        statement(dice),
        user = dice.of(&USERS)
    );
}

fn mongo(out: &mut String, dice: &mut Dice, n: u64) {
    let (h, m, s, ms) = clock(n);
    let (a, b) = (dice.below(100_000), dice.below(1_000));
    let at = format!("2026-11-20T{h:02}:{m:02}:{s:02}.{ms:03}+00:00");
    let rest = match dice.below(4) {
        0 | 1 => format!(
            r#""s":"I","c":"COMMAND","id":51803,"ctx":"conn{b}","msg":"Slow query","attr":{{"type":"command","ns":"shop.{t}","command":{{"find":"{t}","filter":{{"tenant":{a},"email":"u{b}@example.org"}},"limit":{b},"$db":"shop"}},"planSummary":"IXSCAN {{ tenant: 1 }}","keysExamined":{a},"docsExamined":{a},"nreturned":{b},"protocol":"op_msg","durationMillis":{b}}}"#,
            t = dice.of(&TABLES)
        ),
        2 => format!(
            r#""s":"I","c":"NETWORK","id":22943,"ctx":"listener","msg":"Connection accepted","attr":{{"remote":"10.0.0.{}:{a}","connectionId":{b},"connectionCount":{}}}"#,
            b % 250,
            b % 90
        ),
        _ => format!(
            r#""s":"W","c":"REPL","id":21501,"ctx":"ReplCoord-{}","msg":"Election timed out","attr":{{"term":{b},"target":"10.0.0.{}:27017"}}"#,
            b % 5,
            b % 9
        ),
    };
    let _ = writeln!(out, r#"{{"t":{{"$date":"{at}"}},{rest}}}"#);
}

fn redis(out: &mut String, dice: &mut Dice, n: u64) {
    let (h, m, s, ms) = clock(n);
    let (a, b) = (dice.below(100_000), dice.below(1_000));
    let (level, message) = match dice.below(6) {
        0 | 1 => ('-', format!("Accepted 10.0.0.{}:{a}", b % 250)),
        2 => ('*', format!("{b} changes in 300 seconds. Saving...")),
        3 => ('*', format!("Background saving started by pid {a}")),
        4 => (
            '#',
            format!(
                "Client id={a} addr=10.0.0.{}:{a} cmd=subscribe scheduled to be closed ASAP for overcoming of output buffer limits.",
                b % 250
            ),
        ),
        _ => (
            '*',
            format!("DB saved on disk, RDB: {b} MB of memory used by copy-on-write"),
        ),
    };
    let _ = writeln!(
        out,
        "1234:M 20 Nov 2026 {h:02}:{m:02}:{s:02}.{ms:03} {level} {message}"
    );
}
