//! Records of several lines, and that no line is lost.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn read(format: LogFormat, text: &str) -> (Vec<LogRecord>, AssemblerCounters) {
    let mut assembler = Assembler::new(format);
    let mut records = Vec::new();
    let mut start = 0;
    for line in text.split('\n') {
        assembler.line(start, line.as_bytes(), &mut |r| records.push(r.clone()));
        start += line.len() as u64 + 1;
    }
    assembler.flush(&mut |r| records.push(r.clone()));
    (records, assembler.counters())
}

#[test]
fn stderr_lines_with_tabs_and_companions_are_one_record() {
    let prefix = Arc::new(LinePrefix::compile("%m [%p] "));
    let at = "2026-11-20 17:50:48.123 UTC";
    let text = format!(
        "{at} [1] ERROR:  first\n\tsecond\n{at} [1] DETAIL:  Key (id)=(7)\n{at} [1] STATEMENT:  insert\n\tinto t\n\
         {at} [2] LOG:  duration: 8.5 ms  statement: select\n\t'secret'\nsh: not found\n\torphan"
    );
    let (records, counters) = read(LogFormat::Stderr(prefix), &text);
    let messages: Vec<_> = records.iter().map(|r| r.message.as_str()).collect();
    assert_eq!(
        messages,
        ["first\nsecond", "duration: 8.5 ms", "sh: not found"]
    );
    assert!(records[0].has_detail && records[0].has_statement && records[1].has_statement);
    assert_eq!((counters.malformed, counters.records), (2, 3));
    assert_eq!(records[0].statement, "insert\ninto t");
    assert_eq!(records[1].statement, "select\n'secret'");
    let n_lines: Vec<_> = records.iter().map(|r| r.n_lines).collect();
    assert_eq!((n_lines, counters.lines_outside), (vec![5, 2, 1], 1));
}

#[test]
fn companions_in_another_language_are_part_of_their_record_and_not_kept() {
    let prefix = Arc::new(LinePrefix::compile("%m [%p] "));
    let at = "2026-11-20 17:50:48.123 UTC";
    for (severity, detail, statement) in [
        ("FEHLER:  ", "DETAIL:  ", "ANWEISUNG:  "),
        ("ERREUR:  ", "DÉTAIL:  ", "INSTRUCTION :  "),
        ("ERREUR:  ", "DÉTAIL\u{a0}: ", "INSTRUCTION\u{a0}:  "),
        ("ОШИБКА:  ", "ПОДРОБНОСТИ:  ", "ОПЕРАТОР:  "),
        ("ERROR:  ", "詳細:  ", "文:  "),
        ("오류:  ", "상세정보:  ", "쿼리:"),
        ("错误:  ", "详细信息:  ", "语句:  "),
    ] {
        let text = format!(
            "{at} [1] {severity}words\n{at} [1] {detail}Key (id)=(secret)\n\tsecret\n{at} [1] XYZZY:  secret\n\
             {at} [1] {statement}insert\n\tinto t"
        );
        let (records, counters) = read(LogFormat::Stderr(Arc::clone(&prefix)), &text);
        assert_eq!((records.len(), counters.malformed), (1, 0), "{text}");
        let record = &records[0];
        assert_eq!(record.severity, crate::Severity::Error);
        assert_eq!(
            (
                record.message.as_str(),
                record.statement.as_str(),
                record.has_detail,
                record.n_lines
            ),
            ("words", "insert\ninto t", true, 6)
        );
    }
    let text = format!("{at} [1] LOG:  Dauer: 8.5 ms  Anweisung: select\n\t'secret'");
    let (records, _) = read(LogFormat::Stderr(prefix), &text);
    assert_eq!(
        (records[0].message.as_str(), records[0].duration_ms),
        ("Dauer: 8.5 ms", Some(8.5))
    );
}

