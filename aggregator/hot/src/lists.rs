//! The live lists: now by forward decay, minutes by the time-adaptive cell sketch. (step 8)

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hsw_sketch::{
    AdaParams, Distinct, EpochCells, HOT_CELLS, HeavyHitters, Hit, Shape, Weighting, hot_now,
    hot_window,
};
use hsw_types::{HotKind, HotWindow, NodeId, ShardId, WindowIndex};

use crate::names::Names;
use crate::rows::{HotRow, MINUTE_S, Span};

/// "Now": agents tell every two seconds of the log and every ten of the database's own counts.
const HALF_LIFE_S: f64 = 60.0;
/// Seconds of a usual summary, the least that a rate is of.
const SUMMARY_S: i64 = 2;
const HALF_HOUR_S: i64 = 30 * MINUTE_S;
/// Minutes of an epoch of the trend; one to two epochs are kept.
const EPOCH_MINUTES: u64 = 64;
/// The oldest minute's error is at most so many times that of plain count-min, the newest half's below it.
const GAMMA: f64 = 10.0;
/// Cells a row of the trend: a few dozen hot items in two hours of minutes.
const TREND_WIDTH: usize = 512;
const TREND_SEED: u64 = 0x4853_575f_5452_4e44;
/// Minutes of trend told.
const TREND_MINUTES: i64 = 30;
/// What is usual is asked of these minutes back: not the last two, which may already be unusual.
const USUAL_MINUTES: std::ops::RangeInclusive<i64> = 3..=20;
/// Became hot: so many times as often as usual …
const SURGE: f64 = 3.0;
/// … and this share of all.
const SHARE: f64 = 0.1;

/// One line of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct HotItem {
    /// The item's key.
    pub key: u64,
    /// What it stands for, where an agent has told.
    pub name: Option<Arc<str>>,
    /// Per second now, or in the span asked for; at most.
    pub rate: f64,
    /// Of all counts, 0 to 1.
    pub share: f64,
    /// Counts in each of the last minutes, oldest first, the one under way last; empty for history.
    pub trend: Vec<f64>,
}

/// A ranked list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HotList {
    /// The hottest first.
    pub items: Vec<HotItem>,
    /// Per second, everything.
    pub total_rate: f64,
    /// About how many different items came in the last half hour to hour; 0 for history.
    pub distinct: f64,
    /// By how much a rate exceeds the truth at most, but for one time in e^d.
    pub error: f64,
}

/// An item that is far hotter than it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Became {
    /// Of what.
    pub kind: HotKind,
    /// The item.
    pub item: HotItem,
    /// Per second, as it was.
    pub usual: f64,
}

#[derive(Debug)]
struct Live {
    now: HeavyHitters,
    trend: EpochCells<f32>,
    /// Of the half hour under way (its number) and of the one before.
    distinct: (i64, [Distinct; 2]),
    /// First window counted.
    since: WindowIndex,
}

impl Live {
    fn new(since: WindowIndex) -> Self {
        let weighting = AdaParams::solve(EPOCH_MINUTES, GAMMA).map(AdaParams::weighting);
        let trend = Shape::new(TREND_WIDTH, 4, TREND_SEED).and_then(|shape| {
            EpochCells::new(
                shape,
                weighting.unwrap_or(Weighting::Constant),
                EPOCH_MINUTES,
            )
        });
        Self {
            now: hot_now(HALF_LIFE_S),
            distinct: (0, [Distinct::default(), Distinct::default()]),
            trend: trend.expect("the constants are within the limits"),
            since,
        }
    }
}

impl Live {
    /// Takes the different items of a window of half hour `half_hour`; one that is long over counts as now.
    fn see(&mut self, half_hour: i64, seen: &Distinct) {
        let (under_way, both) = &mut self.distinct;
        match half_hour - *under_way {
            ..=0 => {}
            1 => {
                both.swap(0, 1);
                both[0].clear();
            }
            2.. => both.iter_mut().for_each(Distinct::clear),
        }
        *under_way = half_hour.max(*under_way);
        both[0].merge(seen);
    }
}

#[derive(Debug)]
struct Minute {
    minute: i64,
    counts: [Option<Box<HeavyHitters>>; HotKind::ALL.len()],
}

