//! What trials say, as figures: how rightly, how fast, and what was said of causes.

use hsw_explain::{Known, NamedCase};

use super::one::{Said, Trial, Words};
use crate::bench::{Figure, Report};

/// Seconds that an incident must not take longer than.
const TARGET_S: f64 = 10.0;
/// Share of faults whose shard must be named.
const TARGET_RIGHT: f64 = 0.97;
/// The same of two faults at once.
const TARGET_PAIRS: f64 = 0.9;
const RIGHT: &str = "the right shard named and no other incident; 95 % interval (Wilson 1927)";

/// How rightly and how fast; `calm` are minutes without a fault, and incidents in them.
pub(super) fn detection(report: &mut Report, trials: &[&Trial], calm: Option<(u64, usize)>) {
    let harmful = |n: usize| {
        trials
            .iter()
            .filter(move |it| it.is_harmful() && it.injected.len() == n)
    };
    let right_ones = |n: usize| harmful(n).filter(|it| it.outcome == "right");
    for (n, what, target) in [
        (1, "faults", TARGET_RIGHT),
        (2, "pairs at once", TARGET_PAIRS),
    ] {
        let all = harmful(n).count();
        if all == 0 {
            continue;
        }
        let right = right_ones(n).count();
        report.add(Figure::new(
            &format!("{what}, injected"),
            all as f64,
            "on a real cluster",
        ));
        let metric = format!("{what}, share right");
        let mut figure = Figure::new(&metric, right as f64 / all as f64, RIGHT).at_least(target);
        figure.range = Some(wilson(right, all));
        report.add(figure);
    }
    let mut seconds: Vec<f64> = right_ones(1).filter_map(|it| it.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    if let (Some(first), Some(last)) = (seconds.first(), seconds.last()) {
        // The nearest rank, so that a few trials do not flatter: with 18 of them p95 is the largest.
        let rank = |share: f64| seconds[(share * seconds.len() as f64).ceil() as usize - 1];
        let how = "from injection to the first incident that was served; nearest rank; smallest and largest";
        report.add(Figure::new("seconds, median", rank(0.5), how));
        let mut figure = Figure::new("seconds, p95", rank(0.95), how).at_most(TARGET_S);
        figure.range = Some((*first, *last));
        report.add(figure);
    }
    let harmless = trials.iter().filter(|it| !it.is_harmful());
    let raised = harmless.clone().filter(|it| it.outcome == "raised").count();
    if harmless.clone().count() > 0 {
        let how = format!("of {} injections of what is harmless", harmless.count());
        report.add(Figure::new("harmless, raised", raised as f64, &how).at_most(0.0));
    }
    if let Some((minutes, n)) = calm {
        let how = format!("incidents in {minutes} minutes without a fault while the load varies");
        report.add(Figure::new("calm, raised", n as f64, &how).at_most(0.0));
    }
}

/// Score interval of a share at 95 % (Wilson 1927).
fn wilson(right: usize, all: usize) -> (f64, f64) {
    const Z: f64 = 1.959_963_984_540_054;
    let (n, share) = (all as f64, right as f64 / all as f64);
    let middle = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (
        ((middle - half) / scale).max(0.0),
        ((middle + half) / scale).min(1.0),
    )
}

/// What was said of the cause of one fault.
type Asked<'a> = (&'a Trial, &'a str, &'a Words);

