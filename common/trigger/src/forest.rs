//! Triggers that come and go while elements pass: trees of doubling size. (ALGORITHMS 2.3)
//!
//! In: triggers (a box and a threshold) and terminations at any time; weighted elements. Out: the triggers each element
//! matures.
//! Invariants: FO-1 a trigger matures with the first element since its registration with which the weight inside its box
//! reaches its threshold. FO-2 the tree number j holds at most 2^j triggers. FO-3 moving between trees carries exactly
//! what is left. Limits: [`Config::n_queries_max`]; an element visits each of O(log m) trees, registering costs
//! O(log m) moves, amortised.
//! Source: Qiao, Gan, Tao, SIGMOD 2016, section 5; the logarithmic method (Bentley, Saxe 1980).

use std::collections::BTreeMap;

use crate::batch::Batch;
use crate::choose::{Config, Rule};
use crate::range::{QueryId, Range, WEIGHT_MAX};
use crate::tree::Tree;

/// Why a trigger is not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// As many ranges as the forest has dimensions are needed.
    #[error("{found} ranges given, {expected} needed")]
    Dimensions {
        /// How many there must be.
        expected: usize,
        /// How many there were.
        found: usize,
    },
    /// No key lies in one of the ranges.
    #[error("a range is empty: its end must lie above its beginning")]
    EmptyRange,
    /// Nothing or too much to wait for.
    #[error("threshold {0} is not within 1..=2^62")]
    Threshold(u64),
    /// The id is in use.
    #[error("trigger {} exists: remove it first", .0.0)]
    Known(QueryId),
    /// As many as allowed are registered.
    #[error("{0} triggers are registered, the limit: remove some")]
    Full(usize),
}

/// A trigger has matured and is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Matured {
    /// Which.
    pub id: QueryId,
    /// What the last element brought beyond the threshold.
    pub over: u64,
}

/// Where a trigger stands.
#[derive(Debug, Clone, Copy)]
struct Seat {
    id: QueryId,
    /// Its tree, or [`SCANNED`].
    tree: u32,
    at: u32,
}

const SCANNED: u32 = u32::MAX;

/// Triggers over one stream.
///
/// ```
/// use hsw_trigger::{Config, Forest, QueryId, Range};
/// let mut forest = Forest::new(1, Config::default());
/// forest.register(QueryId(7), &[Range { lo: 100, hi: 500 }], 3).unwrap();
/// assert!(forest.add(&[100], 2).is_empty() && forest.add(&[500], 2).is_empty());
/// assert_eq!(forest.add(&[499], 2)[0].id, QueryId(7));
/// ```
#[derive(Debug)]
pub struct Forest {
    config: Config,
    n_dimensions: usize,
    /// With what all elements weighed, for trees to begin with.
    rule: Rule,
    scanned: Batch,
    trees: Vec<Option<Tree>>,
    by_id: BTreeMap<QueryId, u32>,
    seats: Vec<Seat>,
    free: Vec<u32>,
    gone: Vec<(u32, u64)>,
    matured: Vec<Matured>,
}

impl Forest {
    /// None yet, over points of so many dimensions (at least one).
    #[must_use]
    pub fn new(n_dimensions: usize, config: Config) -> Self {
        Self {
            config,
            n_dimensions: n_dimensions.max(1),
            rule: Rule::new(config.direct_factor),
            scanned: Batch::default(),
            trees: Vec::new(),
            by_id: BTreeMap::new(),
            seats: Vec::new(),
            free: Vec::new(),
            gone: Vec::new(),
            matured: Vec::new(),
        }
    }

    /// Triggers that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Registers a trigger: it counts elements from now on. O(log m) moves, amortised.
    ///
    /// # Errors
    /// The box, the threshold or the id cannot be; nothing is changed then.
    pub fn register(&mut self, id: QueryId, ranges: &[Range], threshold: u64) -> Result<(), Error> {
        self.seat(id, ranges, threshold)?;
        if self.scanned.len() > self.config.n_scanned_max {
            self.plant();
        }
        Ok(())
    }

    /// Registers many at once, which builds one tree instead of many; `boxes` yields id, ranges, threshold.
    ///
    /// # Errors
    /// As [`Self::register`], at the first that cannot be; those before it are registered.
    pub fn register_all<'a>(
        &mut self,
        boxes: impl IntoIterator<Item = (QueryId, &'a [Range], u64)>,
    ) -> Result<(), Error> {
        let mut boxes = boxes.into_iter();
        let done = boxes.try_for_each(|(id, ranges, threshold)| self.seat(id, ranges, threshold));
        if self.scanned.len() > self.config.n_scanned_max {
            self.plant();
        }
        done
    }

    fn seat(&mut self, id: QueryId, ranges: &[Range], threshold: u64) -> Result<(), Error> {
        if ranges.len() != self.n_dimensions {
            return Err(Error::Dimensions {
                expected: self.n_dimensions,
                found: ranges.len(),
            });
        }
        if ranges.iter().any(|range| range.is_empty()) {
            return Err(Error::EmptyRange);
        }
        if threshold == 0 || threshold > WEIGHT_MAX {
            return Err(Error::Threshold(threshold));
        }
        if self.by_id.contains_key(&id) {
            return Err(Error::Known(id));
        }
        if self.len() >= self.config.n_queries_max {
            return Err(Error::Full(self.len()));
        }
        let seat = Seat {
            id,
            tree: SCANNED,
            at: self.scanned.len() as u32,
        };
        let handle = if let Some(handle) = self.free.pop() {
            self.seats[handle as usize] = seat;
            handle
        } else {
            self.seats.push(seat);
            self.seats.len() as u32 - 1
        };
        self.scanned.push(ranges, handle, threshold);
        self.by_id.insert(id, handle);
        Ok(())
    }

