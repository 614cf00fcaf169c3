//! Properties of the ranking, and an oracle: cascades with a known root on known graphs.

use proptest::prelude::*;

use super::*;

const N_NORMAL: usize = 40;
const N_ABNORMAL: usize = 8;

/// A small generator (Knuth's constants), so that cases need no seed but a number.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1_u64 << 24) as f64
    }
}

/// Values about `usual` that are `times` as large in trouble.
fn series(entity: &str, metric: &str, usual: f64, times: f64, noise: &mut Noise) -> Series {
    let mut values = |n: usize, times: f64| -> Vec<f64> {
        (0..n)
            .map(|_| usual * times * (0.9 + 0.2 * noise.next()))
            .collect()
    };
    Series {
        entity: entity.to_owned(),
        metric: metric.to_owned(),
        normal: values(N_NORMAL, 1.0),
        before: Vec::new(),
        abnormal: values(N_ABNORMAL, times),
    }
}

fn name(number: usize) -> String {
    format!("e{number:02}")
}

/// Entities in layers, each calling some of the next; the time of a call is part of the caller's.
struct Cascade {
    calls: Vec<(usize, usize)>,
    n: usize,
}

impl Cascade {
    fn new(n: usize, noise: &mut Noise) -> Self {
        let mut calls = Vec::new();
        for callee in 1..n {
            let n_callers = 1 + (2.0 * noise.next()) as usize;
            for _ in 0..n_callers {
                let caller = (noise.next() * callee as f64) as usize;
                if !calls.contains(&(caller, callee)) {
                    calls.push((caller, callee));
                }
            }
        }
        Self { calls, n }
    }

    /// Latency of each when one takes `slow` seconds more of its own.
    fn latencies(&self, root: usize, slow: f64) -> Vec<f64> {
        let mut latencies = vec![0.01; self.n];
        latencies[root] += slow;
        for callee in (1..self.n).rev() {
            for (caller, _) in self.calls.iter().filter(|(_, to)| *to == callee) {
                latencies[*caller] += latencies[callee];
            }
        }
        latencies
    }

    fn evidence(&self, root: usize, noise: &mut Noise) -> Evidence {
        let (usual, sick) = (self.latencies(root, 0.0), self.latencies(root, 0.5));
        let mut all = Vec::new();
        for at in 0..self.n {
            let times = sick[at] / usual[at];
            all.push(series(&name(at), "latency", usual[at], times, noise));
            all.push(series(&name(at), "requests", 100.0, 1.0, noise));
        }
        Evidence {
            series: all,
            edges: self
                .calls
                .iter()
                .map(|(a, b)| (name(*a), name(*b)))
                .collect(),
            ..Evidence::default()
        }
    }
}

fn first(evidence: &Evidence) -> String {
    rank(evidence, &Config::default())[0].entity.clone()
}

