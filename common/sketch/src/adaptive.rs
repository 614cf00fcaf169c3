//! Time-adaptive count-min, in both of its meanings: counts at a tick, and counts that fade. (steps 3, 8)
//!
//! In: items with a tick and a count. Out: [`CellSketch`]: how often an item came *at a tick*, newer ticks more exactly;
//! [`DecayedSketch`]: how often it came, faded by f(t)/f(now). With F = Σ c·f(t): estimate ≤ truth + e·F/(w·f(t)) but with
//! probability e^−d (for decayed counts f(now) takes the place of f(t)).
//! Invariants: AD-1 f ≡ 1 is count-min, bit for bit. AD-2 an estimate is never below the truth by more than rounding
//! (2^−53 an update; single precision rounds up). AD-3 when cells are rescaled changes no answer. AD-4 merging equals
//! having seen everything in one sketch, within rounding. Limits: w·d cells; [`EpochCells`] twice that, for ever.
//! Source: Shrivastava, König, Bilenko: Time Adaptive Sketches, SIGMOD 2016, §5.1–5.3 (Ada-CMS: the tick is part of the
//! hashed key); Cormode, Shkapenyuk, Srivastava, Xu: Forward Decay, ICDE 2009, §3–4.
//! Does not: update conservatively, which would not merge.

use crate::count_min::{Cell, CountMin};
use crate::shape::{MergeError, ParamError, Shape, cell_key};
use crate::weighting::{Scale, Weighting};

/// Cells that can hold weighted counts: `f64`, or `f32` for twice the cells at equal bytes.
pub trait Real: Cell {
    /// Doublings by which weights may outgrow the common exponent; the rest of the range is for sums.
    const GAP_MAX: i64;
    /// The nearest number not below `x`.
    fn above(x: f64) -> Self;
    /// Exactly.
    fn wide(self) -> f64;
}

impl Real for f64 {
    const GAP_MAX: i64 = 900;
    #[inline]
    fn above(x: f64) -> Self {
        x
    }
    #[inline]
    fn wide(self) -> f64 {
        self
    }
}

impl Real for f32 {
    const GAP_MAX: i64 = 60;
    #[inline]
    fn above(x: f64) -> Self {
        let near = x as Self;
        if f64::from(near) < x {
            near.next_up()
        } else {
            near
        }
    }
    #[inline]
    fn wide(self) -> f64 {
        f64::from(self)
    }
}

/// A table of weighted counts with its scale: what every sketch of this family is made of.
#[derive(Debug, Clone)]
pub(crate) struct Weighted<R> {
    cells: CountMin<R>,
    scale: Scale,
    /// F in the scale's units.
    mass: f64,
}

impl<R: Real> Weighted<R> {
    pub(crate) fn new(shape: Shape, weighting: Weighting, t0: u64) -> Result<Self, ParamError> {
        Ok(Self {
            cells: CountMin::new(shape),
            scale: Scale::new(weighting, t0, R::GAP_MAX)?,
            mass: 0.0,
        })
    }

    /// Adds `count`·f(tick); what is not finite or not above zero is no count. O(d).
    #[inline]
    pub(crate) fn add(&mut self, key: u64, tick: u64, count: f64) {
        if !(count > 0.0 && count.is_finite()) {
            return;
        }
        let weighted = count * self.unit(tick);
        self.mass += weighted;
        self.cells.add(key, R::above(weighted));
    }

    /// Adds each of `keys` once at `tick`: as [`Self::add`] one after the other. O(n·d).
    pub(crate) fn add_all(&mut self, keys: &[u64], tick: u64) {
        let unit = self.unit(tick);
        self.mass += unit * keys.len() as f64;
        self.cells.add_all(keys, R::above(unit));
    }

    /// The least cell divided by f(tick).
    pub(crate) fn estimate(&self, key: u64, tick: u64) -> f64 {
        self.scale.divided(self.cells.estimate(key).wide(), tick)
    }

    /// The least cell, in units that are comparable as long as the offset of the exponent stays.
    #[inline]
    pub(crate) fn raw(&self, key: u64) -> f64 {
        self.cells.estimate(key).wide()
    }

    pub(crate) const fn scale(&self) -> &Scale {
        &self.scale
    }

    pub(crate) const fn shape(&self) -> Shape {
        self.cells.shape()
    }

    /// F / f(tick).
    pub(crate) fn mass(&self, tick: u64) -> f64 {
        self.scale.divided(self.mass, tick)
    }

    /// e·F / (w·f(tick)).
    pub(crate) fn error_bound(&self, tick: u64) -> f64 {
        std::f64::consts::E * self.mass(tick) / self.shape().width() as f64
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.cells.bytes()
    }

    pub(crate) fn cells(&self) -> &[R] {
        self.cells.cells()
    }

    pub(crate) fn cells_mut(&mut self) -> &mut [R] {
        self.cells.cells_mut()
    }

    /// F in the scale's units.
    pub(crate) const fn raw_mass(&self) -> f64 {
        self.mass
    }

    pub(crate) const fn set_raw_mass(&mut self, mass: f64) {
        self.mass = mass;
    }

