//! Numbers and evidence in words. (step 12)

use hsw_detect::Finding;
use hsw_types::{SeriesKey, Subject, Unit};

/// A value with its unit, as an operator would say it: three significant digits at most.
///
/// ```
/// use hsw_engine::in_words;
/// use hsw_types::Unit;
/// assert_eq!(in_words(0.4375, Unit::Ratio), "44 %");
/// assert_eq!(in_words(1_572_864.0, Unit::BytesPerSecond), "1.57 MB/s");
/// ```
#[must_use]
pub fn in_words(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Count => number(value),
        Unit::PerSecond => format!("{}/s", number(value)),
        Unit::Bytes => bytes(value),
        Unit::BytesPerSecond => format!("{}/s", bytes(value)),
        Unit::Milliseconds => milliseconds(value),
        Unit::MillisecondsPerSecond => format!("{} per second", milliseconds(value)),
        Unit::Seconds => milliseconds(value * 1e3),
        Unit::Ratio => format!("{} %", number((value * 100.0).round())),
        Unit::Cores => format!("{} cores", number(value)),
    }
}

fn number(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, " G"),
        v if v >= 1e6 => (value / 1e6, " M"),
        v if v >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    format!("{}{suffix}", three_digits(scaled))
}

fn three_digits(value: f64) -> String {
    let text = match value.abs() {
        v if !(0.005..99.95).contains(&v) => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None if text == "-0" => "0".to_owned(),
        None => text,
    }
}

fn bytes(value: f64) -> String {
    match value.abs() {
        v if v >= 1e12 => format!("{} TB", three_digits(value / 1e12)),
        v if v >= 1e9 => format!("{} GB", three_digits(value / 1e9)),
        v if v >= 1e6 => format!("{} MB", three_digits(value / 1e6)),
        v if v >= 1e3 => format!("{} kB", three_digits(value / 1e3)),
        _ => format!("{} B", three_digits(value)),
    }
}

fn milliseconds(value: f64) -> String {
    match value.abs() {
        v if v >= 120e3 => format!("{} min", three_digits(value / 60e3)),
        v if v >= 1e3 => format!("{} s", three_digits(value / 1e3)),
        _ => format!("{} ms", three_digits(value)),
    }
}

/// One sentence of evidence, e.g. `client sessions waiting for a lock: 7 (usually 0; siblings 0)`.
pub(crate) fn sentence(finding: &Finding, key: &SeriesKey) -> String {
    let spec = finding.spec;
    let value = in_words(finding.value, spec.unit);
    let usual = in_words(finding.usual, spec.unit);
    let of = match &key.subject {
        Subject::Object(object) => format!(" [{object}]"),
        Subject::Template { text, .. } => {
            let text = beginning(text);
            if key.metric == "query.latency_ms" {
                // One value a window: that below which 95 of 100 stay.
                let siblings = finding
                    .siblings
                    .map(|s| format!("; siblings {}", in_words(s, spec.unit)));
                let siblings = siblings.unwrap_or_default();
                return format!("query `{text}` took p95 {value} (was {usual}{siblings})");
            }
            format!(" `{text}`")
        }
        Subject::Node | Subject::Edge(_) => String::new(),
    };
    let full = match finding.limit_s {
        Some(left_s) if left_s > 0.0 => {
            format!(", full in {} at this pace", milliseconds(left_s * 1e3))
        }
        _ => String::new(),
    };
    match finding.siblings {
        Some(siblings) => {
            let siblings = in_words(siblings, spec.unit);
            format!(
                "{}{of}: {value}{full} (usually {usual}; siblings {siblings})",
                spec.about
            )
        }
        None => format!("{}{of}: {value}{full} (usually {usual})", spec.about),
    }
}

/// As much of a statement or line as a sentence bears.
pub(crate) fn beginning(text: &str) -> String {
    const CHARS_MAX: usize = 120;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_types::{WindowIndex, metric_spec};

    #[test]
    fn a_slow_query_is_said_with_its_kind() {
        let finding = Finding {
            spec: metric_spec("query.latency_ms").unwrap(),
            node: 0,
            key: 0,
            value: 812.0,
            usual: 3.0,
            siblings: None,
            score: 12.0,
            direction: 1.0,
            since: WindowIndex(1),
            held: 3,
            limit_s: None,
        };
        let key = SeriesKey {
            metric: "query.latency_ms".to_owned(),
            subject: Subject::Template {
                hash: 1,
                text: "select a from t where id = $1".to_owned(),
            },
        };
        let said = sentence(&finding, &key);
        assert_eq!(
            said,
            "query `select a from t where id = $1` took p95 812 ms (was 3 ms)"
        );
        let finding = Finding {
            siblings: Some(2.0),
            ..finding
        };
        assert!(sentence(&finding, &key).ends_with("(was 3 ms; siblings 2 ms)"));
    }

    #[test]
    fn what_nears_its_limit_is_said_with_the_time_that_is_left() {
        let finding = Finding {
            spec: metric_spec("pg.connections_ratio").unwrap(),
            node: 0,
            key: 0,
            value: 0.66,
            usual: 0.3,
            siblings: Some(0.31),
            score: 8.0,
            direction: 1.0,
            since: WindowIndex(1),
            held: 3,
            limit_s: Some(43.2),
        };
        assert_eq!(
            sentence(&finding, &SeriesKey::node("pg.connections_ratio")),
            "client sessions against max_connections: 66 %, full in 43.2 s at this pace (usually 30 %; siblings 31 %)"
        );
    }

    #[test]
    fn values_are_said_in_the_unit_an_operator_uses() {
        let said = |value, unit| in_words(value, unit);
        assert_eq!(said(0.0, Unit::Count), "0");
        assert_eq!(said(7.0, Unit::Count), "7");
        assert_eq!(said(3_600_000.0, Unit::PerSecond), "3.6 M/s");
        assert_eq!(said(1_204.0, Unit::PerSecond), "1204/s");
        assert_eq!(said(53.21, Unit::Milliseconds), "53.2 ms");
        assert_eq!(said(3_200.0, Unit::Milliseconds), "3.2 s");
        assert_eq!(said(61.0, Unit::Seconds), "61 s");
        assert_eq!(said(1.5, Unit::Cores), "1.5 cores");
        assert_eq!(said(-0.001, Unit::Count), "0");
    }
}