#[test]
fn nothing_of_a_monitor_dump_in_an_error_log_is_kept() {
    for first in [
        "2026-11-20 17:50:48 5 [Note] InnoDB: *** (1) TRANSACTION:",
        "2026-11-20T17:50:48Z 5 [Note] [MY-012469] [InnoDB] *** (1) TRANSACTION:",
        "2026-11-20T17:50:48Z 5 [Note] [MY-000000] [WSREP] cluster conflict due to high priority abort for threads:",
        "17:50:48 UTC - mysqld got signal 11 ;",
    ] {
        let text = format!(
            "{first}\nTRANSACTION 7, ACTIVE 5 sec starting index read\nupdate people set secret = 'secret'\n\
             where name = 'secret'\n 0: len 5; hex 7365637265; asc secret;;\nQuery (7f00): select secret\n\
             status: 'secret'\nmembers = 'secret'\n0: aaaaaaaa, 'secret'\n2026-11-20 17:50:49 5 [Note] x"
        );
        let (records, counters) = read(LogFormat::MysqlError, &text);
        assert_eq!(
            (records.len(), records[0].n_lines, counters.lines_outside),
            (2, 9, 0)
        );
        assert!(
            !format!("{:?}", records[0]).contains("secret"),
            "{:?}",
            records[0]
        );
        assert!(!records[0].message.contains('\n'));
    }
}

#[test]
fn lines_of_postgres_that_syslog_wrapped_are_records_and_keep_no_literal() {
    let wrap =
        |pid, piece, text: &str| format!("Nov 20 17:50:48 db1 postgres[{pid}]: [{piece}] {text}");
    let at = "2026-11-20 17:50:48.123 UTC";
    let text = [
        wrap(
            99,
            "5-1",
            &format!("{at} [99] app@shop LOG:  duration: 8.5 ms  statement: select 'secret',"),
        ),
        wrap(99, "5-2", "#011 'secret'"),
        wrap(99, "6-1", &format!("{at} [99] app@shop ERROR:  no")),
        wrap(7, "1-1", &format!("{at} [7] LOG:  x")),
        wrap(
            99,
            "6-2",
            &format!("{at} [99] app@shop DETAIL:  Failing row contains (secret)"),
        ),
        wrap(
            99,
            "6-3",
            &format!("{at} [99] app@shop STATEMENT:  insert secret"),
        ),
        wrap(99, "6-4", "#011secret"),
        wrap(99, "7-1", &format!("{at} [99] app@shop ERROR:  two")),
        wrap(99, "7-2", &format!("{at} [99] app@shop STATEMENT:  insert")),
        wrap(99, "7-3", " into t"),
    ]
    .join("\n");
    let prefix = Arc::new(LinePrefix::compile("%m [%p] %q%u@%d "));
    for format in [LogFormat::Stderr(prefix), LogFormat::Plain] {
        let is_plain = format == LogFormat::Plain;
        let (records, counters) = read(format, &text);
        let messages: Vec<_> = records.iter().map(|r| r.message.as_str()).collect();
        assert_eq!(messages, ["duration: 8.5 ms", "no", "x", "two"]);
        assert_eq!((records[0].duration_ms, records[1].pid), (Some(8.5), 99));
        assert_eq!(records[1].severity, crate::Severity::Error);
        let n_lines: u64 = records.iter().map(|r| r.n_lines).sum();
        assert_eq!(
            (n_lines + counters.lines_outside, counters.malformed),
            (10, 0)
        );
        if !is_plain {
            assert_eq!(records[0].statement, "select 'secret',\n 'secret'");
            assert_eq!(
                (records[3].statement.as_str(), records[3].user.as_str()),
                ("insert into t", "app")
            );
        }
    }
}

#[test]
fn a_statement_in_a_plain_log_goes_on_without_its_words() {
    let text = "2026-11-20 17:50:48 x: LOG:  statement: select\n\t'secret'\n2026-11-20 17:50:48 x: DETAIL:  a\n\tsecret";
    let (records, _) = read(LogFormat::Plain, text);
    assert_eq!(records.len(), 2);
    assert!(
        records.iter().all(|r| !r.message.contains("secret")),
        "{records:?}"
    );
}

