//! Bad days: what is wrong is said in one line with place and remedy, and nothing falls over.

use crate::rig::{Database, Rig, absent, stop, wait_for, watched};
use crate::store;
use rusqlite::Connection;

#[test]
fn a_wrong_key_ends_both_programs_with_78_and_one_line_that_names_file_and_key() {
    let rig = Rig::new(32);
    let agent = rig.configure_agent("shard-1-a", &absent(), "[spool]\nfsnyc = true");
    let aggregator = rig.configure_aggregator("colour = \"blue\"", "");
    for (program, file, key) in [
        ("hsw-agent", agent, "fsnyc"),
        ("hsw-aggregator", aggregator, "colour"),
    ] {
        let path = file.display().to_string();
        let ended = rig.run(program, &["run", "--config", &path]);
        assert_eq!(ended.code, 78, "{ended:?}");
        assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
        assert!(
            ended.err.contains(&path) && ended.err.contains(key),
            "{ended:?}"
        );
        let checked = rig.run(program, &["config", "check", "--config", &path]);
        assert_eq!((checked.code, &checked.err), (78, &ended.err));
    }
    let beyond = rig.configure_aggregator("web = \"0.0.0.0:18180\"", "");
    let ended = rig.run(
        "hsw-aggregator",
        &["run", "--config", &beyond.display().to_string()],
    );
    assert!(
        ended.code == 78 && ended.err.contains("web_token_file"),
        "{ended:?}"
    );
}

#[test]
fn a_database_that_is_away_or_refuses_and_logs_that_are_missing_are_told_and_the_agent_lives() {
    let rig = Rig::new(33);
    let database = rig.postgres();
    rig.configure_aggregator("", "");
    let wrong = Database {
        password: "not-the-word",
        ..watched(&database)
    };
    rig.configure_agent("away-a", &absent(), "");
    rig.configure_agent("refused-a", &wrong, "");
    rig.configure_agent(
        "nologs-a",
        &watched(&database),
        "[log]\npaths = [\"/nowhere/at/all/*.json\"]",
    );
    let _aggregator = rig.start_aggregator();
    let mut agents = ["away-a", "refused-a", "nologs-a"].map(|node| rig.start_agent(node));
    let told = |node: &str, source: &str, state: &str| {
        wait_for(&format!("{source} of {node} is {state}"), || {
            rig.source(node, source)
                .filter(|(found, _)| found == state)
                .map(|(_, message)| message)
        })
    };
    let message = told("away-a", "postgres", "unreachable");
    assert!(message.contains("127.0.0.1:9"), "{message}");
    let message = told("refused-a", "postgres", "refused");
    assert!(
        message.contains("hsw") && message.contains("password"),
        "{message}"
    );
    let message = told("nologs-a", "log", "absent");
    assert!(
        message.contains("/nowhere/at/all") && message.contains("[log]"),
        "{message}"
    );
    told("nologs-a", "postgres", "ok");
    for agent in &mut agents {
        assert!(agent.running(), "{:#}", agent.obituary());
    }
    for node in ["away-a", "refused-a", "nologs-a"] {
        let n = rig
            .log(node)
            .lines()
            .filter(|line| line.contains("WARN"))
            .count();
        assert!(n <= 4, "{node} repeats itself: {n} warnings");
    }
}

