//! `roles`: what agents send when landmarks of the interaction graph alone look and ship often, against all of them doing so.
//!
//! A real sharded cluster with its load, an agent beside every node; the same agents are started anew with each pace. Bytes are
//! those of UDP datagrams, between two of each agent's own reports.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::watched::fields;
use super::{Args, Figure, Report};
use crate::testbed::{Cluster, Options, Stop, http};

/// Two reports of an agent, a minute apart, and some seconds for the first to be late.
const PHASE: Duration = Duration::from_secs(126);
const REPORT_S: f64 = 60.0;

/// Paces, by name: what stands in the agents' configuration beside the defaults.
const PACES: [(&str, &str); 3] = [
    (
        "all as landmarks",
        "[landmark]\nedges_elsewhere_s = 2\npeers_elsewhere_s = 2\nsummary_elsewhere_s = 1\n",
    ),
    ("by role", ""),
    (
        "all alike, as before there were roles",
        "[landmark]\nedges_elsewhere_s = 2\npeers_elsewhere_s = 2\nsummary_s = 2\n",
    ),
];

/// Measures.
pub(super) fn roles(args: &Args, stop: &Stop) -> Result<Report> {
    let mut report = Report::new("roles");
    let mut cluster = Cluster::start(Options {
        web: std::net::SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), args.web),
        subnet: args.subnet,
        programs: Some(args.programs()?),
        stop: stop.clone(),
        ..Options::new(&args.dir)
    })?;
    let mut means = Vec::new();
    for (name, more) in PACES {
        let sent = phase(&mut cluster, stop, more)?;
        let mean = sent.bytes_per_s.iter().sum::<f64>() / sent.bytes_per_s.len() as f64;
        let how = format!(
            "mean of {} agents over a minute, UDP payload",
            sent.bytes_per_s.len()
        );
        let mut figure = Figure::new(&format!("sent, bytes/s an agent, {name}"), mean, &how);
        let least = sent
            .bytes_per_s
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min);
        let most = sent.bytes_per_s.iter().copied().fold(0.0, f64::max);
        figure.range = Some((least, most));
        figure.how += "; smallest and largest of them";
        report.add(figure);
        report.add(
            Figure::new(
                &format!("values of commits in the last minute, {name}"),
                sent.n_values,
                "the node with the fewest, as the aggregator holds them",
            )
            .at_least(57.0),
        );
        report.note(format!(
            "{name}: {} of {} nodes stand for landmarks: {}",
            sent.landmarks.len(),
            sent.bytes_per_s.len(),
            sent.landmarks.join(", ")
        ));
        means.push(mean);
    }
    cluster.stop()?;
    report.add(Figure::new(
        "saved by roles, share of what all as landmarks send",
        1.0 - means[1] / means[0],
        "of the means above",
    ));
    report.add(Figure::new(
        "by role, against all alike as before",
        means[1] / means[2],
        "of the means above",
    ));
    Ok(report)
}

/// What a phase gave.
struct Sent {
    bytes_per_s: Vec<f64>,
    n_values: f64,
    landmarks: Vec<String>,
}

fn phase(cluster: &mut Cluster, stop: &Stop, more: &str) -> Result<Sent> {
    let agents = names(cluster)?;
    cluster.restart_agents(more)?;
    if !stop.sleep(PHASE) {
        bail!("stopped by a signal");
    }
    let mut bytes_per_s = Vec::new();
    for name in &agents {
        let all = reports(cluster, name)?;
        let [.., first, last] = all.as_slice() else {
            bail!("{name} has reported {} times, two are needed", all.len());
        };
        let of = |report: &Value| report["wire_bytes_sent"].as_f64();
        let (first, last) = of(first).zip(of(last)).context("read a report")?;
        anyhow::ensure!(last > first, "{name} was started again meanwhile");
        bytes_per_s.push((last - first) / REPORT_S);
    }
    let web = cluster.services().context("no programs")?.web;
    let ask = |path: &str| -> Result<Value> {
        serde_json::from_str(&http::get(web, path)?.body).with_context(|| format!("read {path}"))
    };
    let graph = ask("/api/v1/graph")?;
    let nodes = graph["landmark_nodes"].as_array();
    let landmarks = nodes.into_iter().flatten().filter_map(Value::as_str);
    let series = ask("/api/v1/series?metric=pg.commits&minutes=1")?;
    let lines = series["series"].as_array().context("read the series")?;
    let n_values = lines.iter().filter_map(|line| line["points"].as_array());
    Ok(Sent {
        bytes_per_s,
        n_values: n_values.map(Vec::len).min().unwrap_or(0) as f64,
        landmarks: landmarks.map(str::to_owned).collect(),
    })
}

/// The agents' processes.
fn names(cluster: &mut Cluster) -> Result<Vec<String>> {
    let services = cluster.services().context("no programs")?;
    let names = services.processes().map(|(name, _)| name.to_owned());
    Ok(names.filter(|name| name.starts_with("agent-")).collect())
}

fn reports(cluster: &Cluster, name: &str) -> Result<Vec<Value>> {
    let path = cluster.dir().join("logs").join(format!("{name}.log"));
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let lines = text.lines().filter(|line| line.contains(" statistics "));
    Ok(lines.map(fields).collect())
}
