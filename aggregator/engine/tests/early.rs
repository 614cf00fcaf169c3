//! The first quarter of an hour of a watched cluster, and what an incident leaves behind: four shards and a router with noisy series. (steps 8–13)

#![expect(
    clippy::unwrap_used,
    reason = "a test may stop where its own names are wrong"
)]

mod common;

use common::{node, shard};
use hsw_engine::{Config, Engine, Input, Judgement, Output, ShardEntry, ShardMap};
use hsw_types::{
    Monotonic, NodeFacts, Role, SeriesDef, SeriesId, SeriesKey, SeriesValues, ShardId,
    ShardSummary, WallTime, WindowIndex,
};

const START: i64 = 1_800_000_000;
const N: usize = 5;
/// Metric, level, spread of its logarithm.
const METRICS: [(&str, f64, f64); 34] = [
    ("pg.up", 1.0, 0.0),
    ("pg.commits", 300.0, 0.1),
    ("pg.rollbacks", 0.3, 0.8),
    ("pg.sessions", 22.0, 0.05),
    ("pg.sessions_active", 3.0, 0.4),
    ("pg.sessions_waiting_lock", 0.0, 0.0),
    ("pg.blocked_sessions", 0.0, 0.0),
    ("pg.sessions_idle_in_transaction", 1.0, 0.7),
    ("pg.connections_ratio", 0.22, 0.05),
    ("pg.probe_ms", 1.0, 0.5),
    ("pg.query_age_max_s", 0.1, 0.6),
    ("pg.transaction_age_max_s", 0.2, 0.6),
    ("pg.statement_calls", 900.0, 0.1),
    ("pg.tuples_updated", 150.0, 0.12),
    ("pg.tuples_fetched", 2_000.0, 0.15),
    ("pg.tuples_returned", 3_000.0, 0.2),
    ("pg.index_scans", 600.0, 0.1),
    ("pg.blocks_hit", 9_000.0, 0.12),
    ("pg.blocks_read", 30.0, 0.7),
    ("pg.wal_bytes", 5e5, 0.25),
    ("instance.cpu_cores", 0.4, 0.15),
    ("instance.processes", 28.0, 0.04),
    ("instance.read_bytes", 2e5, 0.9),
    ("instance.write_bytes", 1e6, 0.6),
    ("cgroup.cpu_cores", 0.45, 0.15),
    ("host.cpu_busy_ratio", 0.3, 0.1),
    ("disk.write_bytes", 2e6, 0.6),
    ("disk.write_latency_ms", 1.0, 0.5),
    ("disk.in_flight", 0.5, 0.8),
    ("socket.connections", 24.0, 0.04),
    ("socket.rtt_ms_median", 0.2, 0.2),
    ("socket.tx_bytes", 4e5, 0.15),
    ("net.rx_bytes", 2e5, 0.2),
    ("log.lock_waits", 0.0, 0.0),
];

