//! Where a key's cells lie: width, depth, seed and layout of a table, and its one hash. (step 3)
//!
//! In: keys, whatever their structure. Out: positions. Invariants: SH-1 one multiplication a key, however many rows (double
//! hashing: Kirsch, Mitzenmacher, ESA 2006). SH-2 a position modulo a smaller power of two is the position in the table
//! folded to that width, so that tables can be folded ([`ItemAggregation`](crate::ItemAggregation)).
//! Source: Cormode, Muthukrishnan: Count-Min, J. Algorithms 55, 2005, §3 (w = ⌈e/ε⌉, d = ⌈ln 1/δ⌉).

use std::fmt;

/// 2^28 cells a row: beyond it a sketch is no summary.
const WIDTH_LOG2_MAX: u32 = 28;
const DEPTH_MAX: u32 = 16;
/// Cells of eight bytes in a cache line of 64 bytes.
pub(crate) const LINE_CELLS: usize = 8;

/// How a table's cells lie in memory, which also decides its law of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// Row after row; the rows' positions are independent: P\[error > e·N/w\] ≤ e^−d.
    #[default]
    Rows,
    /// All of a key's cells in one cache line of eight: one miss an update instead of d. The bound N/w of the mean error
    /// holds, but the rows collide together (two keys share a line with probability 8/(w·d), and within it each row tells
    /// apart only 8/d places), so that e^−d does **not**: the tail is that of one row of w·d/8 lines, thinned (8/d)^d-fold.
    /// Measured with 2 M keys of Zipf 1.1 and d = 4: mean 1.7 times that of rows at w = 2^12 and 4 times at 2^16; 0.4 % of
    /// keys beyond e·N/w where rows have fewer than 0.01 %.
    Lines,
}

/// Parameters outside what a sketch can be built with; the text names the remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamError {
    /// Width.
    Width,
    /// Depth.
    Depth,
    /// A depth that does not divide a cache line.
    LineDepth,
    /// An error or a probability outside (0, 1).
    Probability,
    /// The weighting's growth or slope.
    Growth,
    /// A span of time of no ticks.
    Span,
    /// Number of entries, levels or bits.
    Size,
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Width => "sketch width: use a power of two from 1 to 2^28",
            Self::Depth => "sketch depth: use 1 to 16 rows",
            Self::LineDepth => "one-line layout: use a depth of 1, 2 or 4 and at least 8 cells",
            Self::Probability => "error and probability: use values between 0 and 1",
            Self::Growth => "weighting: use a growth from 1 to 2^16 a tick, a slope from 0 to 1e9",
            Self::Span => "span of time: use at least one tick",
            Self::Size => "sketch size: entries, levels and bits are at least 1 and within the documented limit",
        })
    }
}

impl std::error::Error for ParamError {}

/// Why two summaries cannot be merged; silently adding them would give wrong answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeError {
    /// Width, depth, layout or number of entries differ.
    Shape,
    /// The seeds differ: the same key lies in other cells.
    Seed,
    /// Their ticks weigh differently.
    Weighting,
    /// Their ticks count from another moment, or one is ahead of the other.
    Epoch,
}

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Shape => "shape",
            Self::Seed => "seed",
            Self::Weighting => "weighting",
            Self::Epoch => "epoch",
        };
        write!(
            f,
            "sketches of different {what} cannot be merged: configure both sides alike"
        )
    }
}

impl std::error::Error for MergeError {}

/// Width, depth, seed and layout; checked when made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub(crate) width_log2: u32,
    pub(crate) depth: u32,
    pub(crate) layout: Layout,
    pub(crate) seed: u64,
    /// The seed, mixed.
    pub(crate) salt: u64,
}

