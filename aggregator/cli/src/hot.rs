//! `hsw hot`: what was hot, and when. (step 15)

use std::fmt::Write as _;

use clap::Args;
use hsw_pipeline::parse_timestamp;
use hsw_types::{ShardId, WallTime};
use serde_json::Value;

use crate::show;

/// What is hot now, at a moment or in a span: `hsw hot --shard shard-3 --kind table --range @-1h..@-30m`.
#[derive(Debug, Args)]
pub struct Options {
    /// Only this shard; all of them together by default.
    #[arg(long, value_name = "S", value_parser = shard)]
    pub shard: Option<ShardId>,
    /// Of what.
    #[arg(long, default_value = "fingerprint", value_parser = ["fingerprint", "table", "tenant", "template"])]
    pub kind: String,
    /// The minute of this moment: @UNIX, @2026-11-20T14:05:00Z, or back from now, @-90m.
    #[arg(long, value_name = "@T", conflicts_with = "range", value_parser = moment, allow_hyphen_values = true)]
    pub at: Option<Moment>,
    /// Every minute between two moments.
    #[arg(long, value_name = "@T..@T", value_parser = range, allow_hyphen_values = true)]
    pub range: Option<(Moment, Moment)>,
    /// At most so many.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=200))]
    pub limit: u8,
}

/// A moment as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Unix seconds.
    At(i64),
    /// Seconds before now.
    Back(i64),
}

impl Moment {
    pub(crate) const fn seconds(self, now: i64) -> i64 {
        match self {
            Self::At(at) => at,
            Self::Back(back) => now.saturating_sub(back),
        }
    }
}

fn moment(text: &str) -> Result<Moment, String> {
    let wrong = || format!("`{text}`: write @UNIX, @2026-11-20T14:05:00Z, or back from now, @-90m");
    let rest = text.strip_prefix('@').ok_or_else(wrong)?;
    if let Some(back) = rest.strip_prefix('-') {
        let end = back
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(back.len());
        let n: i64 = back[..end].parse().map_err(|_| wrong())?;
        let each = match &back[end..] {
            "" | "s" => 1,
            "m" | "min" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(wrong()),
        };
        return n.checked_mul(each).map(Moment::Back).ok_or_else(wrong);
    }
    if let Ok(at) = rest.parse::<i64>() {
        return Ok(Moment::At(at));
    }
    let at = parse_timestamp(rest);
    at.map(|at: WallTime| Moment::At(at.window().0))
        .ok_or_else(wrong)
}

pub(crate) fn shard(text: &str) -> Result<ShardId, String> {
    ShardId::new(text).map_err(|error| error.to_string())
}

pub(crate) fn range(text: &str) -> Result<(Moment, Moment), String> {
    let (from, to) = text
        .split_once("..")
        .ok_or_else(|| format!("`{text}`: write two moments with .. between them, @-2h..@-1h"))?;
    Ok((moment(from)?, moment(to)?))
}

/// The API's path for what was asked at `now`, Unix seconds.
#[must_use]
pub fn path(options: &Options, now: i64) -> String {
    let mut path = format!("hot?kind={}&limit={}", options.kind, options.limit);
    if let Some(shard) = &options.shard {
        let _ = write!(path, "&shard={shard}");
    }
    if let Some(at) = options.at {
        let _ = write!(path, "&at={}", at.seconds(now));
    }
    if let Some((from, to)) = options.range {
        let _ = write!(path, "&from={}&to={}", from.seconds(now), to.seconds(now));
    }
    path
}

