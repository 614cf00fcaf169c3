//! `wire`: bytes and time of a summary, against bincode 2.0.1 with the same content.

use std::hint::black_box;

use anyhow::Result;
use bincode::config;
use hsw_types::ShardSummary;
use hsw_wire::{decode_summary, encode_summary};

use super::content::{N_SERIES, summary};
use super::usage::own_thread_seconds;
use super::{Figure, Report};

/// Rounds of each of A B B A.
const ROUNDS: usize = 8;
/// Summaries of one round.
const PER_ROUND: usize = 2_000;

/// The same content as a program would hand it to bincode.
#[derive(bincode::Encode, bincode::Decode)]
struct Peer {
    first_window: i64,
    n_windows: u16,
    dictionary_epoch: u64,
    names: Vec<(u32, String, String)>,
    series: Vec<(u32, Vec<Option<f64>>)>,
    sources: Vec<(String, u8, u64, String)>,
}

impl Peer {
    fn of(summary: &ShardSummary) -> Self {
        Self {
            first_window: summary.first_window.0,
            n_windows: summary.n_windows,
            dictionary_epoch: summary.dictionary_epoch,
            names: summary
                .dictionary
                .iter()
                .map(|def| {
                    (
                        def.id.0,
                        def.key.metric.clone(),
                        format!("{:?}", def.key.subject),
                    )
                })
                .collect(),
            series: summary
                .series
                .iter()
                .map(|s| (s.id.0, s.values.clone()))
                .collect(),
            sources: summary
                .sources
                .iter()
                .map(|s| (s.source.clone(), 0, s.dropped, s.message.clone()))
                .collect(),
        }
    }
}

/// Measures.
pub(super) fn wire() -> Result<Report> {
    let mut report = Report::new("wire");
    let ours: Vec<ShardSummary> = (0..64)
        .map(|n| summary(1_700_000_000 + 2 * n, 2, false))
        .collect();
    let theirs: Vec<Peer> = ours.iter().map(Peer::of).collect();
    let our_bytes: Vec<Vec<u8>> = ours.iter().map(encode_summary).collect::<Result<_, _>>()?;
    let standard = config::standard();
    let encode_peer = |peer: &Peer| bincode::encode_to_vec(peer, standard);
    let their_bytes: Vec<Vec<u8>> = theirs.iter().map(encode_peer).collect::<Result<_, _>>()?;
    for (bytes, summary) in our_bytes.iter().zip(&ours) {
        let back = decode_summary(bytes)?;
        anyhow::ensure!(
            back.series.len() == summary.series.len(),
            "a summary came back changed"
        );
    }
    let sizes = |all: &[Vec<u8>]| all.iter().map(|b| b.len() as f64).collect::<Vec<_>>();
    let how = "500 series, 300 moving, 2 windows, without names";
    report.add(Figure::of("bytes/summary", &sizes(&our_bytes), how).at_most(3_000.0));
    report.add(Figure::of(
        "bytes/summary, bincode 2.0.1 standard",
        &sizes(&their_bytes),
        how,
    ));
    let named = encode_summary(&summary(1_700_000_000, 2, true))?.len();
    report.add(Figure::new(
        "bytes/summary with all 500 names",
        named as f64,
        "the first one, and none after",
    ));

    let [mut encode, mut encode_them, mut decode, mut decode_them] = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        let we_encode = || black_box(encode_summary(black_box(&ours[0]))).is_ok();
        let they_encode = || black_box(encode_peer(black_box(&theirs[0]))).is_ok();
        abba(&mut encode, &mut encode_them, we_encode, they_encode);
        let we_decode = || black_box(decode_summary(black_box(&our_bytes[0]))).is_ok();
        let they_decode = || {
            let read = bincode::decode_from_slice::<Peer, _>(black_box(&their_bytes[0]), standard);
            black_box(read).is_ok()
        };
        abba(&mut decode, &mut decode_them, we_decode, they_decode);
    }
    let how = "per summary, A B B A against bincode in the same process, processor time";
    report.add(Figure::of("encode, µs", &encode, how).at_most(100.0));
    report.add(Figure::of("encode, µs, bincode 2.0.1", &encode_them, how));
    report.add(Figure::of("decode, µs", &decode, how).at_most(100.0));
    report.add(Figure::of("decode, µs, bincode 2.0.1", &decode_them, how));
    let mean = sizes(&our_bytes).iter().sum::<f64>() / our_bytes.len() as f64;
    report.add(Figure::new(
        "bytes/value",
        mean / (2 * N_SERIES) as f64,
        "bytes/summary over values",
    ));
    report.note("precision: a value comes back within 2^-12 of itself; bincode keeps all 64 bits");
    Ok(report)
}

/// A B B A; microseconds per call of each.
fn abba(a: &mut Vec<f64>, b: &mut Vec<f64>, run_a: impl Fn() -> bool, run_b: impl Fn() -> bool) {
    a.push(time(&run_a));
    b.push(time(&run_b));
    b.push(time(&run_b));
    a.push(time(&run_a));
}

fn time(run: impl Fn() -> bool) -> f64 {
    let began = own_thread_seconds();
    for _ in 0..PER_ROUND {
        assert!(run(), "a summary that worked before fails now");
    }
    (own_thread_seconds() - began) * 1e6 / PER_ROUND as f64
}
