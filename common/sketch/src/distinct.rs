//! How many different items: HyperLogLog with 1,024 registers, mergeable, a kilobyte at most. (steps 3, 8)
//!
//! In: keys. Out: the number of different ones, within 3.3 % (one standard error, 1.04/√1024), nearly exact below a hundred.
//! Invariants: DI-1 merging is having seen everything, bit for bit, in any order and however often. DI-2 decoding any bytes never
//! panics. Form, version 1: version, 0 and then (gap, value) of the registers that are not zero, or 1 and all registers.
//! Source: Flajolet, Fusy, Gandouet, Meunier: HyperLogLog, AofA 2007 (registers); Ertl: New cardinality estimation algorithms for
//! HyperLogLog sketches, arXiv:1702.01284, 2017, algorithm 6 (an estimator without tables or thresholds).

use crate::quantile::DecodeError;
use crate::shape::mix;

const PRECISION: u32 = 10;
const REGISTERS: usize = 1 << PRECISION;
/// Bits left for the run of zeros, and the highest value of a register.
const TAIL_BITS: u32 = 64 - PRECISION;
const VALUE_MAX: u8 = TAIL_BITS as u8 + 1;
const VERSION: u8 = 1;
/// Keys come hashed by whoever counts; mixed once more, with a salt of its own.
const SALT: u64 = 0x4853_575f_4449_5354;

/// Counts different items. See the module's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distinct {
    registers: Box<[u8; REGISTERS]>,
}

impl Default for Distinct {
    fn default() -> Self {
        Self {
            registers: Box::new([0; REGISTERS]),
        }
    }
}

impl Distinct {
    /// Takes an item. O(1).
    pub fn add(&mut self, key: u64) {
        let hash = mix(key ^ SALT);
        let at = (hash >> TAIL_BITS) as usize;
        // A one behind the tail ends the run where all of it is zero.
        let run = (hash << PRECISION | 1 << (PRECISION - 1)).leading_zeros() as u8 + 1;
        let register = &mut self.registers[at];
        *register = run.min(VALUE_MAX).max(*register);
    }

    /// Takes all that `other` has seen. O(registers).
    pub fn merge(&mut self, other: &Self) {
        for (own, other) in self.registers.iter_mut().zip(&*other.registers) {
            *own = (*own).max(*other);
        }
    }

    /// Whether nothing was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.registers.iter().all(|register| *register == 0)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.registers.fill(0);
    }

    /// About how many different items were seen. O(registers).
    #[must_use]
    pub fn count(&self) -> f64 {
        let mut n_of = [0.0; VALUE_MAX as usize + 1];
        for register in &*self.registers {
            n_of[usize::from(*register)] += 1.0;
        }
        let m = REGISTERS as f64;
        let mut z = m * tau(1.0 - n_of[usize::from(VALUE_MAX)] / m);
        for n in n_of[1..usize::from(VALUE_MAX)].iter().rev() {
            z = 0.5 * (z + n);
        }
        z += m * sigma(n_of[0] / m);
        // α∞ = 1 / (2 ln 2); sigma is infinite where nothing was seen.
        m * m / (2.0 * std::f64::consts::LN_2 * z)
    }

    /// Bytes for [`Self::decode`]: three and two a register in use, or a kilobyte.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let n_used = self
            .registers
            .iter()
            .filter(|register| **register > 0)
            .count();
        if n_used * 3 > REGISTERS {
            let mut out = vec![VERSION, 1];
            out.extend(&*self.registers);
            return out;
        }
        let mut out = vec![VERSION, 0];
        let mut next = 0;
        for (at, register) in self.registers.iter().enumerate() {
            if *register > 0 {
                crate::quantile::put(&mut out, (at - next) as u64);
                out.push(*register);
                next = at + 1;
            }
        }
        out
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let [VERSION, form, rest @ ..] = bytes else {
            return Err(DecodeError);
        };
        let mut seen = Self::default();
        match form {
            0 => seen.take_sparse(rest)?,
            1 => {
                let all: &[u8; REGISTERS] = rest.try_into().map_err(|_| DecodeError)?;
                seen.registers.copy_from_slice(all);
            }
            _ => return Err(DecodeError),
        }
        if seen.registers.iter().all(|register| *register <= VALUE_MAX) {
            Ok(seen)
        } else {
            Err(DecodeError)
        }
    }

    fn take_sparse(&mut self, mut bytes: &[u8]) -> Result<(), DecodeError> {
        let mut next = 0_usize;
        while !bytes.is_empty() {
            let gap = crate::quantile::take(&mut bytes)?;
            let gap = usize::try_from(gap).map_err(|_| DecodeError)?;
            let at = next.checked_add(gap).ok_or(DecodeError)?;
            let (value, rest) = bytes.split_first().ok_or(DecodeError)?;
            *self.registers.get_mut(at).ok_or(DecodeError)? = *value;
            (bytes, next) = (rest, at + 1);
        }
        Ok(())
    }
}

