//! The thread that scores: one batch in flight, models swapped by checksum after a shadow evaluation. (step 11)
//!
//! In: a [`Batch`] a tick. Out: [`Scores`] by the function given at start. Invariants: SC-1 asking never waits: while a
//! batch is under way the next is refused and counted. SC-2 a model is replaced only by one that has scored beside it and
//! agreed ([`Shadow`]); one that was refused is not tried again until its file changes. SC-3 only a card that says
//! `enabled` is used. Does not: keep deadlines (the engine does), draw conclusions.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use hsw_fusion::{Batch, Scores};

use crate::{Card, Error, Model, Runtime, Shadow, Verdict};

/// Batches between two looks at the folder of cards.
const LOOK_EVERY: u64 = 30;
/// Cards looked at in a folder.
const N_CARDS_MAX: usize = 64;

/// Where models are and how they replace each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Folder of cards and models.
    pub models: PathBuf,
    /// This program's layout, `id/version/checksum`.
    pub layout: String,
    /// Batches a new model scores beside the old one.
    pub n_shadow: u32,
}

/// How scoring fares, for the start line and `/metrics`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// What is computed on: `cuda`, `cpu`, or `none` where the statistical fusion judges alone.
    pub provider: &'static str,
    /// The model in force.
    pub model: Option<String>,
    /// The first digits of its checksum.
    pub checksum: String,
    /// The model that scores beside it.
    pub shadow: Option<String>,
    /// One line for people: what is used, or why there is none.
    pub note: String,
    /// Counts since the start.
    pub totals: Totals,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Batches scored.
    pub scored: u64,
    /// Batches refused because one was under way.
    pub busy: u64,
    /// Batches on which the model failed.
    pub failed: u64,
    /// Models swapped in.
    pub swapped: u64,
    /// Models refused, after a shadow evaluation or because they cannot be opened.
    pub refused: u64,
    /// Microseconds the last batch took.
    pub last_us: u64,
}

impl Totals {
    /// Name, help and count of each, for `/metrics`.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, &'static str, u64); 5] {
        [
            ("inference_batches_total", "Batches scored.", self.scored),
            (
                "inference_busy_total",
                "Batches refused because one was under way.",
                self.busy,
            ),
            (
                "inference_failed_total",
                "Batches on which the model failed.",
                self.failed,
            ),
            (
                "inference_swapped_total",
                "Models swapped in after a shadow evaluation.",
                self.swapped,
            ),
            (
                "inference_refused_total",
                "Models that could not be opened or did not agree.",
                self.refused,
            ),
        ]
    }
}

/// A running thread, or none.
#[derive(Debug)]
pub struct Scorer {
    batches: Option<SyncSender<Batch>>,
    status: Arc<Mutex<Status>>,
}

impl Scorer {
    /// No model: every batch is refused, the note says why.
    #[must_use]
    pub fn without(note: &str) -> Self {
        let status = Status {
            provider: "none",
            note: note.to_owned(),
            ..Status::default()
        };
        Self {
            batches: None,
            status: Arc::new(Mutex::new(status)),
        }
    }

    /// Opens the folder's enabled model and starts the thread; `deliver` is called from it with each batch's scores.
    ///
    /// # Errors
    /// When the thread cannot be started. A folder without an enabled model is none: one may come later.
    pub fn start(
        runtime: Runtime,
        config: Config,
        deliver: impl Fn(Scores) + Send + 'static,
    ) -> Result<Self, Error> {
        let status = Arc::new(Mutex::new(Status {
            provider: runtime.provider().name(),
            ..Status::default()
        }));
        let (batches, asked) = sync_channel(1);
        let mut worker = Worker {
            runtime,
            config,
            status: Arc::clone(&status),
            in_force: None,
            beside: None,
            refused: BTreeSet::new(),
            n_batches: 0,
        };
        worker.look();
        let name = "inference";
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || worker.run(&asked, &deliver))
            .map_err(|why| Error::Read {
                path: name.to_owned(),
                why: why.to_string(),
            })?;
        Ok(Self {
            batches: Some(batches),
            status,
        })
    }

    /// Hands a batch over; false where there is no model, or one is under way. Never waits.
    pub fn ask(&self, batch: Batch) -> bool {
        let Some(batches) = &self.batches else {
            return false;
        };
        match batches.try_send(batch) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                lock(&self.status).totals.busy += 1;
                false
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }

    /// Whether a library is there, so that batches are worth making.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.batches.is_some()
    }

    /// How it fares.
    #[must_use]
    pub fn status(&self) -> Status {
        lock(&self.status).clone()
    }
}

struct Worker {
    runtime: Runtime,
    config: Config,
    status: Arc<Mutex<Status>>,
    in_force: Option<Model>,
    beside: Option<(Model, Shadow)>,
    /// Checksums that need not be tried again.
    refused: BTreeSet<String>,
    n_batches: u64,
}

