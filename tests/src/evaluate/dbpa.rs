//! dbpa: anomalies of a database on several machine sizes; causes learned on one are named on the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use hsw_cli::offline::explain::{Library, Procedure};
use hsw_explain::NamedCase;
use serde_json::{Value, json};

use super::labelled::{self, Labelled};
use super::{Task, calibration, must_say, note_scorer, scorer, unscored};
use crate::bench::{Figure, Report};

/// A random forest on raw means (300 trees, the set's README), by the configuration that is answered.
const FOREST: [(&str, f64); 2] = [("32_256", 0.394), ("64_128", 0.523)];

/// Answers and scores.
pub(super) fn answer(task: &Task) -> Result<Report> {
    let mut report = Report::default();
    let cases = labelled::read(&task.data)?;
    let ranked = rank(task, &cases)?;
    let lines: Vec<Value> = cases
        .iter()
        .zip(&ranked)
        .map(|(case, ranked)| json!({ "id": case.id, "ranked": ranked }))
        .collect();
    let file = task.out.join("ranked.jsonl");
    labelled::write(&file, &lines)?;
    if cases.iter().any(|case| case.cause().is_none()) {
        unscored(&mut report, "causes");
        return Ok(report);
    }
    score(&cases, &ranked, &mut report);
    if task.learn_from.is_none() {
        calibration::of(&cases, "group", &mut report);
    }
    let truth = task.data.join("truth.jsonl");
    let files: [&Path; 2] = [&truth, &file];
    let options = ["--group-by", "group", "--macro-f1"];
    if let Some(said) = scorer(task, "rank_score.py", &files, &options)? {
        for figure in report
            .figures
            .iter()
            .filter(|f| f.metric.ends_with(": accuracy"))
        {
            must_say(&said, &format!("accuracy {:.4}", figure.value))?;
        }
        note_scorer(&mut report, &said);
    }
    Ok(report)
}

/// Causes of each case, best first, learned elsewhere.
fn rank(task: &Task, cases: &[Labelled]) -> Result<Vec<Vec<String>>> {
    let mut ranked = vec![Vec::new(); cases.len()];
    if let Some(folder) = &task.learn_from {
        let named: Vec<NamedCase> = labelled::read(folder)?
            .iter()
            .filter_map(Labelled::named)
            .collect();
        let library = Library::new(&named, Procedure::Ours, None);
        for (ranked, case) in ranked.iter_mut().zip(cases) {
            *ranked = labelled::ranked(&library, case);
        }
    } else {
        let with_named: Vec<(&Labelled, Option<NamedCase>)> =
            cases.iter().map(|case| (case, case.named())).collect();
        for group in &groups(cases) {
            let library = labelled::library(&with_named, Procedure::Ours, None, |c| {
                c.key("group") != *group
            });
            for (ranked, case) in ranked.iter_mut().zip(cases) {
                if case.key("group") == *group {
                    *ranked = labelled::ranked(&library, case);
                }
            }
        }
    }
    Ok(ranked)
}

fn groups(cases: &[Labelled]) -> BTreeSet<String> {
    cases.iter().map(|case| case.key("group")).collect()
}

fn score(cases: &[Labelled], ranked: &[Vec<String>], report: &mut Report) {
    for group in &groups(cases) {
        let own: Vec<(&str, &[String])> = cases
            .iter()
            .zip(ranked)
            .filter(|(case, _)| case.key("group") == *group)
            .map(|(case, ranked)| (case.cause().unwrap_or_default(), &ranked[..]))
            .collect();
        let how = "learned on the other configurations (or --learn-from), none of this one";
        let (first, second) = labelled::accuracy(own.iter().copied());
        let name = format!("{group}: accuracy");
        report.add(Figure::new(&name, first, how).at_least(0.70));
        report.add(Figure::new(
            &format!("{group}: cause among the first two"),
            second,
            how,
        ));
        report.add(Figure::new(
            &format!("{group}: macro F1"),
            macro_f1(&own),
            how,
        ));
        if let Some((_, forest)) = FOREST.iter().find(|(name, _)| name == group) {
            report.note(format!(
                "{group}: a random forest on raw means reaches {forest} (published with the set)"
            ));
        }
    }
}

/// Mean F1 of the first answer over the true causes.
fn macro_f1(answers: &[(&str, &[String])]) -> f64 {
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for (truth, ranked) in answers {
        let first = ranked.first().map_or("", String::as_str);
        counts.entry(truth).or_default()[1] += 1;
        counts.entry(first).or_default()[2] += 1;
        counts.entry(truth).or_default()[0] += usize::from(first == *truth);
    }
    let known: Vec<f64> = counts
        .values()
        .filter(|[_, n_true, _]| *n_true > 0)
        .map(|[right, n_true, n_said]| 2.0 * *right as f64 / (n_true + n_said) as f64)
        .collect();
    known.iter().sum::<f64>() / known.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_never_said_has_no_f1() {
        let said = |name: &str| vec![name.to_owned()];
        let (a, b) = (said("a"), said("a"));
        // a: right once, true once, said twice: 2/3; b: 0.
        let mean = macro_f1(&[("a", &a), ("b", &b)]);
        assert!((mean - 1.0 / 3.0).abs() < 1e-12);
    }
}
