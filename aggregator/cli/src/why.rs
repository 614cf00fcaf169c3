//! `hsw why`, `hsw incident ID --why`, `hsw feedback`, `hsw causes`: why it was bad, and what operators say of it. (step 15)

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use hsw_explain::format;
use hsw_types::ShardId;
use hyper::Method;
use serde_json::{Value, json};

use crate::client::Api;
use crate::hot::{Moment, range, shard};
use crate::show::{clean, list, number, utc, wrap};

/// Why a shard was bad within the last four minutes: `hsw why --shard shard-3 --range @-60s..@-10s`.
#[derive(Debug, Args)]
pub struct Options {
    /// Which shard.
    #[arg(long, value_name = "S", value_parser = shard)]
    pub shard: ShardId,
    /// The bad time, both ends included: @UNIX, @2026-11-20T14:05:00Z, or back from now, @-90s.
    #[arg(long, value_name = "@T..@T", value_parser = range, allow_hyphen_values = true)]
    pub range: (Moment, Moment),
}

/// What an incident was, so that the next of its kind is named.
#[derive(Debug, Args)]
pub struct Word {
    /// 16 hex digits, as `hsw incidents` shows; the first few are enough if no other begins so.
    pub id: String,
    /// Its cause: `--cause "backup at noon"`; the name of a cause that is known confirms it.
    #[arg(
        long,
        value_name = "NAME",
        required_unless_present = "false_alarm",
        conflicts_with = "false_alarm"
    )]
    pub cause: Option<String>,
    /// Nothing was wrong; the next that looks like it says so.
    #[arg(long)]
    pub false_alarm: bool,
}

/// Known causes.
#[derive(Debug, Subcommand)]
pub enum Causes {
    /// Every known cause with its number of cases.
    List,
    /// Prints the file of causes, to keep, compare and share.
    Export,
    /// Adds the cases of a file to those that operators named; cases that are known already are left out.
    Import {
        /// The file, as `hsw causes export` and `hsw learn` write it.
        file: PathBuf,
        /// Take the place of all that operators named, instead of adding.
        #[arg(long)]
        replace: bool,
    },
}

/// Asks why; the answer, and the same for people.
///
/// # Errors
/// One line of the API's.
pub async fn ask(options: &Options, api: &Api, now: i64) -> anyhow::Result<(Value, String)> {
    let (from, to) = options.range;
    let body = json!({
        "shard": options.shard.as_str(),
        "from": from.seconds(now),
        "to": to.seconds(now),
    });
    let answer = api.ask(Method::POST, "why", Some(&body)).await?;
    let text = text(&answer);
    Ok((answer, text))
}

/// Says what an incident was; `id` is whole.
///
/// # Errors
/// One line of the API's.
pub async fn feedback(word: &Word, id: &str, api: &Api) -> anyhow::Result<(Value, String)> {
    let body = match &word.cause {
        Some(cause) => json!({ "cause": cause }),
        None => json!({ "false_alarm": true }),
    };
    let path = format!("incidents/{id}/feedback");
    let answer = api.ask(Method::POST, &path, Some(&body)).await?;
    let text = match &word.cause {
        Some(cause) => format!("incident {id} was `{cause}`; the next of its kind is named so\n"),
        None => format!("incident {id} was a false alarm; the next that looks like it says so\n"),
    };
    Ok((answer, text))
}

/// Lists, prints or takes causes.
///
/// # Errors
/// A file that holds no causes, or one line of the API's.
pub async fn causes(command: &Causes, api: &Api) -> anyhow::Result<(Value, String)> {
    let known = api.ask(Method::GET, "causes", None).await?;
    match command {
        Causes::Export => {
            let cases = format::read(&known.to_string()).context("read the aggregator's causes")?;
            Ok((known, format::write(&cases)))
        }
        Causes::List => {
            let mut text = String::new();
            for cause in list(&known, "causes") {
                let name = clean(&cause["cause"]);
                let _ = writeln!(text, "{:>5}  {name}", list(cause, "originals").len());
            }
            if text.is_empty() {
                text.push_str("no cause is known: name one with `hsw feedback ID --cause NAME`\n");
            }
            Ok((known, text))
        }
        Causes::Import { file, replace } => {
            let context = || format!("read {}", file.display());
            let text = std::fs::read_to_string(file).with_context(context)?;
            let fresh = format::read(&text).with_context(context)?;
            let mut cases = if *replace {
                Vec::new()
            } else {
                format::read(&known.to_string()).context("read the aggregator's causes")?
            };
            for case in fresh {
                if !cases.contains(&case) {
                    cases.push(case);
                }
            }
            let body: Value = serde_json::from_str(&format::write(&cases))?;
            let answer = api.ask(Method::PUT, "causes", Some(&body)).await?;
            let n: f64 = answer["cases"]
                .as_object()
                .map_or(0.0, |all| all.values().map(number).sum());
            Ok((answer, format!("{n} cases of operators are known now\n")))
        }
    }
}

