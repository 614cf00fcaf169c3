//! Distributed tracking: when do h counters together reach a threshold, without asking each time. (ALGORITHMS 2.1)
//!
//! In: weighted increments of h counters. Out: the moment their sum reaches the threshold, exactly.
//! Invariants: SL-1 inside a round the sum stays below the threshold: before the h-th signal it is at most
//! `(h-1)·λ + h·(λ-1) < τ`. SL-2 a round leaves at most two thirds of the threshold, so there are at most
//! `log_1.5(τ/6h)` rounds. SL-3 messages are at most `3h·rounds + 7h`.
//! Source: Cormode, Muthukrishnan, Yi 2008; Qiao, Gan, Tao, SIGMOD 2016, section 2.

/// Below so many times h every increment is forwarded: rounds would cost more (Qiao et al. 2016, section 2).
pub const DIRECT: u64 = 6;

/// How the rest of a threshold is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing is left.
    Matured,
    /// Every increment is told.
    Direct,
    /// One signal per so much of increase of a counter; the round ends with the h-th.
    Round {
        /// The slack λ, at least 3.
        slack: u64,
    },
}

impl Step {
    /// The step for what is left of a threshold, over `n` counters.
    ///
    /// `factor` ≥ 1 stretches the direct phase to `6·factor·n`; 1 is the paper's. O(1).
    #[must_use]
    pub const fn of(remaining: u64, n: u64, factor: u64) -> Self {
        if remaining == 0 {
            Self::Matured
        } else if remaining <= (DIRECT * n).saturating_mul(if factor == 0 { 1 } else { factor }) {
            Self::Direct
        } else {
            Self::Round {
                slack: remaining / (2 * n),
            }
        }
    }
}

/// Distributed tracking in one process: the reference for the trees and for the protocol between hosts.
///
/// ```
/// use hsw_trigger::Tracking;
/// let mut tracking = Tracking::new(2, 100);
/// assert!(!tracking.add(0, 60) && !tracking.add(1, 39));
/// assert!(tracking.add(0, 1));
/// ```
#[derive(Debug, Clone)]
pub struct Tracking {
    counters: Vec<Counter>,
    remaining: u64,
    step: Step,
    n_signals: u64,
    /// Rounds begun.
    pub n_rounds: u64,
    /// Messages: a slack for each counter, the signals, the counters collected, the increments forwarded. The call to
    /// collect is not among them, as in the paper's bound.
    pub n_messages: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counter {
    /// Increase since the round began.
    got: u64,
    /// Signals sent for it.
    signals: u64,
}

impl Tracking {
    /// Tracks `n_counters` (at least one) until their sum reaches `threshold`.
    #[must_use]
    pub fn new(n_counters: usize, threshold: u64) -> Self {
        let mut tracking = Self {
            counters: vec![Counter::default(); n_counters.max(1)],
            remaining: threshold,
            step: Step::Matured,
            n_signals: 0,
            n_rounds: 0,
            n_messages: 0,
        };
        tracking.begin();
        tracking
    }

    /// Adds `weight` to a counter (modulo their number); true from the moment the sum has reached the threshold.
    /// O(1), and O(h) where a round ends.
    pub fn add(&mut self, counter: usize, weight: u64) -> bool {
        let n = self.counters.len();
        match self.step {
            Step::Matured => {}
            Step::Direct => {
                self.n_messages += 1;
                self.remaining = self.remaining.saturating_sub(weight);
                if self.remaining == 0 {
                    self.step = Step::Matured;
                }
            }
            Step::Round { slack } => {
                let counter = &mut self.counters[counter % n];
                counter.got = counter.got.saturating_add(weight);
                let owed = counter.got / slack - counter.signals;
                if owed > 0 {
                    counter.signals += owed;
                    // Several signals owed at once travel as one message that says how many.
                    self.n_messages += 1;
                    self.n_signals += owed;
                    if self.n_signals >= n as u64 {
                        self.n_messages += n as u64;
                        let got = self.counters.iter().map(|counter| counter.got);
                        let got = got.fold(0, u64::saturating_add);
                        self.remaining = self.remaining.saturating_sub(got);
                        self.begin();
                    }
                }
            }
        }
        self.step == Step::Matured
    }

    fn begin(&mut self) {
        let n = self.counters.len() as u64;
        self.step = Step::of(self.remaining, n, 1);
        self.counters.fill(Counter::default());
        self.n_signals = 0;
        if self.step != Step::Matured {
            self.n_messages += n;
            self.n_rounds += u64::from(self.step != Step::Direct);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_reviews_worked_example_holds() {
        // τ = 80, h = 10: λ = 4, so h·λ = 40, and 9·4 + 10·3 = 66 is the most before the tenth signal.
        assert_eq!(Step::of(80, 10, 1), Step::Round { slack: 4 });
        let mut tracking = Tracking::new(10, 80);
        for counter in 0..10 {
            assert!(!tracking.add(counter, 3));
        }
        for counter in 0..9 {
            assert!(!tracking.add(counter, 4));
        }
        assert_eq!(tracking.n_signals, 9);
        assert!(!tracking.add(9, 13));
        assert!(tracking.add(9, 1));
    }

    proptest! {
        #[test]
        fn prop_tracking_matures_with_the_increment_that_reaches_the_threshold(
            n in 1usize..40,
            threshold in 1u64..50_000,
            skew in 1usize..5,
            heaviest in 1u64..300,
            seed in any::<u64>(),
        ) {
            let mut tracking = Tracking::new(n, threshold);
            let (mut sum, mut state) = (0, seed | 1);
            while sum < threshold {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let weight = (state >> 33) % heaviest + 1;
                let counter = ((state >> 40) as usize % n) / skew;
                sum += weight;
                prop_assert_eq!(tracking.add(counter, weight), sum >= threshold, "at {}", sum);
            }
            let h = n as u64;
            prop_assert!(tracking.n_messages <= 3 * h * tracking.n_rounds + 7 * h);
            let most = (threshold as f64 / (DIRECT * h) as f64).max(1.0).log(1.5).ceil() as u64;
            prop_assert!(tracking.n_rounds <= most, "{} rounds, at most {}", tracking.n_rounds, most);
        }
    }
}
