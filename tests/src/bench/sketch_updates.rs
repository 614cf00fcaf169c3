//! `sketch-updates`: counting keys in count-min tables, ours and that of the crate datasketches, in one process in turn.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::peers::peer;
use super::{Figure, Report};

/// Keys, and parts of them after each of which the next method's turn comes.
const N_KEYS: usize = 20_000_000;
const N_PARTS: usize = 20;
/// Widths, and how many times as fast we must be.
const WIDTHS: [(u32, f64); 3] = [(12, 4.0), (18, 2.5), (22, 2.0)];

/// Measures.
pub(super) fn sketch_updates() -> Result<Report> {
    let mut report = Report::new("sketch-updates");
    let program = peer("sketches")?;
    for (width_log2, least) in WIDTHS {
        let output = Command::new(&program)
            .args([N_KEYS, N_PARTS, 1 << width_log2].map(|number| number.to_string()))
            .output()
            .context("run the peer")?;
        ensure!(
            output.status.success(),
            "the peer: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let (mut rates, mut errors) = (BTreeMap::<_, Vec<f64>>::new(), BTreeMap::new());
        let text = String::from_utf8(output.stdout).context("read the peer")?;
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            match fields.as_slice() {
                [name, "error", error] => {
                    errors.insert(*name, error.parse::<f64>().context("read an error")?);
                }
                [name, rate] => {
                    let rate = rate.parse().context("read a rate")?;
                    rates.entry(*name).or_default().push(rate);
                }
                _ => anyhow::bail!("the peer says `{line}`"),
            }
        }
        for (name, own) in &rates {
            let of = |what: &str| format!("w = 2^{width_log2}, {name}: {what}");
            let how = "Zipf 1.1, d = 4, thin LTO, processor time of one thread";
            report.add(Figure::of(&of("million updates/s"), own, how));
            let their = if name.contains("32 bits") {
                "theirs, 32 bits"
            } else {
                "theirs"
            };
            if !name.starts_with("theirs") {
                let them = rates.get(their).context("the peer is missing")?;
                let ratios: Vec<f64> = own.iter().zip(them).map(|(us, them)| us / them).collect();
                let mut ratio = Figure::of(&of("over theirs"), &ratios, "turn by turn");
                if *name == "ours" {
                    ratio = ratio.at_least(least);
                }
                report.add(ratio);
            }
            // The fading table answers another question.
            if !name.contains("fading") {
                let error = errors.get(name).context("an error is missing")?;
                let how = "estimate less truth, mean over all different keys";
                report.add(Figure::new(&of("mean overestimate"), *error, how));
            }
        }
    }
    report.note("`ours` counts slices of keys (`add_all`), with the same cells and answers as key by key; the one-line layout has another law of error, as its overestimate shows");
    Ok(report)
}