impl Shape {
    /// `width` cells in each of `depth` rows, laid out by rows.
    ///
    /// # Errors
    /// [`ParamError::Width`] unless a power of two up to 2^28, [`ParamError::Depth`] unless 1 to 16.
    pub fn new(width: usize, depth: u32, seed: u64) -> Result<Self, ParamError> {
        if !width.is_power_of_two() || width.trailing_zeros() > WIDTH_LOG2_MAX {
            return Err(ParamError::Width);
        }
        if depth == 0 || depth > DEPTH_MAX {
            return Err(ParamError::Depth);
        }
        Ok(Self {
            width_log2: width.trailing_zeros(),
            depth,
            layout: Layout::Rows,
            seed,
            salt: mix(seed),
        })
    }

    /// For an overestimate of at most `epsilon`·N with probability 1 − `delta`: w = ⌈e/ε⌉ rounded up to a power of two,
    /// d = ⌈ln 1/δ⌉.
    ///
    /// # Errors
    /// [`ParamError`] where either is outside (0, 1) or asks for more than the limits.
    pub fn for_error(epsilon: f64, delta: f64, seed: u64) -> Result<Self, ParamError> {
        let is_fine = |p: f64| p > 0.0 && p < 1.0;
        if !is_fine(epsilon) || !is_fine(delta) {
            return Err(ParamError::Probability);
        }
        let width = libm::ceil(std::f64::consts::E / epsilon);
        if width > f64::from(1_u32 << WIDTH_LOG2_MAX) {
            return Err(ParamError::Width);
        }
        let depth = libm::ceil(-libm::log(delta)) as u32;
        Self::new((width as usize).next_power_of_two(), depth.max(1), seed)
    }

    /// The widest of `depth` rows whose cells take at most `bytes`.
    ///
    /// # Errors
    /// [`ParamError::Width`] where not one cell a row fits.
    pub fn for_bytes(
        bytes: usize,
        cell_bytes: usize,
        depth: u32,
        seed: u64,
    ) -> Result<Self, ParamError> {
        if depth == 0 || depth > DEPTH_MAX {
            return Err(ParamError::Depth);
        }
        let width = bytes / cell_bytes.max(1) / depth as usize;
        let width_log2 = width.checked_ilog2().ok_or(ParamError::Width)?;
        Self::new(1 << width_log2.min(WIDTH_LOG2_MAX), depth, seed)
    }

    /// The same shape in another layout.
    ///
    /// # Errors
    /// [`ParamError::LineDepth`] where [`Layout::Lines`] does not fit the depth.
    pub fn with_layout(self, layout: Layout) -> Result<Self, ParamError> {
        let fits = matches!(self.depth, 1 | 2 | 4) && self.n_cells() >= LINE_CELLS;
        if layout == Layout::Lines && !fits {
            return Err(ParamError::LineDepth);
        }
        Ok(Self { layout, ..self })
    }

    /// Cells a row.
    #[must_use]
    pub const fn width(self) -> usize {
        1 << self.width_log2
    }

    /// Rows.
    #[must_use]
    pub const fn depth(self) -> u32 {
        self.depth
    }

    /// All cells.
    #[must_use]
    pub const fn n_cells(self) -> usize {
        self.width() * self.depth as usize
    }

    /// Refuses what lies elsewhere.
    pub(crate) fn must_equal(self, other: Self) -> Result<(), MergeError> {
        if self.seed != other.seed {
            return Err(MergeError::Seed);
        }
        if self == other {
            Ok(())
        } else {
            Err(MergeError::Shape)
        }
    }

    /// Where the key lies: a walk over one position a row.
    #[inline]
    pub(crate) const fn walk(self, key: u64) -> Walk {
        let hash = fold(key ^ self.salt);
        Walk {
            at: hash as u32,
            step: (hash >> 32) as u32 | 1,
        }
    }

    /// A position in row `row`.
    pub(crate) const fn at(self, walk: Walk, row: u32) -> usize {
        match self.layout {
            Layout::Rows => self.in_row(walk, row),
            Layout::Lines => self.in_line(walk, row),
        }
    }

