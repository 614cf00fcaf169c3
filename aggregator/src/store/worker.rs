//! The store's thread: gathers a batch, commits it, acknowledges, tells the driver. (step 7)
//!
//! In: commands. Out: acknowledgements and [`Committed`] values, in that order, after the commit.
//! Invariants: WK-1 a batch that could not be committed stays as it is and is tried again until it can, or until the
//! process ends; nothing of it was acknowledged. Does not: drop a summary.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hsw_types::WallTime;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::commit::{Batch, Marks, Outcome};
use super::{BATCH_SUMMARIES_MAX, Command, Committed, Config, StoreError, StoreHandle};
use super::{commit, handle, hot, replay, retention, schema};
use super::{stored_explanation, stored_weights, triggers};
use crate::shared::{Counter, Counters, StoreStatus};

/// Pause before a batch that could not be committed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often slow growth is swept.
const SWEEP: Duration = Duration::from_secs(3600);

/// Closed incidents told at start, as many as the engine keeps by default.
const RESTORED_CLOSED: usize = 1_000;

/// Summaries that a recording begins with, at most.
const RECENT_MAX: usize = 100_000;
/// Explanations told at start, as many as the engine keeps.
const RESTORED_EXPLANATIONS: usize = 300;

/// The open store, not yet running.
#[derive(Debug)]
pub struct Store {
    config: Config,
    pub(super) connection: Connection,
    pub(super) marks: Marks,
    counters: Arc<Counters>,
    status: watch::Sender<StoreStatus>,
    swept: Option<Instant>,
    life: u32,
}

/// The running store.
#[derive(Debug)]
pub struct Running {
    /// Asks it.
    pub handle: StoreHandle,
    /// How it fares.
    pub status: watch::Receiver<StoreStatus>,
    /// Its thread.
    pub thread: std::thread::JoinHandle<()>,
}

/// What a command leads to after the commit.
pub(super) enum Effect {
    Ack(watch::Sender<u64>, u64),
    Answer(Box<dyn FnOnce() + Send>),
    Tell(Committed),
}

impl Store {
    /// Opens or makes the file in `data_dir`.
    ///
    /// # Errors
    /// One line that names the file and the remedy: no directory, damaged, held by another, of a newer program.
    pub fn open(data_dir: &Path, config: Config, counters: Arc<Counters>) -> anyhow::Result<Self> {
        std::fs::create_dir_all(data_dir).with_context(|| {
            format!(
                "make the data directory {}: set data_dir to one the aggregator's user may write",
                data_dir.display()
            )
        })?;
        let connection = schema::open(&super::file_in(data_dir))?;
        let life = triggers::begin_life(&connection, handle::wall_now().window())
            .context("count the starts of the store")?;
        let marks = Marks::load(&connection).context("read the marks of deliveries")?;
        let (status, _) = watch::channel(retention::status(&connection)?);
        Ok(Self {
            config,
            connection,
            marks,
            counters,
            status,
            swept: None,
            life,
        })
    }

    /// How often the store has been opened, with this time.
    #[must_use]
    pub const fn life(&self) -> u32 {
        self.life
    }

