//! Silences: what people asked not to be told for a while. (step 14)
//!
//! In: matchers over an alert's labels, a reason, an expiry. Out: whether an alert is silenced now, and by which one.
//! Invariants: AL-1 a silence always expires, at most [`EXPIRY_DAYS_MAX`] days ahead: suppression is never for ever.
//! AL-2 a silence keeps messages back, it never hides or closes the incident itself.
//! Limits: [`SILENCES_MAX`] silences, [`MATCHERS_MAX`] matchers each, patterns compiled to at most 64 KiB.
//! Does not: keep itself on disk (see `store`).

use std::collections::BTreeMap;
use std::fmt;

use hsw_types::WallTime;
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use crate::shared;

/// Silences kept at one time.
pub const SILENCES_MAX: usize = 200;
/// Matchers of one silence.
pub const MATCHERS_MAX: usize = 10;
/// A silence ends at most so many days ahead.
pub const EXPIRY_DAYS_MAX: i64 = 30;
/// What an alert can be recognised by.
const LABELS: [&str; 7] = [
    "alertname",
    "cluster",
    "shard",
    "node",
    "severity",
    "trigger",
    "client",
];
/// Characters of a reason, an author, a label name or a value.
const TEXT_MAX: usize = 256;

/// Why a silence is refused; each says what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// No matcher: it would silence everything.
    #[error("a silence needs 1 to {MATCHERS_MAX} matchers, e.g. shard=\"shard-3\"")]
    Matchers,
    /// A matcher that does not read.
    #[error("matcher `{0}` is not NAME=VALUE, NAME!=VALUE, NAME=~PATTERN or NAME!~PATTERN")]
    Matcher(String),
    /// A pattern that does not compile.
    #[error("pattern `{0}` is not a regular expression of reasonable size")]
    Pattern(String),
    /// A label that no alert has: it would silence nothing, and its negation everything.
    #[error(
        "no alert has the label `{0}`: use alertname, cluster, shard, node, severity or trigger"
    )]
    Label(String),
    /// Matchers that match the empty label set match everything.
    #[error(
        "these matchers match every alert: name at least one label it must have, e.g. shard=\"shard-3\""
    )]
    MatchesAll,
    /// No reason.
    #[error("a silence needs a reason of 1 to 256 characters")]
    Reason,
    /// Expiry in the past or too far ahead.
    #[error("a silence must expire between now and {EXPIRY_DAYS_MAX} days from now")]
    Expiry,
    /// Text too long.
    #[error("label names, values and the author are at most 256 characters")]
    TooLong,
}

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Equal.
    #[serde(rename = "=")]
    Equal,
    /// Not equal.
    #[serde(rename = "!=")]
    NotEqual,
    /// Matches the whole value.
    #[serde(rename = "=~")]
    Matches,
    /// Does not match the whole value.
    #[serde(rename = "!~")]
    MatchesNot,
}

impl Op {
    const ALL: [(&'static str, Self); 4] = [
        ("!=", Self::NotEqual),
        ("=~", Self::Matches),
        ("!~", Self::MatchesNot),
        ("=", Self::Equal),
    ];

    fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, op)| *op == self)
            .map_or("=", |(text, _)| text)
    }
}

/// One condition on one label; a label that is absent counts as empty, as in Alertmanager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matcher {
    /// Label name.
    pub name: String,
    /// Comparison.
    pub op: Op,
    /// Value or pattern (anchored at both ends).
    pub value: String,
}

impl Matcher {
    /// Reads `shard="shard-3"`, `node=~shard-3.*` and the like; quotes are optional.
    ///
    /// # Errors
    /// [`SilenceError::Matcher`] when no operator or no name is found.
    pub fn parse(text: &str) -> Result<Self, SilenceError> {
        let bad = || SilenceError::Matcher(text.chars().take(80).collect());
        let at = text.find(['=', '!']).ok_or_else(bad)?;
        let (name, rest) = (text[..at].trim(), &text[at..]);
        let (sign, op) = Op::ALL
            .into_iter()
            .find(|(sign, _)| rest.starts_with(sign))
            .ok_or_else(bad)?;
        let value = rest[sign.len()..].trim();
        let value = value
            .strip_prefix('"')
            .and_then(|inner| inner.strip_suffix('"'))
            .unwrap_or(value);
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(bad());
        }
        Ok(Self {
            name: name.to_owned(),
            op,
            value: value.to_owned(),
        })
    }

    fn pattern(&self) -> Result<Option<Regex>, SilenceError> {
        if matches!(self.op, Op::Equal | Op::NotEqual) {
            return Ok(None);
        }
        RegexBuilder::new(&format!("^(?:{})$", self.value))
            .size_limit(64 << 10)
            .build()
            .map(Some)
            .map_err(|_| SilenceError::Pattern(self.value.chars().take(80).collect()))
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}\"{}\"", self.name, self.op.as_str(), self.value)
    }
}

