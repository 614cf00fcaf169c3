//! Every figure of speed and cost, measured on this machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    hsw_tests::bench::main()
}