/// An explanation for people.
#[must_use]
pub fn text(why: &Value) -> String {
    let mut text = String::new();
    if !why.is_object() {
        text.push_str("\nWhy\n  nothing is kept of what this looked like\n");
        return text;
    }
    text.push('\n');
    wrap(&mut text, "Why: ", &clean(&why["verdict"]));
    let at = |name: &str| utc(number(&why[name]));
    let looked = format!(
        "{} to {} against {} to {}; {} siblings, {} attributes",
        at("from").trim_end_matches(" UTC"),
        &at("to")[11..],
        &at("normal_from")[11..19],
        &at("normal_to")[11..],
        why["siblings"],
        why["attributes"]
    );
    wrap(&mut text, "  ", &looked);
    let reasons = list(why, "predicates");
    if reasons.is_empty() {
        text.push_str(
            "  nothing sets this time apart from what was before and from the siblings\n",
        );
    }
    for reason in reasons {
        let lead = format!("  {:>3.0} %  ", number(&reason["power"]) * 100.0);
        wrap(&mut text, &lead, &clean(&reason["sentence"]));
    }
    causes_text(&mut text, why);
    let culprits = list(why, "culprits");
    if !culprits.is_empty() {
        text.push_str("\nWho explains the others\n");
    }
    for culprit in culprits {
        let share = number(&culprit["share"]) * 100.0;
        let since = culprit["since"].as_f64().map_or_else(String::new, |since| {
            let apart = number(&culprit["since_uncertain_s"]);
            format!(", since {} (± {apart:.1} s)", &utc(since)[11..])
        });
        let _ = writeln!(
            text,
            "  {share:>3.0} %  {}{since}",
            clean(&culprit["shard"])
        );
    }
    let similar = list(why, "similar");
    if !similar.is_empty() {
        text.push_str("\nLooked alike\n");
    }
    for one in similar {
        let cause = one["cause"]
            .as_str()
            .map_or_else(String::new, |_| format!(": {}", clean(&one["cause"])));
        let _ = writeln!(
            text,
            "  {:>3.0} %  {}  {} {}{cause}",
            number(&one["alike"]) * 100.0,
            clean(&one["id"]),
            utc(number(&one["started_at"])),
            clean(&one["shard"])
        );
    }
    text
}

fn causes_text(text: &mut String, why: &Value) {
    let causes = list(why, "causes");
    if causes.is_empty() {
        return;
    }
    text.push_str("\nCauses that are known\n");
    for cause in causes {
        let probability = number(&cause["probability"]) * 100.0;
        let _ = writeln!(text, "  {probability:>3.0} %  {}", clean(&cause["cause"]));
    }
    let _ = writeln!(
        text,
        "  {:>3.0} %  none of them",
        number(&why["none"]) * 100.0
    );
    let best = &causes[0];
    if best["action"].is_string() && number(&best["probability"]) > number(&why["none"]) {
        wrap(text, "  First: ", &clean(&best["action"]));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn feedback_is_a_cause_or_a_false_alarm_of_one_incident() {
        use clap::Parser as _;
        let fits = |words: &[&str]| crate::args::Cli::try_parse_from(words).is_ok();
        assert!(fits(&[
            "hsw",
            "feedback",
            "77aa",
            "--cause",
            "backup at noon"
        ]));
        assert!(fits(&["hsw", "feedback", "77aa", "--false-alarm"]));
        assert!(!fits(&["hsw", "feedback", "77aa"]));
        assert!(!fits(&["hsw", "feedback", "--false-alarm"]));
        assert!(!fits(&[
            "hsw",
            "feedback",
            "77aa",
            "--cause",
            "x",
            "--false-alarm"
        ]));
    }

    #[test]
    fn an_explanation_reads_well_at_80_columns() {
        let why = json!({
            "shard": "shard-3", "from": 1_700_000_000, "to": 1_700_000_030, "normal_from": 1_699_999_800, "normal_to": 1_699_999_994,
            "siblings": 4, "attributes": 131, "verdict": "looks like lock-storm (86 %)", "none": 0.09,
            "predicates": [{ "power": 0.97, "sentence": "client sessions waiting for a lock ≥ 7 while every sibling stays ≤ 0 (before: ≤ 0)" }],
            "causes": [{ "cause": "lock-storm", "probability": 0.86, "action": "find the session that blocks the others and end it" }, { "cause": "deadlocks\u{1b}", "probability": 0.05, "action": null }],
            "culprits": [{ "shard": "shard-3", "share": 0.8, "since": 1_700_000_000, "since_uncertain_s": 1.002 }],
            "similar": [{ "id": "9f3c2ab177d04e15", "shard": "shard-1", "started_at": 1_699_900_000, "alike": 0.93, "cause": "lock-storm" }],
        });
        let said = text(&why);
        assert!(
            said.lines().all(|line| line.chars().count() <= 80),
            "{said}"
        );
        expect![[r#"

            Why: looks like lock-storm (86 %)
              2023-11-14 22:13:20 to 22:13:50 UTC against 22:10:00 to 22:13:14 UTC; 4
              siblings, 131 attributes
               97 %  client sessions waiting for a lock ≥ 7 while every sibling stays ≤ 0
                     (before: ≤ 0)

            Causes that are known
               86 %  lock-storm
                5 %  deadlocks 
                9 %  none of them
              First: find the session that blocks the others and end it

            Who explains the others
               80 %  shard-3, since 22:13:20 UTC (± 1.0 s)

            Looked alike
               93 %  9f3c2ab177d04e15  2023-11-13 18:26:40 UTC shard-1: lock-storm
        "#]]
        .assert_eq(&said);
    }
}
