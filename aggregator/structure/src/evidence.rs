//! How likely it is that chance, or honest change, shows what was seen.
//!
//! Chance: an edge that nobody has and that is told by mistake. Such edges come at a rate that is learned, spread over all pairs; one
//! that comes back again and again is none. Honest change that nothing explains comes at a rate that is learned too: early, when much
//! is seen for the first time, nothing is unlikely.

use hsw_types::WallTime;

/// Looks over which the rate of mistakes is averaged: an hour at one look in five seconds.
const N_LOOKS_MAX: f64 = 720.0;
/// Jeffreys' prior of a Poisson rate: half an event.
const PRIOR: f64 = 0.5;
/// First times remembered for the rate of honest change.
const N_FIRST_TIMES_MAX: usize = 1_024;
/// Glimpses of a client that are told apart from more.
const N_GLIMPSES_MAX: u32 = 1_000;
/// One look, 5 s: how long a moment is in which honest change would have to fall.
const MOMENT_US: f64 = 5e6;

/// See the module's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    n_new: f64,
    n_looks: f64,
    /// When something confirmed had no explanation, ascending.
    first_times: Vec<WallTime>,
}

impl Evidence {
    /// A look in which so many pairs that are no history were seen for the first time.
    pub(crate) fn look(&mut self, n_new: usize) {
        self.n_new += n_new as f64;
        self.n_looks += 1.0;
        if self.n_looks > N_LOOKS_MAX {
            self.n_new *= N_LOOKS_MAX / self.n_looks;
            self.n_looks = N_LOOKS_MAX;
        }
    }

    /// So many of them turned out to be there.
    pub(crate) fn take_back(&mut self, n: usize) {
        self.n_new = (self.n_new - n as f64).max(0.0);
    }

    /// Something that is there has no explanation.
    pub(crate) fn confirm(&mut self, at: WallTime) {
        if self.first_times.len() == N_FIRST_TIMES_MAX {
            self.first_times.remove(0);
        }
        self.first_times.push(at);
    }

    fn mistakes_per_look(&self) -> f64 {
        (self.n_new + PRIOR) / (self.n_looks + 1.0)
    }

    /// The chance that among `n_pairs` some pair is told by mistake so often within so many looks: at most one by Bonferroni.
    pub(crate) fn by_mistake(&self, n_pairs: usize, n_sightings: u32, n_looks: u32) -> f64 {
        let n_pairs = n_pairs.max(1) as f64;
        let again = self.mistakes_per_look() * f64::from(n_looks.saturating_sub(1)) / n_pairs;
        (n_pairs * at_least(n_sightings.saturating_sub(1), again)).min(1.0)
    }

    /// The chance that honest change of a kind never seen falls into this moment, by what was seen since half of the time that has been
    /// watched; `n_own` of it are what is asked about.
    pub(crate) fn by_change(&self, began: WallTime, now: WallTime, n_own: usize) -> f64 {
        let half = (now.0 - began.0) / 2;
        let since = now.0 - half;
        let n = self.first_times.iter().filter(|at| at.0 > since).count();
        let rate = (n.saturating_sub(n_own) as f64 + PRIOR) / (half.max(1) as f64);
        -hsw_stats::exp_m1(-rate * MOMENT_US)
    }
}

/// The chance that of all glimpses of a client so many or more fall into the newest part of the time, had it been there always at one
/// rate: the tail of a binomial variable, given all of them. Times in microseconds. O(glimpses before).
pub(crate) fn by_being_rare(before: (u32, i64), now: (u32, i64)) -> f64 {
    let ln = hsw_stats::ln;
    let (n_before, n_now) = (before.0.min(N_GLIMPSES_MAX), now.0.min(N_GLIMPSES_MAX));
    let n = f64::from(n_before + n_now);
    let new_us = now.1 as f64 + MOMENT_US;
    let share = new_us / (new_us + before.1.max(1) as f64);
    let odds = ln(1.0 - share) - ln(share);
    // So many before, from none on.
    let (mut term, mut sum) = (n * ln(share), 0.0);
    for i in 0..=n_before {
        sum += hsw_stats::exp(term);
        let i = f64::from(i);
        term += ln((n - i).max(1.0)) - ln(i + 1.0) + odds;
    }
    sum.min(1.0)
}

/// P(X ≥ k) of a Poisson variable with this mean; 1, which bounds it, from `k` down to where half of the mass lies. O(k).
fn at_least(k: u32, mean: f64) -> f64 {
    if f64::from(k) <= mean || k == 0 {
        return 1.0;
    }
    // Terms from k on, so that small tails keep their digits.
    let mut term = 1.0 + hsw_stats::exp_m1(-mean);
    for i in 1..=k {
        term *= mean / f64::from(i);
    }
    let (mut sum, mut i) = (0.0, k);
    while term > sum * 1e-12 && i < k + 1_000 {
        sum += term;
        i += 1;
        term *= mean / f64::from(i);
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_poisson_variable_is_that_of_its_table() {
        assert!((at_least(0, 3.0) - 1.0).abs() < 1e-12);
        assert!((at_least(2, 1.0) - 0.264_241_117_657_115_3).abs() < 1e-12);
        assert!((at_least(3, 0.5) - 0.014_387_677_966_970_7).abs() < 1e-12);
        assert!((at_least(2, 1e-6) - 5e-13).abs() < 1e-17);
    }

    #[test]
    fn who_is_seen_as_rarely_as_ever_is_not_new_and_who_comes_thick_is() {
        let minutes = |n: i64| n * 60 * 1_000_000;
        // Once in five minutes for a quarter of an hour, and so on for as long.
        assert!(by_being_rare((3, minutes(15)), (3, minutes(15))) > 0.1);
        assert!(by_being_rare((0, minutes(5)), (3, minutes(11))) > 0.1);
        // Never in three minutes, then at each of three looks.
        assert!(by_being_rare((0, minutes(3)), (3, 10_000_000)) < 1e-3);
        // All of three in the newest half: an eighth, and of four with one before, one or none in the older half: 5/16.
        let half = minutes(10) - MOMENT_US as i64;
        assert!((by_being_rare((0, minutes(10)), (3, half)) - 0.125).abs() < 1e-9);
        assert!((by_being_rare((1, minutes(10)), (3, half)) - 0.3125).abs() < 1e-9);
    }

    #[test]
    fn an_edge_told_again_is_no_mistake_and_in_the_beginning_all_is_likely() {
        let mut evidence = Evidence::default();
        (0..36).for_each(|_| evidence.look(0));
        assert!(evidence.by_mistake(100, 1, 1) >= 1.0);
        assert!(evidence.by_mistake(100, 2, 2) < 0.05);
        let began = WallTime(0);
        assert!(evidence.by_change(began, WallTime(20_000_000), 0) > 0.2);
        assert!(evidence.by_change(began, WallTime(180_000_000), 0) < 0.05);
        (0..36).for_each(|_| evidence.look(30));
        assert!(evidence.by_mistake(1_000, 2, 4) > 0.5);
        assert!(evidence.by_mistake(1_000, 4, 5) < 0.05);
    }
}