    /// A position in row `row` of [`Layout::Rows`].
    #[inline]
    pub(crate) const fn in_row(self, walk: Walk, row: u32) -> usize {
        ((row as usize) << self.width_log2) | self.column(walk, row)
    }

    /// The same within the row.
    #[inline]
    pub(crate) const fn column(self, walk: Walk, row: u32) -> usize {
        walk.column(row) & ((1 << self.width_log2) - 1)
    }

    /// Where the key's line begins in [`Layout::Lines`].
    #[inline]
    pub(crate) const fn line(self, walk: Walk) -> usize {
        (walk.at as usize & (self.n_cells() / LINE_CELLS - 1)) * LINE_CELLS
    }

    /// A position of row `row` within the line, below [`LINE_CELLS`].
    #[inline]
    pub(crate) const fn in_one_line(self, walk: Walk, row: u32) -> usize {
        let places_log2 = LINE_CELLS.trailing_zeros() - self.depth.trailing_zeros();
        // The lowest bit of the step is always one.
        let place = (walk.step >> (1 + row * places_log2)) & ((1 << places_log2) - 1);
        ((row << places_log2) | place) as usize & (LINE_CELLS - 1)
    }

    /// A position of row `row` in [`Layout::Lines`].
    #[inline]
    pub(crate) const fn in_line(self, walk: Walk, row: u32) -> usize {
        self.line(walk) + self.in_one_line(walk, row)
    }
}

/// Start and odd step of a key's walk over the rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walk {
    at: u32,
    step: u32,
}

impl Walk {
    /// A position in row `row`, still to be cut to the width.
    #[inline]
    pub(crate) const fn column(self, row: u32) -> usize {
        self.at.wrapping_add(row.wrapping_mul(self.step)) as usize
    }
}

/// Both halves of a product, folded, and the upper half of that onto the lower: half the work of [`mix`], and positions that
/// collide as those of `mix` do, also for keys in a row, multiples of powers of two, floats and text (tested below).
/// Source: the folded product of wyhash (Wang Yi, 2019), with its first constant.
#[inline]
const fn fold(key: u64) -> u64 {
    let product = key as u128 * 0xa076_1d64_78bd_642f;
    let hash = product as u64 ^ (product >> 64) as u64;
    hash ^ (hash >> 32)
}

/// One mix of 64 bits into 64, a bijection (Steele, Lea, Flood: SplitMix, OOPSLA 2014, with Stafford's thirteenth constants).
#[inline]
#[must_use]
pub const fn mix(key: u64) -> u64 {
    let key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ (key >> 31)
}