#[test]
fn an_agent_that_is_not_wanted_learns_why_and_is_counted() {
    let rig = Rig::new(34);
    rig.configure_aggregator(
        "open = false",
        "[[shard]]\nname = \"shard-1\"\nnodes = [\"shard-1-a\"]",
    );
    let elsewhere = rig.dir().join("certs/elsewhere");
    hsw_shell::cert::init(&elsewhere).unwrap();
    rig.issue(&elsewhere, "foreign-a");
    for node in ["shard-1-a", "unknown-a", "foreign-a"] {
        rig.configure_agent(node, &absent(), "");
    }
    // The foreign agent trusts the aggregator, so that the aggregator alone has to refuse.
    let (ours, theirs) = (rig.authority(), rig.certs("foreign-a"));
    std::fs::copy(ours.join("ca.crt"), theirs.join("ca.crt")).unwrap();
    let mut aggregator = rig.start_aggregator();
    let mut agents = ["unknown-a", "foreign-a", "shard-1-a"].map(|node| rig.start_agent(node));
    let line = rig.line("unknown-a", &["WARN", "unknown-a", "shard map"]);
    assert!(
        line.contains("[[shard]]") && line.contains("open = true"),
        "{line}"
    );
    rig.line(
        "foreign-a",
        &["WARN", "refuses our certificate", "authority"],
    );
    rig.line("aggregator", &["WARN", "unknown-a", "shard map"]);
    rig.line("aggregator", &["WARN", "a handshake failed", "authority"]);
    wait_for("both refusals are counted", || {
        (rig.metric("hsw_ingest_refused_unknown_node_total") >= 1.0
            && rig.metric("hsw_ingest_handshake_failures_total") >= 1.0)
            .then_some(())
    });
    rig.wait_connected("shard-1-a");
    for process in agents.iter_mut().chain([&mut aggregator]) {
        assert!(process.running(), "{:#}", process.obituary());
    }
}

/// What the first release wrote; frozen here, whatever becomes of the migrations.
const FIRST_SCHEMA: &str = "CREATE TABLE node (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
        stopped INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE delivery (node INTEGER NOT NULL, incarnation INTEGER NOT NULL, last_sequence INTEGER NOT NULL,
        last_window INTEGER NOT NULL, touched_us INTEGER NOT NULL, PRIMARY KEY (node, incarnation)) WITHOUT ROWID;
    CREATE TABLE summary (id INTEGER PRIMARY KEY, node INTEGER NOT NULL, incarnation INTEGER NOT NULL,
        sequence INTEGER NOT NULL, first_window INTEGER NOT NULL, n_windows INTEGER NOT NULL,
        flags INTEGER NOT NULL, received_us INTEGER NOT NULL, payload BLOB NOT NULL);
    CREATE INDEX summary_names ON summary (node, id) WHERE flags <> 0;
    PRAGMA user_version = 1;";

#[test]
fn a_store_of_an_older_program_is_taken_over_and_one_of_a_newer_program_is_left_alone() {
    let rig = Rig::new(35);
    let config = rig.configure_aggregator("", "").display().to_string();
    let file = rig.data_dir().join("hypershardwatch.db");
    let summary = hsw_tests::simagents::summary(1, 20, hsw_types::WindowIndex(1_000), 2, true, 1);
    let old = Connection::open(&file).unwrap();
    old.execute_batch(FIRST_SCHEMA).unwrap();
    old.execute("INSERT INTO node VALUES (7, 'shard-1-a', 0)", [])
        .unwrap();
    let now_us = crate::rig::now_s() * 1_000_000;
    old.execute(
        "INSERT INTO summary VALUES (1, 7, -5, 3, 1000, 2, 0, ?1, ?2)",
        rusqlite::params![now_us, hsw_wire::encode_summary(&summary).unwrap()],
    )
    .unwrap();
    drop(old);
    rig.bed.give(&file, 0o600).unwrap();
    let aggregator = rig.start_aggregator();
    rig.line("aggregator", &["replayed", "summaries=1"]);
    stop(aggregator);
    let rows = store::read(&rig.data_dir());
    assert_eq!((rows.len(), rows[0].sequence), (1, 3));

    let newer = Connection::open(&file).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let before = std::fs::read(&file).unwrap();
    let ended = rig.run("hsw-aggregator", &["run", "--config", &config]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let line = ended.err.trim_end();
    assert!(
        line.lines().count() == 1 && line.contains("hypershardwatch.db") && line.contains("newer"),
        "{ended:?}"
    );
    assert!(
        std::fs::read(&file).unwrap() == before,
        "a newer file was touched"
    );
}
