//! How detection is scored: average precision, hit rate, and NAB's windows, by the same rules as the sets' own scorers.

/// Average precision: the mean of precision over the positives, ties taken together; no point adjustment.
/// `None` where nothing is positive. O(n log n).
pub(super) fn average_precision(labels: &[bool], scores: &[f64]) -> Option<f64> {
    let mut sum = 0.0;
    let n = sweep(labels, scores, |n_right, n_told, n_new, n_positive| {
        sum += n_right / n_told * n_new / n_positive;
    });
    (n > 0).then_some(sum)
}

/// The best F1 over all thresholds, points counted as they are. `None` where nothing is positive.
pub(super) fn best_f1(labels: &[bool], scores: &[f64]) -> Option<f64> {
    let mut best = 0.0_f64;
    let n = sweep(labels, scores, |n_right, n_told, _, n_positive| {
        best = best.max(2.0 * n_right / (n_told + n_positive));
    });
    (n > 0).then_some(best)
}

/// Lowers the threshold score by score: right and told so far, newly right, positives. Returns the positives.
fn sweep(labels: &[bool], scores: &[f64], mut at: impl FnMut(f64, f64, f64, f64)) -> usize {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let n_positive = labels.iter().filter(|label| **label).count();
    if n_positive == 0 {
        return 0;
    }
    let (mut n_told, mut n_right) = (0, 0);
    for tied in order.chunk_by(|a, b| scores[*a].total_cmp(&scores[*b]).is_eq()) {
        let n_new = tied.iter().filter(|row| labels[**row]).count();
        n_told += tied.len();
        n_right += n_new;
        at(
            n_right as f64,
            n_told as f64,
            n_new as f64,
            n_positive as f64,
        );
    }
    n_positive
}

/// Share of the right names among the first `factor` × as many answers; mean over the cases.
pub(super) fn hit_rate(cases: &[(Vec<String>, Vec<String>)], factor: f64) -> f64 {
    let of = |(truth, ranked): &(Vec<String>, Vec<String>)| {
        let n = (factor * truth.len() as f64) as usize;
        let hits = ranked.iter().take(n).filter(|name| truth.contains(name));
        hits.count() as f64 / truth.len() as f64
    };
    cases.iter().map(of).sum::<f64>() / cases.len().max(1) as f64
}

/// What NAB pays for a hit, a false alarm and a miss.
#[derive(Debug, Clone, Copy)]
pub(super) struct Profile {
    pub(super) name: &'static str,
    hit: f64,
    false_alarm: f64,
    miss: f64,
}

/// NAB v1.1's three.
pub(super) const PROFILES: [Profile; 3] = [
    Profile {
        name: "standard",
        hit: 1.0,
        false_alarm: 0.11,
        miss: 1.0,
    },
    Profile {
        name: "reward_low_FP_rate",
        hit: 1.0,
        false_alarm: 0.22,
        miss: 1.0,
    },
    Profile {
        name: "reward_low_FN_rate",
        hit: 1.0,
        false_alarm: 0.11,
        miss: 2.0,
    },
];

/// One series: its scores, and its windows as first and last row.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) scores: Vec<f64>,
    pub(super) windows: Vec<(usize, usize)>,
}

/// A row that counts: its score, what an alarm there is worth, and the window it lies in.
#[derive(Debug, Clone, Copy)]
struct Point {
    score: f64,
    value: f64,
    window: Option<usize>,
}