/// For people.
#[must_use]
pub fn text(answer: &Value) -> String {
    let mut text = String::new();
    let counts = answer["counts"].as_str().unwrap_or("counts");
    let place = match answer["shard"].as_str() {
        Some(shard) => format!("shard {shard}"),
        None => "all shards".to_owned(),
    };
    let when = match (answer["from"].as_i64(), answer["to"].as_i64()) {
        (Some(from), Some(to)) => {
            let said = |at| WallTime::from_unix_seconds(at).to_rfc3339();
            format!("{} to {}", said(from), said(to))
        }
        _ => "now".to_owned(),
    };
    let total = answer["total_rate"].as_f64().unwrap_or(0.0);
    let different = match answer["distinct"].as_f64() {
        Some(n) => format!(", about {n:.0} different in the last half hour to hour"),
        None => String::new(),
    };
    let _ = writeln!(
        text,
        "{place}, {when}: {total:.1} {counts}/s in all{different}\n"
    );
    let items = show::list(answer, "items");
    if items.is_empty() {
        let _ = writeln!(text, "nothing was counted");
        return text;
    }
    let _ = writeln!(
        text,
        "{:>10}  {:>6}  {:<30}  WHAT",
        "PER SECOND",
        "SHARE",
        trend_head(items)
    );
    for item in items {
        let rate = item["rate"].as_f64().unwrap_or(0.0);
        let share = item["share"].as_f64().unwrap_or(0.0) * 100.0;
        let name = item["name"].as_str().or_else(|| item["key"].as_str());
        let name: String = name
            .unwrap_or("")
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let _ = writeln!(
            text,
            "{rate:>10.2}  {share:>5.1}%  {:<30}  {name}",
            sparkline(item)
        );
    }
    let error = answer["error"].as_f64().unwrap_or(0.0);
    let _ = writeln!(
        text,
        "\na rate is too high by {error:.2}/s at most (98 times in 100), never too low"
    );
    text
}

fn trend_head(items: &[Value]) -> &'static str {
    let has_trend = items
        .iter()
        .any(|item| !show::list(item, "trend").is_empty());
    if has_trend { "LAST 30 MINUTES" } else { "" }
}

/// Eight heights, the highest minute of the item the full one.
fn sparkline(item: &Value) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let counts: Vec<f64> = show::list(item, "trend")
        .iter()
        .filter_map(Value::as_f64)
        .collect();
    let most = counts.iter().copied().fold(0.0, f64::max);
    let bar = |n: &f64| {
        if *n <= 0.0 || most <= 0.0 {
            return ' ';
        }
        let height = (n / most * 8.0).ceil().clamp(1.0, 8.0) as usize;
        BARS[height - 1]
    };
    counts.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn moments_are_unix_seconds_dates_or_back_from_now() {
        assert_eq!(moment("@1763700000"), Ok(Moment::At(1_763_700_000)));
        assert_eq!(moment("@1970-01-02T00:00:00Z"), Ok(Moment::At(86_400)));
        assert_eq!(moment("@-90m"), Ok(Moment::Back(5_400)));
        assert_eq!(
            range("@-2h..@-1h"),
            Ok((Moment::Back(7_200), Moment::Back(3_600)))
        );
        for bad in [
            "",
            "now",
            "@",
            "@-",
            "@-5w",
            "@yesterday",
            "@-99999999999999999d",
        ] {
            assert!(moment(bad).is_err(), "{bad}");
        }
        assert!(range("@5").is_err());
    }

    #[test]
    fn a_list_is_shown_with_its_bars_and_names_that_cannot_drive_the_terminal() {
        let answer = json!({
            "counts": "calls", "shard": "shard-3", "total_rate": 40.0, "error": 0.2, "from": null, "to": null,
            "items": [{"key": "00ff", "name": "SELECT \u{1b}[2J", "rate": 30.0, "share": 0.75, "trend": [0.0, 4.0, 8.0]}],
        });
        let text = text(&answer);
        assert!(
            text.contains("shard shard-3, now: 40.0 calls/s in all"),
            "{text}"
        );
        assert!(text.contains("30.00   75.0%   ▄█"), "{text}");
        assert!(!text.contains('\u{1b}'));
        assert!(super::text(&json!({"items": []})).contains("nothing was counted"));
    }
}
