//! A trigger as people write it, in the configuration, by the API or by `hsw trigger add`. (step 14)
//!
//! In: words. Out: a checked [`Question`] and the same in a sentence. Invariants: TS-1 what is refused is told with the
//! remedy. Limits: names of [`NAME_CHARS_MAX`] characters, [`SHARDS_MAX`] shards. Does not: count.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use hsw_trigger::{Measure, N_CATEGORIES, Question, Range, Space, WEIGHT_MAX, Weight, key_of_f64};
use hsw_types::{ShardId, key_of};
use serde::{Deserialize, Serialize};

/// Characters of a trigger's name.
const NAME_CHARS_MAX: usize = 64;
/// Shards one trigger may name.
const SHARDS_MAX: usize = 1_000;
/// Characters of a name it wants.
const WANTED_CHARS_MAX: usize = 256;
/// Names it may want, in the order of an element's categories.
const WANTED: [&str; N_CATEGORIES] = ["fingerprint", "database", "user", "application"];

/// How loud a fired trigger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// To be known.
    Info,
    /// To be looked at.
    #[default]
    Warning,
}

impl Severity {
    /// As the label says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
        }
    }
}

/// `[[trigger]]`, and the API's body: "tell me when so much has hit this".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What it is called: letters, digits, `.`, `_`, `-`.
    pub name: String,
    /// What its ranges are set on: `latency_ms`, `lock_ms`, `rows`; or two of them, separated by a comma.
    pub on: String,
    /// `FROM..TO` without TO itself; either end may be left out. Separated by a comma where there are two measures.
    pub range: String,
    /// How much must be hit.
    pub count: u64,
    /// What a statement counts for: `count` (1, the default), `rows`, or `ms`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub weight: String,
    /// On which shards; all but routers by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<String>,
    /// Names that statements must have: database, user, application, fingerprint (16 hex digits). Any by default.
    #[serde(default, rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub wanted: BTreeMap<String, String>,
    /// `info` or `warning`, the default.
    #[serde(default)]
    pub severity: Severity,
    /// Begin anew each time it fires.
    #[serde(default)]
    pub again: bool,
}

/// A trigger that can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What is counted.
    pub question: Arc<Question>,
    /// Where; everywhere when empty.
    pub shards: Vec<ShardId>,
    /// What is counted, in words, without how much: `statements with latency_ms in [100, 1000) on shards a, b`.
    pub words: String,
}

impl Spec {
    /// Reads the words.
    ///
    /// # Errors
    /// One line that names the word and the remedy.
    pub fn check(&self) -> Result<Checked, String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !(1..=NAME_CHARS_MAX).contains(&self.name.len()) || !self.name.chars().all(is_plain) {
            return Err(format!(
                "name: 1 to {NAME_CHARS_MAX} letters, digits, `.`, `_` or `-`"
            ));
        }
        if !(1..=WEIGHT_MAX).contains(&self.count) {
            return Err(format!("count: 1 to {WEIGHT_MAX}"));
        }
        if self.shards.len() > SHARDS_MAX {
            return Err(format!("shards: at most {SHARDS_MAX}, or none for all"));
        }
        let mut shards = Vec::with_capacity(self.shards.len());
        for shard in &self.shards {
            shards.push(ShardId::new(shard).map_err(|error| format!("shards: {error}"))?);
        }
        let (space, ranges, mut words) = self.space()?;
        let mut categories = [None; N_CATEGORIES];
        for (name, value) in &self.wanted {
            let at = WANTED.iter().position(|wanted| wanted == name);
            let at =
                at.ok_or_else(|| format!("where: `{name}` is none of {}", WANTED.join(", ")))?;
            categories[at] = Some(wanted_key(name, value)?);
            let _ = write!(words, ", {name} {value}");
        }
        if !self.shards.is_empty() {
            let s = if self.shards.len() > 1 { "s" } else { "" };
            let _ = write!(words, " on shard{s} {}", self.shards.join(", "));
        }
        let question = Question::new(space, categories, ranges)
            .ok_or("range: its end must lie above its beginning")?;
        Ok(Checked {
            question: Arc::new(question),
            shards,
            words,
        })
    }

    fn space(&self) -> Result<(Space, Vec<Range>, String), String> {
        let weight = match self.weight.as_str() {
            "" => Weight::Count,
            name => *find(&Weight::ALL, |w| w.name(), name).ok_or("weight: count, rows or ms")?,
        };
        let names: Vec<&str> = self.on.split(',').map(str::trim).collect();
        let texts: Vec<&str> = self.range.split(',').map(str::trim).collect();
        if names.len() != texts.len() {
            return Err(format!(
                "range: one FROM..TO for each of `on`, separated by commas; on = \"{}\" has {}",
                self.on,
                names.len()
            ));
        }
        let mut dimensions = Vec::with_capacity(names.len());
        for (name, text) in names.iter().zip(texts) {
            let measure = find(&Measure::ALL, |m| m.name(), name)
                .ok_or_else(|| format!("on: `{name}` is none of latency_ms, lock_ms, rows"))?;
            dimensions.push((*measure, read_range(measure.name(), text)?));
        }
        dimensions.sort_by_key(|(measure, _)| *measure);
        let measures: Vec<_> = dimensions.iter().map(|(measure, _)| *measure).collect();
        let space =
            Space::new(&measures, weight).ok_or("on: one measure, or two different ones")?;
        let (ranges, clauses): (Vec<_>, Vec<_>) = dimensions.into_iter().map(|(_, r)| r).unzip();
        let what = match weight {
            Weight::Count => "statements",
            Weight::Rows => "rows of statements",
            Weight::Ms => "ms of statements",
        };
        Ok((
            space,
            ranges,
            format!("{what} with {}", clauses.join(" and ")),
        ))
    }
}