/// What somebody asks for; becomes a [`Silence`] once checked. Also the form kept in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SilenceSpec {
    /// All of them must hold.
    pub matchers: Vec<Matcher>,
    /// Why; shown beside the incident.
    pub reason: String,
    /// Unix seconds.
    pub expires_at: i64,
    /// Who asked; may be empty.
    #[serde(default)]
    pub author: String,
}

/// A checked silence.
#[derive(Debug, Clone)]
pub struct Silence {
    /// Its number in the store.
    pub id: i64,
    /// What was asked.
    pub spec: SilenceSpec,
    patterns: Vec<Option<Regex>>,
}

impl Silence {
    /// Checks what somebody asks for at `now`.
    ///
    /// # Errors
    /// [`SilenceError`] naming what to change.
    pub fn new(id: i64, spec: SilenceSpec, now: WallTime) -> Result<Self, SilenceError> {
        let ahead_s = spec.expires_at - now.window().0;
        if ahead_s <= 0 || ahead_s > EXPIRY_DAYS_MAX * 86_400 {
            return Err(SilenceError::Expiry);
        }
        let stray = |m: &&Matcher| !LABELS.contains(&m.name.as_str());
        if let Some(matcher) = spec.matchers.iter().find(stray) {
            let name = matcher.name.chars().take(80).collect();
            return Err(SilenceError::Label(name));
        }
        Self::restored(id, spec)
    }

    /// One from the store: its expiry was checked when it was made.
    ///
    /// # Errors
    /// [`SilenceError`] when the stored form no longer reads.
    pub fn restored(id: i64, spec: SilenceSpec) -> Result<Self, SilenceError> {
        if spec.matchers.is_empty() || spec.matchers.len() > MATCHERS_MAX {
            return Err(SilenceError::Matchers);
        }
        let reason = spec.reason.trim();
        if reason.is_empty() || reason.chars().count() > TEXT_MAX {
            return Err(SilenceError::Reason);
        }
        let too_long = |text: &str| text.chars().count() > TEXT_MAX;
        if too_long(&spec.author)
            || spec
                .matchers
                .iter()
                .any(|m| too_long(&m.name) || too_long(&m.value))
        {
            return Err(SilenceError::TooLong);
        }
        let mut patterns = Vec::with_capacity(spec.matchers.len());
        for matcher in &spec.matchers {
            patterns.push(matcher.pattern()?);
        }
        let silence = Self { id, spec, patterns };
        if silence.matches(&BTreeMap::new()) {
            return Err(SilenceError::MatchesAll);
        }
        Ok(silence)
    }

    /// Whether it is in force at `now`.
    #[must_use]
    pub fn is_active(&self, now: WallTime) -> bool {
        now.window().0 < self.spec.expires_at
    }

    /// Whether all matchers hold for these labels.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.spec
            .matchers
            .iter()
            .zip(&self.patterns)
            .all(|(matcher, pattern)| {
                let value = labels.get(&matcher.name).map_or("", String::as_str);
                let is_match = pattern
                    .as_ref()
                    .is_some_and(|pattern| pattern.is_match(value));
                match matcher.op {
                    Op::Equal => value == matcher.value,
                    Op::NotEqual => value != matcher.value,
                    Op::Matches => is_match,
                    Op::MatchesNot => !is_match,
                }
            })
    }
}

/// Between the store's row and the checked form. The store keeps a matcher as a label and a value, so the operator
/// travels at the label's end (`shard=~`); a label without one means equality.
impl Silence {
    /// From the store.
    ///
    /// # Errors
    /// [`SilenceError`] when the row does not read.
    pub fn of_stored(row: &shared::Silence) -> Result<Self, SilenceError> {
        let matchers = row.matchers.iter().map(|stored| {
            let (name, op) = Op::ALL
                .into_iter()
                .find_map(|(sign, op)| Some((stored.label.strip_suffix(sign)?, op)))
                .unwrap_or((&stored.label, Op::Equal));
            Matcher {
                name: name.to_owned(),
                op,
                value: stored.value.clone(),
            }
        });
        let spec = SilenceSpec {
            matchers: matchers.collect(),
            reason: row.reason.clone(),
            expires_at: row.expires.window().0,
            author: row.author.clone(),
        };
        Self::restored(row.id, spec)
    }

