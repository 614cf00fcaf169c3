//! Chance: the same seed gives the same numbers on every machine.

use hsw_stats::exp;

/// From this mean on, Poisson counts are drawn as rounded normal ones: the error is under a hundredth of the spread.
const POISSON_NORMAL_FROM: f64 = 40.0;

/// SplitMix64 (Steele, Lea and Flood 2014, figure 15).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator of its own for part `n`, whatever is drawn from this one.
    pub(crate) fn part(seed: u64, n: u64) -> Self {
        let mut mixed = Self(seed ^ n.wrapping_mul(0xd134_2543_de82_ef95));
        Self(mixed.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Evenly between two values.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// From 0 to below `n`; 0 for none.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((self.unit() * n as f64) as usize).min(n.saturating_sub(1))
    }

    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Mean 0, variance 1: four uniform numbers of 16 bits added up (within ±3.5).
    pub(crate) fn normal(&mut self) -> f64 {
        let bits = self.next();
        let sum: u64 = (0..4).map(|n| (bits >> (16 * n)) & 0xffff).sum();
        (sum as f64 / 65_536.0 - 2.0) * 1.732_050_807_568_877_2
    }

    /// A count of events that come independently, `mean` of them on average.
    pub(crate) fn poisson(&mut self, mean: f64) -> f64 {
        if mean <= 0.0 {
            return 0.0;
        }
        if mean >= POISSON_NORMAL_FROM {
            return mean.sqrt().mul_add(self.normal(), mean).round().max(0.0);
        }
        let (mut n, mut product, limit) = (0.0, self.unit(), exp(-mean));
        while product > limit && n < 1_000.0 {
            n += 1.0;
            product *= self.unit();
        }
        n
    }
}

/// A wave of period 1 and height 1, highest at 0.25: Bhaskara's rational sine (7th century), within 0.002.
pub(crate) fn wave(phase: f64) -> f64 {
    let turn = phase - phase.floor();
    let (half, sign) = if turn < 0.5 {
        (turn * 2.0, 1.0)
    } else {
        (turn * 2.0 - 1.0, -1.0)
    };
    let p = half * (1.0 - half);
    sign * 16.0 * p / (5.0 - 4.0 * p)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_their_mean_and_their_spread() {
        let mut random = Random::new(1);
        for mean in [0.3, 7.0, 200.0] {
            let drawn: Vec<f64> = (0..20_000).map(|_| random.poisson(mean)).collect();
            let average = drawn.iter().sum::<f64>() / 20_000.0;
            let variance = drawn
                .iter()
                .map(|x| (x - average) * (x - average))
                .sum::<f64>()
                / 20_000.0;
            assert!((average / mean - 1.0).abs() < 0.03, "{mean}: {average}");
            assert!((variance / mean - 1.0).abs() < 0.06, "{mean}: {variance}");
        }
    }

    #[test]
    fn the_wave_is_highest_at_a_quarter() {
        for (phase, height) in [
            (0.0, 0.0),
            (0.25, 1.0),
            (0.5, 0.0),
            (0.75, -1.0),
            (7.25, 1.0),
        ] {
            assert!((wave(phase) - height).abs() < 1e-9);
        }
    }
}
