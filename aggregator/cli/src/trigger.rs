//! `hsw trigger`: standing questions "tell me when so much has hit this". (step 15)
//!
//! In: words. Out: the API's body, a list for people. Does not: check more than the aggregator would not say better.

use std::fmt::Write as _;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use hsw_pipeline::{Dialect, Fingerprinter};
use hyper::Method;
use serde_json::{Map, Value, json};

use crate::client::Api;
use crate::offline;
use crate::offline::fingerprint::Sql;
use crate::show::{clean, duration, list, number};

/// Triggers.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Adds one, e.g. `hsw trigger add --name slow --on latency_ms --range 100..1000 --count 10000 --shards shard-3,shard-5`.
    Add(New),
    /// All of them, with how far they are.
    List,
    /// Ends one.
    Remove {
        /// Its name, as `hsw trigger list` shows.
        name: String,
    },
    /// Over files: at which event each of many triggers matures.
    Eval(offline::trigger::Options),
}

/// A new trigger.
#[derive(Debug, Args)]
pub struct New {
    /// What it is called: letters, digits, `.`, `_`, `-`.
    #[arg(long)]
    pub name: String,
    /// What the range is set on: latency_ms, lock_ms or rows; or two of them, `latency_ms,rows`.
    #[arg(long, value_name = "MEASURE")]
    pub on: String,
    /// From one value up to and without another, 100..1000; either may be left out, 100.. or ..5. One for each measure.
    #[arg(long, value_name = "FROM..TO", allow_hyphen_values = true)]
    pub range: String,
    /// How much must be hit.
    #[arg(long, value_name = "N", value_parser = count)]
    pub count: u64,
    /// What a statement counts for.
    #[arg(long, default_value = "count", value_parser = ["count", "rows", "ms"])]
    pub weight: String,
    /// On which shards; all but routers by default.
    #[arg(long, value_name = "S,S", value_delimiter = ',')]
    pub shards: Vec<String>,
    /// Only statements with this name: database=…, user=…, application=…, fingerprint=… (16 hex digits, or a statement).
    /// May be given several times.
    #[arg(long = "where", value_name = "KEY=VALUE", value_parser = wanted)]
    pub wanted: Vec<(String, String)>,
    /// Whose SQL a statement in --where fingerprint= is.
    #[arg(long, value_enum, default_value = "postgresql")]
    pub dialect: Sql,
    /// How loud it is.
    #[arg(long, value_enum, default_value_t = Severity::Warning)]
    pub severity: Severity,
    /// Begin anew each time it fires.
    #[arg(long)]
    pub again: bool,
}

/// How loud a trigger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Severity {
    /// To be known.
    Info,
    /// To be looked at.
    Warning,
}