/// x + Σ x^(2^k)·2^(k−1), for the registers that are still zero.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

/// (1 − x − Σ (1 − x^(2^−k))²·2^−k) / 3, for the registers that can rise no more.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(keys: impl IntoIterator<Item = u64>) -> Distinct {
        let mut seen = Distinct::default();
        keys.into_iter().for_each(|key| seen.add(key));
        seen
    }

    #[test]
    fn counts_are_within_three_standard_errors_from_none_to_millions() {
        assert_eq!(Distinct::default().count(), 0.0);
        for n in [1, 10, 100, 1_000, 10_000, 100_000, 3_000_000_u64] {
            // Ten salts: the mean of their errors too must be small, or the estimator leans.
            let errors: Vec<f64> = (0..10)
                .map(|salt| of((0..n).map(|i| mix(i) ^ salt)).count() / n as f64 - 1.0)
                .collect();
            let worst = errors.iter().map(|e| e.abs()).fold(0.0, f64::max);
            let mean = errors.iter().sum::<f64>() / 10.0;
            assert!(
                worst < 3.0 * 0.0325 && mean.abs() < 0.0325,
                "{n}: {errors:?}"
            );
        }
    }

    #[test]
    fn below_a_hundred_it_is_nearly_exact() {
        for n in 0..100_u64 {
            let counted = of((0..n).map(mix)).count();
            assert!(
                (counted - n as f64).abs() <= 2.0 + 0.04 * n as f64,
                "{n}: {counted}"
            );
        }
    }

    #[test]
    fn a_quiet_window_takes_a_few_bytes_and_a_busy_one_a_kilobyte() {
        assert_eq!(Distinct::default().encode(), [1, 0]);
        assert!(of((0..4).map(mix)).encode().len() <= 14);
        assert_eq!(of((0..100_000).map(mix)).encode().len(), 2 + REGISTERS);
    }

    #[test]
    fn the_bytes_of_version_one_do_not_change() {
        let hex: String = of([7, 9])
            .encode()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(hex, "0100900101f80301");
    }

    proptest! {
        #[test]
        fn prop_merging_is_having_seen_everything(a in prop::collection::vec(any::<u64>(), 0..400), b in prop::collection::vec(any::<u64>(), 0..400)) {
            let mut merged = of(a.iter().copied());
            merged.merge(&of(b.iter().copied()));
            merged.merge(&of(b.iter().copied()));
            prop_assert_eq!(&merged, &of(b.into_iter().chain(a)));
            prop_assert_eq!(Distinct::decode(&merged.encode()), Ok(merged));
        }

        #[test]
        fn prop_any_bytes_are_a_count_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..1_100)) {
            if let [first, second, ..] = &mut bytes[..] {
                (*first, *second) = (VERSION, *second & 1);
            }
            if let Ok(seen) = Distinct::decode(&bytes) {
                prop_assert!(seen.count() >= 0.0);
                prop_assert_eq!(Distinct::decode(&seen.encode()), Ok(seen));
            }
        }
    }
}