/// About normal with variance one: the sum of twelve uniform numbers, a stream a column.
fn gauss(at: i64, column: usize) -> f64 {
    let mut x = (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (column as u64 + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let mut uniform = || {
        x ^= x >> 31;
        x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x ^= x >> 27;
        (x >> 11) as f64 / (1_u64 << 53) as f64
    };
    for _ in 0..3 {
        uniform();
    }
    (0..12).map(|_| uniform()).sum::<f64>() - 6.0
}

/// What a node tells where nothing is wrong: the load of all, its own size, noise of each second.
fn calm(i: usize, at: usize, second: i64, seed: usize) -> f64 {
    let (name, level, spread) = METRICS[at];
    let stream = seed * 1_000 + i * 100 + at;
    let load = 1.0 + 0.1 * (second as f64 / 90.0).sin();
    let size = 1.0 + 0.15 * i as f64;
    let noise = (spread * gauss(second, stream)).exp();
    match name {
        "pg.up" => 1.0,
        "pg.sessions_waiting_lock" | "pg.blocked_sessions" => {
            f64::from(u8::from(gauss(second, stream) > 2.3))
        }
        "pg.connections_ratio" | "pg.sessions" | "socket.connections" => level * noise,
        _ => level * load * size * noise,
    }
}

/// What a forgotten lock makes of a metric, so many seconds after it began.
fn locked(name: &str, value: f64, seconds: i64) -> f64 {
    let seconds = seconds as f64;
    match name {
        "pg.sessions_waiting_lock" | "pg.blocked_sessions" => 8.0,
        "pg.sessions_active" => 10.0,
        "pg.query_age_max_s" | "pg.transaction_age_max_s" => seconds,
        "log.lock_waits" if seconds > 1.0 => 4.0,
        "pg.commits" | "pg.statement_calls" | "pg.tuples_updated" | "pg.wal_bytes" => value * 0.1,
        "instance.cpu_cores" | "cgroup.cpu_cores" | "pg.blocks_hit" => value * 0.3,
        _ => value,
    }
}

struct World {
    engine: Engine,
    seed: usize,
    second: i64,
    /// The sick shard, and since when.
    sick: Option<(usize, i64)>,
    /// Seconds in which something was raised or closed, and of which shard.
    raised: Vec<(i64, ShardId)>,
    closed: Vec<(i64, ShardId)>,
}

impl World {
    fn new(seed: usize) -> Self {
        let entries = (0..N).map(|i| ShardEntry {
            shard: shard(i),
            nodes: vec![node(i)],
            is_router: i == 0,
        });
        let map = ShardMap::new(entries.collect(), false).unwrap();
        let mut world = Self {
            engine: Engine::new(Config::default(), map),
            seed,
            second: 0,
            sick: None,
            raised: Vec::new(),
            closed: Vec::new(),
        };
        let wall = WallTime::from_unix_seconds(START);
        world.input(Input::ReplayDone { wall });
        world
    }

    fn input(&mut self, input: Input) {
        let now = Monotonic(self.second as u64 * 1_000_000);
        self.engine.handle(now, input);
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::IncidentRaised(one) => self.raised.push((self.second, one.root.clone())),
                Output::IncidentClosed(one) => self.closed.push((self.second, one.root.clone())),
                _ => {}
            }
        }
    }

    /// One second of all nodes.
    fn step(&mut self) {
        self.second += 1;
        let wall = WallTime::from_unix_seconds(START + self.second);
        for i in 0..N {
            let summary = Box::new(self.summary(i));
            self.input(Input::Summary {
                node: node(i),
                summary,
                received: wall,
                is_replay: false,
            });
        }
        self.input(Input::Clock { wall });
    }

    fn run(&mut self, seconds: i64) {
        (0..seconds).for_each(|_| self.step());
    }

    fn summary(&self, i: usize) -> ShardSummary {
        let value = |at: usize| {
            let value = calm(i, at, self.second, self.seed);
            match self.sick {
                Some((sick, since)) if sick == i => {
                    locked(METRICS[at].0, value, self.second - since)
                }
                _ => value,
            }
        };
        let series = (0..METRICS.len()).map(|at| SeriesValues {
            id: SeriesId(at as u32),
            values: vec![Some(value(at))],
        });
        let dictionary = METRICS.iter().enumerate();
        let dictionary = dictionary.map(|(at, (metric, ..))| SeriesDef {
            id: SeriesId(at as u32),
            key: SeriesKey::node(metric),
        });
        ShardSummary {
            first_window: WindowIndex(START + self.second - 1),
            n_windows: 1,
            dictionary_epoch: 1,
            facts: Some(NodeFacts {
                role: if i == 0 { Role::Router } else { Role::Primary },
                cpu_cores: 4,
                host: format!("h{i}"),
                ..NodeFacts::default()
            }),
            dictionary: dictionary.collect(),
            series: series.collect(),
            latencies: Vec::new(),
            log_samples: Vec::new(),
            sources: Vec::new(),
            hot: Vec::new(),
        }
    }

    fn judgement(&self, i: usize) -> Option<Judgement> {
        let shards = self.engine.shards().into_iter();
        let mut own = shards.filter(|view| view.shard == shard(i));
        own.next()?.judgement
    }

    fn probability(&self, i: usize) -> f64 {
        self.judgement(i)
            .map_or(0.0, |judgement| judgement.probability)
    }

    /// Sick for `seconds`; the most that is then said of the sick shard and of any other.
    fn storm(&mut self, sick: usize, seconds: i64) -> (f64, f64) {
        self.sick = Some((sick, self.second));
        let (mut of_sick, mut of_others): (f64, f64) = (0.0, 0.0);
        for _ in 0..seconds {
            self.step();
            of_sick = of_sick.max(self.probability(sick));
            let others = (1..N).filter(|i| *i != sick);
            of_others = others.fold(of_others, |most, i| most.max(self.probability(i)));
        }
        self.sick = None;
        (of_sick, of_others)
    }
}

#[test]
fn a_storm_in_the_third_minute_is_probable_within_ten_seconds_and_calm_shards_are_not() {
    for seed in 0..5 {
        let mut world = World::new(seed);
        world.run(180);
        let (sick, well) = world.storm(3, 10);
        assert!(
            sick > 0.9 && well < 0.5,
            "seed {seed}: {sick} {well} {:?}",
            world.judgement(3)
        );
    }
}

#[test]
fn in_the_first_quarter_of_an_hour_nobody_is_probably_sick_where_nothing_is_wrong() {
    for seed in 0..3 {
        let mut world = World::new(seed);
        for _ in 0..900 {
            world.step();
            for i in 0..N {
                let probability = world.probability(i);
                assert!(
                    probability < 0.5,
                    "seed {seed} second {}: {i} {probability}",
                    world.second
                );
            }
        }
        assert_eq!(world.raised, []);
    }
}

#[test]
fn a_second_storm_soon_after_the_first_is_noticed_within_ten_seconds_wherever_minutes_begin() {
    // Minutes of the models end at different places in the first storm's onset.
    for begin in 232..250 {
        let mut world = World::new(7);
        world.run(begin);
        world.storm(3, 30);
        while world.closed.is_empty() {
            world.step();
            assert!(world.second < 600, "it never ends");
        }
        world.run(40);
        let begun = world.second;
        world.storm(3, 10);
        let again = world.raised.last().unwrap();
        assert_eq!(again.1, shard(3), "begun at {begin}");
        assert!(again.0 > begun, "begun at {begin}: {:?}", world.raised);
    }
}
