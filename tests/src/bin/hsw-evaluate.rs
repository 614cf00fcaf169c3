//! Every figure of accuracy, on real labelled data.

use std::process::ExitCode;

fn main() -> ExitCode {
    hsw_tests::evaluate::main()
}