#[test]
fn an_open_record_is_held_until_it_is_handed_out() {
    let prefix = Arc::new(LinePrefix::compile("%p "));
    let mut assembler = Assembler::new(LogFormat::Stderr(prefix));
    let mut n = 0;
    assembler.line(100, b"7 LOG:  x", &mut |_| n += 1);
    assert_eq!((assembler.held(), n), (Some(100), 0));
    assembler.idle(&mut |_| n += 1);
    assert_eq!((assembler.held(), n), (None, 1));
}

#[test]
fn a_lost_quote_costs_one_csv_record() {
    let good = format!(
        "2026-11-20 17:50:48.123 UTC,,,42,,65af.1,3,,2026-11-20 17:50:00 UTC,,0,LOG,00000,\"fine\"{}",
        ",".repeat(12)
    );
    let torn = format!("{}\"never closed", &good[..80]);
    let (records, counters) = read(LogFormat::Csv, &format!("{torn}\n{good}\n{good}"));
    let messages: Vec<_> = records.iter().map(|r| r.message.as_str()).collect();
    assert_eq!(messages, ["malformed csv record", "fine", "fine"]);
    assert_eq!(counters.malformed, 1);
}

#[test]
fn invalid_bytes_and_torn_json_become_plain_records_and_are_counted() {
    let mut assembler = Assembler::new(LogFormat::Json);
    let mut records = Vec::new();
    assembler.line(0, b"{\"timestamp\":\"\xff", &mut |r| {
        records.push(r.clone())
    });
    assert!(records[0].malformed);
    let counters = assembler.counters();
    assert_eq!((counters.malformed, counters.invalid_utf8), (1, 1));
}

fn formats() -> Vec<LogFormat> {
    let named = |name: &&str| LogFormat::named(name, Some("%m [%p] %q%u@%d "));
    LogFormat::names().iter().filter_map(named).collect()
}

