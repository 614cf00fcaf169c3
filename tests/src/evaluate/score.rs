//! How answers are scored, for every set; the same rules as the sets' own scorers.

use std::collections::BTreeMap;
use std::hash::Hash;

/// Scores of log templates (Zhu et al. 2019; Jiang et al. 2024): all in 0–1, higher is better.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Grouping {
    /// Share of lines whose group has exactly the lines of the true one.
    pub(super) ga: f64,
    /// F1 over groups.
    pub(super) fga: f64,
    /// Share of lines whose template is exactly right.
    pub(super) pa: f64,
    /// F1 over groups that are right in lines and text.
    pub(super) fta: f64,
}

/// Scores predicted templates against true ones, line by line: `(group, text)` each.
pub(super) fn grouping<K: Ord + Hash>(truth: &[(K, String)], answer: &[(K, String)]) -> Grouping {
    let groups = |rows: &'_ [(K, String)]| -> Vec<Vec<usize>> {
        let mut by_key: BTreeMap<&K, Vec<usize>> = BTreeMap::new();
        for (at, (key, _)) in rows.iter().enumerate() {
            by_key.entry(key).or_default().push(at);
        }
        by_key.into_values().collect()
    };
    let (true_groups, answered) = (groups(truth), groups(answer));
    let known: std::collections::BTreeSet<&Vec<usize>> = true_groups.iter().collect();
    let right: Vec<&Vec<usize>> = answered.iter().filter(|g| known.contains(g)).collect();
    let blanks = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let same: Vec<bool> = truth
        .iter()
        .zip(answer)
        .map(|((_, a), (_, b))| blanks(a) == blanks(b))
        .collect();
    let n_lines = truth.len().max(1) as f64;
    let f1 = |n: usize| 2.0 * n as f64 / (answered.len() + true_groups.len()).max(1) as f64;
    Grouping {
        ga: right.iter().map(|g| g.len()).sum::<usize>() as f64 / n_lines,
        fga: f1(right.len()),
        pa: same.iter().filter(|s| **s).count() as f64 / n_lines,
        fta: f1(right.iter().filter(|g| same[g[0]]).count()),
    }
}

/// The fields of one CSV row; quotes doubled inside quotes (RFC 4180). Rows do not span lines in these sets.
pub(super) fn csv_row(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let field = fields.last_mut().expect("it never gets empty");
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                field.push('"');
                chars.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => field.push(c),
        }
    }
    fields
}

/// One field for a CSV row.
pub(super) fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_group_is_wrong_in_all_its_lines() {
        let rows = |keys: &[&'static str]| -> Vec<(&'static str, String)> {
            keys.iter().map(|k| (*k, (*k).to_owned())).collect()
        };
        let truth = rows(&["a", "a", "b", "c"]);
        let score = grouping(&truth, &rows(&["a", "x", "b", "c"]));
        assert_eq!((score.ga, score.pa), (0.5, 0.75));
        assert!((score.fga - 4.0 / 7.0).abs() < 1e-12);
        assert!((grouping(&truth, &truth).fta - 1.0).abs() < 1e-12);
    }

    #[test]
    fn csv_fields_come_back() {
        let fields = ["plain", "with, comma", "with \"quote\"", ""];
        let line = fields.map(csv_field).join(",");
        assert_eq!(csv_row(&line), fields);
    }
}
