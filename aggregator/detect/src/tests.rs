//! The detector on clusters whose truth is known. (step 10)

use hsw_state::{Cluster, NodeIndex};
use hsw_types::{NodeId, SeriesDef, SeriesId, SeriesKey, SeriesValues, ShardSummary, WindowIndex};

use super::{Detector, Finding, Group};
use crate::dice::noise;

struct World {
    cluster: Cluster,
    detector: Detector,
    groups: Vec<Group>,
    nodes: Vec<NodeIndex>,
    window: i64,
    metric: &'static str,
}

impl World {
    fn new(n: usize, metric: &'static str) -> Self {
        let mut cluster = Cluster::new(100);
        let nodes: Vec<_> = (0..n)
            .map(|i| cluster.node_index(&NodeId::new(&format!("n{i}")).unwrap()))
            .collect();
        let groups = vec![Group {
            members: nodes.clone(),
            control: Vec::new(),
        }];
        Self {
            cluster,
            detector: Detector::default(),
            groups,
            nodes,
            window: 0,
            metric,
        }
    }

    fn step(&mut self, value: impl Fn(usize, i64) -> Option<f64>) -> Vec<Finding> {
        self.window += 1;
        for &node in &self.nodes {
            let summary = ShardSummary {
                first_window: WindowIndex(self.window),
                n_windows: 1,
                dictionary_epoch: 1,
                facts: None,
                dictionary: vec![SeriesDef {
                    id: SeriesId(0),
                    key: SeriesKey::node(self.metric),
                }],
                series: vec![SeriesValues {
                    id: SeriesId(0),
                    values: vec![value(node, self.window)],
                }],
                latencies: Vec::new(),
                log_samples: Vec::new(),
                sources: Vec::new(),
                hot: Vec::new(),
            };
            self.cluster.apply(node, summary);
        }
        let frozen = vec![false; self.nodes.len()];
        self.detector.evaluate(
            &self.cluster,
            &self.groups,
            WindowIndex(self.window),
            &frozen,
        )
    }

    fn run(&mut self, windows: i64, value: impl Fn(usize, i64) -> Option<f64>) -> Vec<Finding> {
        (0..windows)
            .flat_map(|_| self.step(&value))
            .filter(|f| f.held > 0)
            .collect()
    }
}

#[test]
fn a_leak_as_slow_as_its_own_past_forgets_is_found_before_its_limit_is_reached() {
    let mut world = World::new(4, "pg.connections_ratio");
    // One of a hundred sessions a minute; its own past is half an hour.
    let leak = |node: usize, window: i64| {
        let leaked = (window - 300).max(0) as f64 / 6_000.0;
        Some(if node == 2 { 0.3 + leaked } else { 0.3 })
    };
    assert!(world.run(300 + 1_800, leak).is_empty());
    let found = world.run(2_100, leak);
    let first = found.iter().find(|f| f.limit_s.is_some()).unwrap();
    assert!(found.iter().all(|f| f.node == 2));
    assert!(first.value < 0.87, "{first:?}");
    assert!(first.limit_s.is_some_and(|s| (700.0..1_000.0).contains(&s)));
}

#[test]
fn a_shard_that_leaves_its_siblings_is_found_within_four_seconds_and_alone() {
    let mut world = World::new(4, "pg.sessions_waiting_lock");
    let calm = |_: usize, _: i64| Some(0.0);
    assert!(world.run(60, calm).is_empty());
    let found = world.run(4, |node, _| Some(if node == 2 { 6.0 } else { 0.0 }));
    assert!(
        !found.is_empty() && found.iter().all(|f| f.node == 2),
        "{found:?}"
    );
    assert_eq!(found[0].siblings, Some(0.0));
    assert_eq!(found[0].since, WindowIndex(61));
}

#[test]
fn a_load_that_moves_every_shard_alike_is_nobodys_deviation() {
    let mut world = World::new(4, "pg.sessions_active");
    let load = |factor: f64| {
        move |node: usize, w: i64| Some(factor * (4.0 + node as f64) + noise(w, node))
    };
    assert!(world.run(120, load(1.0)).is_empty());
    assert!(world.run(120, load(4.0)).is_empty());
}

