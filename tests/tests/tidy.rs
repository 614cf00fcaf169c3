//! Keeps the prose true to the code: the map, the arrows, the invariants, purity, and how files look.

#![expect(
    clippy::unwrap_used,
    reason = "a test file: helpers fail the test by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hsw_tests::evaluate::told;

/// Lines a source file may have.
const LINES_MAX: usize = 500;
/// Crates that may be used by pure crates beside our own (their own closure is theirs to keep pure).
const PURE_MAY_USE: &[&str] = &[
    "csv-core",
    "libm",
    "pg_query",
    "memchr",
    "rayon",
    "regex",
    "serde_json",
    "thiserror",
    "wincode",
];
/// What a pure crate's text must not name outside its tests.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "std::process",
    "Instant::now",
    "SystemTime::now",
    "tokio::",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|why| panic!("read {}: {why}", path.display()))
}

/// Files that git tracks (or would), by suffix.
fn tracked(suffix: &str) -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files of this checkout");
    let names = String::from_utf8(listed.stdout).unwrap();
    let files = names
        .lines()
        .filter(|name| name.ends_with(suffix))
        .map(|name| root().join(name));
    files.filter(|path| path.exists()).collect()
}

fn name_of(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

struct Member {
    name: String,
    folder: String,
    own: BTreeSet<String>,
    foreign: BTreeSet<String>,
}

/// Workspace members with what they depend on outside tests.
fn members() -> Vec<Member> {
    let metadata = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
            "--locked",
        ])
        .current_dir(root())
        .output()
        .expect("cargo describes the workspace");
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let member = |package: &serde_json::Value| {
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
        let folder = name_of(manifest.parent().unwrap());
        let used = package["dependencies"].as_array().unwrap().iter();
        let used = used
            .filter(|d| d["kind"].is_null())
            .map(|d| d["name"].as_str().unwrap().to_owned());
        let (own, foreign) = used.partition(|name| name.starts_with("hsw-"));
        Member {
            name: package["name"].as_str().unwrap().to_owned(),
            folder,
            own,
            foreign,
        }
    };
    packages.iter().map(member).collect()
}

fn map() -> String {
    read(&root().join("ARCHITECTURE.md"))
}

/// Rows of the table of arrows: crate → (is pure, what it may use).
fn arrows() -> BTreeMap<String, (bool, BTreeSet<String>)> {
    let map = map();
    let table = map
        .split("<!-- arrows -->")
        .nth(1)
        .expect("ARCHITECTURE.md carries the table of arrows");
    let mut arrows = BTreeMap::new();
    for row in table.lines().filter(|line| line.starts_with("| `hsw-")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let names = |cell: &str| -> BTreeSet<String> {
            cell.split('`')
                .filter(|part| part.starts_with("hsw-"))
                .map(str::to_owned)
                .collect()
        };
        let name = names(cells[1]).pop_first().unwrap();
        arrows.insert(name, (cells[2] == "P", names(cells[3])));
    }
    arrows
}

#[test]
fn every_member_has_a_heading_in_the_map_and_every_heading_a_member() {
    let headed: BTreeSet<String> = map()
        .lines()
        .filter_map(|line| line.strip_prefix("### `"))
        .filter_map(|rest| rest.split('`').next().map(str::to_owned))
        .collect();
    let named: BTreeSet<String> = members().into_iter().map(|m| m.name).collect();
    assert_eq!(headed, named);
}

