//! HyperScore: the health grade of a shard, 100 (worst) to below 200. (step 11)
//!
//! V = Σ w·component over five components in 0…1, then 100 · (1 + σ(β·ln V + γ)^κ). In: components of *goodness*. Out: the grade, higher is
//! healthier. Invariants: HS-1 it never falls with V. HS-2 V = 0 gives 100. HS-3 weights that are negative or do not add up to one are
//! refused. Source: the seed's formula and its parameter guide (ALGORITHMS §8.1). Deviations, as its text contradicts itself: the literal
//! form (γ = −ln 2) ends at 111.11 and has its midpoint at V = 1.149, outside the domain; the centred form (γ = β·ln 2) has it at 0.5. Its
//! worked example (V = 0.95, β = 5, γ = −ln 2, κ = 2) is printed as 137.2 and evaluates to 107.78. `log_i` has no base: ln(1 + I) / ln(1 + I_max).

use std::f64::consts::LN_2;

/// The smallest V whose logarithm is taken.
const V_MIN: f64 = 1e-6;

/// Which bias is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// γ = −ln 2, as printed: 100 to 111.11 with κ = 2.
    Literal,
    /// γ = β·ln 2: half of V is the midpoint. The default, because it uses the range.
    #[default]
    Centred,
}

impl Mode {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Literal => "literal",
            Self::Centred => "centred",
        }
    }
}

/// The form's parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HyperScore {
    /// Which bias.
    pub mode: Mode,
    /// Sensitivity β; the guide says 4 to 6.
    pub sensitivity: f64,
    /// Power κ; the guide says 1.5 to 2.5.
    pub power: f64,
}

impl Default for HyperScore {
    fn default() -> Self {
        Self {
            mode: Mode::Centred,
            sensitivity: 5.0,
            power: 2.0,
        }
    }
}

impl HyperScore {
    /// Parameters within the guide.
    ///
    /// # Errors
    /// [`OutOfGuide`], with what is allowed.
    pub fn new(mode: Mode, sensitivity: f64, power: f64) -> Result<Self, OutOfGuide> {
        if (4.0..=6.0).contains(&sensitivity) && (1.5..=2.5).contains(&power) {
            Ok(Self {
                mode,
                sensitivity,
                power,
            })
        } else {
            Err(OutOfGuide)
        }
    }

    /// The grade of V; V is cut to 0…1, and V = 0 is 100.
    #[must_use]
    pub fn of(&self, v: f64) -> f64 {
        if v.is_nan() || v <= 0.0 {
            return 100.0;
        }
        let bias = match self.mode {
            Mode::Literal => -LN_2,
            Mode::Centred => self.sensitivity * LN_2,
        };
        let x = self.sensitivity * hsw_stats::ln(v.clamp(V_MIN, 1.0)) + bias;
        let sigmoid = 1.0 / (1.0 + hsw_stats::exp(-x));
        100.0 * (1.0 + hsw_stats::exp(self.power * hsw_stats::ln(sigmoid)))
    }
}

/// β or κ lies beyond the guide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sensitivity must be 4 to 6 and power 1.5 to 2.5")]
pub struct OutOfGuide;

/// The five components of V.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Components {
    /// Share of consistency rules that hold, 0 to 1.
    pub logic: f64,
    /// Independence of what is known, 0 to 1.
    pub novelty: f64,
    /// Forecast impact, ≥ 0, in the caller's unit.
    pub impact: f64,
    /// The largest impact there can be, > 0.
    pub impact_max: f64,
    /// Reproducibility: one minus deviation, 0 to 1.
    pub reproducibility: f64,
    /// Stability of the judgement itself, 0 to 1.
    pub meta: f64,
}

/// Weights of the five, in the order of [`Components`]: ≥ 0, adding up to one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ComponentWeights([f64; 5]);

impl ComponentWeights {
    /// Checked.
    ///
    /// # Errors
    /// When one is negative or they do not add up to one within 1e-9.
    pub fn new(weights: [f64; 5]) -> Result<Self, NotComponentWeights> {
        let is_one = (weights.iter().sum::<f64>() - 1.0).abs() < 1e-9;
        if is_one && weights.iter().all(|w| *w >= 0.0) {
            Ok(Self(weights))
        } else {
            Err(NotComponentWeights)
        }
    }
}

