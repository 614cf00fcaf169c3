//! Puts simulated agents on an aggregator and prints what came of it; the load half of the ingest bench. (step 6)

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use hsw_tests::simagents::{Load, run};

/// Puts simulated agents on an aggregator.
#[derive(Parser)]
struct Cli {
    /// Where the aggregator listens.
    #[arg(long)]
    address: SocketAddr,
    /// The name in the aggregator's certificate.
    #[arg(long, default_value = "aggregator")]
    server_name: String,
    /// Folder of the authority that issues the agents' certificates.
    #[arg(long)]
    authority: PathBuf,
    /// Folder the certificates are issued into.
    #[arg(long)]
    identities: PathBuf,
    /// Agents.
    #[arg(long, default_value_t = 200)]
    agents: usize,
    /// Series of each agent.
    #[arg(long, default_value_t = 500)]
    series: usize,
    /// Milliseconds between two summaries of an agent.
    #[arg(long, default_value_t = 2_000)]
    interval_ms: u64,
    /// For how long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the answer of a command")]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let report = run(&Load {
        address: cli.address,
        server_name: cli.server_name,
        authority: cli.authority,
        identities: cli.identities,
        n_agents: cli.agents,
        n_series: cli.series,
        interval: Duration::from_millis(cli.interval_ms.max(1)),
        duration: Duration::from_secs(cli.seconds),
        seed: 1,
    })
    .await?;
    let mean = report.payload_bytes / report.sent.max(1);
    println!(
        "sent {} acknowledged {} bytes/summary {mean}",
        report.sent, report.acknowledged
    );
    for share in [0.5, 0.95, 0.99, 1.0] {
        if let Some(ms) = report.ack_ms_at(share) {
            println!("acknowledged within {ms:.0} ms: {:.0} %", share * 100.0);
        }
    }
    for failure in report.failures.iter().take(10) {
        println!("failure: {failure}");
    }
    anyhow::ensure!(
        report.failures.is_empty(),
        "{} agents ended before their time",
        report.failures.len()
    );
    Ok(())
}
