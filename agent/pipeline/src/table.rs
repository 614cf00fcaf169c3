//! The table of series: ids, open windows, counters' last totals. (step 3)
//!
//! In: readings with their place among the open windows. Out: the columns of a summary.
//! Invariants: PI-5 a series' name travels with the first summary that holds one of its values, and again within
//! `repeat_after` summaries. PI-6 a series that is renamed keeps its id, and the id is named anew in the next summary; one that
//! joins another leaves its id as a second name of that one. Limits: `n_series_max` series; one not read for ten minutes makes room.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hsw_sketch::QuantileSketch;
use hsw_types::{
    Latencies, Monotonic, Reading, Renamed, SeriesDef, SeriesId, SeriesKey, SeriesValues, Value,
    WallTime,
};

/// A series without a reading for this long is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Ids given in one dictionary epoch; a reader trusts only ids that an honest agent can have counted to.
const N_IDS_MAX: u32 = 60_000;
/// Where the node's clock and the timer disagree by more than this over a counter's step, the timer is believed.
const CLOCK_DISAGREES: f64 = 0.5;

/// What became of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Taken,
    Late,
    NotFinite,
    OverLimit,
    CounterReset,
}

#[derive(Debug, Clone, Copy)]
struct LastTotal {
    total: f64,
    epoch: u64,
    at: WallTime,
    told: Monotonic,
}

#[derive(Debug)]
struct Slot {
    id: SeriesId,
    is_named: bool,
    last_total: Option<LastTotal>,
    /// One place per open window, plus as many that are ahead of the summary.
    values: Vec<Option<f64>>,
    sketch: Option<QuantileSketch>,
    told: Monotonic,
}

/// Columns of one summary.
pub(crate) struct Flushed {
    pub(crate) dictionary: Vec<SeriesDef>,
    pub(crate) series: Vec<SeriesValues>,
    pub(crate) latencies: Vec<Latencies>,
}

#[derive(Debug)]
pub(crate) struct Table {
    slots: BTreeMap<Arc<SeriesKey>, Slot>,
    /// Ids whose names have changed since the last summary.
    renamed: Vec<SeriesDef>,
    n_series_max: usize,
    n_windows: usize,
    next_id: u32,
    /// Names up to this id have been repeated in the current round.
    repeated_to: u32,
    now: Monotonic,
}

impl Table {
    pub(crate) fn new(n_series_max: usize, n_windows: usize) -> Self {
        Self {
            slots: BTreeMap::new(),
            renamed: Vec::new(),
            n_series_max,
            n_windows,
            next_id: 0,
            repeated_to: 0,
            now: Monotonic::default(),
        }
    }

    /// Another number of windows per summary.
    pub(crate) const fn pace(&mut self, n_windows: usize) {
        self.n_windows = n_windows;
    }

    pub(crate) fn n_series(&self) -> usize {
        self.slots.len()
    }

    /// Takes one reading into window `place` (0 is the first open one; below it is late).
    pub(crate) fn take(
        &mut self,
        now: Monotonic,
        at: WallTime,
        place: i64,
        reading: &Reading,
    ) -> Outcome {
        self.now = now;
        let number = match reading.value {
            Value::Gauge(v) | Value::Events(v) | Value::LatencyMs(v) => v,
            Value::Counter { total, .. } => total,
        };
        if !number.is_finite() {
            return Outcome::NotFinite;
        }
        let n_places = self.n_windows * 2 + 8;
        let Some(slot) = self.slot(&reading.key, now) else {
            return Outcome::OverLimit;
        };
        slot.told = now;
        let in_time = usize::try_from(place).ok();
        match reading.value {
            Value::Gauge(v) => match in_time {
                Some(place) => slot.put(place.min(n_places), v),
                None => Outcome::Late,
            },
            Value::Events(n) => {
                // What happened has happened: a late event counts in the oldest open window.
                let place = in_time.unwrap_or(0).min(n_places);
                let before = slot.values.get(place).copied().flatten().unwrap_or(0.0);
                slot.put(place, before + n)
            }
            Value::LatencyMs(ms) => {
                slot.sketch.get_or_insert_default().add(ms);
                Outcome::Taken
            }
            Value::Counter { total, epoch } => {
                let last = slot.last_total.replace(LastTotal {
                    total,
                    epoch,
                    at,
                    told: now,
                });
                let Some(last) = last else {
                    return Outcome::Taken;
                };
                if last.epoch != epoch || total < last.total {
                    return Outcome::CounterReset;
                }
                let seconds = step_seconds(&last, at, now);
                match in_time {
                    Some(place) if seconds > 0.0 => {
                        slot.put(place.min(n_places), (total - last.total) / seconds)
                    }
                    _ => Outcome::Late,
                }
            }
        }
    }

