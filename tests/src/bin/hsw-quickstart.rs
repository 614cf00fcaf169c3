//! A real sharded database on one machine, watched and, if asked, broken.

use std::process::ExitCode;

fn main() -> ExitCode {
    hsw_tests::testbed::quickstart::main()
}