/// The key of an item at a tick: what the cell sketch hashes, and what a plain count-min must be asked for the same question.
#[inline]
#[must_use]
pub const fn cell_key(item: u64, tick: u64) -> u64 {
    item.rotate_left(32) ^ mix(item.wrapping_add(mix(tick)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_parameters_are_refused() {
        assert_eq!(Shape::new(0, 4, 0), Err(ParamError::Width));
        assert_eq!(Shape::new(3, 4, 0), Err(ParamError::Width));
        assert_eq!(Shape::new(1 << 29, 4, 0), Err(ParamError::Width));
        assert_eq!(Shape::new(8, 0, 0), Err(ParamError::Depth));
        assert_eq!(Shape::new(8, 17, 0), Err(ParamError::Depth));
        assert_eq!(Shape::for_error(0.0, 0.1, 0), Err(ParamError::Probability));
        assert_eq!(
            Shape::for_error(f64::NAN, 0.1, 0),
            Err(ParamError::Probability)
        );
        assert_eq!(Shape::for_error(1e-12, 0.1, 0), Err(ParamError::Width));
        assert_eq!(Shape::for_bytes(31, 8, 4, 0), Err(ParamError::Width));
        assert_eq!(Shape::for_bytes(31, 8, 0, 0), Err(ParamError::Depth));
        let three = Shape::new(8, 3, 0).unwrap();
        assert_eq!(three.with_layout(Layout::Lines), Err(ParamError::LineDepth));
    }

    #[test]
    fn one_percent_at_two_percent_is_512_by_4() {
        let shape = Shape::for_error(0.01, 0.02, 7).unwrap();
        assert_eq!((shape.width(), shape.depth()), (512, 4));
        let shape = Shape::for_bytes(64 * 1024, 4, 4, 7).unwrap();
        assert_eq!((shape.width(), shape.n_cells()), (4_096, 16_384));
    }

    /// Mean number of other keys that a key cannot be told from, in the row of a key where they are fewest.
    fn n_met(shape: Shape, keys: &[u64], walk: impl Fn(u64) -> Walk) -> f64 {
        let mut cells = vec![0_u32; shape.n_cells()];
        for &key in keys {
            (0..shape.depth).for_each(|row| cells[shape.in_row(walk(key), row)] += 1);
        }
        let least = |key: &u64| {
            (0..shape.depth)
                .map(|row| cells[shape.in_row(walk(*key), row)])
                .min()
        };
        let met: u32 = keys.iter().filter_map(least).map(|n| n - 1).sum();
        f64::from(met) / keys.len() as f64
    }

    #[test]
    fn keys_of_any_structure_meet_as_often_as_random_ones() {
        let text = |i: u64| {
            let mut bytes = *b"cust0000";
            bytes[3..].copy_from_slice(&format!("{:05}", i % 100_000).as_bytes()[..5]);
            u64::from_le_bytes(bytes)
        };
        let kinds: [(&str, &dyn Fn(u64) -> u64); 8] = [
            ("in a row", &|i| i),
            ("shifted by 32", &|i| i << 32),
            ("shifted by 44", &|i| i << 44),
            ("pages", &|i| i << 12),
            ("whole floats", &|i| (i as f64).to_bits()),
            ("floats", &|i| (i as f64 * 0.1).to_bits()),
            ("text", &text),
            ("pairs", &|i| (i % 250) << 32 | (i / 250)),
        ];
        for seed in [1, 11] {
            let shape = Shape::new(1 << 12, 4, seed).unwrap();
            for (name, key) in kinds {
                let keys: Vec<u64> = (0..60_000).map(key).collect();
                let random = n_met(shape, &keys, |key| {
                    let hash = mix(mix(key ^ seed));
                    Walk {
                        at: hash as u32,
                        step: (hash >> 32) as u32 | 1,
                    }
                });
                let ratio = n_met(shape, &keys, |key| shape.walk(key)) / random;
                assert!((0.9..1.06).contains(&ratio), "{name}, seed {seed}: {ratio}");
            }
        }
    }

    #[test]
    fn where_a_key_lies_does_not_change() {
        let shape = Shape::new(1 << 20, 4, 11).unwrap();
        let columns = [0, 1, 2, 3].map(|row| shape.column(shape.walk(7), row));
        // By hand from the definition; a change of these is a new version of all that travels with cells (`heavy_wire`).
        assert_eq!(columns, [358_217, 929_190, 451_587, 1_022_560]);
    }

    #[test]
    fn a_line_holds_all_cells_of_a_key_and_a_row_each() {
        for depth in [1, 2, 4] {
            let shape = Shape::new(64, depth, 3)
                .unwrap()
                .with_layout(Layout::Lines)
                .unwrap();
            let mut seen = vec![false; shape.n_cells()];
            for key in 0..4_000 {
                let walk = shape.walk(key);
                let at: Vec<usize> = (0..depth).map(|row| shape.in_line(walk, row)).collect();
                assert!(at.iter().all(|one| one / LINE_CELLS == at[0] / LINE_CELLS));
                assert!(at.windows(2).all(|two| two[0] < two[1]));
                at.iter().for_each(|one| seen[*one] = true);
            }
            assert!(
                seen.iter().all(|one| *one),
                "depth {depth} leaves cells unused"
            );
        }
    }
}
