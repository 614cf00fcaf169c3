//! A recording through the production engine: its incidents, the same on every run and machine. (steps 8–13)
//!
//! In: a recording (`hsw record`). Out: its incidents, oldest first.

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use hsw_engine::{Evidence, Incident, IncidentState};
use hsw_recording::{Played, Reader, play};
use serde_json::{Value, json};

use super::rescore;

/// `hsw replay`.
#[derive(Debug, Args)]
pub struct Options {
    /// A recording, as `hsw record` writes it.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Whether and how a model scores it anew.
    #[command(flatten)]
    pub rescore: rescore::Rescoring,
}

/// Plays and prints.
///
/// # Errors
/// One line that names the file and what is wrong with it.
pub fn run(options: &Options, json: bool) -> anyhow::Result<()> {
    let path = options.file.display();
    let file = File::open(&options.file).with_context(|| format!("open {path}"))?;
    let reader = Reader::new(BufReader::new(file)).with_context(|| format!("read {path}"))?;
    let cluster = reader.header().cluster.clone();
    let played = match options.rescore.model()? {
        Some(mut model) => {
            let played = hsw_recording::rescore(reader, &mut |batch| model.score(batch));
            model.is_whole()?;
            played
        }
        None => play(reader),
    };
    let played = played.with_context(|| format!("play {path}"))?;
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{:#}", report(&cluster, &played))?;
    } else {
        out.write_all(text(&played).as_bytes())?;
    }
    Ok(())
}

/// What a played recording gave, as JSON: the same bytes for the same recording.
#[must_use]
pub fn report(cluster: &str, played: &Played) -> Value {
    json!({
        "cluster": cluster,
        "entries": played.n_entries,
        "summaries": played.n_summaries,
        "from": played.span.map(|(from, _)| from.as_unix_seconds()),
        "until": played.span.map(|(_, until)| until.as_unix_seconds()),
        "is_whole": played.lost == Some(0),
        "rescored": played.rescored.as_ref().map(rescore::report),
        "incidents": played.incidents.iter().map(|one| incident(one)).collect::<Vec<_>>(),
    })
}

fn incident(incident: &Incident) -> Value {
    let affected = incident.affected.iter();
    json!({
        "id": format!("{:016x}", incident.id.0),
        "state": state(incident),
        "root": { "shard": incident.root.as_str(), "node": incident.node.as_str() },
        "started_at": incident.started.0,
        "raised_at": incident.raised.0,
        "ended_at": incident.ended.map(|window| window.0),
        "confidence": incident.confidence,
        "summary": incident.summary,
        "evidence": incident.evidence.iter().map(evidence).collect::<Vec<_>>(),
        "affected": affected.map(|(shard, _)| shard.as_str()).collect::<Vec<_>>(),
        "client": incident.intrusion.as_ref().map(|intrusion| intrusion.client.clone()),
        "revision": incident.revision,
    })
}

fn evidence(evidence: &Evidence) -> Value {
    json!({
        "shard": evidence.shard.as_str(),
        "node": evidence.node.as_str(),
        "series": evidence.series.to_string(),
        "since": evidence.since.0,
        "value": evidence.value,
        "usual": evidence.usual,
        "siblings": evidence.siblings,
        "residual": evidence.residual,
        "weight": evidence.weight,
        "sentence": evidence.sentence,
    })
}

fn state(incident: &Incident) -> &'static str {
    match incident.state {
        IncidentState::Open => "open",
        IncidentState::Closed => "closed",
    }
}

fn text(played: &Played) -> String {
    let mut text = String::new();
    for incident in &played.incidents {
        let at = incident.started.start().to_rfc3339();
        text.push_str(&format!(
            "{at}  {:6}  {}\n",
            state(incident),
            incident.summary
        ));
    }
    if let Some(rescored) = &played.rescored {
        text.push_str(&rescore::text(rescored));
    }
    let n = played.incidents.len();
    text.push_str(&format!(
        "{n} incidents in {} summaries",
        played.n_summaries
    ));
    text.push_str(match played.lost {
        Some(0) => "\n",
        Some(_) => "; the recording could not keep up and ended early\n",
        None => "; the recording broke off\n",
    });
    text
}