/// Lines that begin, go on and end records of every format, and some that are torn.
const PIECES: [&str; 46] = [
    "",
    "   ",
    "\tgoes on",
    "  at a.b.C(D.java:5)",
    "Caused by: x",
    "words",
    "\u{feff}\u{0}\u{1b}[31m",
    "2026-11-20 17:50:48.123 UTC [42] LOG:  duration: 8.5 ms  statement: select 'x'",
    "2026-11-20 17:50:48.123 UTC [42] app@shop ERROR:  x at character 15",
    "2026-11-20 17:50:48.123 UTC [42] app@shop STATEMENT:  select 1",
    "2026-11-20 17:50:48.123 UTC [43] app@shop DETAIL:  y",
    "2026-11-20 17:50:48.123 UTC,,,42,,65af.1,3,,2026-11-20 17:50:00 UTC,,0,LOG,00000,\"x\",,,,,,,,,\"\"",
    "2026-11-20 17:50:48.123 UTC,,,42,,65af.1,3,,2026-11-20 17:50:00 UTC,,0,LOG,00000,\"open",
    "closed\",,,,,,,,,\"\"",
    "{\"timestamp\":\"2026-11-20 17:50:48.123 UTC\",\"error_severity\":\"LOG\",\"message\":\"x\"}",
    "{\"timestamp\":\"2026-11-20",
    "{\"t\":{\"$date\":\"2026-11-20T17:50:48.1Z\"},\"s\":\"I\",\"c\":\"-\",\"msg\":\"x\",\"attr\":{\"durationMillis\":5,\"command\":{\"find\":\"a\"}}}",
    "{\"log\":\"2026-11-20T17:50:48Z 0 [Note] x\\n\",\"file\":\"y\"}",
    "2026-11-20T17:50:48.1Z stderr F 2026-11-20T17:50:48Z 0 [Note] x",
    "2026-11-20T17:50:48.123456Z 0 [Warning] [MY-000001] [Server] x Statement: y",
    "261120  7:50:48 [ERROR] x",
    "view (view_id(PRIM,a,1)",
    "17:50:48 UTC - mysqld got signal 11 ;",
    "# Time: 261120 17:50:48 # User@Host: a[a] @ b []",
    "# User@Host: a[a] @ b [10.0.0.9]  Id: 5",
    "# Query_time: 2  Lock_time: 0 Rows_sent: 1  Rows_examined: 0",
    "# administrator command: Quit;",
    "use shop;",
    "SET timestamp=1795197048;",
    "select 1;",
    "/usr/sbin/mysqld, Version: 8.0 (x). started with:",
    "Time                 Id Command    Argument",
    "Fri Nov 20 17:50:48.123 [conn5] query a.b query: { x: 1 } nreturned:1 5ms",
    "2026-11-20T17:50:48.123+0000 I COMMAND  [conn5] command a.b command: find { find: \"b\" } 5ms",
    "7:M 20 Nov 2026 17:50:48.123 * Ready",
    "[7] 20 Nov 17:50:48.123 # x",
    "1:signal-handler (1795197048) Received SIGTERM",
    "=== REDIS BUG REPORT START: x ===",
    "2026-11-20 17:50:48.123 CET [42] app@shop FEHLER:  x",
    "2026-11-20 17:50:48.123 CET [42] app@shop INSTRUCTION :  select 1",
    "2026-11-20 17:50:48.123 CET [42] app@shop 쿼리:select 1",
    "Nov 20 17:50:48 db1 postgres[42]: [5-1] 2026-11-20 17:50:48.123 UTC [42] app@shop ERROR:  x",
    "Nov 20 17:50:48 db1 postgres[42]: [5-2] 2026-11-20 17:50:48.123 UTC [42] app@shop DETAIL:  y",
    "Nov 20 17:50:48 db1 postgres[42]: [5-3] #011more",
    "Nov 20 17:50:48 db1 postgres[43]: [5-4] rest",
    "{\"level\":\"error\",\"ts\":1.5e9,\"msg\":\"x\",\"a\":[{}]}",
];

#[test]
fn every_format_joins_what_belongs_together() {
    for (name, log, n_lines) in [
        (
            "mysql-error",
            "2026-11-20T17:50:48Z 0 [Note] view:\nview (a\n\t}\n2026-11-20T17:50:49Z 0 [Note] x",
            vec![3, 1],
        ),
        (
            "mysql-slow",
            "# Time: 261120 17:50:48\n# User@Host: a[a] @ b []\n# Query_time: 1\nselect\n1;\n# User@Host: a[a] @ b []\n# Query_time: 2\nselect 2;",
            vec![5, 3],
        ),
        (
            "mongodb-text",
            "Fri Nov 20 17:50:48.123 [conn5] x\n 0x5 frame\nFri Nov 20 17:50:49.123 [conn5] y",
            vec![2, 1],
        ),
        (
            "redis",
            "7:M 20 Nov 2026 17:50:48.123 # crashed\n\n---- stack\n7:M 20 Nov 2026 17:50:49.123 * y",
            vec![3, 1],
        ),
        (
            "plain",
            "2026-11-20 17:50:48 ERROR x\n\tat a.b.C\nCaused by: y\n2026-11-20 17:50:49 INFO z",
            vec![3, 1],
        ),
    ] {
        let (records, counters) = read(LogFormat::named(name, None).unwrap(), log);
        let told: Vec<_> = records.iter().map(|r| r.n_lines).collect();
        assert_eq!(
            (told, counters.lines_outside, counters.malformed),
            (n_lines, 0, 0),
            "{name}"
        );
    }
}

#[test]
fn the_banner_of_a_restart_is_not_malformed() {
    let log = "/usr/sbin/mariadbd, Version: 10.11.6-MariaDB (x). started with:\nTcp port: 3306  Unix socket: /x\n\
               Time\t\t    Id Command\tArgument\n# User@Host: a[a] @ b []\n# Query_time: 2\nselect 4;";
    let (records, counters) = read(LogFormat::MysqlSlow, log);
    let n_lines: Vec<_> = records.iter().map(|r| r.n_lines).collect();
    assert_eq!((n_lines, counters.malformed), (vec![3, 3], 0));
}

