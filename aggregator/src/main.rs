//! The aggregator's binary: flags, configuration, the service, signals, the end. (steps 6–15)

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use hsw_aggregator::alerts::{Alerts, Silences};
use hsw_aggregator::config::{self, Config};
use hsw_aggregator::{Service, web};
use hsw_shell::{Signals, systemd, telemetry};
use tokio::task::JoinSet;

/// How long an orderly stop may take.
const STOP_S_MAX: Duration = Duration::from_secs(20);

/// How often the process looks whether its threads still run, unless systemd asks for it more often.
const LOOK: Duration = Duration::from_secs(5);

/// Finds out which shard went bad, since when and why.
#[derive(Parser)]
#[command(name = "hsw-aggregator", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the aggregator.
    Run(hsw_shell::config::Args),
    /// Shows or checks the configuration.
    #[command(subcommand)]
    Config(hsw_shell::config::Command),
}

/// What `sysexits.h` says for a bad configuration; a service manager need not try again.
const EXIT_CONFIG: u8 = 78;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => match Config::load(&args) {
            Ok(config) => exit(run(config), 1),
            Err(why) => exit(Err(why), EXIT_CONFIG),
        },
        Command::Config(command) => exit(show(command), EXIT_CONFIG),
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    telemetry::init(&config.log)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?
        .block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let service = Service::start(&config)?;
    let mut faces = faces(&config, &service, &signals).await?;
    tracing::info!(
        name = config.name,
        cluster = config.cluster,
        version = env!("CARGO_PKG_VERSION"),
        agents = %service.listening,
        web = %config.web,
        data_dir = %config.data_dir.display(),
        "aggregator started"
    );
    systemd::ready(&format!("agents connect to {}", service.listening));

    let look = systemd::watchdog_interval().map_or(LOOK, |interval| interval.min(LOOK));
    let ended = loop {
        tokio::select! {
            () = signals.shutdown.requested() => break Ok(()),
            () = tokio::time::sleep(look) => {}
        }
        if !service.is_alive() {
            break Err(anyhow::anyhow!(
                "the store's or the driver's thread has ended: the process stops so that it is started anew"
            ));
        }
        if faces.try_join_next().is_some() && !signals.shutdown.is_requested() {
            break Err(anyhow::anyhow!(
                "the page or the alerts have ended: the process stops so that it is started anew"
            ));
        }
        let snapshot = service.shared.snapshot.borrow().clone();
        let connected = snapshot.agents.iter().filter(|a| a.is_connected).count();
        systemd::watchdog();
        systemd::status(&format!("{connected} agents connected"));
    };
    systemd::stopping();
    tokio::time::timeout(STOP_S_MAX, service.stop())
        .await
        .context("stop in order: it took too long, what was acknowledged is safe")??;
    tracing::info!("aggregator stopped");
    ended
}

/// Starts what people see: the page with its API, and the alerts. Dropping the set ends both.
async fn faces(
    config: &Config,
    service: &Service,
    signals: &Signals,
) -> anyhow::Result<JoinSet<()>> {
    let alerts = Alerts::new(config.alerts.clone())?;
    let bound = web::bind(&web::Config {
        listen: config.web,
        token_file: config.web_token_file.clone(),
        hosts: config.web_hosts.clone(),
        ..web::Config::default()
    })
    .await?;
    let silences = Silences::new(service.shared.store.clone());
    let parts = web::Parts {
        shared: service.shared.clone(),
        silences: silences.clone(),
        alerts: alerts.stats(),
        identity: Some(Arc::clone(&service.identity)),
    };
    let mut faces = JoinSet::new();
    faces.spawn(web::serve(bound, parts, signals.shutdown.clone()));
    faces.spawn(alerts.run(service.shared.clone(), silences));
    Ok(faces)
}

#[expect(clippy::print_stdout, reason = "the answer of a command")]
fn show(command: hsw_shell::config::Command) -> anyhow::Result<()> {
    match command {
        hsw_shell::config::Command::Show(args) => {
            print!("{}", hsw_shell::config::show(&Config::load(&args)?)?);
        }
        hsw_shell::config::Command::Default => print!("{}", config::DEFAULT),
        hsw_shell::config::Command::Check(args) => {
            Config::load(&args)?;
            println!("the configuration is good");
        }
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "logging may not have started")]
fn exit(outcome: anyhow::Result<()>, code: u8) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("hsw-aggregator: {why:#}");
            ExitCode::from(code)
        }
    }
}