proptest! {
    #[test]
    fn prop_the_root_of_a_cascade_comes_first(n in 2_usize..14, root in 0_usize..14, seed in any::<u64>()) {
        let mut noise = Noise(seed);
        let cascade = Cascade::new(n, &mut noise);
        let root = root % n;
        prop_assert_eq!(first(&cascade.evidence(root, &mut noise)), name(root));
    }

    #[test]
    fn prop_chains_do_not_break_at_silent_entities(n in 3_usize..10, silent in 1_usize..9, seed in any::<u64>()) {
        let mut noise = Noise(seed);
        let cascade = Cascade { calls: (1..n).map(|at| (at - 1, at)).collect(), n };
        let mut evidence = cascade.evidence(n - 1, &mut noise);
        let silent = name(1 + silent % (n - 2).max(1));
        evidence.series.retain(|series| series.entity != silent || silent == name(n - 1));
        let ranked = rank(&evidence, &Config::default());
        prop_assert_eq!(&ranked[0].entity, &name(n - 1));
        // What lies beyond the silent one is still explained: the score is more than what the root shows itself.
        let own: f64 = ranked[0].metrics.iter().map(|metric| metric.nats).fold(0.0, f64::max);
        prop_assert!(ranked[0].score > own);
    }

    #[test]
    fn prop_the_order_of_columns_edges_and_rows_changes_nothing(seed in any::<u64>(), turn in 0_usize..50) {
        let mut noise = Noise(seed);
        let cascade = Cascade::new(8, &mut noise);
        let evidence = cascade.evidence(3, &mut noise);
        let mut other = evidence.clone();
        let n = other.series.len();
        other.series.rotate_left(turn % n);
        other.series.reverse();
        other.edges.reverse();
        for series in &mut other.series {
            series.normal.rotate_left(turn % N_NORMAL);
            series.abnormal.rotate_right(turn % N_ABNORMAL);
        }
        let (a, b) = (rank(&evidence, &Config::default()), rank(&other, &Config::default()));
        for (a, b) in a.iter().zip(&b) {
            prop_assert_eq!(&a.entity, &b.entity);
            prop_assert!((a.score - b.score).abs() < 1e-9);
        }
    }

    #[test]
    fn prop_the_unit_of_a_metric_changes_nothing(seed in any::<u64>(), power in -9_i32..9) {
        let mut noise = Noise(seed);
        let cascade = Cascade::new(8, &mut noise);
        let evidence = cascade.evidence(5, &mut noise);
        let mut other = evidence.clone();
        for series in other.series.iter_mut().filter(|series| series.metric == "latency") {
            for value in series.normal.iter_mut().chain(&mut series.abnormal) {
                // A power of two, so that nothing is rounded.
                *value *= 2.0_f64.powi(power);
            }
        }
        prop_assert_eq!(rank(&evidence, &Config::default()), rank(&other, &Config::default()));
    }

    #[test]
    fn prop_without_a_floor_an_offset_changes_nothing(seed in any::<u64>(), by in -1_000_i32..1_000) {
        let mut noise = Noise(seed);
        let mut evidence = Evidence::default();
        for at in 0..5 {
            let times = if at == 2 { 1.5 } else { 1.0 };
            evidence.series.push(series(&name(at), "cpu", 10.0, times, &mut noise));
        }
        let config = Config { floor: 0.0, peers: 0.0, ..Config::default() };
        let before = rank(&evidence, &config);
        for series in &mut evidence.series {
            for value in series.normal.iter_mut().chain(&mut series.abnormal) {
                *value += f64::from(by);
            }
        }
        for (a, b) in before.iter().zip(&rank(&evidence, &config)) {
            prop_assert_eq!(&a.entity, &b.entity);
            prop_assert!((a.score - b.score).abs() < 1e-6);
        }
    }

    #[test]
    fn prop_whatever_is_missing_the_answer_is_finite_and_the_same_twice(
        seed in any::<u64>(),
        values in proptest::collection::vec(prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(0.0), -1e12..1e12_f64], 0..40),
        cuts in proptest::collection::vec(0_usize..40, 12),
    ) {
        let mut noise = Noise(seed);
        let cascade = Cascade::new(4, &mut noise);
        let mut evidence = cascade.evidence(1, &mut noise);
        for (series, cut) in evidence.series.iter_mut().zip(&cuts) {
            let cut = (*cut).min(values.len());
            series.normal = values[..cut].to_vec();
            series.abnormal = values[cut..].to_vec();
        }
        evidence.edges.push((name(0), name(0)));
        evidence.target = Some("nobody".to_owned());
        let ranked = rank(&evidence, &Config::default());
        prop_assert!(ranked.iter().all(|suspect| suspect.score.is_finite() && suspect.score >= 0.0));
        prop_assert_eq!(&ranked, &rank(&evidence, &Config::default()));
    }
}

#[test]
fn nothing_is_known_of_nothing() {
    assert_eq!(rank(&Evidence::default(), &Config::default()), []);
}

#[test]
fn calm_entities_score_nothing() {
    let mut noise = Noise(1);
    let cascade = Cascade::new(9, &mut noise);
    let mut evidence = cascade.evidence(4, &mut noise);
    for series in &mut evidence.series {
        series.abnormal = series.normal[..N_ABNORMAL].to_vec();
    }
    let ranked = rank(&evidence, &Config::default());
    assert!(
        ranked.iter().all(|suspect| suspect.score == 0.0),
        "{ranked:?}"
    );
}

#[test]
fn without_a_graph_a_cause_stands_before_an_effect() {
    let mut noise = Noise(7);
    let evidence = Evidence {
        series: vec![
            series("busy", "requests", 50.0, 40.0, &mut noise),
            series("hungry", "cpu", 5.0, 20.0, &mut noise),
        ],
        ..Evidence::default()
    };
    let ranked = rank(&evidence, &Config::default());
    assert_eq!(ranked[0].entity, "hungry");
    assert_eq!(ranked[0].metrics[0].metric, "cpu");
    assert!(ranked[1].score > 0.0);
}