/// See the crate's header.
#[derive(Debug, Default)]
pub struct HotLists {
    live: BTreeMap<(ShardId, HotKind), Live>,
    minutes: BTreeMap<NodeId, Minute>,
    names: Names,
    rows: VecDeque<HotRow>,
    new_names: VecDeque<(HotKind, u64, String)>,
    newest: WindowIndex,
    n_refused: u64,
}

impl HotLists {
    /// Takes what a summary of `node`, whose first window is `at`, brought. O(kinds · w·d).
    pub fn take(&mut self, shard: &ShardId, node: &NodeId, at: WindowIndex, hot: &[HotWindow]) {
        self.newest = self.newest.max(at);
        for window in hot {
            for (key, name) in &window.names {
                if self.names.learn(window.kind, *key, name, at) {
                    self.new_names.push_back((window.kind, *key, name.clone()));
                }
            }
            if window.sketch.is_empty() {
                continue;
            }
            let counts = HeavyHitters::decode(&window.sketch, HOT_CELLS);
            let is_taken =
                counts.is_ok_and(|counts| self.count(shard, node, at, window.kind, &counts));
            let place = (shard.clone(), window.kind);
            if let Ok(seen) = Distinct::decode(&window.distinct)
                && let Some(live) = self.live.get_mut(&place)
            {
                live.see(at.0.div_euclid(HALF_HOUR_S), &seen);
            }
            self.n_refused += u64::from(!is_taken);
        }
    }

    fn count(
        &mut self,
        shard: &ShardId,
        node: &NodeId,
        at: WindowIndex,
        kind: HotKind,
        counts: &HeavyHitters,
    ) -> bool {
        let (tick, minute) = (tick(at), at.0.div_euclid(MINUTE_S));
        let live = self.live.entry((shard.clone(), kind));
        let live = live.or_insert_with(|| Live::new(at));
        if live.now.absorb(counts, tick).is_err() {
            return false;
        }
        for hit in counts.items(0) {
            live.trend.add(hit.key, tick / MINUTE_S as u64, hit.count);
        }
        let open = self.minutes.entry(node.clone()).or_insert_with(|| Minute {
            minute,
            counts: Default::default(),
        });
        if minute > open.minute {
            close(node, open, &mut self.rows);
            open.minute = minute;
        }
        let place = open.counts[kind as usize].get_or_insert_with(|| Box::new(hot_window()));
        place.merge(counts).is_ok()
    }

    /// What these nodes have counted in minutes of the span of which no row was handed out yet. O(nodes · w·d).
    #[must_use]
    pub fn unfinished(&self, nodes: &[NodeId], kind: HotKind, span: Span) -> HeavyHitters {
        let mut sum = hot_window();
        for open in nodes.iter().filter_map(|node| self.minutes.get(node)) {
            let is_in = (span.from..span.to).contains(&open.minute);
            if let Some(counts) = open.counts[kind as usize].as_deref().filter(|_| is_in) {
                // Of one shape, all of them.
                let _ = sum.merge(counts);
            }
        }
        sum
    }

    /// The next finished row to keep.
    pub fn poll_row(&mut self) -> Option<HotRow> {
        self.rows.pop_front()
    }

    /// The next name to keep.
    pub fn poll_name(&mut self) -> Option<(HotKind, u64, String)> {
        self.new_names.pop_front()
    }

    /// Takes back a name that was kept.
    pub fn restore_name(&mut self, kind: HotKind, key: u64, name: &str, told: WindowIndex) {
        self.names.learn(kind, key, name, told);
    }

    /// Counts refused because their sketch cannot be read or has another shape.
    #[must_use]
    pub const fn n_refused(&self) -> u64 {
        self.n_refused
    }

    /// The `n` hottest of a shard now, or of all shards together. O(shards · w·d + n log n).
    #[must_use]
    pub fn now(&self, shard: Option<&ShardId>, kind: HotKind, n: usize) -> HotList {
        let of_kind = self
            .live
            .iter()
            .filter(|((name, of), _)| *of == kind && shard.is_none_or(|shard| shard == name));
        let all: Vec<&Live> = of_kind.map(|(_, live)| live).collect();
        let mut sum = hot_now(HALF_LIFE_S);
        for live in &all {
            // Of one shape, all of them.
            let _ = sum.merge(&live.now);
        }
        let since = all.iter().map(|live| live.since).min();
        let per_second = 1.0 / seconds_weighed(since.map_or(0, |since| self.newest - since));
        let now = tick(self.newest);
        let mut list = self.ranked(kind, &sum, now, per_second, n);
        let mut seen = Distinct::default();
        for distinct in all.iter().flat_map(|live| &live.distinct.1) {
            seen.merge(distinct);
        }
        list.distinct = seen.count();
        for item in &mut list.items {
            item.trend = self.trend(&all, item.key);
        }
        list
    }

