//! The model at start: configuration, library, device, and the one line that says what scores. (step 11)
//!
//! In: `[inference]`. Out: a [`Scorer`] whose scores come to the driver. Invariants: IN-1 without library or model the
//! aggregator runs all the same, unless a library or a GPU was asked for by name and is not to be had.
//! Does not: score.

use std::path::PathBuf;

use anyhow::Context as _;
use hsw_fusion::layout;
use hsw_inference::{Runtime, Scorer};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::driver::Event;

/// `[inference]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What computes.
    pub device: Device,
    /// ONNX Runtime's shared library; empty: looked for.
    pub library: PathBuf,
    /// Folder of model cards; empty: looked for.
    pub models: PathBuf,
    /// Milliseconds a tick waits for its scores.
    pub deadline_ms: u32,
    /// Threads of a session on the CPU.
    pub threads: usize,
    /// Batches a new model scores beside the old one.
    pub shadow_batches: u32,
}

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// A GPU where there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU, or no start.
    Gpu,
    /// Nothing: the statistical fusion judges alone.
    Off,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            device: Device::Auto,
            library: PathBuf::new(),
            models: PathBuf::new(),
            deadline_ms: 400,
            threads: 1,
            shadow_batches: 300,
        }
    }
}

/// Starts what scores, and says in one line what that is.
///
/// # Errors
/// A library that was named and cannot be used; a GPU that was asked for and cannot be used.
pub fn start(config: &Config, events: mpsc::Sender<Event>) -> anyhow::Result<Scorer> {
    let scorer = scorer(config, events).context("start the model ([inference])")?;
    let status = scorer.status();
    let model = status.model.as_deref().unwrap_or("none");
    tracing::info!(
        provider = status.provider,
        model,
        note = status.note,
        "inference"
    );
    Ok(scorer)
}

/// The engine's limits; it asks for scores only where somebody scores.
///
/// # Errors
/// The runbook cannot be read.
pub fn engine(
    config: &crate::config::Config,
    scorer: &Scorer,
) -> anyhow::Result<hsw_engine::Config> {
    Ok(hsw_engine::Config {
        score_ms_max: scorer.is_running().then_some(config.inference.deadline_ms),
        ..config.engine()?
    })
}

fn scorer(config: &Config, events: mpsc::Sender<Event>) -> anyhow::Result<Scorer> {
    let device = match config.device {
        Device::Off => {
            return Ok(Scorer::without(
                "inference.device = \"off\": the statistical fusion judges alone",
            ));
        }
        Device::Auto => hsw_inference::Device::Auto,
        Device::Cpu => hsw_inference::Device::Cpu,
        Device::Gpu => hsw_inference::Device::Gpu,
    };
    let named = Some(config.library.as_path()).filter(|path| !path.as_os_str().is_empty());
    let Some(found) = hsw_inference::find(named)? else {
        anyhow::ensure!(
            config.device != Device::Gpu,
            "inference.device = \"gpu\" needs ONNX Runtime: run deploy/onnxruntime --gpu"
        );
        let note =
            "no ONNX Runtime (deploy/onnxruntime brings it): the statistical fusion judges alone";
        return Ok(Scorer::without(note));
    };
    let runtime = match Runtime::start(&found, device, config.threads) {
        Ok(runtime) => runtime,
        // A library that merely lies there must not keep the aggregator from watching.
        Err(why) if named.is_none() && config.device != Device::Gpu => {
            tracing::warn!(%why, "ONNX Runtime cannot be used");
            return Ok(Scorer::without(&why.to_string()));
        }
        Err(why) => return Err(why.into()),
    };
    if let Some(why) = runtime.without_gpu() {
        tracing::debug!(why, "no GPU");
    }
    let models = hsw_inference::Config {
        models: hsw_inference::models(&config.models),
        layout: layout::name(),
        n_shadow: config.shadow_batches,
    };
    let deliver = move |scores| {
        // The driver is gone only at the end.
        let _ = events.blocking_send(Event::Scored(scores));
    };
    Ok(Scorer::start(runtime, models, deliver)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_library_the_aggregator_starts_and_a_named_one_that_is_missing_is_an_error() {
        let (events, _heard) = mpsc::channel(1);
        let off = Config {
            device: Device::Off,
            ..Config::default()
        };
        let scorer = start(&off, events.clone()).unwrap();
        assert!(!scorer.is_running());
        assert_eq!(scorer.status().provider, "none");
        let missing = Config {
            library: PathBuf::from("/nowhere/libonnxruntime.so"),
            ..Config::default()
        };
        let error = format!("{:#}", start(&missing, events).unwrap_err());
        assert!(error.contains("inference.library names a file"), "{error}");
    }
}
