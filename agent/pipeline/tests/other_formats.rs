//! Logs of other systems than PostgreSQL, from lines to what would leave the host: fields are found, literals stay.

use hsw_pipeline::{
    Assembler, ClassifierConfig, LogClassifier, LogFormat, LogRecord, Severity, TimeDefaults,
};
use hsw_types::{Value, WallTime};

const MYSQL_ERROR: &str = "\
2026-11-20T17:50:48.123456Z 0 [System] [MY-010116] [Server] /usr/sbin/mysqld (mysqld 8.0.36) starting as process 7
2026-11-20T17:50:49.123456Z 9 [Warning] [MY-010055] [Server] IP address '10.0.0.9' could not be resolved: secret
2026-11-20T17:50:50.123456Z 9 [Warning] [MY-010956] [Server] Unsafe statement written. Statement: insert into t values (secret)
2026-11-20T17:50:51.123456Z 0 [Note] [MY-012468] [InnoDB] Transactions deadlock detected, dumping detailed information.
2026-11-20T17:50:51.123457Z 0 [Note] [MY-012469] [InnoDB] *** (1) TRANSACTION:
TRANSACTION 421, ACTIVE 5 sec starting index read
UPDATE accounts SET holder = 'secret
secret' WHERE id = 5
";
const MYSQL_SLOW: &str = "\
secret' and a half;
# Time: 2026-11-20T17:50:48.123456Z
# User@Host: app[app] @ web1 [10.0.0.9]  Id:    42
# Query_time: 2.500000  Lock_time: 0.000250 Rows_sent: 3  Rows_examined: 70000
use shop;
SET timestamp=1795197045;
select * from orders where name = 'secret
secret';
# User@Host: app[app] @ web1 [10.0.0.9]  Id:    42
# Query_time: 0.500000  Lock_time: 0.000000 Rows_sent: 0  Rows_examined: 0
# administrator command: Ping;
";
const MONGO: &str = r#"{"t":{"$date":"2026-11-20T17:50:48.123+00:00"},"s":"I","c":"COMMAND","id":51803,"ctx":"conn5","msg":"Slow query","attr":{"type":"update","ns":"shop.orders","command":{"q":{"name":"secret"},"u":{"$set":{"x":"secret"}}},"durationMillis":2500,"docsExamined":5}}
{"t":{"$date":"2026-11-20T17:50:49.123+00:00"},"s":"E","c":"STORAGE","id":20557,"ctx":"x","msg":"DBException in initAndListen, terminating","attr":{"error":"secret"}}
{"t":{"$date":"2026-11-20T17:50:49.1
"#;
const MONGO_TEXT: &str = r#"secret", more: 5 } }
2026-11-20T17:50:48.123+0000 I COMMAND  [conn5] command shop.orders command: find { find: "orders", filter: { secret5: "secret", a: /secret/i } } docsExamined:5 nreturned:1 2500ms
2026-11-20T17:50:49.123+0000 E STORAGE  [conn5] failed: { name: "secret" }
"#;
const REDIS: &str = "\
7:M 20 Nov 2026 17:50:48.123 # Error writing 'secret' to the AOF file: No space left on device
7:M 20 Nov 2026 17:50:49.123 * Background saving started by pid 9
";

fn read(name: &str, log: &str) -> Vec<LogRecord> {
    let format = LogFormat::named(name, None).expect("the name of a format");
    let defaults = TimeDefaults {
        utc_offset_s: Some(0),
        not_after: None,
    };
    let mut assembler = Assembler::with_defaults(format, defaults);
    let mut records = Vec::new();
    for line in log.lines() {
        assembler.line(0, line.as_bytes(), &mut |r| records.push(r.clone()));
    }
    assembler.flush(&mut |r| records.push(r.clone()));
    records
}

#[test]
fn fields_of_each_system_are_where_they_belong() {
    let mysql = read("mysql-error", MYSQL_ERROR);
    assert_eq!(mysql.len(), 5);
    assert_eq!(
        (mysql[2].code.as_str(), mysql[2].component.as_str()),
        ("MY-010956", "Server")
    );
    assert_eq!(mysql[2].statement, "insert into t values (secret)");
    assert_eq!(mysql[4].n_lines, 4);

    let slow = read("mysql-slow", MYSQL_SLOW);
    assert_eq!(slow.len(), 3);
    assert!(slow[0].malformed);
    assert_eq!(
        (slow[1].database.as_str(), slow[1].duration_ms),
        ("shop", Some(2_500.0))
    );
    assert_eq!(
        slow[1].statement,
        "select * from orders where name = 'secret\nsecret'"
    );
    assert_eq!(slow[2].message, "administrator command: Ping");

    let mongo = read("mongodb", MONGO);
    assert_eq!(
        mongo[0].statement,
        "update orders {q: {name: ?}, u: {$set: {x: ?}}}"
    );
    assert_eq!(
        (mongo[1].severity, mongo[1].code.as_str()),
        (Severity::Error, "20557")
    );
    assert!(mongo[2].malformed);

    let text = read("mongodb-text", MONGO_TEXT);
    assert_eq!(text[1].rows_examined, Some(5));
    assert_eq!(
        text[1].statement,
        r#"{find: "orders", filter: {secret#: ?, a: ?}}"#
    );

    let redis = read("redis", REDIS);
    assert_eq!(redis[0].backend_type, "primary");
    assert!(redis.iter().all(|record| record.at.is_some()));
}

#[test]
fn no_literal_of_any_format_is_in_what_would_leave_the_host() {
    for (name, log, n_errors) in [
        (
            "mysql-error",
            &MYSQL_ERROR.replace(": secret", ": x")[..],
            0.0,
        ),
        ("mysql-slow", MYSQL_SLOW, 0.0),
        ("mongodb", MONGO, 1.0),
        // The names of fields are the kind of statement, and are shown.
        (
            "mongodb-text",
            &MONGO_TEXT.replace("secret5:", "field5:"),
            1.0,
        ),
        ("redis", REDIS, 0.0),
    ] {
        let mut classifier = LogClassifier::new(ClassifierConfig::default());
        for record in read(name, log) {
            classifier.record(WallTime(1), &record);
        }
        let mut shipped = format!("{:?}", classifier.take_samples());
        let mut readings = Vec::new();
        classifier.tick(&mut readings);
        shipped.extend(readings.iter().map(|r| format!("{:?}\n", r.key)));
        assert!(!shipped.contains("secret"), "{name}: {shipped}");
        let errors = readings.iter().find(|r| r.key.metric == "log.errors");
        assert_eq!(
            errors.map(|r| r.value),
            Some(Value::Events(n_errors)),
            "{name}"
        );
    }
}