    /// The `n` items of `counts` that came most often in a span of so many seconds.
    #[must_use]
    pub fn in_span(&self, kind: HotKind, counts: &HeavyHitters, seconds: f64, n: usize) -> HotList {
        self.ranked(kind, counts, 0, 1.0 / seconds.max(1.0), n)
    }

    /// What is far hotter in a shard now than it was, the hottest first.
    #[must_use]
    pub fn became_hot(&self, shard: &ShardId, n: usize) -> Vec<Became> {
        let mut found = Vec::new();
        let minute = self.newest.0.div_euclid(MINUTE_S);
        for kind in HotKind::ALL {
            let Some(live) = self.live.get(&(shard.clone(), kind)) else {
                continue;
            };
            // Without a past nothing is unusual.
            let since = live.since.0.div_euclid(MINUTE_S);
            let back: Vec<i64> = USUAL_MINUTES.filter(|back| minute - back > since).collect();
            if back.len() < 3 {
                continue;
            }
            for item in self.now(Some(shard), kind, 10).items {
                let was = back
                    .iter()
                    .map(|back| at_minute(live, item.key, minute - back));
                let usual = was.sum::<f64>() / (back.len() as f64 * MINUTE_S as f64);
                if item.share >= SHARE && item.rate >= SURGE * usual && item.rate >= 0.1 {
                    found.push(Became { kind, item, usual });
                }
            }
        }
        found.sort_by(|a, b| b.item.share.total_cmp(&a.item.share));
        found.truncate(n);
        found
    }

    fn ranked(
        &self,
        kind: HotKind,
        counts: &HeavyHitters,
        now: u64,
        per_second: f64,
        n: usize,
    ) -> HotList {
        let total = counts.total(now);
        let item = |hit: Hit| HotItem {
            key: hit.key,
            name: self.names.name(kind, hit.key).cloned(),
            rate: hit.count * per_second,
            share: if total > 0.0 {
                (hit.count / total).min(1.0)
            } else {
                0.0
            },
            trend: Vec::new(),
        };
        HotList {
            items: counts.top(n, now).into_iter().map(item).collect(),
            total_rate: total * per_second,
            distinct: 0.0,
            error: counts.error_bound(now) * per_second,
        }
    }

    fn trend(&self, all: &[&Live], key: u64) -> Vec<f64> {
        let newest = self.newest.0.div_euclid(MINUTE_S);
        let minutes = newest - TREND_MINUTES + 1..=newest;
        let counts =
            minutes.map(|minute| all.iter().map(|live| at_minute(live, key, minute)).sum());
        counts.collect()
    }
}

/// Seconds that a faded count of the last `age_s` seconds stands for: H/ln 2 in the long run, less at first.
fn seconds_weighed(age_s: i64) -> f64 {
    let age_s = age_s.max(SUMMARY_S) as f64;
    let in_full = HALF_LIFE_S / std::f64::consts::LN_2;
    -in_full * libm::expm1(-age_s / in_full)
}

/// How often the item came in a minute, at most; 0 for what is forgotten.
fn at_minute(live: &Live, key: u64, minute: i64) -> f64 {
    let minute = u64::try_from(minute).unwrap_or(0);
    live.trend.estimate(key, minute).unwrap_or(0.0)
}

fn close(node: &NodeId, open: &mut Minute, rows: &mut VecDeque<HotRow>) {
    for (kind, counts) in HotKind::ALL.into_iter().zip(&mut open.counts) {
        if let Some(counts) = counts.take() {
            rows.push_back(HotRow {
                node: node.clone(),
                kind,
                minute: open.minute,
                sketch: counts.encode(),
            });
        }
    }
}

/// Seconds since 1970; windows before are as old as that.
fn tick(at: WindowIndex) -> u64 {
    u64::try_from(at.0).unwrap_or(0)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
