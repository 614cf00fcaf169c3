//! A model at hand for a recording that is scored anew. (step 11)
//!
//! In: options. Out: scores of batches. Invariants: RS-1 without a library or a card it is an error, never scores of nothing.
//! Does not: judge; look whether the card is enabled: who names a model wants to see what it says.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use hsw_fusion::{Batch, Scores, layout};
use hsw_inference::{Model, Runtime, cards, find, models};
use hsw_recording::Rescored;
use serde_json::{Value, json};

/// How to score anew.
#[derive(Debug, Args)]
pub struct Rescoring {
    /// Ask a model anew instead of taking the recorded scores.
    #[arg(long)]
    pub rescore: bool,
    /// Its card; without it the last of the checkout's or beside the program.
    #[arg(long, value_name = "CARD.json", requires = "rescore")]
    pub model: Option<PathBuf>,
    /// ONNX Runtime's library; without it as the aggregator looks for it.
    #[arg(long, value_name = "FILE", requires = "rescore")]
    pub library: Option<PathBuf>,
    /// What computes.
    #[arg(long, value_enum, default_value_t = Device::Auto, requires = "rescore")]
    pub device: Device,
}

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// A GPU where there is one, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU, or an error.
    Gpu,
}

/// A model that scores, and the first thing that went wrong.
#[derive(Debug)]
pub struct Anew {
    model: Model,
    wrong: Option<String>,
}

impl Rescoring {
    /// The model, where one is asked for.
    ///
    /// # Errors
    /// There is no library, no card, or they cannot be used.
    pub fn model(&self) -> anyhow::Result<Option<Anew>> {
        if !self.rescore {
            return Ok(None);
        }
        let found = find(self.library.as_deref())?.context(
            "no ONNX Runtime to score with: run deploy/onnxruntime, or name it with --library",
        )?;
        let device = match self.device {
            Device::Auto => hsw_inference::Device::Auto,
            Device::Cpu => hsw_inference::Device::Cpu,
            Device::Gpu => hsw_inference::Device::Gpu,
        };
        let runtime = Runtime::start(&found, device, 1)?;
        let card = match &self.model {
            Some(card) => card.clone(),
            None => {
                let folder = models(&PathBuf::new());
                let is_card = |path: &PathBuf| Model::open(&runtime, path, &layout::name()).is_ok();
                let last = cards(&folder).into_iter().rev().find(is_card);
                let folder = folder.display();
                last.with_context(|| {
                    format!("no model to score with in {folder}: name a card with --model")
                })?
            }
        };
        let model = Model::open(&runtime, &card, &layout::name())?;
        Ok(Some(Anew { model, wrong: None }))
    }
}

impl Anew {
    /// Scores a batch; what goes wrong is kept.
    pub fn score(&mut self, batch: &Batch) -> Option<Scores> {
        match self.model.score(batch) {
            Ok(scores) => Some(scores),
            Err(why) => {
                self.wrong.get_or_insert_with(|| why.to_string());
                None
            }
        }
    }

    /// Nothing where all batches were scored.
    ///
    /// # Errors
    /// What went wrong first.
    pub fn is_whole(self) -> anyhow::Result<()> {
        match self.wrong {
            None => Ok(()),
            Some(why) => Err(anyhow::anyhow!(why)),
        }
    }
}

/// For machines.
#[must_use]
pub fn report(found: &Rescored) -> Value {
    json!({
        "batches": found.n_batches,
        "scored": found.n_scored,
        "shard_windows": found.n_rows,
        "compared": found.n_compared,
        "difference_max": found.difference_max,
    })
}

/// For people.
#[must_use]
pub fn text(found: &Rescored) -> String {
    let against = if found.n_compared == 0 {
        "the recording holds no scores to compare".to_owned()
    } else {
        format!(
            "{} compared with the recording, P(sick) at most {:.3} apart",
            found.n_compared, found.difference_max
        )
    };
    format!(
        "scored anew: {} shard-windows in {} of {} batches; {against}\n",
        found.n_rows, found.n_scored, found.n_batches
    )
}
