//! The floors of accuracy on real labelled data: `tests/evaluate` reaches every target that it has.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails; one that is skipped says so"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The released program, as `tests/run` builds it before the tests.
fn program() -> PathBuf {
    let folder = std::env::var_os("HSW_BIN_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release"),
        PathBuf::from,
    );
    folder.join("hsw-evaluate")
}

fn reaches_its_targets(set: &str) {
    if std::env::var_os("HSW_DATA").is_none() {
        eprintln!("skipped: HSW_DATA not set");
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let output = Command::new(program())
        .arg(set)
        .arg("--out")
        .arg(out.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    assert!(said.contains("pass"), "nothing was scored: {said}");
}

#[test]
fn templates_of_labelled_logs_reach_their_targets() {
    reaches_its_targets("loghub_2k");
}

#[test]
fn fingerprints_of_labelled_statements_reach_their_targets() {
    reaches_its_targets("sql_templates");
}

#[test]
fn timelines_and_lines_of_database_logs_reach_their_targets() {
    reaches_its_targets("db_logs");
}

#[test]
fn resolving_sets_of_known_graphs_reach_their_targets() {
    reaches_its_targets("graphs");
}

#[test]
fn counts_at_a_tick_of_real_key_streams_reach_their_targets() {
    reaches_its_targets("streams");
}

#[test]
fn root_causes_over_the_graph_reach_their_targets() {
    reaches_its_targets("petshop");
}

#[test]
fn root_causes_without_a_graph_reach_their_targets() {
    reaches_its_targets("rcd");
}

#[test]
fn root_causes_in_logs_metrics_and_spans_reach_their_targets() {
    reaches_its_targets("nezha_tt");
}

#[test]
fn causes_learned_on_another_machine_reach_their_targets() {
    reaches_its_targets("dbpa");
}
