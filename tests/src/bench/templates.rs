//! `templates`: reading, parsing, mining and counting logs, per format and mixed; the whole program against a public peer; and
//! the miner's memory under a flood of shapes.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use hsw_pipeline::{Assembler, ClassifierConfig, LogClassifier, LogFormat};
use hsw_tail::{Disk, Pattern, Start, Tailer};
use hsw_types::{Monotonic, WallTime};

use super::log_lines::{Dice, KINDS};
use super::peers::peer;
use super::usage::own_thread_seconds;
use super::{Args, Figure, Report};

/// Bytes of each format.
const N_BYTES: usize = 16 << 20;
const N_RUNS: usize = 5;
/// Bytes between two ticks of the classifier: a second's worth at full speed.
const TICK_BYTES: u64 = 8 << 20;
const MIB: f64 = (1 << 20) as f64;

/// Measures.
pub(super) fn templates(args: &Args) -> Result<Report> {
    let mut report = Report::new("templates");
    let folder = args.dir.join("templates");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let mut mixed = vec![0.0; N_RUNS];
    let mut n_mixed = 0.0;
    for kind in &KINDS {
        let path = folder.join(kind.name.replace(' ', "-"));
        let text = kind.text(N_BYTES);
        fs::write(&path, &text).with_context(|| format!("write {}", path.display()))?;
        let mut rates = Vec::new();
        for total in &mut mixed {
            let seconds = live_path(&path, (kind.format)(), text.len() as u64)?;
            rates.push(text.len() as f64 / MIB / seconds);
            *total += seconds;
        }
        n_mixed += text.len() as f64 / MIB;
        let how = "tail, assemble, classify, mine, fingerprint; processor time of one thread";
        report.add(Figure::of(&format!("{}, MiB/s", kind.name), &rates, how));
    }
    let rates: Vec<f64> = mixed.iter().map(|seconds| n_mixed / seconds).collect();
    let how = "the same, all formats in equal parts";
    report.add(Figure::of("mixed database log, MiB/s", &rates, how).at_least(60.0));
    programs(args, &folder, &mut report)?;
    flood(args, &folder, &mut report)?;
    fs::remove_dir_all(&folder).context("remove the logs")?;
    Ok(report)
}

/// Processor seconds for a file, through everything an agent does with its lines.
fn live_path(path: &Path, format: LogFormat, n_bytes: u64) -> Result<f64> {
    let config = hsw_tail::Config {
        start: Start::Beginning,
        ..hsw_tail::Config::default()
    };
    let pattern = Pattern::parse(&path.to_string_lossy())?;
    let mut tailer = Tailer::new(Disk, config, vec![pattern]);
    let mut assembler = Assembler::new(format);
    let mut classifier = LogClassifier::new(ClassifierConfig::default());
    let mut readings = Vec::new();
    let (mut n_read, mut ticked, mut n_lines, mut now) = (0, 0, 0_u64, 0);
    let began = own_thread_seconds();
    while n_read < n_bytes {
        let before = n_read;
        tailer.poll(Monotonic(now), &mut |line| {
            n_read += line.bytes.len() as u64 + 1;
            n_lines += 1;
            let mut take = |record: &_| classifier.record(WallTime(1), record);
            assembler.line(line.start, line.bytes, &mut take);
        });
        ensure!(
            n_read > before,
            "the tailer stopped at {n_read} of {n_bytes} bytes"
        );
        if n_read - ticked >= TICK_BYTES {
            ticked = n_read;
            readings.clear();
            classifier.tick(&mut readings);
            classifier.take_samples();
        }
        now += 1_000_000;
    }
    let seconds = own_thread_seconds() - began;
    let counters = assembler.counters();
    ensure!(
        counters.lines == n_lines,
        "{} of {n_lines} lines",
        counters.lines
    );
    Ok(seconds)
}