/// Whether one word was enough; `by_others` are the cases named right by all others together, and how many there are.
pub(super) fn words(report: &mut Report, trials: &[&Trial], by_others: (usize, usize)) {
    let asked = trials
        .iter()
        .filter_map(|trial| Some((*trial, trial.fault()?, trial.words.as_ref()?)));
    let (new, again): (Vec<Asked<'_>>, Vec<Asked<'_>>) =
        asked.partition(|(_, _, words)| words.round == 1);
    let n_seen = |of: &[Asked<'_>]| of.iter().filter(|it| it.0.seconds.is_some()).count() as f64;
    let detected = "trials in which an incident named the right shard";
    let mut add = |metric: &str, value: f64, how: &str| {
        report.add(Figure::new(metric, value, how));
    };
    let n_again = again.len() as f64;
    let before = "faults that had come before, on another shard";
    add("again, trials", n_again, before);
    add("again, detected", n_seen(&again), detected);
    let count =
        |is: &dyn Fn(&Words, &str) -> bool| again.iter().filter(|it| is(it.2, it.1)).count() as f64;
    let names = |said: &Option<Said>, fault: &str| said.as_ref().is_some_and(|it| it.names(fault));
    let right = "the right cause, likelier than none of the known";
    let raised = count(&|it, fault| names(&it.at_raise, fault));
    add("again, named right when raised", raised, right);
    let later = count(&|it, fault| names(&it.later, fault));
    let still = "the same, where the incident was still open";
    add("again, named right twenty seconds later", later, still);
    let is_first = |said: &Said, fault: &str| said.cause == fault;
    let first = count(&|it, fault| it.at_end.as_ref().is_some_and(|it| is_first(it, fault)));
    let likeliest = "the right cause first, whatever the probability of none";
    add("again, likeliest of the causes when over", first, likeliest);
    let at_end = count(&|it, fault| names(&it.at_end, fault));
    let not_before = "faults that had not come before";
    add("new, trials", new.len() as f64, not_before);
    add("new, detected", n_seen(&new), detected);
    let unknown = |of: &dyn Fn(&Words) -> Option<&Said>| {
        let is_it = |it: &&Asked<'_>| of(it.2).is_some_and(Said::is_unknown);
        new.iter().filter(is_it).count() as f64
    };
    let none = "none of the known causes at least as likely as the first";
    for (when, n) in [
        ("when raised", unknown(&|it| it.at_raise.as_ref())),
        ("twenty seconds later", unknown(&|it| it.later.as_ref())),
        ("when over", unknown(&|it| it.at_end.as_ref())),
    ] {
        add(&format!("new, said to be unknown {when}"), n, none);
    }
    let judged =
        "each case whose cause another case has, judged by all others with the production core";
    add(
        "cases named right by all others",
        by_others.0 as f64,
        judged,
    );
    add("cases judged by all others", by_others.1 as f64, judged);
    let figure = Figure::new("again, named right when over", at_end, right);
    report.add(figure.at_least(n_again));
}

/// Each case judged by all others; one whose cause no other case has cannot be named and is left out.
pub(super) fn leave_one_out(cases: &[NamedCase]) -> (usize, usize) {
    let (mut right, mut n) = (0, 0);
    for (at, case) in cases.iter().enumerate() {
        let others = cases.iter().enumerate().filter(|(other, _)| *other != at);
        let others: Vec<(&str, _)> = others
            .map(|(_, other)| (other.cause.as_str(), &other.case))
            .collect();
        if !others.iter().any(|(cause, _)| *cause == case.cause) {
            continue;
        }
        let diagnosis = Known::learn(&others).diagnose(&case.case);
        let first = diagnosis.causes.first();
        n += 1;
        right += usize::from(first.is_some_and(|(cause, _)| *cause == case.cause));
    }
    (right, n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(fault: &str, outcome: &str, seconds: Option<f64>) -> Trial {
        Trial {
            injected: vec![(fault.to_owned(), "shard-1".to_owned())],
            outcome: outcome.to_owned(),
            seconds,
            summaries: Vec::new(),
            others: Vec::new(),
            closed: true,
            words: None,
        }
    }

    fn with_words(round: usize, cause: &str, none: f64) -> Trial {
        let said = Said {
            cause: cause.to_owned(),
            probability: 1.0 - none,
            none,
            reason: String::new(),
        };
        let words = Words {
            round,
            at_end: Some(said),
            ..Words::default()
        };
        Trial {
            words: Some(words),
            ..trial("lock-storm", "right", Some(5.0))
        }
    }

    fn told(trials: &[Trial], fill: impl Fn(&mut Report, &[&Trial])) -> Report {
        let mut report = Report::new("told");
        fill(&mut report, &trials.iter().collect::<Vec<_>>());
        report
    }

    fn value(report: &Report, metric: &str) -> f64 {
        let figure = report.figures.iter().find(|figure| figure.metric == metric);
        figure.unwrap().value
    }

    #[test]
    fn a_cause_is_named_where_it_is_right_and_likelier_than_none_and_all_must_be() {
        let mut trials = vec![
            with_words(1, "", 1.0),
            with_words(2, "lock-storm", 0.2),
            with_words(3, "lock-storm", 0.7),
        ];
        let of = |trials: &[Trial]| told(trials, |report, trials| words(report, trials, (2, 2)));
        let report = of(&trials);
        assert_eq!(value(&report, "again, trials"), 2.0);
        assert_eq!(value(&report, "again, named right when over"), 1.0);
        assert_eq!(
            value(&report, "again, likeliest of the causes when over"),
            2.0
        );
        assert_eq!(value(&report, "new, said to be unknown when over"), 1.0);
        assert!(!report.is_reached());
        trials.pop();
        assert!(of(&trials).is_reached());
        // One that comes again and is missed is not forgotten.
        trials.push(Trial {
            seconds: None,
            ..with_words(2, "", 1.0)
        });
        assert!(!of(&trials).is_reached());
    }

    #[test]
    fn a_wrong_shard_a_slow_incident_and_a_false_one_fall_short() {
        let good = || {
            vec![
                trial("crash", "right", Some(5.0)),
                trial("load-surge-all", "silent", None),
            ]
        };
        let of = |trials: &[Trial], calm| {
            told(trials, |report, trials| {
                detection(report, trials, Some((30, calm)))
            })
        };
        assert!(of(&good(), 0).is_reached());
        assert!(!of(&good(), 1).is_reached());
        for bad in [
            trial("crash", "missed", None),
            trial("crash", "wrong", Some(4.0)),
            trial("crash", "right", Some(11.0)),
            trial("load-surge-all", "raised", None),
        ] {
            let trials = [good(), vec![bad]].concat();
            assert!(!of(&trials, 0).is_reached(), "{trials:?}");
        }
    }

    #[test]
    fn the_interval_of_a_share_is_known_at_the_ends() {
        // R, binom::binom.confint(20, 20, methods = "wilson"): 0.8389 to 1.
        let (low, high) = wilson(20, 20);
        assert!((low - 0.838_9).abs() < 1e-4 && high == 1.0, "{low} {high}");
        let (low, high) = wilson(0, 20);
        assert!(low == 0.0 && (high - 0.161_1).abs() < 1e-4, "{low} {high}");
    }
}
