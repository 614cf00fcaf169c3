//! What `hsw detect` says of a table, row by row.

use std::fs;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Its scores of `table`, with these `options`, which are written to `out` as `time,score`; `told` takes each row and what was said of it.
pub(super) fn judged(
    table: &Path,
    options: impl FnOnce(&mut Command),
    out: &Path,
    mut told: impl FnMut(usize, &Value),
) -> Result<Vec<f64>> {
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let name = table.display();
    let own = std::env::current_exe().context("find this program")?;
    let mut command = Command::new(own.with_file_name("hsw"));
    command.arg("detect").arg(table).arg("--json");
    options(&mut command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("run hsw detect")?;
    let said = BufReader::new(child.stdout.take().context("hsw detect's output")?);
    let text = fs::read_to_string(table).with_context(|| format!("read {name}"))?;
    let mut times = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap_or_default());
    let mut file = BufWriter::new(fs::File::create(out)?);
    writeln!(file, "time,score")?;
    let mut scores = Vec::new();
    for line in said.lines() {
        let line: Value = serde_json::from_str(&line?).context("what hsw detect said")?;
        let score = line["score"].as_f64().context("a row without a score")?;
        let row = scores.len();
        ensure!(line["row"] == row, "{name}: row {row} is missing");
        told(row, &line);
        writeln!(file, "{},{score}", times.next().unwrap_or_default())?;
        scores.push(score);
    }
    file.flush()?;
    ensure!(child.wait()?.success(), "hsw detect failed on {name}");
    Ok(scores)
}