/// `hsw templates --summary` against a program around the crate logdrain, in turn, on the same file.
fn programs(args: &Args, folder: &Path, report: &mut Report) -> Result<()> {
    let path = folder.join("mixed");
    let mut out = BufWriter::new(fs::File::create(&path)?);
    for kind in KINDS.iter().filter(|kind| !kind.name.contains("slow")) {
        out.write_all(kind.text(N_BYTES).as_bytes())?;
    }
    out.flush()?;
    let n_mib = fs::metadata(&path)?.len() as f64 / MIB;
    let own = args.programs()?.join("hsw");
    let peer = peer("templates")?;
    let run = |of: &Path| -> Result<(f64, f64)> {
        if of == own {
            used(of, &["templates", "--summary"], &path)
        } else {
            used(of, &[], &path)
        }
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut our_mib, mut their_mib) = (0.0_f64, 0.0_f64);
    // A B B A, so that a machine that grows slower favours nobody.
    for _ in 0..N_RUNS.div_ceil(2) {
        for program in [&own, &peer, &peer, &own] {
            let (seconds, mib) = run(program)?;
            if *program == own {
                ours.push(n_mib / seconds);
                our_mib = our_mib.max(mib);
            } else {
                theirs.push(n_mib / seconds);
                their_mib = their_mib.max(mib);
            }
        }
    }
    let how = "whole process over 96 MiB of mixed log, processor time";
    let (ours, theirs) = (
        Figure::of("hsw templates --summary, MiB/s", &ours, how).at_least(60.0),
        Figure::of("peer logdrain 0.3.2, MiB/s", &theirs, how),
    );
    let ratio = ours.value / theirs.value;
    report.add(ours);
    report.add(theirs);
    report.add(Figure::new("ours over peer", ratio, "medians").at_least(1.0));
    report.add(Figure::new(
        "hsw templates, MiB resident",
        our_mib,
        "largest",
    ));
    report.add(Figure::new("peer, MiB resident", their_mib, "largest"));
    Ok(())
}

/// Ten million lines of a hundred thousand shapes: memory above that of an empty run.
fn flood(args: &Args, folder: &Path, report: &mut Report) -> Result<()> {
    let own = args.programs()?.join("hsw");
    let options = ["templates", "--summary"];
    let empty = folder.join("empty");
    fs::write(&empty, "")?;
    let (_, floor) = used(&own, &options, &empty)?;
    let path = folder.join("flood");
    let mut dice = Dice::new(7);
    let word = |dice: &mut Dice| -> String {
        (0..3 + dice.below(6))
            .map(|_| char::from(b'a' + dice.below(26) as u8))
            .collect()
    };
    let words: Vec<String> = (0..3_000).map(|_| word(&mut dice)).collect();
    let shapes: Vec<String> = (0..100_000)
        .map(|_| {
            let mut shape = String::new();
            for _ in 0..4 + dice.below(9) {
                shape.push_str(&words[dice.below(3_000) as usize]);
                shape.push(char::from(b" :;,=()[]|"[dice.below(10) as usize]));
            }
            shape
        })
        .collect();
    let mut out = BufWriter::new(fs::File::create(&path)?);
    for n in 0..10_000_000_u64 {
        writeln!(out, "{} {n}", shapes[dice.below(100_000) as usize])?;
    }
    out.flush()?;
    let n_mib = fs::metadata(&path)?.len() as f64 / MIB;
    let (seconds, mib) = used(&own, &options, &path)?;
    let how = "10 M lines of 100,000 shapes that have nothing in common; above an empty run";
    report.add(Figure::new("flood of shapes, MiB above baseline", mib - floor, how).at_most(10.0));
    report.add(Figure::new(
        "flood of shapes, MiB/s",
        n_mib / seconds,
        "the same run",
    ));
    Ok(())
}

/// Processor seconds and resident MiB of a run that reads one file.
fn used(program: &Path, options: &[&str], file: &Path) -> Result<(f64, f64)> {
    let output = Command::new("/usr/bin/time")
        .args(["-f", "%U %S %M"])
        .arg(program)
        .args(options)
        .arg(file)
        .stdout(Stdio::null())
        .output()
        .context("run /usr/bin/time (Debian package time)")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{}: {said}", program.display());
    let numbers: Vec<f64> = said
        .split_whitespace()
        .filter_map(|w| w.parse().ok())
        .collect();
    let [.., user, system, kib] = numbers.as_slice() else {
        anyhow::bail!("{}: no times in `{said}`", program.display());
    };
    Ok((user + system, kib / 1024.0))
}