#[test]
fn a_shard_that_reacts_to_a_load_of_all_by_twice_the_power_is_nobodys_deviation_and_what_only_it_shows_is()
 {
    let mut world = World::new(8, "pg.sessions_active");
    let power = |node: usize| [0.9, 0.95, 1.0, 1.0, 1.0, 1.05, 1.1, 2.0][node];
    let load = |factor: f64| {
        move |node: usize, w: i64| Some(4.0 * factor.powf(power(node)) + 0.2 * noise(w, node))
    };
    assert!(world.run(300, load(1.0)).is_empty());
    assert!(world.run(120, load(3.0)).is_empty());
    let sick = world.run(20, move |node, w| {
        let more = if node == 2 { 40.0 } else { 1.0 };
        load(3.0)(node, w).map(|value| more * value)
    });
    assert!(
        !sick.is_empty() && sick.iter().all(|f| f.node == 2),
        "{sick:?}"
    );
}

#[test]
fn spikes_of_two_seconds_are_not_a_deviation() {
    let mut world = World::new(4, "pg.probe_ms");
    let spiky = |node: usize, w: i64| Some(if node == 1 && w % 30 < 2 { 400.0 } else { 1.0 });
    assert!(world.run(600, spiky).is_empty());
}

#[test]
fn a_gap_is_unknown_and_never_a_finding() {
    let mut world = World::new(4, "pg.commits");
    world.run(120, |node, w| Some(30.0 + 3.0 * noise(w, node)));
    let found = world.run(60, |node, w| {
        (node != 0).then(|| 30.0 + 3.0 * noise(w, node))
    });
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn half_the_shards_may_be_sick_and_still_only_they_are_named() {
    let mut world = World::new(5, "pg.connections_ratio");
    world.run(120, |_, _| Some(0.2));
    let found = world.run(10, |node, _| Some(if node < 2 { 0.95 } else { 0.2 }));
    assert!(found.iter().all(|f| f.node < 2) && found.iter().any(|f| f.node == 1));
}

#[test]
fn where_all_are_hit_by_different_amounts_nobody_is_the_deviant() {
    for is_everybody in [true, false] {
        let mut world = World::new(8, "cgroup.throttled_ratio");
        world.run(120, |_, _| Some(0.0));
        let found = world.run(30, |node, _| {
            let is_hit = is_everybody || node == 7;
            Some(if is_hit { 0.1 + 0.1 * node as f64 } else { 0.0 })
        });
        assert_eq!(found.is_empty(), is_everybody, "{found:?}");
        assert!(found.iter().all(|f| f.node == 7));
    }
}

#[test]
fn a_router_whose_shards_all_move_with_it_is_not_the_deviant() {
    let mut world = World::new(4, "pg.sessions_active");
    world.groups = vec![
        Group {
            members: vec![0, 1, 2],
            control: Vec::new(),
        },
        Group {
            members: vec![3],
            control: vec![0, 1, 2],
        },
    ];
    world.run(120, |node, w| Some(4.0 + noise(w, node)));
    assert!(
        world
            .run(30, |node, w| Some(20.0 + noise(w, node)))
            .is_empty()
    );
    world.run(60, |node, w| Some(4.0 + noise(w, node)));
    let found = world.run(10, |node, w| {
        Some(if node == 3 { 60.0 } else { 4.0 } + noise(w, node))
    });
    assert!(
        !found.is_empty() && found.iter().all(|f| f.node == 3),
        "{found:?}"
    );
}

#[test]
fn a_share_of_a_limit_matters_only_near_the_limit() {
    for (share, is_found) in [(0.6, false), (0.95, true)] {
        let mut world = World::new(4, "pg.connections_ratio");
        world.run(120, |_, _| Some(0.2));
        let found = world.run(20, |node, _| Some(if node == 1 { share } else { 0.2 }));
        assert_eq!(!found.is_empty(), is_found, "{share}");
    }
}

#[test]
fn what_is_no_change_any_more_ends_a_finding_however_still_its_past_was() {
    let mut world = World::new(4, "cgroup.throttled_ratio");
    let sick = |share: f64| move |node: usize, _: i64| Some(if node == 1 { share } else { 0.0 });
    world.run(120, sick(0.0));
    assert!(!world.run(20, sick(0.3)).is_empty());
    world.run(12, sick(0.14));
    let found = world.run(20, sick(0.14));
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn an_hour_of_noise_gives_no_finding() {
    for metric in [
        "pg.commits",
        "pg.sessions_active",
        "host.cpu_busy_ratio",
        "disk.write_bytes",
    ] {
        let mut world = World::new(4, metric);
        let typical = hsw_types::metric_spec(metric).unwrap().floor * 3.0;
        let found = world.run(3_600, |node, w| {
            Some(typical * (1.0 + 0.5 * noise(w, node)))
        });
        assert!(found.is_empty(), "{metric}: {found:?}");
    }
}