/// The normalised score: 100 for all windows at their first row and nothing else, 0 for silence. One threshold for all
/// series, the best for the profile, as NAB chooses it (Lavin, Ahmad, ICMLA 2015, §III).
pub(super) fn nab(all: &[Series], profile: Profile) -> f64 {
    let (mut points, n_windows) = points(all);
    points.sort_by(|a, b| b.score.total_cmp(&a.score));
    let n_seen = {
        let mut seen = vec![false; n_windows];
        points
            .iter()
            .filter_map(|p| p.window)
            .for_each(|window| seen[window] = true);
        seen.iter().filter(|seen| **seen).count() as f64
    };
    let (silence, perfect) = (-profile.miss * n_seen, profile.hit * n_seen);
    let (mut total, mut best) = (silence, silence);
    let mut credit = vec![-profile.miss; n_windows];
    for tied in points.chunk_by(|a, b| a.score.total_cmp(&b.score).is_eq()) {
        for point in tied {
            match point.window {
                None => total += point.value * profile.false_alarm,
                Some(window) => {
                    let more = point.value * profile.hit - credit[window];
                    if more > 0.0 {
                        total += more;
                        credit[window] += more;
                    }
                }
            }
        }
        best = best.max(total);
    }
    100.0 * (best - silence) / (perfect - silence)
}

/// All rows behind the probation, and the number of windows.
fn points(all: &[Series]) -> (Vec<Point>, usize) {
    let (mut points, mut n_before) = (Vec::new(), 0);
    for series in all {
        let n = series.scores.len();
        let probation = ((0.15 * n as f64) as usize).min(750);
        let (mut next, mut last) = (0, None);
        for (row, score) in series.scores.iter().enumerate() {
            while series
                .windows
                .get(next)
                .is_some_and(|window| row > window.1)
            {
                last = Some(series.windows[next]);
                next += 1;
            }
            let inside = series.windows.get(next).filter(|window| window.0 <= row);
            let value = match (inside, last) {
                (Some((first, end)), _) => {
                    sigmoid(-((end - row + 1) as f64) / (end - first + 1) as f64) / sigmoid(-1.0)
                }
                (None, None) => -1.0,
                (None, Some((first, end))) => {
                    sigmoid((row - end) as f64 / ((end - first) as f64).max(1e-9))
                }
            };
            if row >= probation {
                let window = inside.map(|_| n_before + next);
                points.push(Point {
                    score: *score,
                    value,
                    window,
                });
            }
        }
        n_before += series.windows.len();
    }
    (points, n_before)
}

fn sigmoid(x: f64) -> f64 {
    if x > 3.0 {
        -1.0
    } else {
        2.0 / (1.0 + (5.0 * x).exp()) - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn average_precision_of_a_small_list_by_hand() {
        let labels = [true, false, true, false];
        // Precision 1 at the first hit, 2/3 at the second.
        let ap = average_precision(&labels, &[4.0, 3.0, 2.0, 1.0]).unwrap();
        assert!((ap - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        // All tied: the prevalence.
        assert_eq!(average_precision(&labels, &[1.0; 4]), Some(0.5));
        assert_eq!(average_precision(&[false], &[1.0]), None);
        assert!((best_f1(&labels, &[4.0, 3.0, 2.0, 1.0]).unwrap() - 0.8).abs() < 1e-12);
    }

    #[test]
    fn silence_is_nothing_and_the_first_row_of_a_window_nearly_all() {
        let series = |alarms: &[usize]| Series {
            scores: (0..1_000)
                .map(|row| f64::from(alarms.contains(&row)))
                .collect(),
            windows: vec![(500, 599)],
        };
        let of = |alarms: &[usize]| nab(&[series(alarms)], PROFILES[0]);
        assert!(of(&[]).abs() < 1e-9);
        assert!((of(&[500]) - 100.0).abs() < 1e-9);
        assert!(of(&[590]) < of(&[510]) && of(&[300, 500]) < of(&[500]));
        // In the probation nothing counts.
        assert!((of(&[10, 500]) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn hits_are_counted_among_as_many_answers_as_there_are_right_ones() {
        let names = |list: &[&str]| {
            list.iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let cases = [(names(&["a", "b"]), names(&["a", "c", "b"]))];
        assert_eq!((hit_rate(&cases, 1.0), hit_rate(&cases, 1.5)), (0.5, 1.0));
    }
}
