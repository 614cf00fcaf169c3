//! The `hsw` binary: reads the arguments, runs one command, says how it went. (step 15)

use std::process::ExitCode;

use clap::Parser as _;
use hsw_cli::args::Cli;

fn main() -> ExitCode {
    // clap itself ends with 2 on wrong usage.
    let cli = Cli::parse();
    match hsw_cli::run::run(cli) {
        Ok(code) => ExitCode::from(code),
        // `hsw templates … | head`: who reads has enough.
        Err(error) if is_reader_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn is_reader_gone(error: &anyhow::Error) -> bool {
    let io = error.root_cause().downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[expect(
    clippy::print_stderr,
    reason = "a command line's way to say what went wrong"
)]
fn complain(error: &anyhow::Error) {
    eprintln!("hsw: {}", format!("{error:#}").replace('\n', " "));
}
