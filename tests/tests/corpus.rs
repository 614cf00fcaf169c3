//! The fuzz targets' bodies over the committed corpora and over thousands of cut and changed copies of them.

#![expect(
    clippy::unwrap_used,
    reason = "a test file: helpers fail the test by panicking"
)]

#[path = "../fuzz/body.rs"]
mod body;

use std::path::Path;

/// A small generator, so that the copies are the same on every run.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Plays the seeds of a target and `n_copies` changed copies of each.
fn play(target: &str, n_copies: usize, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut seeds: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    seeds.sort();
    assert!(
        seeds.len() >= 3,
        "the corpus is missing from {}",
        folder.display()
    );
    let mut state = 0x9E37_79B9_7F4A_7C15;
    for seed in seeds {
        let bytes = std::fs::read(&seed).unwrap();
        body(&bytes);
        for _ in 0..n_copies {
            let mut copy = bytes.clone();
            for _ in 0..=next(&mut state) % 4 {
                let at = next(&mut state) as usize % copy.len();
                copy[at] = next(&mut state) as u8;
            }
            copy.truncate(copy.len() - next(&mut state) as usize % copy.len().div_ceil(4).max(1));
            body(&copy);
        }
    }
}

#[test]
fn the_corpus_and_changed_copies_of_it_are_read_or_refused() {
    play("frame", 2_000, body::frame);
}

#[test]
fn logs_of_every_format_and_changed_copies_of_them_lose_no_line() {
    play("formats", 500, body::formats);
}

#[test]
fn statements_and_plans_and_changed_copies_of_them_have_a_template_or_a_shape() {
    play("sql", 1_000, body::sql);
}

#[test]
fn any_lines_have_few_templates_that_count_each_once() {
    play("templates", 500, body::templates);
}
