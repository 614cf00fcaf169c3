//! The released programs as real processes beside a real PostgreSQL: killed, starved, lied to, and asked.
//!
//! Needs the release build (`cargo build --release --locked --workspace --bins`), or its folder in `HSW_BIN_DIR`; needs
//! PostgreSQL, and root for the tests with small disks. Each test has addresses of its own, `127.0.SUBNET.x`.
//! Not here: an agent's clock that jumps; no clock but the machine's could be moved, so that stays with the property
//! tests of the pipeline (`prop_windows_never_repeat_whatever_the_clock_does`).

#![expect(
    clippy::unwrap_used,
    reason = "a test file: helpers fail the test by panicking"
)]

mod rig;
mod store;

mod bad_days;
mod certificates;
mod check;
mod command_line;
mod disks;
mod hot;
mod incident;
mod intrusion;
mod kill;
mod protocol;
mod triggers;
mod why;
