//! Has the quality of what is told changed for the worse? (step 11)
//!
//! In: a loss a label. Out: an alarm, once a change. Source: Page, Biometrika 41, 1954, in Hinkley's form (Biometrika 58, 1971): the sum of
//! losses above their mean, less a slack, against its smallest value so far.

/// Loss above the mean that is no change, nats: a fifth of what a coin's toss costs (ours, not swept).
const SLACK: f64 = 0.14;
/// Sum at which a change is told, nats: about ten labels told wrong by a factor e² (ours, not swept).
const ALARM: f64 = 15.0;

/// The test. See the module's header.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PageHinkley {
    n: f64,
    mean: f64,
    sum: f64,
    least: f64,
}

impl PageHinkley {
    /// Learns a loss, ≥ 0; true where the mean has risen for good. It then starts anew.
    pub fn learn(&mut self, loss: f64) -> bool {
        self.n += 1.0;
        self.mean += (loss - self.mean) / self.n;
        self.sum += loss - self.mean - SLACK;
        self.least = self.least.min(self.sum);
        let is_drift = self.sum - self.least > ALARM;
        if is_drift {
            *self = Self::default();
        }
        is_drift
    }

    /// How far it is on its way to an alarm, 0 to 1.
    #[must_use]
    pub fn level(&self) -> f64 {
        ((self.sum - self.least) / ALARM).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::uniform;

    #[test]
    fn a_rise_is_told_soon_and_noise_never() {
        let mut test = PageHinkley::default();
        let calm = |row: i64| -0.3 * uniform(row, 0).ln();
        assert!((0..2_000).all(|row| !test.learn(calm(row))));
        let when = (2_000..2_100).find(|row| test.learn(calm(*row) + 1.5));
        assert!(when.is_some_and(|row| row < 2_025), "{when:?}");
        assert_eq!(test.level(), 0.0, "it starts anew");
    }

    #[test]
    fn a_fall_is_no_alarm() {
        let mut test = PageHinkley::default();
        assert!((0..500).all(|_| !test.learn(2.0)));
        assert!((0..500).all(|_| !test.learn(0.1)));
    }
}
