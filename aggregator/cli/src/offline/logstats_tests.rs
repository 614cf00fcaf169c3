//! Statistics of logs written for these tests.

use expect_test::expect;

use super::super::groups::N_STATEMENTS_MAX;
use super::*;

fn slow_log(n: u64) -> Vec<LogRecord> {
    (0..n)
        .map(|i| LogRecord {
            at: Some(WallTime::from_unix_seconds(1_795_197_000 + i as i64)),
            message: "slow statement".to_owned(),
            statement: format!("select * from orders where id = {i}"),
            duration_ms: Some(100.0 * (i + 1) as f64),
            rows_examined: Some(1_000),
            rows_sent: Some(2),
            ..LogRecord::default()
        })
        .collect()
}

fn stats(records: &[LogRecord]) -> Stats {
    let mut stats = Stats::default();
    for record in records {
        stats.record(&LogFormat::MysqlSlow, record);
    }
    stats.templates.name();
    stats
}

#[test]
fn statements_of_one_kind_are_one_row_with_durations_within_a_percent() {
    let value = stats(&slow_log(100)).json(&[], 5);
    let top = &value["statements"]["top"][0];
    assert_eq!(value["statements"]["kinds"], 1);
    assert_eq!(
        (&top["records"], &top["rows_examined"]),
        (&json!(100), &json!(100_000))
    );
    for (name, expected) in [
        ("p50_ms", 5_000.0),
        ("p95_ms", 9_500.0),
        ("p99_ms", 9_900.0),
    ] {
        let ms = top[name].as_f64().unwrap();
        assert!((ms - expected).abs() <= expected * 0.01, "{name} {ms}");
    }
    assert_eq!(top["total_ms"], 505_000.0);
    assert_eq!(top["first"], "2026-11-20T17:50:00.000Z");
}

#[test]
fn kinds_over_the_limit_are_counted_together() {
    let name = |i: u64| {
        // Words, since numbers are values.
        let letter = |n: u64| char::from(b'a' + (n % 26) as u8);
        format!("select {}{}{}", letter(i), letter(i / 26), letter(i / 676))
    };
    let mut records = slow_log(N_STATEMENTS_MAX as u64 + 50);
    for (i, record) in records.iter_mut().enumerate() {
        record.statement = name(i as u64);
    }
    let value = stats(&records).json(&[], 1);
    assert_eq!(value["statements"]["kinds"], N_STATEMENTS_MAX);
    assert_eq!(value["statements"]["others"]["records"], 50);
}

#[test]
fn the_table_is_for_reading_and_cannot_drive_a_terminal() {
    let mut records = slow_log(3);
    records.push(LogRecord {
        severity: Severity::Error,
        code: "23505".to_owned(),
        message: "duplicate \u{1b}[31mkey 7".to_owned(),
        ..LogRecord::default()
    });
    let text = stats(&records).table(&[], 5);
    assert!(!text.contains('\u{1b}'));
    expect![[r#"
        from 2026-11-20 17:50:00 to 2026-11-20 17:50:02 UTC
        1 of 4 records have no usable time; where their zone could be several (IST, CST), give --utc-offset

          ERROR               1
          LOG                 3

        CODES OF WARNINGS AND ERRORS
          23505 1

        STATEMENTS by total time (1 of 1)
             TOTAL   RECORDS       P50       P95       P99     EXAMINED       SENT  FIRST                LAST                 STATEMENT
             600ms         3     198ms     198ms     198ms         3000          6  2026-11-20 17:50:00  2026-11-20 17:50:02  select * from orders where id = ?

        TEMPLATES, warnings and errors first (2 of 2)
           RECORDS  SEVERITY FIRST                LAST                 TEMPLATE
                 1  ERROR    –                    –                    duplicate  [31mkey <*>
                 3  LOG      2026-11-20 17:50:00  2026-11-20 17:50:02  slow statement
    "#]].assert_eq(&text);
}
