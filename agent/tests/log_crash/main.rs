//! Log lines, their summaries and the position behind them, through kills: the whole path of one process, without a network.
//!
//! Rule 6 of the tailer: the position moves only with the summary that covers the lines, so a summary that died with the
//! process takes its position with it, and its lines are read again; none is counted twice.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use hsw_agent::clock::Clock;
use hsw_agent::driver::{Driver, N_EVENTS_MAX};
use hsw_agent::sources::log;
use hsw_agent::spool::{self, Spool};
use hsw_pipeline::Pipeline;
use hsw_shell::Shutdown;
use hsw_types::{NodeFacts, Sequence, SeriesId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

struct Life {
    spool: Spool,
    log: JoinHandle<()>,
    driver: JoinHandle<()>,
    stop: watch::Sender<bool>,
    /// Kept, so that nobody thinks the database source is gone.
    _settings: watch::Sender<Option<hsw_agent::sources::postgres::DatabaseSettings>>,
}

fn begin(folder: &Path, file: &Path) -> Life {
    let (spool, recovered) = Spool::open(folder, spool::Config::default()).unwrap();
    let clock = Clock::start();
    let pipeline = Pipeline::new(hsw_pipeline::Config {
        dictionary_epoch: clock.wall().0.cast_unsigned(),
        last_window: recovered.last_window,
        ..hsw_pipeline::Config::default()
    });
    let (triggers, _line) = hsw_agent::triggers::line(clock, std::path::PathBuf::new());
    let (driver, _) = Driver::new(
        pipeline,
        spool.clone(),
        clock,
        NodeFacts::default(),
        triggers,
    );
    let (sink, events) = mpsc::channel(N_EVENTS_MAX);
    let (stop, shutdown) = Shutdown::manual();
    let config = log::Config {
        paths: vec![file.display().to_string()],
        format: log::Format::Plain,
        start: log::Start::Beginning,
        ..log::Config::default()
    };
    let position = log::Position::new(std::sync::Mutex::new(recovered.checkpoint));
    let (settings, told) = watch::channel(None);
    let source = log::run(config, told, position, sink, shutdown.flag());
    Life {
        spool,
        log: tokio::spawn(source),
        driver: tokio::spawn(driver.run(events, shutdown)),
        stop,
        _settings: settings,
    }
}

impl Life {
    /// As `kill -9` leaves the disk: nothing more is written to what the next life finds.
    fn kill(self, folder: &Path, next: &Path) {
        self.log.abort();
        self.driver.abort();
        fs::create_dir_all(next).unwrap();
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            // A file that is being replaced at this moment has its old or its new content under its name.
            let _ = fs::copy(entry.path(), next.join(entry.file_name()));
        }
    }

    async fn stop(self) -> Spool {
        self.stop.send_replace(true);
        self.log.await.unwrap();
        self.driver.await.unwrap();
        self.spool.settled().await;
        self.spool
    }
}

/// Errors in all summaries of a spool, and in how many summaries they are.
async fn errors(spool: &Spool) -> (f64, u32) {
    let (mut after, mut sum, mut n) = (Sequence(0), 0.0, 0);
    let mut names: Vec<(u64, SeriesId)> = Vec::new();
    while let Some((sequence, payload)) = spool.request(after).unwrap().await.unwrap() {
        after = sequence;
        let summary = hsw_wire::decode_summary(&payload).unwrap();
        let epoch = summary.dictionary_epoch;
        let ours = summary
            .dictionary
            .iter()
            .filter(|d| d.key.metric == "log.errors");
        names.extend(ours.map(|d| (epoch, d.id)));
        let told: f64 = summary
            .series
            .iter()
            .filter(|series| names.contains(&(epoch, series.id)))
            .flat_map(|series| series.values.iter().flatten())
            .sum();
        sum += told;
        n += u32::from(told > 0.0);
    }
    (sum, n)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_summary_that_died_with_the_process_is_made_again_and_no_line_is_counted_twice() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.log");
    let folder = |n: usize| directory.path().join(format!("spool-{n}"));
    let mut writer = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&file)
        .unwrap();
    let mut n_written = 0;
    for life in 0..3_usize {
        let running = begin(&folder(life), &file);
        // Kills come at another moment of the window each time.
        for _ in 0..(23 + life * 3) {
            n_written += 7;
            writeln!(
                writer,
                "ERROR: {life}\n{}",
                "ERROR: x\n".repeat(6).trim_end()
            )
            .unwrap();
            sleep(Duration::from_millis(100)).await;
        }
        running.kill(&folder(life), &folder(life + 1));
    }
    let last = begin(&folder(3), &file);
    sleep(Duration::from_millis(4_500)).await;
    let spool = last.stop().await;
    let (told, n_summaries) = errors(&spool).await;
    assert!(n_summaries >= 3, "{n_summaries} summaries with errors");
    assert_eq!(told, f64::from(n_written));
    spool.close().await;
}