#[test]
fn dependencies_stay_within_the_table_of_arrows() {
    let arrows = arrows();
    let mut wrong = Vec::new();
    for member in members() {
        let Some((is_pure, allowed)) = arrows.get(&member.name) else {
            wrong.push(format!("{} is not in the table", member.name));
            continue;
        };
        let is_free = member.name == "hsw-tests" || member.name == "hsw-cli";
        for used in member.own.difference(allowed).filter(|_| !is_free) {
            wrong.push(format!(
                "{} uses {used}, which the table does not allow",
                member.name
            ));
        }
        for used in member
            .foreign
            .iter()
            .filter(|used| *is_pure && !PURE_MAY_USE.contains(&used.as_str()))
        {
            wrong.push(format!("{} is pure and uses {used}", member.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pure_crates_have_the_same_clippy_file_and_name_nothing_impure() {
    let arrows = arrows();
    let mut wrong = Vec::new();
    let mut clippy_files = BTreeMap::new();
    let members = members();
    for member in members
        .iter()
        .filter(|m| arrows.get(&m.name).is_some_and(|(pure, _)| *pure))
    {
        let folder = root().join(&member.folder);
        clippy_files.insert(read(&folder.join(".clippy.toml")), &member.name);
        for file in tracked(".rs")
            .iter()
            .filter(|file| file.starts_with(folder.join("src")))
        {
            let text = read(file);
            let code = text.split("#[cfg(test)]").next().unwrap();
            let lines = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            let is_test_file = file
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .contains("tests");
            for line in lines.filter(|_| !is_test_file) {
                if let Some(impure) = IMPURE.iter().find(|impure| line.contains(**impure)) {
                    wrong.push(format!("{}: {impure}", name_of(file)));
                }
            }
        }
    }
    assert_eq!(
        clippy_files.len(),
        1,
        "pure crates differ in .clippy.toml: {:?}",
        clippy_files.values()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_source_file_opens_with_its_purpose_and_keeps_its_size() {
    let mut wrong = Vec::new();
    for file in tracked(".rs") {
        let text = read(&file);
        if !text.starts_with("//!") {
            wrong.push(format!("{} does not open with //!", name_of(&file)));
        }
        let n_lines = text.lines().count();
        if n_lines > LINES_MAX {
            wrong.push(format!("{} has {n_lines} lines", name_of(&file)));
        }
        let unfinished = [
            "FIX".to_owned() + "ME",
            "TO".to_owned() + "DO",
            "unimplemented".to_owned() + "!(",
        ];
        for word in unfinished
            .iter()
            .filter(|word| text.contains(word.as_str()))
        {
            wrong.push(format!("{} holds {word}", name_of(&file)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_invariant_of_the_map_names_a_test_that_exists() {
    let sources: Vec<(String, String)> = tracked(".rs")
        .iter()
        .map(|file| (name_of(file), read(file)))
        .collect();
    let folders: BTreeMap<String, String> =
        members().into_iter().map(|m| (m.name, m.folder)).collect();
    let mut wrong = Vec::new();
    let mut n = 0;
    for line in map().lines().filter(|line| line.contains("**Invariant**")) {
        n += 1;
        let named = line
            .trim_end()
            .strip_suffix(')')
            .and_then(|line| line.rsplit_once("(`"));
        let Some((crate_name, test)) =
            named.and_then(|(_, name)| name.trim_end_matches('`').split_once("::"))
        else {
            wrong.push(format!("names no test: {line}"));
            continue;
        };
        let folder = folders.get(crate_name).map(|folder| format!("{folder}/"));
        let wanted = format!("fn {test}(");
        let holds = |(file, text): &(String, String)| {
            folder
                .as_ref()
                .is_some_and(|folder| file.starts_with(folder))
                && text.contains(&wanted)
        };
        if !sources.iter().any(holds) {
            wrong.push(format!("no test {crate_name}::{test}"));
        }
    }
    assert!(n > 10, "the map states only {n} invariants");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_path_that_the_prose_names_exists() {
    let mut wrong = Vec::new();
    for file in tracked(".md") {
        let text = read(&file);
        for (i, part) in text.split('`').enumerate() {
            let looks_like_path = i % 2 == 1
                && part.contains('/')
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
                && !part.starts_with(['/', '.'])
                && !part.contains("//");
            let first = part.split('/').next().unwrap_or_default();
            let is_ours = ["common", "agent", "aggregator", "tests", "deploy"].contains(&first);
            if looks_like_path && is_ours && !root().join(part).exists() {
                wrong.push(format!("{}: `{part}`", name_of(&file)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_measured_number_of_the_readme_stands_in_a_committed_result() {
    let readme = read(&root().join("README.md"));
    let results: String = tracked(".json")
        .iter()
        .filter(|file| name_of(file).starts_with("tests/results/"))
        .map(|file| read(file))
        .collect();
    let table = readme.split("<!-- measured -->").nth(1).unwrap_or_default();
    let mut wrong = Vec::new();
    for row in table
        .lines()
        .filter(|row| row.starts_with("| ") && !row.contains("---"))
    {
        for number in row.split("**").skip(1).step_by(2) {
            if !results.contains(number) {
                wrong.push(number.to_owned());
            }
        }
    }
    assert!(wrong.is_empty(), "not in tests/results: {wrong:?}");
}

#[test]
fn the_readmes_table_of_accuracy_is_what_the_committed_results_say() {
    let results = root().join("tests/results");
    let table = told::readme(&results).unwrap();
    let remedy = "run tests/evaluate report and commit what it writes";
    assert!(read(&root().join("README.md")).contains(&table), "{remedy}");
    assert_eq!(
        read(&results.join("ACCURACY.md")),
        told::report(&results).unwrap(),
        "{remedy}"
    );
    assert_eq!(
        read(&results.join("accuracy.svg")),
        told::plot(&results).unwrap(),
        "{remedy}"
    );
}

#[test]
fn example_configs_equal_the_programs_defaults() {
    for (program, manifest) in [
        ("agent", hsw_agent::config::DEFAULT),
        ("aggregator", hsw_aggregator::config::DEFAULT),
    ] {
        let file = root().join(format!("deploy/config/{program}.toml"));
        assert_eq!(
            read(&file),
            manifest,
            "deploy/config/{program}.toml is what `hsw-{program} config default` prints"
        );
    }
}
