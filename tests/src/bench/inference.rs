//! `inference`: shard-windows a second through ONNX Runtime, the tick of a large cluster, and agreement with torch.
//!
//! On the CPU one thread and its processor time; with --gpu the clock, since a GPU's work is nobody's processor time. What torch said of a
//! batch that both sides make by the same rule lies beside the model (`NAME.check.json`).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use hsw_fusion::{Batch, layout};
use hsw_inference::{Device, Model, Provider, Runtime, find};
use hsw_types::ShardId;
use serde_json::Value;

use super::usage::own_thread_seconds;
use super::{Args, Figure, Report};

/// Shards of a batch on the CPU; of the large cluster; on the GPU.
const N_CPU: usize = 256;
const N_LARGE: usize = 2_000;
const N_GPU: usize = 16_384;
const N_PARTS: usize = 9;
/// A GPU has this much more to do between two looks at the clock.
const RUNS_GPU: usize = 20;
/// What scores may differ by between torch, CPU and GPU.
const AGREEMENT: f64 = 1e-3;

/// Measures.
pub(super) fn inference(args: &Args) -> Result<Report> {
    let card = shipped()?;
    let here = Path::new(".ort/libonnxruntime.so");
    let named = here.is_file().then_some(here);
    let found = find(named)?.context("there is no ONNX Runtime: run deploy/onnxruntime")?;
    let device = if args.gpu { Device::Gpu } else { Device::Cpu };
    let runtime = Runtime::start(&found, device, 1)?;
    let mut model = Model::open(&runtime, &card, &layout::name())?;
    let mut report = Report::new("inference");
    if runtime.provider() == Provider::Cuda {
        gpu(&mut report, &runtime, &card, &mut model)?;
    } else {
        cpu(&mut report, &mut model)?;
    }
    let worst = against_torch(&card, &mut model)?;
    let how = "32 shards, edges that repeat, probabilities before they are quantised";
    report.add(Figure::new("largest difference from torch", worst, how).at_most(AGREEMENT));
    let bytes = fs::metadata(card.with_extension("onnx")).context("look at the model")?;
    report.add(Figure::new("model, MB", bytes.len() as f64 / 1e6, "its file").at_most(8.0));
    report.note(format!(
        "{} on {}, {} ({})",
        model.card().name,
        runtime.provider().name(),
        if model.card().enabled {
            "enabled"
        } else {
            "shipped off"
        },
        model.card().why,
    ));
    Ok(report)
}

fn cpu(report: &mut Report, model: &mut Model) -> Result<()> {
    // A tick scores all shards of a cluster in one batch, and explains eight of them at most, whatever its size.
    let batch = made(model, N_LARGE);
    let (mut rates, mut ticks) = (Vec::new(), Vec::new());
    for _ in 0..N_PARTS {
        let began = own_thread_seconds();
        model.score(&batch)?;
        let took = own_thread_seconds() - began;
        rates.push(N_LARGE as f64 / took);
        ticks.push(1e3 * took);
    }
    let how = format!(
        "{N_LARGE} shards in one batch, eight of them explained, processor time of one core"
    );
    report.add(Figure::of("shard-windows scored, 1/s", &rates, &how).at_least(10_000.0));
    report.add(Figure::of("a tick's scores, ms", &ticks, &how).at_most(400.0));
    let batch = made(model, N_CPU);
    let mut rates = Vec::new();
    for _ in 0..N_PARTS {
        let began = own_thread_seconds();
        for _ in 0..4 {
            model.score(&batch)?;
        }
        rates.push((4 * N_CPU) as f64 / (own_thread_seconds() - began));
    }
    let how = format!("batches of {N_CPU}, eight of each explained, processor time of one core");
    report.add(Figure::of(
        "the same of a smaller cluster, 1/s",
        &rates,
        &how,
    ));
    Ok(())
}

fn gpu(report: &mut Report, runtime: &Runtime, card: &Path, model: &mut Model) -> Result<()> {
    let batch = made(model, N_GPU);
    // The first run of a size allocates.
    model.score(&batch)?;
    let mut rates = Vec::new();
    for _ in 0..N_PARTS {
        let began = Instant::now();
        for _ in 0..RUNS_GPU {
            model.score(&batch)?;
        }
        rates.push((RUNS_GPU * N_GPU) as f64 / began.elapsed().as_secs_f64());
    }
    let how = format!("batches of {N_GPU}, copies to and from the GPU counted, by the clock");
    report.add(Figure::of("shard-windows scored, 1/s", &rates, &how).at_least(1_000_000.0));
    let mut on_cpu = Model::open(&runtime.on_cpu(), card, &layout::name())?;
    let batch = made(model, N_CPU);
    let (ours, theirs) = (model.probabilities(&batch)?, on_cpu.probabilities(&batch)?);
    let pairs = ours.sick.iter().zip(&theirs.sick);
    let worst = pairs
        .map(|(a, b)| f64::from((a - b).abs()))
        .fold(0.0, f64::max);
    let how = format!("{N_CPU} shards, before they are quantised");
    report.add(Figure::new("largest difference from the CPU", worst, &how).at_most(AGREEMENT));
    Ok(())
}

/// A batch that training makes by the same rule (`check_batch` there): whole numbers, so that both have the same bits.
fn made(model: &Model, n: usize) -> Batch {
    let (n_steps, n_features) = model.shape();
    let value = |at: usize| ((at * 7_919) % 4_001) as f32 / 500.0 - 4.0;
    let edge = |at: usize| ((at % n) as u32, ((at * 7 + 1) % n) as u32);
    let name = |at: usize| ShardId::new(&format!("s{at}"));
    Batch {
        shards: (0..n).filter_map(|at| name(at).ok()).collect(),
        n_steps,
        n_features,
        history: (0..n * n_steps * n_features).map(value).collect(),
        // Twice around: every edge comes again.
        edges: (0..2 * n).map(edge).collect(),
        ..Batch::default()
    }
}

fn against_torch(card: &Path, model: &mut Model) -> Result<f64> {
    let path = card.with_extension("check.json");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let check: Value = serde_json::from_str(&text).context("read what torch said")?;
    let told = |key: &str| -> Vec<f64> {
        let values = check[key].as_array().into_iter().flatten();
        values.filter_map(Value::as_f64).collect()
    };
    let (sick, soon) = (told("sick"), told("soon"));
    ensure!(
        !sick.is_empty() && sick.len() == soon.len(),
        "{} holds no scores",
        path.display()
    );
    let said = model.probabilities(&made(model, sick.len()))?;
    let pairs = said
        .sick
        .iter()
        .zip(&sick)
        .chain(said.soon.iter().zip(&soon));
    Ok(pairs
        .map(|(a, b)| (f64::from(*a) - b).abs())
        .fold(0.0, f64::max))
}

/// The card of this checkout's model, the last by name.
fn shipped() -> Result<PathBuf> {
    let folder = Path::new("aggregator/models");
    let entries = fs::read_dir(folder).context("look at aggregator/models")?;
    let cards = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let cards = cards.filter(|path| {
        path.with_extension("onnx").is_file() && path.extension().is_some_and(|e| e == "json")
    });
    cards
        .max()
        .context("there is no model in aggregator/models")
}
