//! Triggers that come and go while elements pass: trees of doubling size. (ALGORITHMS 2.3)
//!
//! In: triggers (a box and a threshold) and terminations at any time; weighted elements. Out: the triggers each element
//! matures.
//! Invariants: FO-1 a trigger matures with the first element since its registration with which the weight inside its box
//! reaches its threshold. FO-2 the tree number j holds at most 2^j triggers. FO-3 moving between trees carries exactly
//! what is left. Limits: [`Config::n_queries_max`]; an element visits each of O(log m) trees, registering costs
//! O(log m) moves, amortised.
//! Source: Qiao, Gan, Tao, SIGMOD 2016, section 5; the logarithmic method (Bentley, Saxe 1980).

use crate::batch::Batch;
use crate::choose::{Config, Rule};
use crate::ids::Ids;
use crate::range::{QueryId, Range, WEIGHT_MAX};
use crate::scan::Scan;
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
    /// Its tree, or [`SCANNED`], or [`FREE`].
    tree: u32,
    at: u32,
}

const SCANNED: u32 = u32::MAX;
/// Nobody's seat.
const FREE: u32 = u32::MAX - 1;
/// Triggers that do not fit a scan in columns, before they are put under a tree.
const N_PLAIN_MAX: usize = 64;

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
    scanned: Scan,
    trees: Vec<Option<Tree>>,
    ids: Ids,
    seats: Vec<Seat>,
    free: Vec<u32>,
    n_alive: usize,
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
            scanned: Scan::default(),
            trees: Vec::new(),
            ids: Ids::default(),
            seats: Vec::new(),
            free: Vec::new(),
            n_alive: 0,
            gone: Vec::new(),
            matured: Vec::new(),
        }
    }

    /// Triggers that wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.n_alive
    }

    /// Whether nobody waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.n_alive == 0
    }

    /// Registers a trigger: it counts elements from now on. O(log m) moves, amortised.
    ///
    /// # Errors
    /// The box, the threshold or the id cannot be; nothing is changed then.
    pub fn register(&mut self, id: QueryId, ranges: &[Range], threshold: u64) -> Result<(), Error> {
        self.seat(id, ranges, threshold)?;
        self.plant_plain();
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
        let more = boxes.size_hint().0.min(self.config.n_queries_max);
        self.ids.reserve(more);
        self.seats.reserve(more);
        self.scanned.reserve(more);
        let done = boxes.try_for_each(|(id, ranges, threshold)| self.seat(id, ranges, threshold));
        self.plant_plain();
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
        if self.handle(id).is_some() {
            return Err(Error::Known(id));
        }
        if self.len() >= self.config.n_queries_max {
            return Err(Error::Full(self.len()));
        }
        let handle = self.free.pop().unwrap_or(self.seats.len() as u32);
        let at = self.scanned.push(ranges, handle, threshold);
        let tree = SCANNED;
        let seat = Seat { id, tree, at };
        if let Some(free) = self.seats.get_mut(handle as usize) {
            *free = seat;
        } else {
            self.seats.push(seat);
        }
        self.ids.insert(id, handle);
        self.n_alive += 1;
        Ok(())
    }

    /// The handle of who waits by an id.
    #[inline]
    fn handle(&self, id: QueryId) -> Option<u32> {
        let handle = self.ids.get(id)?;
        let seat = self.seats.get(handle as usize)?;
        (seat.id == id && seat.tree != FREE).then_some(handle)
    }

    /// Plants what stands in a plain list that has grown long.
    fn plant_plain(&mut self) {
        if self.scanned.n_plain() > self.config.n_scanned_max.min(N_PLAIN_MAX) {
            self.plant();
        }
    }

    /// Moves all that is scanned under the smallest tree that holds it with all smaller ones.
    #[cold]
    fn plant(&mut self) {
        let mut batch = Batch::default();
        self.scanned.unload(&mut batch);
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
        self.trees[number] = None;
        if batch.len() > 0 {
            let tree = Tree::new(batch, self.n_dimensions, self.rule);
            for (at, &handle) in (0..).zip(tree.handles()) {
                let seat = &mut self.seats[handle as usize];
                (seat.tree, seat.at) = (number as u32, at);
            }
            self.trees[number] = Some(tree);
        }
    }

    /// Takes an element; returns what it matures, by id. Weight 0 does nothing, beyond [`WEIGHT_MAX`] is cut to it.
    /// O(log m · log^d m), plus the signals of ALGORITHMS 2.2.
    #[inline]
    pub fn add(&mut self, point: &[u64], weight: u64) -> &[Matured] {
        debug_assert_eq!(point.len(), self.n_dimensions, "one key per dimension");
        self.matured.clear();
        let weight = weight.min(WEIGHT_MAX);
        if weight == 0 || point.len() != self.n_dimensions {
            return &self.matured;
        }
        self.rule.see(weight);
        self.scanned.add(point, weight, &mut self.gone);
        let is_due = !self.trees.is_empty() && self.add_to_trees(point, weight);
        let may_be_long = self.n_alive > self.config.n_scanned_max;
        if is_due || may_be_long || !self.gone.is_empty() {
            self.settle(is_due);
        }
        &self.matured
    }

    /// What follows from an element. By itself, so that [`Self::add`] is small where nothing does.
    #[inline(never)]
    fn settle(&mut self, is_due: bool) {
        if !self.gone.is_empty() {
            self.retire();
        }
        if is_due {
            self.replant();
        }
        if self.scanned.len() > self.config.n_scanned_max && self.scanned.is_long() {
            self.plant();
        }
    }

    /// True where a tree is to be built anew. By itself, likewise.
    #[inline(never)]
    fn add_to_trees(&mut self, point: &[u64], weight: u64) -> bool {
        let mut is_due = false;
        for tree in self.trees.iter_mut().flatten() {
            tree.add(point, weight, &mut self.gone);
            is_due |= tree.is_due();
        }
        is_due
    }

    /// Lets go of what has matured.
    #[cold]
    fn retire(&mut self) {
        let mut gone = std::mem::take(&mut self.gone);
        self.matured.reserve(gone.len());
        self.free.reserve(gone.len());
        self.n_alive -= gone.len();
        for (handle, over) in gone.drain(..) {
            let seat = &mut self.seats[handle as usize];
            let Seat { id, tree, at } = *seat;
            seat.tree = FREE;
            self.free.push(handle);
            self.matured.push(Matured { id, over });
            if tree == SCANNED && Scan::is_plain(at) {
                self.unscan(at);
            }
        }
        self.matured.sort_unstable();
        self.gone = gone;
        self.tidy();
    }

    fn unscan(&mut self, at: u32) {
        let seats = &mut self.seats;
        self.scanned
            .remove(at, |handle, at| seats[handle as usize].at = at);
    }

    /// Closes gaps that those who have gone leave. O(1) for each of them, amortised.
    fn tidy(&mut self) {
        let seats = &mut self.seats;
        self.scanned
            .close_up(|handle, at| seats[handle as usize].at = at);
        self.ids.tidy(self.n_alive, |id, handle| {
            let seat = seats[handle as usize];
            seat.id == id && seat.tree != FREE
        });
    }

    /// Builds trees anew of which most has gone.
    #[cold]
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
        let Some(handle) = self.handle(id) else {
            return false;
        };
        let seat = self.seats[handle as usize];
        if seat.tree == SCANNED {
            self.unscan(seat.at);
        } else if let Some(tree) = &mut self.trees[seat.tree as usize] {
            tree.terminate(seat.at as usize);
            if tree.is_due() {
                self.replant();
            }
        }
        self.seats[handle as usize].tree = FREE;
        self.free.push(handle);
        self.n_alive -= 1;
        self.tidy();
        true
    }

    /// What is left of a trigger's threshold; none where none waits by this id. O(h + log m).
    #[must_use]
    pub fn remaining(&self, id: QueryId) -> Option<u64> {
        let seat = self.seats[self.handle(id)? as usize];
        if seat.tree == SCANNED {
            return Some(self.scanned.remaining(seat.at));
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