    /// Puts what is known of a series under another name; an id that was told is named anew.
    pub(crate) fn rename(&mut self, renamed: &Renamed) {
        if renamed.from == renamed.to {
            return;
        }
        let Some(slot) = self.slots.remove(&renamed.from) else {
            return;
        };
        if slot.is_named && self.renamed.len() < self.n_series_max {
            self.renamed.push(SeriesDef {
                id: slot.id,
                key: (*renamed.to).clone(),
            });
        }
        match self.slots.get_mut(&renamed.to) {
            Some(other) => other.absorb(slot),
            None => {
                self.slots.insert(Arc::clone(&renamed.to), slot);
            }
        }
    }

    /// Looked up once: this is where most of a reading's time goes.
    fn slot(&mut self, key: &Arc<SeriesKey>, now: Monotonic) -> Option<&mut Slot> {
        if self.slots.len() >= self.n_series_max {
            return self.slots.get_mut(key);
        }
        let next_id = &mut self.next_id;
        let slot = self.slots.entry(Arc::clone(key)).or_insert_with(|| {
            let id = SeriesId(*next_id);
            *next_id = next_id.saturating_add(1);
            Slot {
                id,
                is_named: false,
                last_total: None,
                values: Vec::new(),
                sketch: None,
                told: now,
            }
        });
        Some(slot)
    }

    /// Ids start anew from 0, and every name travels again. True when that was done, because churn has used up so many
    /// ids that a reader may refuse higher ones.
    pub(crate) fn renumber(&mut self) -> bool {
        if self.next_id < N_IDS_MAX {
            return false;
        }
        self.next_id = 0;
        self.repeated_to = 0;
        self.renamed.clear();
        for slot in self.slots.values_mut() {
            slot.id = SeriesId(self.next_id);
            slot.is_named = false;
            self.next_id += 1;
        }
        true
    }

    /// Takes out the first `n_windows` places and shifts the rest to the front.
    pub(crate) fn flush(&mut self, repeat_after: u32) -> Flushed {
        let n = self.n_windows;
        let per_summary = self.next_id.div_ceil(repeat_after.max(1)).max(1);
        let repeat = self.repeated_to..self.repeated_to.saturating_add(per_summary);
        self.repeated_to = if repeat.end >= self.next_id {
            0
        } else {
            repeat.end
        };
        let mut out = Flushed {
            dictionary: std::mem::take(&mut self.renamed),
            series: Vec::new(),
            latencies: Vec::new(),
        };
        let now = self.now;
        self.slots
            .retain(|_, slot| now.since(slot.told) < FORGET_AFTER);
        for (key, slot) in &mut self.slots {
            let sketch = slot.sketch.take();
            if let Some(sketch) = &sketch {
                out.latencies.push(Latencies {
                    id: slot.id,
                    sketch: sketch.encode(),
                });
            }
            let mut values: Vec<Option<f64>> =
                slot.values.drain(..n.min(slot.values.len())).collect();
            let has_value = values.iter().any(Option::is_some);
            if has_value {
                values.resize(n, None);
                out.series.push(SeriesValues {
                    id: slot.id,
                    values,
                });
            }
            let is_new = !slot.is_named && (has_value || sketch.is_some());
            if is_new || (slot.is_named && repeat.contains(&slot.id.0)) {
                slot.is_named = true;
                out.dictionary.push(SeriesDef {
                    id: slot.id,
                    key: (**key).clone(),
                });
            }
        }
        out.dictionary.sort_by_key(|def| def.id);
        out.series.sort_by_key(|values| values.id);
        out.latencies.sort_by_key(|latencies| latencies.id);
        out
    }
}

impl Slot {
    /// Takes what another series has in its open windows.
    fn absorb(&mut self, other: Self) {
        for (place, value) in other.values.into_iter().enumerate() {
            if let Some(value) = value {
                let before = self.values.get(place).copied().flatten().unwrap_or(0.0);
                self.put(place, before + value);
            }
        }
        if let Some(sketch) = other.sketch {
            match &mut self.sketch {
                Some(own) => own.merge(&sketch),
                own => *own = Some(sketch),
            }
        }
        self.told = self.told.max(other.told);
    }

    fn put(&mut self, place: usize, value: f64) -> Outcome {
        if self.values.len() <= place {
            self.values.resize(place + 1, None);
        }
        self.values[place] = Some(value);
        Outcome::Taken
    }
}

/// Seconds between two totals: by the node's clock, unless it jumped between them.
fn step_seconds(last: &LastTotal, at: WallTime, now: Monotonic) -> f64 {
    let by_clock = (at.0.saturating_sub(last.at.0)) as f64 / 1e6;
    let by_timer = now.since(last.told).as_secs_f64();
    if (by_clock - by_timer).abs() > CLOCK_DISAGREES {
        by_timer
    } else {
        by_clock
    }
}
