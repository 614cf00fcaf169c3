//! The PostgreSQL source against a real server, started here and removed again.
//!
//! Skipped with a message where the server's programs or the user `postgres` are missing.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::too_many_lines,
    reason = "a test binary"
)]

mod harness;
mod vacuum;

use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use hsw_agent::sources::postgres::{Config, FindingState, TlsMode, check};
use hsw_types::{EdgeKind, Role, SourceState, Subject, Value};

use harness::{Agent, Server, total};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_appear_without_the_agents_own_session_and_a_reset_is_an_epoch() {
    let Some(server) = Server::start("127.0.71.1", 27_101, "") else {
        return;
    };
    let mut agent = Agent::start(server.config("hsw", "right"));
    for series in [
        "pg.up",
        "pg.sessions",
        "pg.commits",
        "pg.wal_bytes",
        "pg.checkpoints_requested",
        "pg.replicas",
    ] {
        assert!(agent.hear(series).await, "{series}: {:?}", agent.status);
    }
    assert!(agent.hear("pg.sequential_tuples").await && agent.hear("pg.statement_calls").await);
    assert!(agent.hear("pg.frozen_xid_age").await && agent.hear("pg.commits{shop}").await);
    assert_eq!(
        agent.value("pg.sessions"),
        Some(Value::Gauge(0.0)),
        "its own session is left out"
    );
    assert_eq!(agent.state(), Some(SourceState::Ok), "{:?}", agent.status);
    let facts = agent.facts.clone().unwrap();
    assert_eq!(
        (facts.role, facts.address.as_str()),
        (Role::Primary, "127.0.71.1:27101")
    );
    assert!(facts.database.starts_with("PostgreSQL 15.") && !facts.system_identifier.is_empty());
    let settings = agent.settings.borrow().clone().unwrap();
    assert_eq!(settings.data_directory, server.data().display().to_string());

    // Idle, so the commits of the database are the agent's alone, and those are left out.
    let (before, epoch) = total(agent.value("pg.commits"));
    agent.listen(Duration::from_secs(4), |_| false).await;
    let (after, _) = total(agent.value("pg.commits"));
    assert!(
        (after - before) / 4.0 < 1.5,
        "own commits are counted: {before} to {after}"
    );

    // A lock holder, one who waits for it, and a reader of a whole table.
    let mut holder = server
        .psql("shop", "BEGIN; LOCK t; SELECT pg_sleep(5)")
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let mut waiter = server
        .psql("shop", "SELECT count(*) FROM t")
        .spawn()
        .unwrap();
    agent.said.clear();
    let blocked = Some(Value::Gauge(1.0));
    let heard = agent.listen(Duration::from_secs(4), |agent| {
        agent.value("pg.blocked_sessions") == blocked
            && agent.value("pg.sessions_waiting_lock") == blocked
    });
    assert!(heard.await, "{:?}", agent.value("pg.blocked_sessions"));
    assert!(agent.hear("edge.sessions{local postgres@shop psql}").await);
    holder.wait().unwrap();
    waiter.wait().unwrap();
    assert!(
        agent
            .hear("pg.table_sequential_tuples{shop.public.t}")
            .await
    );
    let gone = |agent: &Agent| {
        agent.value("edge.sessions{local postgres@shop psql}") == Some(Value::Gauge(0.0))
    };
    assert!(
        agent.listen(Duration::from_secs(5), gone).await,
        "an edge that ended says zero"
    );

    // Statistics that cannot be had in time: the database is up all the same, and the state says what is amiss.
    let mut locker = server
        .psql("shop", "BEGIN; LOCK pg_authid; SELECT pg_sleep(3)")
        .spawn()
        .unwrap();
    let is_silent = |agent: &Agent| agent.state() == Some(SourceState::Silent);
    assert!(agent.listen(Duration::from_secs(3), is_silent).await);
    agent.hear_up(1.0, Duration::from_secs(2)).await;
    locker.wait().unwrap();
    let is_fine = |agent: &Agent| agent.state() == Some(SourceState::Ok);
    assert!(agent.listen(Duration::from_secs(4), is_fine).await);

    server.sql("shop", "SELECT pg_stat_reset()");
    let reset = |agent: &Agent| {
        agent
            .value("pg.commits")
            .is_some_and(|value| total(Some(value)).1 != epoch)
    };
    assert!(
        agent.listen(Duration::from_secs(4), reset).await,
        "a reset is an epoch"
    );
    let n_sessions = server.sql(
        "shop",
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'hsw'",
    );
    assert_eq!(n_sessions, "1", "one connection at a time");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_is_down_within_three_seconds_and_up_again_after() {
    let Some(server) = Server::start("127.0.71.2", 27_102, "") else {
        return;
    };
    let mut agent = Agent::start(server.config("hsw", "right"));
    agent.hear_up(1.0, Duration::from_secs(5)).await;
    agent.listen(Duration::from_secs(2), |_| false).await;
    let started = agent.facts.clone().unwrap().database_started;

    server.signal(rustix::process::Signal::STOP);
    let took = agent.hear_up(0.0, Duration::from_secs(3)).await;
    agent.said.clear();
    agent.listen(Duration::from_secs(6), |_| false).await;
    assert_eq!(
        agent.state(),
        Some(SourceState::Silent),
        "{:?}",
        agent.status
    );
    let n_down = agent
        .said
        .iter()
        .filter(|(_, r)| r.key.metric == "pg.up" && r.value == Value::Gauge(0.0))
        .count();
    assert!(
        (5..=8).contains(&n_down),
        "down is said each second: {n_down} times in 6 s"
    );
    let Some(Value::Gauge(ms)) = agent.value("pg.probe_ms") else {
        panic!("no probe")
    };
    assert!(ms > 6000.0, "the probe goes on counting: {ms}");
    server.signal(rustix::process::Signal::CONT);
    let back = agent.hear_up(1.0, Duration::from_secs(8)).await;
    println!("hang: down after {took:?}, up again after {back:?}");
    assert!(
        agent
            .listen(Duration::from_secs(2), |agent| agent.state()
                == Some(SourceState::Ok))
            .await
    );

    server.control("stop");
    let took = agent.hear_up(0.0, Duration::from_secs(3)).await;
    assert!(
        agent
            .listen(Duration::from_secs(3), |agent| agent.state()
                == Some(SourceState::Unreachable))
            .await
    );
    server.control("start");
    let back = agent.hear_up(1.0, Duration::from_secs(8)).await;
    println!("restart: down after {took:?}, up again after {back:?}");
    let renewed = |agent: &Agent| {
        agent
            .facts
            .as_ref()
            .is_some_and(|facts| facts.database_started > started)
    };
    assert!(
        agent.listen(Duration::from_secs(3), renewed).await,
        "the new start is a new fact"
    );
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_name_their_remedy_and_tls_and_the_check_work() {
    let Some(server) = Server::start("127.0.71.3", 27_103, "log_lock_waits=on") else {
        return;
    };
    let mut agent = Agent::start(server.config("hsw", "wrong"));
    agent.hear_up(0.0, Duration::from_secs(3)).await;
    assert!(
        agent
            .listen(Duration::from_secs(2), |agent| agent.status.is_some())
            .await
    );
    let status = agent.status.clone().unwrap();
    assert_eq!(status.state, SourceState::Refused);
    assert!(
        status.message.contains("password_file"),
        "{}",
        status.message
    );
    agent.stop().await;

    // Without pg_monitor: what is public is read, and the state says what to grant.
    let mut agent = Agent::start(server.config("nobody", "right"));
    assert!(agent.hear("pg.commits").await);
    assert_eq!(agent.state(), Some(SourceState::Refused));
    assert!(
        agent
            .status
            .as_ref()
            .unwrap()
            .message
            .contains("GRANT pg_monitor TO nobody")
    );
    assert_eq!(agent.value("pg.sessions"), None, "never a made-up zero");
    agent.stop().await;
    let report = check(&server.config("nobody", "right")).await;
    assert!(
        !report.is_fatal()
            && report.has(FindingState::Missing)
            && report.to_string().contains("GRANT pg_monitor TO nobody;"),
        "{report}"
    );

    // With pg_monitor alone every statement is answered.
    let report = check(&server.config("hsw", "right")).await;
    println!("{report}");
    let refused: Vec<_> = report
        .queries
        .iter()
        .filter(|query| query.ms.is_none() && query.name != "logfile")
        .collect();
    assert!(
        refused.is_empty() && report.queries.len() >= 14,
        "{refused:?}"
    );
    let is = |state, what: &str| {
        report
            .findings
            .iter()
            .any(|f| f.state == state && f.what.contains(what))
    };
    assert!(is(FindingState::Ok, "pg_monitor") && is(FindingState::Ok, "log_lock_waits"));
    assert!(
        is(FindingState::Missing, "track_io_timing")
            && is(FindingState::Missing, "logging_collector")
    );
    assert!(check(&server.config("hsw", "wrong")).await.is_fatal());

    // TLS: the role is let in encrypted only.
    let encrypted = Config {
        sslmode: TlsMode::Require,
        ..server.config("hsw_tls", "right")
    };
    let report = check(&encrypted).await;
    assert!(!report.is_fatal(), "{report}");
    let plain = Config {
        sslmode: TlsMode::Disable,
        ..encrypted.clone()
    };
    assert!(check(&plain).await.is_fatal());
    let verified = Config {
        sslmode: TlsMode::VerifyFull,
        sslrootcert: Some(server.data().join("server.crt")),
        ..encrypted
    };
    let report = check(&verified).await;
    assert!(!report.is_fatal(), "{report}");
    let other = rcgen::generate_simple_self_signed(vec!["elsewhere".into()])
        .unwrap()
        .cert
        .pem();
    let path = server.folder.path().join("other.crt");
    fs::write(&path, other).unwrap();
    let report = check(&Config {
        sslrootcert: Some(path),
        ..verified
    })
    .await;
    assert!(
        report.is_fatal() && report.to_string().contains("sslrootcert"),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_an_edge_and_its_promotion_a_new_fact_and_a_new_epoch() {
    let Some(primary) = Server::start("127.0.71.5", 27_105, "") else {
        return;
    };
    let replica = primary.replica("127.0.71.6", 27_106);
    let mut above = Agent::start(primary.config("hsw", "right"));
    let mut below = Agent::start(replica.config("hsw", "right"));
    let streams = |agent: &Agent| agent.value("pg.replicas") == Some(Value::Gauge(1.0));
    assert!(above.listen(Duration::from_secs(8), streams).await);
    let is_edge = |agent: &Agent| {
        agent.said.iter().any(|(_, reading)| {
            matches!(&reading.key.subject, Subject::Edge(edge) if edge.kind == EdgeKind::Replication)
                && reading.key.metric == "edge.lag_bytes"
        })
    };
    assert!(above.listen(Duration::from_secs(4), is_edge).await);
    assert!(below.hear("pg.replication_lag_s").await && below.hear("pg.wal_bytes").await);
    assert_eq!(
        below.value("pg.replication_lag_s"),
        Some(Value::Gauge(0.0)),
        "follows an idle primary"
    );
    assert_eq!(below.facts.as_ref().unwrap().role, Role::Replica);
    let (_, epoch) = total(below.value("pg.wal_bytes"));
    let identity = |agent: &Agent| agent.facts.as_ref().unwrap().system_identifier.clone();
    assert_eq!(identity(&above), identity(&below));

    replica.sql("postgres", "SELECT pg_promote()");
    let is_primary = |agent: &Agent| {
        agent
            .facts
            .as_ref()
            .is_some_and(|facts| facts.role == Role::Primary)
    };
    assert!(below.listen(Duration::from_secs(5), is_primary).await);
    let is_new = |agent: &Agent| total(agent.value("pg.wal_bytes")).1 != epoch;
    assert!(below.listen(Duration::from_secs(4), is_new).await);
    let alone = |agent: &Agent| agent.value("pg.replicas") == Some(Value::Gauge(0.0));
    assert!(above.listen(Duration::from_secs(6), alone).await);
    above.stop().await;
    below.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_house_keeps_the_open_connection_and_refuses_a_new_one_and_a_router_is_known() {
    let Some(server) = Server::start("127.0.71.7", 27_107, "") else {
        return;
    };
    server.sql(
        "shop",
        "CREATE EXTENSION postgres_fdw; CREATE SERVER s1 FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.71.8', port '6001', dbname 'shop'); \
         CREATE FOREIGN TABLE f1 (a int) SERVER s1; CREATE FOREIGN TABLE f2 (a int) SERVER s1",
    );
    let mut agent = Agent::start(server.config("hsw", "right"));
    assert!(agent.hear("pg.connections_ratio").await);
    let router = |agent: &Agent| {
        agent
            .facts
            .as_ref()
            .is_some_and(|facts| facts.role == Role::Router)
    };
    assert!(agent.listen(Duration::from_secs(5), router).await);
    assert!(agent.hear("edge.sessions{127.0.71.8 @shop }").await);

    let mut crowd: Vec<Child> = (0..20)
        .map(|_| {
            server
                .psql_as("nobody", "SELECT pg_sleep(8)")
                .spawn()
                .unwrap()
        })
        .collect();
    let is_full = |agent: &Agent| matches!(agent.value("pg.connections_ratio"), Some(Value::Gauge(ratio)) if ratio > 0.9);
    assert!(
        agent.listen(Duration::from_secs(5), is_full).await,
        "{:?}",
        agent.value("pg.connections_ratio")
    );
    let report = check(&server.config("hsw", "right")).await;
    assert!(
        report.is_fatal() && report.to_string().contains("53300"),
        "{report}"
    );
    agent.hear_up(1.0, Duration::from_secs(2)).await;
    assert_eq!(agent.state(), Some(SourceState::Ok));
    for session in &mut crowd {
        let _ = session.kill();
        let _ = session.wait();
    }
    agent.stop().await;
}

/// Takes three minutes: `cargo test --test postgres -- --ignored visits`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "waits for the first visit, two minutes after the start"]
async fn visits_to_a_second_database_leave_one_connection_and_come_home() {
    let Some(server) = Server::start("127.0.71.9", 27_109, "") else {
        return;
    };
    server.sql("postgres", "CREATE DATABASE side");
    server.sql(
        "side",
        "CREATE TABLE s AS SELECT 1 AS a; SELECT count(*) FROM s",
    );
    let mut agent = Agent::start(server.config("hsw", "right"));
    assert!(agent.hear("pg.sequential_tuples").await);
    let visited = |agent: &Agent| agent.value("pg.sequential_tuples{side}").is_some();
    assert!(
        agent.listen(Duration::from_secs(130), visited).await,
        "{:?}",
        agent.status
    );
    let mine = "SELECT string_agg(datname, ',') FROM pg_stat_activity WHERE usename = 'hsw'";
    assert_eq!(server.sql("shop", mine), "side");
    let downs = agent
        .said
        .iter()
        .filter(|(_, r)| r.key.metric == "pg.up" && r.value == Value::Gauge(0.0))
        .count();
    assert_eq!(downs, 0, "a visit is no outage");
    agent.said.clear();
    let home = |agent: &Agent| agent.value("pg.sequential_tuples").is_some();
    assert!(agent.listen(Duration::from_secs(40), home).await);
    assert_eq!(server.sql("shop", mine), "shop");
    agent.stop().await;
}

/// Not part of the ordinary run: prints what the source costs. `cargo test --test postgres -- --ignored --nocapture`
#[tokio::test(flavor = "current_thread")]
#[ignore = "a measurement, not a test"]
async fn cost_with_a_hundred_tables_and_two_hundred_statements() {
    let Some(server) = Server::start("127.0.71.4", 27_104, "") else {
        return;
    };
    let tables: Vec<_> = (0..100)
        .map(|n| format!("CREATE TABLE t{n} (a int PRIMARY KEY, b int)"))
        .collect();
    server.sql("shop", &tables.join("; "));
    let statements: Vec<_> = (0..200)
        .map(|n| format!("SELECT a AS c{n} FROM t{}", n % 100))
        .collect();
    server.sql("shop", &statements.join("; "));
    let idle: Vec<_> = (0..10)
        .map(|_| server.psql("shop", "SELECT pg_sleep(60)").spawn().unwrap())
        .collect();
    let mut agent = Agent::start(server.config("hsw", "right"));
    agent.listen(Duration::from_secs(5), |_| false).await;
    let pid = agent.settings.borrow().clone().unwrap().own_pid;
    let ticks = |pid: u32| -> f64 {
        let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
        stat.split_whitespace()
            .next()
            .unwrap()
            .parse::<f64>()
            .unwrap()
            / 1e6
    };
    let own = std::process::id();
    let threads = || -> f64 {
        let tasks = fs::read_dir(format!("/proc/{own}/task")).unwrap();
        tasks
            .map(|task| ticks(task.unwrap().file_name().to_str().unwrap().parse().unwrap()))
            .sum()
    };
    let (backend, agent_ms, began, spent) = (
        ticks(pid),
        threads(),
        Instant::now(),
        total(agent.value("pg.agent_query_ms")).0,
    );
    let tuples = total(agent.value("pg.tuples_returned")).0;
    agent.said.clear();
    agent.listen(Duration::from_secs(20), |_| false).await;
    let s = began.elapsed().as_secs_f64();
    println!(
        "per second: backend {:.3} ms CPU, this process {:.3} ms CPU, waited {:.3} ms, {:.0} readings",
        (ticks(pid) - backend) / s,
        (threads() - agent_ms) / s,
        (total(agent.value("pg.agent_query_ms")).0 - spent) / s,
        agent.said.len() as f64 / s
    );
    println!(
        "rows of the agent's own reads per second: {:.0}",
        (total(agent.value("pg.tuples_returned")).0 - tuples) / s
    );
    for mut session in idle {
        let _ = session.kill();
        let _ = session.wait();
    }
    agent.stop().await;
}