fn find<'a, T>(all: &'a [T], name_of: fn(&T) -> &'static str, name: &str) -> Option<&'a T> {
    all.iter().find(|one| name_of(one) == name)
}

/// `FROM..TO` as keys and in words.
fn read_range(measure: &str, text: &str) -> Result<(Range, String), String> {
    let wrong = || {
        format!(
            "range: `{text}` is not FROM..TO with FROM below TO; either may be left out, e.g. 100..1000 or 100.."
        )
    };
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str| match text.trim() {
        "" => Ok(None),
        text => match text.parse::<f64>() {
            Ok(value) => key_of_f64(value)
                .map(|key| Some((value, key)))
                .ok_or_else(wrong),
            Err(_) => Err(wrong()),
        },
    };
    let (from, to) = (number(from)?, number(to)?);
    let range = Range {
        lo: from.map_or(0, |(_, key)| key),
        hi: to.map_or(u64::MAX, |(_, key)| key),
    };
    if range.is_empty() {
        return Err(wrong());
    }
    let words = match (from, to) {
        (Some((from, _)), Some((to, _))) => format!("{measure} in [{from}, {to})"),
        (Some((from, _)), None) => format!("{measure} of {from} or more"),
        (None, Some((to, _))) => format!("{measure} below {to}"),
        (None, None) => format!("any {measure}"),
    };
    Ok((range, words))
}

fn wanted_key(name: &str, value: &str) -> Result<u64, String> {
    if name == "fingerprint" {
        let is_hash = value.len() == 16 && value.bytes().all(|b| b.is_ascii_hexdigit());
        return u64::from_str_radix(value, 16)
            .ok()
            .filter(|_| is_hash)
            .ok_or_else(|| {
                "where fingerprint: 16 hex digits, as `hsw fingerprint` and `hsw hot` show; or give a statement to `hsw trigger add`".to_owned()
            });
    }
    if value.is_empty() || value.chars().count() > WANTED_CHARS_MAX {
        return Err(format!("where {name}: 1 to {WANTED_CHARS_MAX} characters"));
    }
    Ok(key_of(value))
}

/// A count as people read it: `10,000`.
#[must_use]
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.char_indices() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A trigger on latencies of 100 ms up to a second.
    pub(in crate::triggers) fn slow(name: &str, count: u64) -> Spec {
        Spec {
            name: name.to_owned(),
            on: "latency_ms".to_owned(),
            range: "100..1000".to_owned(),
            count,
            weight: String::new(),
            shards: Vec::new(),
            wanted: BTreeMap::new(),
            severity: Severity::default(),
            again: false,
        }
    }

    #[test]
    fn words_become_a_question_and_a_sentence() {
        let text = "name = \"n\"\non = \"rows, latency_ms\"\nrange = \"..5, 100..1000\"\ncount = 7\nweight = \"ms\"\n\
                    shards = [\"shard-3\", \"shard-5\"]\n[where]\ndatabase = \"shop\"\n";
        let spec: Spec = toml::from_str(text).unwrap();
        let checked = spec.check().unwrap();
        assert_eq!(
            checked.words,
            "ms of statements with latency_ms in [100, 1000) and rows below 5, database shop on shards shard-3, shard-5"
        );
        let key = |x: f64| key_of_f64(x).unwrap();
        let ranges = [
            Range {
                lo: key(100.0),
                hi: key(1_000.0),
            },
            Range {
                lo: 0,
                hi: key(5.0),
            },
        ];
        assert_eq!(checked.question.ranges(), ranges);
        assert_eq!(
            *checked.question.categories(),
            [None, Some(key_of("shop")), None, None]
        );
        assert_eq!(
            toml::from_str::<Spec>(&toml::to_string(&spec).unwrap()).unwrap(),
            spec
        );
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_remedy() {
        type Change = fn(&mut Spec);
        let changes: [(Change, &str); 9] = [
            (|s| s.name = "a b".to_owned(), "name"),
            (|s| s.on = "age".to_owned(), "latency_ms, lock_ms, rows"),
            (|s| s.on = "rows,rows".to_owned(), "one FROM..TO for each"),
            (|s| s.range = "5..5".to_owned(), "FROM below TO"),
            (|s| s.range = "nan..5".to_owned(), "FROM below TO"),
            (|s| s.count = 0, "count"),
            (|s| s.weight = "kg".to_owned(), "count, rows or ms"),
            (|s| s.shards.push(String::new()), "shards"),
            (
                |s| drop(s.wanted.insert("fingerprint".into(), "select 1".into())),
                "16 hex digits",
            ),
        ];
        for (change, remedy) in changes {
            let mut spec = slow("n", 5);
            change(&mut spec);
            let why = spec.check().unwrap_err();
            assert!(why.contains(remedy), "{why}");
        }
        let mut twice = slow("n", 5);
        (twice.on, twice.range) = ("rows,rows".to_owned(), "..,..".to_owned());
        assert!(twice.check().unwrap_err().contains("two different"));
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        assert_eq!(
            [0, 999, 10_000, 1_234_567].map(grouped),
            ["0", "999", "10,000", "1,234,567"]
        );
    }
}