#[test]
fn a_slow_statement_without_a_time_has_that_of_the_one_before() {
    let log = "# Time: 2026-11-20T17:50:48Z\n# User@Host: a[a] @ b []\n# Query_time: 1\nselect 1;\n\
               # User@Host: a[a] @ b []\n# Query_time: 2\nselect 2;\n\
               # User@Host: a[a] @ b []\n# Query_time: 2\nSET timestamp=1795197050;\nselect 3;\n\
               x, Version: 8.0 (x). started with:\n# User@Host: a[a] @ b []\n# Query_time: 2\nselect 4;";
    let (records, _) = read(LogFormat::MysqlSlow, log);
    let seconds: Vec<_> = records
        .iter()
        .map(|r| r.at.map(|at| at.0 / 1_000_000))
        .collect();
    let first = 1_795_197_048;
    assert_eq!(
        seconds,
        [Some(first), Some(first), Some(first + 2), None, None]
    );
}

#[test]
fn a_line_of_another_format_is_kept_and_counted() {
    for name in [
        "jsonlog",
        "mongodb",
        "mysql-error",
        "mysql-slow",
        "mongodb-text",
        "redis",
    ] {
        let (records, counters) = read(LogFormat::named(name, None).unwrap(), "of something else");
        assert_eq!((records.len(), counters.malformed), (1, 1), "{name}");
        assert!(records[0].malformed, "{name}");
    }
}

#[test]
fn a_record_without_end_is_bounded_in_every_format() {
    for format in formats() {
        let mut assembler = Assembler::new(format.clone());
        let mut n_lines = 0;
        let mut take = |record: &LogRecord| {
            n_lines += record.n_lines;
            assert!(record.message.len() <= 8 * 1024 && record.statement.len() <= 64 * 1024);
        };
        let heads = PIECES
            .iter()
            .filter(|piece| piece.contains("17:50:48") || piece.starts_with("# Query"));
        for head in heads {
            assembler.line(0, head.as_bytes(), &mut take);
            let more = format!("\t{}", "x".repeat(1_000));
            for _ in 0..500 {
                assembler.line(0, more.as_bytes(), &mut take);
            }
        }
        assembler.flush(&mut take);
        let counters = assembler.counters();
        assert_eq!(
            counters.lines,
            n_lines + counters.lines_outside,
            "{format:?}"
        );
    }
}

proptest! {
    #[test]
    fn prop_each_line_is_in_one_record_or_counted(
        picks in prop::collection::vec((0..PIECES.len(), 0_usize..4, prop::collection::vec(any::<u8>(), 0..20)), 0..40),
        idle_every in 1_usize..10,
    ) {
        for format in formats() {
            let mut assembler = Assembler::new(format.clone());
            let mut n_lines = 0;
            for (at, (piece, change, bytes)) in picks.iter().enumerate() {
                let mut line = PIECES[*piece].as_bytes().to_vec();
                match change {
                    0 => line.truncate(line.len() / 2),
                    1 => line.extend_from_slice(bytes),
                    _ => {}
                }
                assembler.line(at as u64, &line, &mut |r| n_lines += r.n_lines);
                if at % idle_every == 0 {
                    assembler.idle(&mut |r| n_lines += r.n_lines);
                }
                let open = assembler.counters().lines - assembler.counters().lines_outside - n_lines;
                prop_assert!(assembler.held().is_some() || open == 0, "{format:?}");
            }
            assembler.flush(&mut |r| n_lines += r.n_lines);
            let counters = assembler.counters();
            prop_assert_eq!(counters.lines, picks.len() as u64);
            prop_assert_eq!(counters.lines, n_lines + counters.lines_outside, "{:?}", format);
            prop_assert!(assembler.held().is_none());
        }
    }
}