/// Not weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("five weights from 0 on that add up to 1 are needed")]
pub struct NotComponentWeights;

impl Components {
    /// V, 0 to 1.
    #[must_use]
    pub fn value(&self, weights: &ComponentWeights) -> f64 {
        let unit = |x: f64| if x.is_nan() { 0.0 } else { x.clamp(0.0, 1.0) };
        let impact = hsw_stats::ln_1p(self.impact.max(0.0)) / hsw_stats::ln_1p(self.impact_max);
        let parts = [
            self.logic,
            self.novelty,
            impact,
            self.reproducibility,
            self.meta,
        ];
        parts
            .into_iter()
            .zip(weights.0)
            .map(|(part, weight)| weight * unit(part))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 0.005
    }

    #[test]
    fn the_seeds_worked_example_evaluates_to_107_78_and_not_137_2() {
        let literal = HyperScore {
            mode: Mode::Literal,
            ..HyperScore::default()
        };
        assert!(near(literal.of(0.95), 107.78), "{}", literal.of(0.95));
        assert!(near(literal.of(1.0), 111.11));
        // Its midpoint, σ = 1/2, lies at V = 2^(1/5) = 1.149: no V reaches it.
        assert!(literal.of(1.0) < 125.0 && literal.of(1.149) == literal.of(1.0));
    }

    #[test]
    fn the_centred_form_has_its_midpoint_at_one_half() {
        let centred = HyperScore::default();
        assert!(near(centred.of(0.5), 125.0));
        assert!(near(centred.of(0.95), 192.39), "{}", centred.of(0.95));
        // σ(5 ln 2)² = (32/33)² = 0.94031.
        assert!(near(centred.of(1.0), 194.03), "{}", centred.of(1.0));
        assert_eq!(centred.of(0.0), 100.0);
        assert_eq!(centred.of(f64::NAN), 100.0);
    }

    #[test]
    fn the_parameter_guide_is_kept_and_means_what_it_says() {
        assert!(HyperScore::new(Mode::Literal, 3.9, 2.0).is_err());
        assert!(HyperScore::new(Mode::Literal, 5.0, 2.6).is_err());
        let of = |b: f64, k: f64| HyperScore::new(Mode::Centred, b, k).unwrap().of(0.8);
        assert!(
            of(4.0, 2.0) < of(5.0, 2.0) && of(5.0, 2.0) < of(6.0, 2.0),
            "more sensitive, steeper"
        );
        assert!(
            of(5.0, 1.5) > of(5.0, 2.0) && of(5.0, 2.0) > of(5.0, 2.5),
            "a power lowers what is below its best"
        );
    }

    #[test]
    fn v_is_the_weighed_sum_of_five_parts_in_their_range() {
        let weights = ComponentWeights::new([0.4, 0.1, 0.2, 0.2, 0.1]).unwrap();
        let best = Components {
            logic: 1.0,
            novelty: 1.0,
            impact: 9.0,
            impact_max: 9.0,
            reproducibility: 1.0,
            meta: 1.0,
        };
        assert!((best.value(&weights) - 1.0).abs() < 1e-12);
        let some = Components {
            impact: 0.0,
            logic: 0.5,
            ..best
        };
        assert!((some.value(&weights) - 0.6).abs() < 1e-12);
        assert!(ComponentWeights::new([0.5, 0.5, 0.1, 0.0, -0.1]).is_err());
        assert!(ComponentWeights::new([0.5; 5]).is_err());
    }

    proptest! {
        #[test]
        fn prop_the_grade_never_falls_with_v_and_keeps_its_range(
            a in 0.0..1.0_f64, b in 0.0..1.0_f64, sensitivity in 4.0..6.0_f64, power in 1.5..2.5_f64,
        ) {
            for mode in [Mode::Literal, Mode::Centred] {
                let score = HyperScore::new(mode, sensitivity, power).unwrap();
                prop_assert!(score.of(a.min(b)) <= score.of(a.max(b)));
                prop_assert!((100.0..200.0).contains(&score.of(a)));
            }
        }
    }
}