    /// Moves all that is scanned under the smallest tree that holds it with all smaller ones.
    fn plant(&mut self) {
        let mut batch = std::mem::take(&mut self.scanned);
        let mut n = batch.len();
        let mut number = 0;
        loop {
            if number == self.trees.len() {
                self.trees.push(None);
            }
            n += self.trees[number].as_ref().map_or(0, Tree::n_alive);
            if n <= 1 << number {
                break;
            }
            number += 1;
        }
        for tree in &mut self.trees[..=number] {
            if let Some(tree) = tree.take() {
                tree.unload(&mut batch);
            }
        }
        self.plant_as(number, batch);
    }

    fn plant_as(&mut self, number: usize, batch: Batch) {
        for (at, &handle) in batch.handles.iter().enumerate() {
            let seat = &mut self.seats[handle as usize];
            (seat.tree, seat.at) = (number as u32, at as u32);
        }
        let tree = (batch.len() > 0).then(|| Tree::new(batch, self.n_dimensions, self.rule));
        self.trees[number] = tree;
    }

    /// Takes an element; returns what it matures, by id. Weight 0 does nothing, beyond [`WEIGHT_MAX`] is cut to it.
    /// O(log m · log^d m), plus the signals of ALGORITHMS 2.2.
    pub fn add(&mut self, point: &[u64], weight: u64) -> &[Matured] {
        debug_assert_eq!(point.len(), self.n_dimensions, "one key per dimension");
        self.matured.clear();
        let weight = weight.min(WEIGHT_MAX);
        if weight == 0 || point.len() != self.n_dimensions {
            return &self.matured;
        }
        self.rule.see(weight);
        let gone = &mut self.gone;
        let mut is_due = false;
        self.scanned
            .scan(point, weight, |handle, over| gone.push((handle, over)));
        for tree in self.trees.iter_mut().flatten() {
            tree.add(point, weight, |handle, over| gone.push((handle, over)));
            is_due |= tree.is_due();
        }
        if !self.gone.is_empty() {
            self.retire();
        }
        if is_due {
            self.replant();
        }
        &self.matured
    }

    /// Lets go of what has matured.
    fn retire(&mut self) {
        let mut gone = std::mem::take(&mut self.gone);
        for (handle, over) in gone.drain(..) {
            let id = self.seats[handle as usize].id;
            self.vacate(handle);
            self.matured.push(Matured { id, over });
        }
        self.matured.sort_unstable();
        self.gone = gone;
    }

    fn vacate(&mut self, handle: u32) {
        let seat = self.seats[handle as usize];
        if seat.tree == SCANNED {
            if let Some(moved) = self.scanned.remove(seat.at as usize, self.n_dimensions) {
                self.seats[moved as usize].at = seat.at;
            }
        } else if let Some(tree) = &mut self.trees[seat.tree as usize] {
            tree.terminate(seat.at as usize);
        }
        self.by_id.remove(&seat.id);
        self.free.push(handle);
    }

    /// Builds trees anew of which half has gone.
    fn replant(&mut self) {
        for number in 0..self.trees.len() {
            if let Some(tree) = self.trees[number].take_if(|tree| tree.is_due()) {
                let mut batch = Batch::default();
                tree.unload(&mut batch);
                self.plant_as(number, batch);
            }
        }
    }

    /// Takes a trigger back; false where none waits by this id. O(log m), amortised.
    pub fn terminate(&mut self, id: QueryId) -> bool {
        let Some(&handle) = self.by_id.get(&id) else {
            return false;
        };
        self.vacate(handle);
        self.replant();
        true
    }

    /// What is left of a trigger's threshold; none where none waits by this id. O(h + log m).
    #[must_use]
    pub fn remaining(&self, id: QueryId) -> Option<u64> {
        let seat = self.seats[*self.by_id.get(&id)? as usize];
        if seat.tree == SCANNED {
            return self.scanned.remaining.get(seat.at as usize).copied();
        }
        let tree = self.trees[seat.tree as usize].as_ref()?;
        Some(tree.remaining(seat.at as usize))
    }

    /// Builds every tree anew, which changes no answer: for tests of that.
    #[cfg(test)]
    pub(crate) fn replant_all(&mut self) {
        for number in 0..self.trees.len() {
            if let Some(tree) = self.trees[number].take() {
                let mut batch = Batch::default();
                tree.unload(&mut batch);
                self.plant_as(number, batch);
            }
        }
    }

    /// Whether every tree keeps to its size.
    #[cfg(test)]
    pub(crate) fn keeps_its_sizes(&self) -> bool {
        let trees = self.trees.iter().enumerate();
        let mut alive = trees.filter_map(|(j, tree)| tree.as_ref().map(|tree| (j, tree.n_alive())));
        alive.all(|(j, n)| n > 0 && n <= 1 << j)
    }
}
