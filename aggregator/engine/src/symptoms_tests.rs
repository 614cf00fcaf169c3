//! What opens an incident, and what does not however long it lasts.

use super::*;
use hsw_types::metric_spec;

fn finding(metric: &str, score: f64, held: u32) -> Finding {
    Finding {
        node: 0,
        key: 0,
        spec: metric_spec(metric).unwrap(),
        value: 1.0,
        usual: 0.0,
        siblings: Some(0.0),
        score,
        direction: 1.0,
        since: WindowIndex(0),
        held,
        limit_s: None,
    }
}

/// Whether any of these, held together, opens an incident.
fn is_opening(all: &[(&str, f64, u32)]) -> bool {
    let findings: Vec<Finding> = all.iter().map(|&(m, s, h)| finding(m, s, h)).collect();
    let held: Vec<&Finding> = findings.iter().collect();
    let held: Vec<&&Finding> = held.iter().collect();
    held.iter().any(|f| opens(f, &held))
}

#[test]
fn a_wait_that_is_far_opens_alone_once_it_has_lasted() {
    let steal = |score, held| is_opening(&[("host.cpu_steal_ratio", score, held)]);
    assert!(!steal(16.0, 14));
    assert!(steal(16.0, 15));
    assert!(steal(60.0, 8), "beyond thirty a score says no more");
    assert!(!steal(60.0, 7));
    assert!(!steal(15.9, 900), "a checkpoint is not far");
}

#[test]
fn what_nears_its_limit_opens_alone_and_what_is_merely_fuller_than_it_was_does_not() {
    let disk = |limit_s, held| {
        let finding = Finding {
            limit_s,
            ..finding("data_fs.used_ratio", 6.0, held)
        };
        opens(&finding, &[&&finding])
    };
    assert!(!disk(Some(50.0), ALONE_WINDOWS - 1) && disk(Some(50.0), ALONE_WINDOWS));
    assert!(!disk(None, 900));
}

#[test]
fn use_of_a_resource_opens_nothing_however_far_and_long() {
    assert!(!is_opening(&[
        ("instance.read_bytes", 25.0, 900),
        ("host.cpu_busy_ratio", 25.0, 900),
        ("pg.statement_calls", 25.0, 900),
    ]));
    // A job that ended: less is done, and nobody waits.
    assert!(!is_opening(&[
        ("pg.commits", 27.0, 2),
        ("pg.commits", 27.0, 900)
    ]));
}

#[test]
fn errors_open_alone_and_waits_sooner_where_somebody_suffers() {
    assert!(!is_opening(&[("pg.rollbacks", 30.0, 7)]));
    assert!(is_opening(&[("pg.rollbacks", 30.0, 8)]));
    let slow = ("disk.read_latency_ms", 12.0, 10);
    assert!(!is_opening(&[slow]));
    assert!(
        !is_opening(&[slow, ("pg.blocks_hit", 20.0, 17)]),
        "use supports nothing"
    );
    assert!(!is_opening(&[slow, ("pg.commits", 7.0, 17)]));
    assert!(is_opening(&[slow, ("pg.sessions_active", 5.5, 3)]));
    assert!(!is_opening(&[
        ("disk.read_latency_ms", 11.9, 900),
        ("pg.sessions_active", 7.9, 900)
    ]));
}
