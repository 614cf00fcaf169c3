//! How good probabilities are against what turned out: precision over recall, calibration, surprise. (step 11)
//!
//! In: (score or probability, was it sick) pairs. Out: plain numbers. Ties in scores count together. Empty input gives `None`.
//! Source: average precision as in Davis, Goadrich, ICML 2006 (no interpolation); ECE: Naeini, Cooper, Hauskrecht, AAAI 2015.

/// Bins of the calibration error (Naeini et al. 2015 use ten).
const N_BINS: usize = 10;
/// No probability is told closer to 0 or 1 than this in a logarithm.
const P_MIN: f64 = 1e-9;

/// Area under precision over recall: the mean precision at each sick one, 0 to 1; `None` without a sick one. O(n log n).
#[must_use]
pub fn average_precision(scored: &[(f64, bool)]) -> Option<f64> {
    let n_sick = scored.iter().filter(|(_, is_sick)| *is_sick).count();
    if n_sick == 0 {
        return None;
    }
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut sum, mut n_seen, mut n_found) = (0.0, 0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let found = tied.iter().filter(|(_, is_sick)| *is_sick).count() as f64;
        n_seen += tied.len() as f64;
        n_found += found;
        sum += found * n_found / n_seen;
    }
    Some(sum / n_sick as f64)
}

/// Surprise at one outcome, nats: −ln of the probability that it was given.
#[must_use]
pub fn log_loss(probability: f64, is_sick: bool) -> f64 {
    let p = probability.clamp(P_MIN, 1.0 - P_MIN);
    -hsw_stats::ln(if is_sick { p } else { 1.0 - p })
}

/// Mean of [`log_loss`].
#[must_use]
pub fn mean_log_loss(judged: &[(f64, bool)]) -> Option<f64> {
    let sum: f64 = judged
        .iter()
        .map(|(p, is_sick)| log_loss(*p, *is_sick))
        .sum();
    (!judged.is_empty()).then(|| sum / judged.len() as f64)
}

/// Expected calibration error: how far probabilities are from frequencies, ten bins of equal width, 0 to 1.
#[must_use]
pub fn calibration_error(judged: &[(f64, bool)]) -> Option<f64> {
    let mut bins = [(0.0_f64, 0.0_f64); N_BINS];
    for (p, is_sick) in judged {
        let bin = ((p * N_BINS as f64) as usize).min(N_BINS - 1);
        bins[bin].0 += p;
        bins[bin].1 += f64::from(u8::from(*is_sick));
    }
    let apart: f64 = bins.iter().map(|(told, were)| (told - were).abs()).sum();
    (!judged.is_empty()).then(|| apart / judged.len() as f64)
}

/// Of those told with at least `threshold`, the share that was sick; `None` where none was told.
#[must_use]
pub fn precision(judged: &[(f64, bool)], threshold: f64) -> Option<f64> {
    let told = || judged.iter().filter(|(p, _)| *p >= threshold);
    let n = told().count();
    (n > 0).then(|| told().filter(|(_, is_sick)| *is_sick).count() as f64 / n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn average_precision_of_orders_worked_by_hand() {
        let of = |order: &[bool]| {
            let scored: Vec<(f64, bool)> = order
                .iter()
                .enumerate()
                .map(|(at, sick)| (-(at as f64), *sick))
                .collect();
            average_precision(&scored)
        };
        assert_eq!(of(&[true, true, false]), Some(1.0));
        assert_eq!(of(&[false, true, true]), Some((0.5 + 2.0 / 3.0) / 2.0));
        assert_eq!(of(&[false]), None);
        let tied = [(1.0, true), (1.0, false), (1.0, false), (1.0, false)];
        assert_eq!(average_precision(&tied), Some(0.25));
    }

    #[test]
    fn calibration_is_the_distance_of_what_was_told_from_what_was() {
        let right: Vec<(f64, bool)> = (0..100).map(|i| (0.25, i % 4 == 0)).collect();
        assert!(calibration_error(&right).unwrap() < 1e-12);
        let wrong: Vec<(f64, bool)> = (0..100).map(|i| (0.75, i % 4 == 0)).collect();
        assert!((calibration_error(&wrong).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(calibration_error(&[]), None);
    }

    #[test]
    fn surprise_is_bounded_and_precision_counts_what_was_told() {
        assert!((log_loss(0.5, true) - hsw_stats::ln(2.0)).abs() < 1e-12);
        assert!(log_loss(0.0, true) < 21.0 && mean_log_loss(&[]).is_none());
        let judged = [(0.9, true), (0.8, false), (0.1, true)];
        assert_eq!(precision(&judged, 0.5), Some(0.5));
        assert_eq!(precision(&judged, 0.95), None);
    }
}
