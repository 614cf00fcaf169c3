//! logdrain over a file, with its masks for addresses and ids: `peer-templates FILE` prints `count<tab>template`;
//! with `--lines`, the cluster of each line instead.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};

use logdrain::{Miner, builtin_masks};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let by_line = arguments.first().is_some_and(|a| a == "--lines");
    if by_line {
        arguments.remove(0);
    }
    let path = arguments.first().ok_or("usage: peer-templates [--lines] FILE")?;
    let miner = Miner::builder()
        .masks([builtin_masks::uuid(), builtin_masks::ipv4()])
        .parametrize_numeric_tokens(true)
        .build()?;
    let mut reader = BufReader::with_capacity(256 * 1024, File::open(path)?);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut line = Vec::new();
    let mut ids = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(line.trim_ascii_end());
        let added = miner.add(&text);
        if by_line {
            ids.push(added.cluster_id);
        }
        line.clear();
    }
    for id in &ids {
        writeln!(out, "{id}")?;
    }
    if !by_line {
        for cluster in miner.clusters() {
            writeln!(out, "{}\t{}", cluster.size(), cluster.template())?;
        }
    }
    Ok(())
}
