//! Statements and plans from log files, coverage-guided.
#![no_main]

#[path = "../body.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::sql(bytes));