fn wanted(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}`: write KEY=VALUE, e.g. database=shop"))?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// `10000`, `10,000` or `10_000`.
fn count(text: &str) -> Result<u64, String> {
    let digits: String = text.chars().filter(|c| !matches!(c, ',' | '_')).collect();
    digits
        .parse()
        .map_err(|_| format!("`{text}` is not a number such as 10000"))
}

/// Asks the API; its answer, and the same for people.
///
/// # Errors
/// One line that names the remedy.
pub async fn ask(command: &Command, api: &Api) -> anyhow::Result<(Value, String)> {
    match command {
        Command::Add(new) => {
            let answer = api.ask(Method::POST, "triggers", Some(&body(new)?)).await?;
            let text = format!(
                "trigger {} waits for {} {}\n",
                clean(&answer["name"]),
                new.count,
                clean(&answer["what"])
            );
            Ok((answer, text))
        }
        Command::List => {
            let answer = api.ask(Method::GET, "triggers", None).await?;
            let text = text(&answer);
            Ok((answer, text))
        }
        Command::Remove { name } => {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            anyhow::ensure!(
                !name.is_empty() && name.chars().all(is_plain),
                "`{name}` is not a trigger's name: see `hsw trigger list`"
            );
            api.ask(Method::DELETE, &format!("triggers/{name}"), None)
                .await?;
            Ok((
                json!({ "removed": name }),
                format!("trigger {name} is over\n"),
            ))
        }
        Command::Eval(_) => anyhow::bail!("eval works on files and needs no aggregator"),
    }
}

fn body(new: &New) -> anyhow::Result<Value> {
    let mut names = Map::new();
    for (key, value) in &new.wanted {
        let is_hash = value.len() == 16 && value.bytes().all(|b| b.is_ascii_hexdigit());
        let value = if key == "fingerprint" && !is_hash {
            fingerprint(value, new.dialect).context("--where fingerprint=")?
        } else {
            value.clone()
        };
        let before = names.insert(key.clone(), Value::from(value));
        anyhow::ensure!(before.is_none(), "--where {key}= stands twice");
    }
    Ok(json!({
        "name": new.name,
        "on": new.on,
        "range": new.range,
        "count": new.count,
        "weight": new.weight,
        "shards": new.shards,
        "where": names,
        "severity": match new.severity {
            Severity::Info => "info",
            Severity::Warning => "warning",
        },
        "again": new.again,
    }))
}

/// The fingerprint agents give this statement.
fn fingerprint(sql: &str, dialect: Sql) -> anyhow::Result<String> {
    anyhow::ensure!(
        sql.contains(char::is_whitespace),
        "`{sql}` is neither 16 hex digits nor a statement"
    );
    let dialect = match dialect {
        Sql::Mysql => Dialect::MySql,
        Sql::Postgresql => Dialect::PostgreSql,
    };
    #[cfg(feature = "postgresql-parser")]
    let mut fingerprinter = match dialect {
        Dialect::PostgreSql => Fingerprinter::with_parser(),
        Dialect::MySql => Fingerprinter::new(dialect),
    };
    #[cfg(not(feature = "postgresql-parser"))]
    let mut fingerprinter = Fingerprinter::new(dialect);
    Ok(format!("{:016x}", fingerprinter.fingerprint(sql).hash))
}

/// For people.
#[must_use]
pub fn text(answer: &Value) -> String {
    let now = number(&answer["now"]);
    let mut text = String::new();
    for one in list(answer, "triggers") {
        let (count, threshold) = (number(&one["count"]), number(&one["threshold"]));
        let percent = (count / threshold.max(1.0) * 100.0).floor().min(100.0);
        let state = clean(&one["state"]);
        let _ = writeln!(
            text,
            "{:<20} {state:<8} {count} of {threshold} ({percent} %), {}",
            clean(&one["name"]),
            clean(&one["severity"]),
        );
        let _ = writeln!(text, "    {}", clean(&one["what"]));
        let nodes = format!("{} of {} nodes count", one["n_nodes_heard"], one["n_nodes"]);
        let nodes = if state == "waiting" {
            nodes
        } else {
            String::new()
        };
        let fired = one["fired_at"].as_f64().map_or_else(String::new, |at| {
            format!(
                "fired {} ago with {}",
                duration(now - at),
                one["fired_count"]
            )
        });
        let notes = [
            nodes,
            fired,
            if one["again"] == true {
                "begins anew each time".to_owned()
            } else {
                String::new()
            },
            if one["from_config"] == true {
                "from the configuration".to_owned()
            } else {
                String::new()
            },
        ];
        let notes: Vec<_> = notes.into_iter().filter(|note| !note.is_empty()).collect();
        let _ = writeln!(text, "    {}", notes.join(", "));
    }
    if text.is_empty() {
        text.push_str("no triggers: see `hsw trigger add --help`\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn new(more: &[&str]) -> New {
        let words = "hsw trigger add --name n --on latency_ms --range ..5 --count 10,000";
        let words = words.split(' ').chain(more.iter().copied());
        let cli = crate::args::Cli::try_parse_from(words).unwrap();
        match cli.command {
            crate::args::Command::Trigger(Command::Add(new)) => new,
            _ => panic!("not an add"),
        }
    }

    #[test]
    fn what_is_typed_is_what_the_aggregator_is_asked() {
        let new = new(&["--shards", "a,b", "--where", "database=shop", "--again"]);
        assert_eq!(
            body(&new).unwrap(),
            json!({
                "name": "n", "on": "latency_ms", "range": "..5", "count": 10_000, "weight": "count",
                "shards": ["a", "b"], "where": { "database": "shop" }, "severity": "warning", "again": true,
            })
        );
    }

    #[test]
    fn a_statement_is_fingerprinted_as_agents_do() {
        let with = |what: &str| body(&new(&["--where", &format!("fingerprint={what}")]));
        let one = with("select * from t where id = 5").unwrap();
        assert_eq!(one, with("SELECT * FROM t WHERE id = 77").unwrap());
        assert_eq!(one["where"]["fingerprint"].as_str().map(str::len), Some(16));
        let hash = one["where"]["fingerprint"].as_str().unwrap();
        assert_eq!(with(hash).unwrap(), one);
        assert!(with("abc").is_err());
    }

    #[test]
    fn the_list_says_how_far_each_is() {
        let answer = json!({ "now": 1_000.0, "triggers": [
            { "name": "slow\u{7}", "what": "10 statements", "severity": "warning", "state": "waiting", "count": 6, "threshold": 10,
              "n_nodes": 3, "n_nodes_heard": 2, "fired_at": null, "again": false, "from_config": true },
        ]});
        let text = text(&answer);
        assert!(text.contains("waiting  6 of 10 (60 %), warning"), "{text}");
        assert!(
            text.contains("2 of 3 nodes count, from the configuration"),
            "{text}"
        );
        assert!(!text.contains('\u{7}'), "{text}");
    }
}