#[test]
fn an_entity_that_sees_nothing_itself_is_found_by_what_its_callers_say() {
    let mut noise = Noise(3);
    let mut evidence = Evidence::default();
    for (caller, callee) in [("a", "x"), ("b", "x"), ("a", "y"), ("c", "y")] {
        evidence.edges.push((caller.to_owned(), callee.to_owned()));
    }
    for (caller, times) in [("a", 30.0), ("b", 30.0), ("c", 1.0)] {
        evidence
            .series
            .push(series(caller, "client_latency", 0.01, times, &mut noise));
    }
    for callee in ["x", "y"] {
        evidence
            .series
            .push(series(callee, "server_latency", 0.01, 1.0, &mut noise));
    }
    assert_eq!(first(&evidence), "x");
}

#[test]
fn what_explains_nothing_at_the_target_counts_less() {
    let mut noise = Noise(5);
    let mut evidence = Evidence {
        edges: vec![("shop".to_owned(), "db".to_owned())],
        series: vec![
            series("shop", "latency", 0.1, 8.0, &mut noise),
            series("db", "latency", 0.05, 8.0, &mut noise),
            series("batch", "latency", 1.0, 500.0, &mut noise),
        ],
        ..Evidence::default()
    };
    assert_eq!(first(&evidence), "batch");
    evidence.target = Some("shop".to_owned());
    assert_eq!(first(&evidence), "db");
}

#[test]
fn a_callee_explains_no_more_time_than_it_has_taken() {
    let mut noise = Noise(11);
    let mut evidence = Evidence::default();
    // Twenty times as slow either, but one is asked once in twenty requests.
    for (entity, usual, times, requests) in [
        ("shop", 0.10, 3.0, 100.0),
        ("often", 0.01, 20.0, 100.0),
        ("seldom", 0.01, 20.0, 5.0),
    ] {
        evidence
            .series
            .push(series(entity, "latency_avg", usual, times, &mut noise));
        evidence
            .series
            .push(series(entity, "requests", requests, 1.0, &mut noise));
    }
    for callee in ["often", "seldom"] {
        evidence.edges.push(("shop".to_owned(), callee.to_owned()));
    }
    let ranked = rank(&evidence, &Config::default());
    let score = |name: &str| ranked.iter().find(|s| s.entity == name).unwrap().score;
    assert_eq!(ranked[0].entity, "often");
    assert!(score("often") > 1.2 * score("seldom"), "{ranked:?}");
}

#[test]
fn one_failure_of_few_requests_is_less_than_many_of_many() {
    let mut noise = Noise(13);
    let mut evidence = Evidence::default();
    for (entity, requests, good) in [("small", 3.0, 70.0), ("large", 900.0, 96.0)] {
        evidence
            .series
            .push(series(entity, "requests", requests, 1.0, &mut noise));
        let mut available = series(entity, "availability", 100.0, 1.0, &mut noise);
        available.normal.fill(100.0);
        available.abnormal.fill(good);
        evidence.series.push(available);
    }
    assert_eq!(first(&evidence), "large");
}

#[test]
fn a_cause_does_not_explain_what_began_before_it() {
    let mut noise = Noise(17);
    let mut cascade = Evidence {
        edges: vec![("shop".to_owned(), "db".to_owned())],
        series: vec![
            series("shop", "latency", 0.1, 10.0, &mut noise),
            series("db", "latency", 0.1, 10.0, &mut noise),
        ],
        ..Evidence::default()
    };
    let score = |evidence: &Evidence| {
        let ranked = rank(evidence, &Config::default());
        ranked.iter().find(|s| s.entity == "db").unwrap().score
    };
    let together = score(&cascade);
    let calm = cascade.series[1].normal[..5].to_vec();
    cascade.series[1].abnormal.splice(..5, calm);
    let later = score(&cascade);
    let config = Config {
        clock_rows: 100,
        ..Config::default()
    };
    let uncertain = rank(&cascade, &config);
    let uncertain = uncertain.iter().find(|s| s.entity == "db").unwrap().score;
    assert!(later < uncertain, "{later} {uncertain}");
    assert!(later < together);
}

#[test]
fn an_idle_entity_may_move_a_little() {
    let mut noise = Noise(19);
    let mut evidence = Evidence::default();
    for at in 0..5 {
        evidence
            .series
            .push(series(&name(at), "cpu", 20.0, 1.0, &mut noise));
    }
    evidence
        .series
        .push(series("idle", "cpu", 0.01, 20.0, &mut noise));
    let ranked = rank(&evidence, &Config::default());
    assert!(
        ranked.iter().all(|suspect| suspect.score == 0.0),
        "{ranked:?}"
    );
}

#[test]
fn a_constant_is_set_by_its_name() {
    let mut config = Config::default();
    assert!(config.set("noise", 1.0) && config.set("clock_rows", 3.0) && !config.set("x", 1.0));
    assert_eq!((config.noise, config.clock_rows), (1.0, 3));
}