    /// For the store.
    #[must_use]
    pub fn to_stored(&self, now: WallTime) -> shared::Silence {
        let matchers = self.spec.matchers.iter().map(|matcher| shared::Matcher {
            label: format!("{}{}", matcher.name, matcher.op.as_str()),
            value: matcher.value.clone(),
        });
        shared::Silence {
            id: self.id,
            matchers: matchers.collect(),
            reason: self.spec.reason.trim().to_owned(),
            author: self.spec.author.clone(),
            created: now,
            expires: WallTime::from_unix_seconds(self.spec.expires_at),
        }
    }
}

/// The first silence in force that matches.
#[must_use]
pub fn silenced_by<'a>(
    silences: &'a [Silence],
    labels: &BTreeMap<String, String>,
    now: WallTime,
) -> Option<&'a Silence> {
    silences
        .iter()
        .find(|silence| silence.is_active(now) && silence.matches(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1_700_000_000_000_000);

    fn spec(matchers: &[&str]) -> SilenceSpec {
        SilenceSpec {
            matchers: matchers
                .iter()
                .map(|m| Matcher::parse(m).unwrap())
                .collect(),
            reason: "planned reindex".to_owned(),
            expires_at: NOW.window().0 + 3_600,
            author: String::new(),
        }
    }

    fn is_silenced(matchers: &[&str]) -> bool {
        let labels = [("shard", "shard-3"), ("severity", "warning")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        Silence::new(1, spec(matchers), NOW)
            .unwrap()
            .matches(&labels)
    }

    #[test]
    fn each_operator_compares_the_whole_value() {
        assert!(is_silenced(&["shard=shard-3"]));
        assert!(!is_silenced(&["shard=shard-30"]));
        assert!(is_silenced(&["shard=\"shard-3\"", "severity!=critical"]));
        assert!(!is_silenced(&["shard=shard-3", "severity!=warning"]));
        assert!(is_silenced(&["shard=~shard-[1-3]"]));
        assert!(!is_silenced(&["shard=~shard"]), "patterns are anchored");
        assert!(is_silenced(&["shard=shard-3", "severity!~crit.*"]));
        assert!(!is_silenced(&["node=x"]), "an absent label is empty");
    }

    #[test]
    fn a_silence_without_end_reason_or_target_is_refused() {
        let refused = |change: &dyn Fn(&mut SilenceSpec)| {
            let mut asked = spec(&["shard=a"]);
            change(&mut asked);
            Silence::new(1, asked, NOW).unwrap_err()
        };
        let now_s = NOW.window().0;
        assert_eq!(refused(&|s| s.expires_at = now_s), SilenceError::Expiry);
        assert_eq!(
            refused(&|s| s.expires_at = now_s + 31 * 86_400),
            SilenceError::Expiry
        );
        assert_eq!(
            refused(&|s| s.reason = "  ".to_owned()),
            SilenceError::Reason
        );
        assert_eq!(refused(&|s| s.matchers.clear()), SilenceError::Matchers);
        assert_eq!(
            refused(&|s| s.matchers = vec![Matcher::parse("shard!=b").unwrap()]),
            SilenceError::MatchesAll
        );
        assert_eq!(
            refused(&|s| s.matchers = vec![Matcher::parse("shart=a").unwrap()]),
            SilenceError::Label("shart".to_owned())
        );
        assert_eq!(
            refused(&|s| s.matchers = vec![Matcher::parse("shard=~(").unwrap()]),
            SilenceError::Pattern("(".to_owned())
        );
        assert!(Matcher::parse("shard").is_err());
        assert!(Matcher::parse("=x").is_err());
    }

    #[test]
    fn an_expired_silence_no_longer_silences() {
        let silences = [Silence::new(7, spec(&["shard=a"]), NOW).unwrap()];
        let labels = [("shard".to_owned(), "a".to_owned())].into();
        assert_eq!(silenced_by(&silences, &labels, NOW).unwrap().id, 7);
        let later = WallTime::from_unix_seconds(NOW.window().0 + 3_600);
        assert!(silenced_by(&silences, &labels, later).is_none());
    }
}
