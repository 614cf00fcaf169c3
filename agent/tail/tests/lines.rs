//! Lines and limits on the real file system.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use hsw_tail::{Config, Disk, Pattern, Start, Tailer};
use hsw_types::Monotonic;

fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(bytes).unwrap();
}

fn tailer(path: &Path, config: Config) -> Tailer<Disk> {
    let pattern = Pattern::parse(path.to_str().unwrap()).unwrap();
    Tailer::new(Disk, config, vec![pattern])
}

fn poll(tailer: &mut Tailer<Disk>, second: u64) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    tailer.poll(Monotonic(second * 1_000_000), &mut |line| {
        lines.push(line.bytes.to_vec())
    });
    lines
}

#[test]
fn history_is_not_read_at_the_first_start_and_a_torn_first_line_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    append(&path, b"old\nhalf of ");
    let mut tailer = tailer(&path, Config::default());
    assert!(poll(&mut tailer, 0).is_empty());
    append(&path, b"a line\nnew \xff\r\n");
    assert_eq!(poll(&mut tailer, 1), [b"new \xff"]);
}

#[test]
fn a_long_line_is_cut_and_counted_and_the_next_one_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    let config = Config {
        start: Start::Beginning,
        line_bytes_max: 10,
        ..Config::default()
    };
    append(&path, &[b'x'; 25]);
    let mut tailer = tailer(&path, config);
    assert_eq!(poll(&mut tailer, 0), [[b'x'; 10]]);
    append(&path, b"yyy\nnext\n");
    assert_eq!(poll(&mut tailer, 1), [b"next"]);
    let counters = tailer.counters();
    assert_eq!(
        (counters.lines_truncated, counters.bytes_truncated),
        (1, 18)
    );
}

#[test]
fn a_line_without_its_newline_is_handed_out_after_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    append(&path, b"");
    let mut tailer = tailer(&path, Config::default());
    poll(&mut tailer, 0);
    append(&path, b"no end");
    assert!(poll(&mut tailer, 1).is_empty());
    assert_eq!(poll(&mut tailer, 7), [b"no end"]);
    assert_eq!(tailer.counters().lines_unfinished, 1);
}

#[test]
fn a_deleted_file_is_read_to_its_end_and_its_handle_closed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    append(&path, b"x\n");
    let config = Config {
        start: Start::Beginning,
        scan_every: Duration::from_secs(1),
        ..Config::default()
    };
    let mut tailer = tailer(&path, config);
    assert_eq!(poll(&mut tailer, 0).len(), 1);
    append(&path, b"last\n");
    fs::remove_file(&path).unwrap();
    assert_eq!(poll(&mut tailer, 1), [b"last"]);
    assert_eq!(tailer.n_files(), (1, 1));
    for second in 2..10 {
        poll(&mut tailer, second);
    }
    assert_eq!(tailer.n_files(), (0, 0));
    assert_eq!(tailer.counters().bytes_lost, 0);
}

#[test]
fn a_truncated_file_that_outgrew_the_old_offset_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    append(&path, b"first generation\n");
    let mut tailer = tailer(
        &path,
        Config {
            start: Start::Beginning,
            ..Config::default()
        },
    );
    assert_eq!(poll(&mut tailer, 0).len(), 1);
    fs::write(
        &path,
        b"second generation, longer than the first\nand more\n",
    )
    .unwrap();
    assert_eq!(poll(&mut tailer, 1).len(), 2);
    assert_eq!(tailer.counters().truncations, 1);
}

#[test]
fn bytes_per_poll_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    append(&path, &b"0123456\n".repeat(100));
    let config = Config {
        start: Start::Beginning,
        poll_bytes_max: 80,
        ..Config::default()
    };
    let mut tailer = tailer(&path, config);
    assert_eq!(poll(&mut tailer, 0).len(), 10);
    assert_eq!(tailer.lag_bytes(), 720);
}