impl Worker {
    fn run(mut self, asked: &Receiver<Batch>, deliver: &dyn Fn(Scores)) {
        while let Ok(batch) = asked.recv() {
            if self.n_batches.is_multiple_of(LOOK_EVERY) && self.n_batches > 0 {
                self.look();
            }
            self.n_batches += 1;
            if let Some(scores) = self.score(&batch) {
                deliver(scores);
            }
        }
    }

    fn score(&mut self, batch: &Batch) -> Option<Scores> {
        let model = self.in_force.as_mut()?;
        let began = Instant::now();
        let scores = match model.score(batch) {
            Ok(scores) => scores,
            Err(why) => {
                let mut status = lock(&self.status);
                status.totals.failed += 1;
                if status.totals.failed == 1 {
                    tracing::warn!(%why, "the model failed, the statistical fusion judges");
                }
                return None;
            }
        };
        let took = began.elapsed();
        {
            let mut status = lock(&self.status);
            status.totals.scored += 1;
            status.totals.last_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        }
        self.compare(batch, &scores);
        Some(scores)
    }

    /// Lets the new model score beside the old one.
    fn compare(&mut self, batch: &Batch, old: &Scores) {
        let Some((model, shadow)) = &mut self.beside else {
            return;
        };
        let verdict = match model.score(batch) {
            Ok(new) => shadow.compare(&old.sick, &new.sick),
            Err(why) => Verdict::Refused(why.to_string()),
        };
        if verdict == Verdict::Waiting {
            return;
        }
        let Some((model, _)) = self.beside.take() else {
            return;
        };
        match verdict {
            Verdict::Refused(why) => {
                let card = model.card();
                tracing::warn!(model = card.name, %why, "the new model is refused, the old one stays");
                self.refuse(card.sha256.clone());
            }
            Verdict::Waiting | Verdict::Taken => {
                lock(&self.status).totals.swapped += 1;
                self.take(model);
            }
        }
    }

    /// Looks whether the folder holds another model than the one in force.
    fn look(&mut self) {
        let Some((path, card)) = self.enabled_card() else {
            return;
        };
        let is_known = |model: &Model| model.card().sha256 == card.sha256;
        if self.refused.contains(&card.sha256)
            || self.in_force.as_ref().is_some_and(is_known)
            || self
                .beside
                .as_ref()
                .is_some_and(|(model, _)| is_known(model))
        {
            return;
        }
        match Model::open(&self.runtime, &path, &self.config.layout) {
            Ok(model) if self.in_force.is_none() => self.take(model),
            Ok(model) => {
                let shadow = Shadow::new(card.bounds, self.config.n_shadow);
                tracing::info!(model = card.name, "a new model scores beside the old one");
                lock(&self.status).shadow = Some(card.name.clone());
                self.beside = Some((model, shadow));
            }
            Err(why) => {
                tracing::warn!(%why, "the model is not used");
                lock(&self.status).note = why.to_string();
                self.refuse(card.sha256);
            }
        }
    }

    /// The last by name of the cards that may decide. What cannot be read is said once.
    fn enabled_card(&mut self) -> Option<(PathBuf, Card)> {
        let mut off = Vec::new();
        let mut chosen = None;
        for path in cards(&self.config.models) {
            match Card::read(&path, &self.config.layout) {
                Ok(card) if card.enabled => chosen = Some((path, card)),
                Ok(card) => off.push(format!("{} is off: {}", card.name, card.why)),
                Err(why) if self.refused.insert(path.display().to_string()) => {
                    tracing::warn!(%why, "a model card is passed over");
                }
                Err(_) => {}
            }
        }
        if chosen.is_none() && self.in_force.is_none() {
            let folder = self.config.models.display();
            off.push(format!("no enabled model in {folder}"));
            lock(&self.status).note = off.join("; ");
        }
        chosen
    }

    fn take(&mut self, model: Model) {
        let card = model.card();
        let mut status = lock(&self.status);
        status.model = Some(card.name.clone());
        status.checksum = card.sha256[..12].to_owned();
        status.shadow = None;
        status.note = format!(
            "model {} on {}, {}",
            card.name,
            self.runtime.provider().name(),
            self.runtime.library().display()
        );
        tracing::info!(
            model = card.name,
            provider = status.provider,
            "model in force"
        );
        drop(status);
        self.in_force = Some(model);
    }

    fn refuse(&mut self, checksum: String) {
        self.refused.insert(checksum);
        let mut status = lock(&self.status);
        status.totals.refused += 1;
        status.shadow = None;
    }
}

/// The cards of a folder, by name, 64 at most; none where it cannot be read.
#[must_use]
pub fn cards(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut cards: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
        .take(N_CARDS_MAX)
        .collect();
    cards.sort();
    cards
}

/// A status is whole between any two statements, whoever panicked.
fn lock(status: &Mutex<Status>) -> MutexGuard<'_, Status> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}