    pub(crate) fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        self.cells.shape().must_equal(other.cells.shape())?;
        self.scale.must_match(&other.scale)?;
        self.raise(other.scale.exponent);
        let mut theirs = other.clone();
        theirs.raise(self.scale.exponent);
        self.mass += theirs.mass;
        self.cells.merge(&theirs.cells)
    }

    /// f(tick) in units of the scale, which is raised first where it must be.
    #[inline]
    pub(crate) fn unit(&mut self, tick: u64) -> f64 {
        let (unit, factor) = self.scale.unit(tick);
        if let Some(factor) = factor {
            self.times(factor);
        }
        unit
    }

    /// Adds the cells of `plain`, which has the same shape, `unit` times.
    pub(crate) fn add_cells(&mut self, plain: &Self, unit: f64) {
        self.mass += plain.mass * unit;
        let theirs = plain.cells.cells();
        for (cell, theirs) in self.cells.cells_mut().iter_mut().zip(theirs) {
            *cell = R::above(cell.wide() + theirs.wide() * unit);
        }
    }

    /// Shifts the cells to a common exponent not below `exponent`: exact.
    pub(crate) fn raise(&mut self, exponent: i64) {
        let factor = self.scale.raise(exponent);
        if factor < 1.0 {
            self.times(factor);
        }
    }

    #[cold]
    fn times(&mut self, factor: f64) {
        self.mass *= factor;
        for cell in self.cells.cells_mut() {
            *cell = R::above(cell.wide() * factor);
        }
    }
}

/// How often an item came at a tick; the newer the tick, the smaller the error.
#[derive(Debug, Clone)]
pub struct CellSketch<R = f64> {
    table: Weighted<R>,
    /// Unweighted: no tick holds more.
    n: f64,
}

impl<R: Real> CellSketch<R> {
    /// An empty one; ticks count from `t0`.
    ///
    /// # Errors
    /// [`ParamError::Growth`] for a weighting that falls or is not finite.
    pub fn new(shape: Shape, weighting: Weighting, t0: u64) -> Result<Self, ParamError> {
        let table = Weighted::new(shape, weighting, t0)?;
        Ok(Self { table, n: 0.0 })
    }

    /// Counts `item`, `count` times at `tick`; ticks may come in any order. O(d).
    #[inline]
    pub fn add(&mut self, item: u64, tick: u64, count: f64) {
        self.table.add(cell_key(item, tick), tick, count);
        self.n += count.max(0.0);
    }

    /// How often `item` came at `tick`, at most. O(d).
    #[must_use]
    pub fn estimate(&self, item: u64, tick: u64) -> f64 {
        self.table.estimate(cell_key(item, tick), tick).min(self.n)
    }

    /// The same where all counts are whole: the fraction that other ticks left is known to be error. O(d).
    #[must_use]
    pub fn estimate_whole(&self, item: u64, tick: u64) -> f64 {
        // A part in a million is far above rounding and keeps a true whole number from being cut.
        libm::floor(self.estimate(item, tick) * (1.0 + 1e-6) + 1e-9)
    }

    /// How often `item` came at ticks `from..=to`, at most. O(d) a tick; [`DyadicTime`](crate::DyadicTime) does it in O(d·log).
    #[must_use]
    pub fn estimate_range(&self, item: u64, from: u64, to: u64) -> f64 {
        (from..=to).map(|tick| self.estimate(item, tick)).sum()
    }

    /// By how much an estimate at `tick` exceeds the truth at most, but for one time in e^d: e·F/(w·f(tick)).
    #[must_use]
    pub fn error_bound(&self, tick: u64) -> f64 {
        self.table.error_bound(tick)
    }

    /// Memory of the cells.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Adds all that `other` has counted. O(w·d).
    ///
    /// # Errors
    /// [`MergeError`] unless shape, seed, weighting and t0 are equal; nothing is changed then.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        self.table.merge(&other.table)?;
        self.n += other.n;
        Ok(())
    }
}

/// Cells for ever: the epoch under way and the one before, each of `epoch_ticks` ticks; what is older is forgotten whole, so
/// that an error never exceeds what one epoch's mass brings.
#[derive(Debug, Clone)]
pub struct EpochCells<R = f64> {
    shape: Shape,
    weighting: Weighting,
    epoch_ticks: u64,
    /// Number of the epoch under way.
    epoch: u64,
    current: CellSketch<R>,
    previous: CellSketch<R>,
    n_too_old: u64,
}

impl<R: Real> EpochCells<R> {
    /// Epochs begin at multiples of `epoch_ticks`, so that all agents agree on them.
    ///
    /// # Errors
    /// [`ParamError::Span`] for epochs of no ticks, [`ParamError::Growth`] as for [`CellSketch::new`].
    pub fn new(shape: Shape, weighting: Weighting, epoch_ticks: u64) -> Result<Self, ParamError> {
        if epoch_ticks == 0 {
            return Err(ParamError::Span);
        }
        let current = CellSketch::new(shape, weighting, 0)?;
        Ok(Self {
            shape,
            weighting,
            epoch_ticks,
            epoch: 0,
            previous: current.clone(),
            current,
            n_too_old: 0,
        })
    }

