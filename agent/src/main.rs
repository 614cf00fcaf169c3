//! `hsw-agent`: the thin binary. Its life is in `hsw_agent::agent`.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use hsw_agent::agent;
use hsw_agent::config::{Config, DEFAULT};
use hsw_shell::{Signals, config, telemetry};

/// Watches one database node and ships what it sees to the aggregator.
#[derive(Debug, Parser)]
#[command(name = "hsw-agent", version, arg_required_else_help = true)]
enum Arguments {
    /// Watches until told to stop.
    Run(config::Args),
    /// Says what would keep it from working: certificate, folders, aggregator, database; and what each query costs.
    #[command(after_help = CHECK_CODES)]
    Check(config::Args),
    /// The configuration.
    #[command(subcommand)]
    Config(config::Command),
}

/// What `sysexits.h` says for a bad configuration; a service manager need not try again.
const EXIT_CONFIG: u8 = 78;

/// It works, and sees less than it could; not 2, which a wrong command line ends with.
const EXIT_MISSING: u8 = 3;

const CHECK_CODES: &str = "Exit status: 0 all is as it should be; 3 it works and sees less than it could (MISSING); \
1 it would not work (FATAL); 78 the configuration is wrong; 2 the command line is.";

fn main() -> ExitCode {
    match Arguments::parse() {
        Arguments::Run(args) => match Config::load(&args) {
            Ok(config) => exit(start(config), 1),
            Err(why) => exit(Err(why), EXIT_CONFIG),
        },
        Arguments::Check(args) => match Config::load(&args) {
            Ok(config) => match check(&config) {
                Ok(true) => ExitCode::from(EXIT_MISSING),
                outcome => exit(outcome.map(|_| ()), 1),
            },
            Err(why) => exit(Err(why), EXIT_CONFIG),
        },
        Arguments::Config(command) => exit(show(&command), EXIT_CONFIG),
    }
}

fn start(config: Config) -> anyhow::Result<()> {
    telemetry::init(&config.telemetry)?;
    runtime()?.block_on(async {
        let signals = Signals::listen().context("listen to signals")?;
        Box::pin(agent::run(config, signals)).await
    })
}

/// Whether something is missing.
fn check(config: &Config) -> anyhow::Result<bool> {
    let found = runtime()?.block_on(agent::check(config));
    say(&found.text);
    anyhow::ensure!(
        found.fatal.is_empty(),
        "would not work: {} (see FATAL above)",
        found.fatal.join(", ")
    );
    Ok(found.is_missing)
}

fn show(command: &config::Command) -> anyhow::Result<()> {
    match command {
        config::Command::Show(args) => say(&config::show(&Config::load(args)?)?),
        config::Command::Default => say(DEFAULT),
        config::Command::Check(args) => {
            Config::load(args)?;
            say("configuration is good");
        }
    }
    Ok(())
}

/// One thread and small stacks: the agent is a guest.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .thread_stack_size(512 << 10)
        .build()
        .context("start the runtime")
}

#[allow(
    clippy::print_stdout,
    reason = "the answer to a question typed by a person"
)]
fn say(text: &str) {
    println!("{}", text.trim_end());
}

#[allow(
    clippy::print_stderr,
    reason = "the last word of a process, in one line"
)]
fn exit(outcome: anyhow::Result<()>, code: u8) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("hsw-agent: {why:#}");
            ExitCode::from(code)
        }
    }
}
