//! What can be typed. (step 15)

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use hsw_types::NodeId;

use crate::hot;
use crate::offline::{
    detect, explain, fingerprint, graph, learn, logstats, rca, replay, sketch, templates, timeline,
};
use crate::{record, trigger, weights, why};

/// HyperShardWatch: which shard, since when, and why.
#[derive(Debug, Parser)]
#[command(
    name = "hsw",
    version,
    after_help = "Exit codes: 0 fine; 1 the request failed; 2 wrong usage; \
                  3 `hsw status`: an incident is open or the aggregator is not ready."
)]
pub struct Cli {
    /// Where the aggregator listens; HSW_URL in the environment says the same.
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    /// File that holds the API's token; HSW_TOKEN_FILE in the environment says the same.
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// PEM file of the CA certificates to trust, for an https URL; the system's by default.
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Print the API's JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The whole at a glance; exits with 3 when an incident is open or the aggregator is not ready.
    Status,
    /// Whether the aggregator answers; prints nothing when it does and needs no token: for health checks of containers.
    Health,
    /// Every shard and its nodes.
    Shards,
    /// Open incidents, newest first.
    Incidents {
        /// Closed ones too.
        #[arg(long)]
        all: bool,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: usize,
    },
    /// One incident with its evidence.
    Incident {
        /// 16 hex digits, as `hsw incidents` shows; the first few are enough if no other begins so.
        id: String,
        /// Also why: what sets it apart, which known cause it looks like, what to do first.
        #[arg(long)]
        why: bool,
    },
    /// Why a shard was bad at a time.
    Why(why::Options),
    /// Says what an incident was, so that the next of its kind is named.
    Feedback(why::Word),
    /// Causes that are known: shipped ones and those that operators named.
    #[command(subcommand)]
    Causes(why::Causes),
    /// Which statements, tables, tenants and log lines are hot, now or back then.
    Hot(hot::Options),
    /// Keep messages back for a while.
    #[command(subcommand)]
    Silence(Silence),
    /// Record what the aggregator is told, to be played again.
    Record(record::Options),
    /// Play a recording through the engine and print its incidents.
    Replay(replay::Options),
    /// Certificates of agents and aggregator.
    #[command(subcommand)]
    Cert(Cert),
    /// What kinds of lines a log holds: its templates, mined from files.
    Templates(templates::Options),
    /// What kinds of statements there are: fingerprints of SQL, from files.
    Fingerprint(fingerprint::Options),
    /// State changes of a cluster's nodes, from their error logs.
    Timeline(timeline::Options),
    /// What a log says in numbers: by severity, template and fingerprint, with durations.
    Logstats(logstats::Options),
    /// Which rows of a table of metrics are not as they should be, and which metrics are to blame.
    Detect(detect::Options),
    /// Why a time was bad: predicates and causes, from a table of metrics.
    Explain(explain::Options),
    /// Names the cause of a bad time, so that the next of its kind is known.
    Learn(learn::Options),
    /// How well sketches answer, against exact counting.
    #[command(subcommand)]
    Sketch(sketch::Command),
    /// Graphs: landmarks, from edge lists.
    #[command(subcommand)]
    Graph(graph::Command),
    /// Root cause: which entity explains what all the others show, from metrics, edges, logs and spans.
    Rca(rca::Options),
    /// What each detector counts for: versions of weights, how good they are, operators' labels.
    #[command(subcommand)]
    Weights(weights::Command),
    /// Standing questions: tell me when so much has hit this.
    #[command(subcommand)]
    Trigger(trigger::Command),
}

/// Silences.
#[derive(Debug, Subcommand)]
pub enum Silence {
    /// Adds one, e.g. `hsw silence add shard=shard-3 --reason reindex --for 2h`.
    Add(NewSilence),
    /// Those in force.
    List,
    /// Ends one.
    Remove {
        /// Its number, as `hsw silence list` shows.
        id: i64,
    },
}

/// A new silence.
#[derive(Debug, Args)]
pub struct NewSilence {
    /// All must hold: NAME=VALUE, NAME!=VALUE, NAME=~PATTERN or NAME!~PATTERN; names: alertname, client, cluster, shard, node, severity, trigger.
    #[arg(required = true, value_name = "MATCHER")]
    pub matchers: Vec<String>,
    /// Why.
    #[arg(long)]
    pub reason: String,
    /// How long: 30m, 2h, 1d; at most 30d.
    #[arg(long = "for", value_name = "TIME", default_value = "2h", value_parser = minutes)]
    pub minutes: i64,
    /// Who asks.
    #[arg(long, default_value = "")]
    pub author: String,
}

/// Certificates.
#[derive(Debug, Subcommand)]
pub enum Cert {
    /// Makes a certificate authority.
    Init {
        /// Where its key and certificate go.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Issues a certificate for a node or for the aggregator.
    Issue {
        /// Where the authority lies.
        #[arg(long)]
        dir: PathBuf,
        /// The node's name.
        #[arg(long, value_parser = node)]
        node: NodeId,
        /// An address the certificate is also good for; may be given several times.
        #[arg(long)]
        address: Vec<IpAddr>,
        /// Folder to write to.
        #[arg(long)]
        out: PathBuf,
    },
    /// Shows what a certificate says.
    Show {
        /// A PEM file.
        file: PathBuf,
    },
}

fn node(text: &str) -> Result<NodeId, String> {
    NodeId::new(text).map_err(|error| error.to_string())
}

fn minutes(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{text}` is not a time such as 30m, 2h or 1d");
    let end = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let n: i64 = text[..end].parse().map_err(|_| wrong())?;
    let each = match &text[end..] {
        "m" | "min" => 1,
        "h" => 60,
        "d" => 1_440,
        _ => return Err(wrong()),
    };
    n.checked_mul(each).filter(|n| *n > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_minutes_hours_and_days() {
        assert_eq!(minutes("30m"), Ok(30));
        assert_eq!(minutes("2h"), Ok(120));
        assert_eq!(minutes("1d"), Ok(1_440));
        for bad in ["", "2", "h", "0h", "-1h", "2w", "99999999999999999999d"] {
            assert!(minutes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
