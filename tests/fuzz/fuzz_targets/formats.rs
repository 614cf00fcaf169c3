//! Bytes of a log file, coverage-guided.
#![no_main]

#[path = "../body.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::formats(bytes));