    /// Tells everything of earlier that the engine needs: incidents, then summaries received since `since`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn replay(
        &self,
        since: WallTime,
        tell: &mut dyn FnMut(Committed),
    ) -> Result<(), StoreError> {
        tell(Committed::Triggers(triggers::load(&self.connection)?));
        if let Some(kept) = stored_weights::load(&self.connection)? {
            tell(Committed::Weights(Box::new(kept)));
        }
        hot::names(&self.connection, tell)?;
        replay::incidents(&self.connection, RESTORED_CLOSED, tell)?;
        stored_explanation::tell(&self.connection, RESTORED_EXPLANATIONS, tell)?;
        let replayed = replay::summaries(&self.connection, &self.marks, since, tell)?;
        tracing::info!(
            summaries = replayed.summaries,
            unreadable = replayed.unreadable,
            "replayed what was stored"
        );
        tell(Committed::ReplayDone);
        Ok(())
    }

    /// Summaries received since `since`, as a start tells them; refused when they are too many to hold.
    fn recent(&self, since: WallTime) -> Result<Vec<Committed>, StoreError> {
        let mut all = Vec::new();
        let mut n = 0;
        replay::summaries(&self.connection, &self.marks, since, &mut |committed| {
            n += 1;
            if n <= RECENT_MAX {
                all.push(committed);
            }
        })?;
        if n > RECENT_MAX {
            return Err(StoreError(format!(
                "{n} summaries are too many to begin a recording with: ask for a shorter time before it"
            )));
        }
        Ok(all)
    }

    /// Carries out commands in one transaction; on success the caller carries out the effects.
    ///
    /// Rows and marks are one transaction, see ST-2.
    pub(super) fn transact(
        &mut self,
        commands: &mut Vec<Command>,
    ) -> Result<Vec<Effect>, StoreError> {
        let mut batch = Batch::begin(&mut self.connection, &mut self.marks)?;
        let mut outcomes = Vec::with_capacity(commands.len());
        for command in commands.iter() {
            outcomes.push(write(&mut batch, command)?);
        }
        batch.commit()?;
        self.counters.count(Counter::Commits);
        let written = commands.drain(..).zip(outcomes);
        Ok(written
            .flat_map(|(command, written)| effects(command, written, &self.counters))
            .collect())
    }

    /// As [`Self::transact`], again and again until the disk takes it.
    fn commit(&mut self, commands: &mut Vec<Command>) -> Vec<Effect> {
        loop {
            match self.transact(commands) {
                Ok(effects) => {
                    self.report(None);
                    return effects;
                }
                Err(error) => {
                    self.counters.count(Counter::CommitFailures);
                    let trouble = format!(
                        "{error}: nothing is acknowledged until it can be written; make room on the disk of data_dir, or see what the error says"
                    );
                    if self.status.borrow().trouble.is_none() {
                        tracing::error!(error = trouble, "cannot commit");
                    }
                    self.report(Some(trouble));
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    fn report(&self, trouble: Option<String>) {
        self.status.send_if_modified(|status| {
            let changed = status.trouble != trouble;
            status.trouble = trouble;
            changed
        });
    }

    /// Retention and a fresh status.
    fn maintain(&mut self, now: WallTime) {
        let swept = self.swept.is_some_and(|at| at.elapsed() < SWEEP);
        let done = retention::step(&self.connection, &self.config, now).and_then(|rows| {
            self.counters.add(Counter::RetentionRows, rows);
            if !swept {
                retention::sweep(&self.connection, &self.config, now)?;
            }
            retention::status(&self.connection)
        });
        self.swept = if swept {
            self.swept
        } else {
            Some(Instant::now())
        };
        match done {
            Ok(status) => {
                self.status.send_replace(status);
            }
            Err(error) => tracing::warn!(%error, "cannot delete old summaries, tries again"),
        }
    }

    pub(super) fn answer_incidents(
        &self,
        limit: usize,
        before: Option<hsw_types::WindowIndex>,
    ) -> Result<Vec<Arc<hsw_engine::Incident>>, StoreError> {
        let before = before.map_or(i64::MAX, |window| window.0);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = replay::select_incidents(
            &self.connection,
            "WHERE started < ?1 ORDER BY started DESC, id DESC LIMIT ?2",
            &[&before, &limit],
        )?;
        Ok(found.into_iter().map(Arc::new).collect())
    }
}

/// Starts the thread: replay first, then commands until [`Command::Close`] or until nobody can ask any more.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(store: Store, driver: mpsc::Sender<Vec<Committed>>) -> anyhow::Result<Running> {
    let (sender, commands) = mpsc::channel(store.config.queue.max(1));
    let status = store.status.subscribe();
    let thread = std::thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || run(store, commands, &driver))
        .context("start the store's thread")?;
    Ok(Running {
        handle: StoreHandle::new(sender),
        status,
        thread,
    })
}

fn run(
    mut store: Store,
    mut commands: mpsc::Receiver<Command>,
    driver: &mpsc::Sender<Vec<Committed>>,
) {
    let back = i64::from(store.config.replay_minutes) * 60_000_000;
    let since = WallTime(handle::wall_now().0 - back);
    let mut tell = |committed| drop(driver.blocking_send(vec![committed]));
    if let Err(error) = store.replay(since, &mut tell) {
        tracing::error!(%error, "cannot replay what was stored, starts without it");
        tell(Committed::ReplayDone);
    }
    let gather = Duration::from_millis(store.config.gather_ms);
    let mut waiting = Vec::new();
    let mut close = None;
    while close.is_none() {
        let Some(first) = commands.blocking_recv() else {
            break;
        };
        if matches!(first, Command::Summary(_)) {
            std::thread::sleep(gather);
        }
        close = take(&mut store, &mut waiting, first);
        while close.is_none() && waiting.len() < BATCH_SUMMARIES_MAX {
            let Ok(command) = commands.try_recv() else {
                break;
            };
            close = take(&mut store, &mut waiting, command);
        }
        if waiting.is_empty() {
            continue;
        }
        let mut told = Vec::new();
        for effect in store.commit(&mut waiting) {
            match effect {
                Effect::Ack(ack, sequence) => acknowledge(&ack, sequence),
                Effect::Answer(answer) => answer(),
                Effect::Tell(committed) => told.push(committed),
            }
        }
        if !told.is_empty() && driver.blocking_send(told).is_err() {
            tracing::error!("the driver is gone, the store stops");
            break;
        }
    }
    drop(store);
    if let Some(reply) = close {
        let _nobody_waits = reply.send(());
    }
}

/// Puts what must be written into the batch, answers what only reads; returns the reply of a close.
fn take(
    store: &mut Store,
    waiting: &mut Vec<Command>,
    command: Command,
) -> Option<oneshot::Sender<()>> {
    match command {
        Command::Close { reply } => return Some(reply),
        Command::Maintain { now } => store.maintain(now),
        Command::Silences { now, reply } => {
            let _nobody_waits = reply.send(commit::silences(&store.connection, now));
        }
        Command::Recent { since, reply } => {
            let _nobody_waits = reply.send(store.recent(since));
        }
        Command::HotSpan {
            nodes,
            kind,
            span,
            reply,
        } => {
            let ids = store
                .marks
                .nodes()
                .filter(|(name, ..)| nodes.contains(name));
            let ids: Vec<i64> = ids.map(|(_, id, _)| id).collect();
            let _nobody_waits = reply.send(hot::read(&store.connection, &ids, kind, span));
        }
        Command::Incidents {
            limit,
            before,
            reply,
        } => {
            let _nobody_waits = reply.send(store.answer_incidents(limit, before));
        }
        write => waiting.push(write),
    }
    None
}

/// What writing a command gave.
enum Written {
    Summary(Outcome),
    Resume(super::Resume),
    Id(i64),
    Existed(bool),
    Nothing,
}

fn write(batch: &mut Batch<'_>, command: &Command) -> Result<Written, StoreError> {
    Ok(match command {
        Command::Summary(received) => Written::Summary(batch.summary(received)?),
        Command::Hello {
            node, incarnation, ..
        } => Written::Resume(batch.hello(node, *incarnation)?),
        Command::Stopped { node } => {
            batch.set_stopped(node, true)?;
            Written::Nothing
        }
        Command::Incident(incident) => {
            batch.incident(incident)?;
            Written::Nothing
        }
        Command::Explained(id, why) => {
            batch.explanation(*id, why)?;
            Written::Nothing
        }
        Command::Causes { cases, .. } => {
            batch.causes(cases)?;
            Written::Nothing
        }
        Command::Hot { rows, names, now } => {
            batch.hot(rows, names, now.window())?;
            Written::Nothing
        }
        Command::Weights(kept) => {
            batch.weights(kept)?;
            Written::Nothing
        }
        Command::Triggers { changes, .. } => {
            batch.triggers(changes)?;
            Written::Nothing
        }
        Command::AddSilence { silence, .. } => Written::Id(batch.add_silence(silence)?),
        Command::RemoveSilence { id, .. } => Written::Existed(batch.remove_silence(*id)?),
        Command::Incidents { .. }
        | Command::HotSpan { .. }
        | Command::Recent { .. }
        | Command::Silences { .. }
        | Command::Maintain { .. }
        | Command::Close { .. } => Written::Nothing,
    })
}

fn effects(command: Command, written: Written, counters: &Counters) -> Vec<Effect> {
    match (command, written) {
        (Command::Summary(received), Written::Summary(outcome)) => {
            let mut effects = vec![Effect::Ack(received.ack, received.sequence)];
            match outcome {
                Outcome::Duplicate => counters.count(Counter::Duplicates),
                Outcome::Overlap => counters.count(Counter::Overlaps),
                Outcome::Stored => counters.count(Counter::Summaries),
            }
            if outcome == Outcome::Stored
                && let Some(summary) = received.summary
            {
                effects.push(Effect::Tell(Committed::Summary {
                    node: received.node,
                    summary,
                    received: received.received,
                    is_replay: false,
                }));
            }
            effects
        }
        (Command::Hello { reply, .. }, Written::Resume(resume)) => {
            vec![Effect::Answer(Box::new(move || {
                let _nobody_waits = reply.send(resume);
            }))]
        }
        (Command::Stopped { node }, _) => vec![Effect::Tell(Committed::Stopped { node })],
        (Command::Causes { replies, .. }, _) => {
            vec![Effect::Answer(Box::new(move || {
                for reply in replies {
                    let _nobody_waits = reply.send(());
                }
            }))]
        }
        (
            Command::Triggers {
                reply: Some(reply), ..
            },
            _,
        ) => {
            vec![Effect::Answer(Box::new(move || {
                let _nobody_waits = reply.send(Ok(()));
            }))]
        }
        (Command::AddSilence { reply, .. }, Written::Id(id)) => {
            vec![Effect::Answer(Box::new(move || {
                let _nobody_waits = reply.send(Ok(id));
            }))]
        }
        (Command::RemoveSilence { reply, .. }, Written::Existed(existed)) => {
            vec![Effect::Answer(Box::new(move || {
                let _nobody_waits = reply.send(Ok(existed));
            }))]
        }
        _ => Vec::new(),
    }
}

/// Raises the mark the connection reads; it never falls, and a duplicate is acknowledged again.
fn acknowledge(ack: &watch::Sender<u64>, sequence: u64) {
    ack.send_modify(|highest| *highest = sequence.max(*highest));
}