    /// Counts `item` at `tick`; beyond two epochs back it is dropped and counted. O(d), at an epoch's begin O(w·d).
    pub fn add(&mut self, item: u64, tick: u64, count: f64) {
        let epoch = tick / self.epoch_ticks;
        if epoch > self.epoch {
            self.advance(epoch);
        }
        if epoch == self.epoch {
            self.current.add(item, tick, count);
        } else if epoch + 1 == self.epoch {
            self.previous.add(item, tick, count);
        } else {
            self.n_too_old += 1;
        }
    }

    /// How often `item` came at `tick`, at most; `None` for what is forgotten or to come.
    #[must_use]
    pub fn estimate(&self, item: u64, tick: u64) -> Option<f64> {
        Some(self.of(tick)?.estimate(item, tick))
    }

    /// As [`CellSketch::error_bound`]; `None` for what is forgotten or to come.
    #[must_use]
    pub fn error_bound(&self, tick: u64) -> Option<f64> {
        Some(self.of(tick)?.error_bound(tick))
    }

    /// Events that came more than an epoch late.
    #[must_use]
    pub const fn n_too_old(&self) -> u64 {
        self.n_too_old
    }

    /// Memory of the cells.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.current.bytes() + self.previous.bytes()
    }

    /// Adds all that `other` has counted and that is not too old for the later of both. O(w·d).
    ///
    /// # Errors
    /// [`MergeError`] unless shape, seed, weighting and length of epochs are equal; nothing is changed then.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        self.shape.must_equal(other.shape)?;
        if self.weighting != other.weighting {
            return Err(MergeError::Weighting);
        }
        if self.epoch_ticks != other.epoch_ticks {
            return Err(MergeError::Epoch);
        }
        if other.epoch > self.epoch {
            self.advance(other.epoch);
        }
        self.n_too_old = self.n_too_old.saturating_add(other.n_too_old);
        match self.epoch - other.epoch {
            0 => {
                self.current.merge(&other.current)?;
                self.previous.merge(&other.previous)
            }
            1 => self.previous.merge(&other.current),
            _ => Ok(()),
        }
    }

    fn of(&self, tick: u64) -> Option<&CellSketch<R>> {
        let epoch = tick / self.epoch_ticks;
        match self.epoch.checked_sub(epoch)? {
            0 => Some(&self.current),
            1 => Some(&self.previous),
            _ => None,
        }
    }

    fn advance(&mut self, epoch: u64) {
        let empty = |epoch: u64| {
            CellSketch::new(
                self.shape,
                self.weighting,
                epoch.saturating_mul(self.epoch_ticks),
            )
            .expect("the weighting was checked when this was made")
        };
        let (current, previous) = (empty(epoch), empty(epoch - 1));
        let was = std::mem::replace(&mut self.current, current);
        self.previous = if epoch == self.epoch + 1 {
            was
        } else {
            previous
        };
        self.epoch = epoch;
    }
}

/// How often an item came, faded: Σ c·f(t)/f(now).
#[derive(Debug, Clone)]
pub struct DecayedSketch<R = f64> {
    table: Weighted<R>,
}

impl<R: Real> DecayedSketch<R> {
    /// An empty one; ticks count from `t0`.
    ///
    /// # Errors
    /// [`ParamError::Growth`] for a weighting that falls or is not finite.
    pub fn new(shape: Shape, weighting: Weighting, t0: u64) -> Result<Self, ParamError> {
        Weighted::new(shape, weighting, t0).map(|table| Self { table })
    }

    /// Counts `item`, `count` times at `tick`; ticks may come in any order. O(d).
    #[inline]
    pub fn add(&mut self, item: u64, tick: u64, count: f64) {
        self.table.add(item, tick, count);
    }

    /// Counts each of `items` once at `tick`, faster than one after the other and with the same answers. O(n·d).
    pub fn add_all(&mut self, items: &[u64], tick: u64) {
        self.table.add_all(items, tick);
    }

    /// The faded count of `item` as of `now`, at most. O(d).
    #[must_use]
    pub fn estimate(&self, item: u64, now: u64) -> f64 {
        self.table.estimate(item, now)
    }

    /// The faded count of everything as of `now`. O(1).
    #[must_use]
    pub fn total(&self, now: u64) -> f64 {
        self.table.mass(now)
    }

    /// By how much an estimate exceeds the truth at most, but for one time in e^d: e·F/(w·f(now)).
    #[must_use]
    pub fn error_bound(&self, now: u64) -> f64 {
        self.table.error_bound(now)
    }

    /// Memory of the cells.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Adds all that `other` has counted. O(w·d).
    ///
    /// # Errors
    /// [`MergeError`] unless shape, seed, weighting and t0 are equal; nothing is changed then.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        self.table.merge(&other.table)
    }

    pub(crate) const fn table(&self) -> &Weighted<R> {
        &self.table
    }

    pub(crate) const fn table_mut(&mut self) -> &mut Weighted<R> {
        &mut self.table
    }
}

#[cfg(test)]
#[path = "adaptive_tests.rs"]
mod tests;
