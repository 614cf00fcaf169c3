//! The driver: one thread that owns the engine. (steps 8–15)
//!
//! In: [`Event`]s, everything that can wake it. Out: incidents to the store and to watchers, a [`Snapshot`] a second.
//! Invariants: DR-1 the engine hears of a summary only after its commit, because only the store tells it. DR-2 the
//! driver never waits for the store (the store waits for the driver): incidents and triggers that find no room wait here,
//! the newest state of each. DR-3 the engine's clock never runs backwards. Does not: judge.

mod triggers;
mod weights;
mod why;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hsw_engine::{Engine, Incident, IncidentId, Input, Output, ShardView};
use hsw_explain::Known;
use hsw_fusion::Scores;
use hsw_hot::{HotRow, MINUTE_S};
use hsw_inference::Scorer;
use hsw_trigger::Up;
use hsw_types::{HotKind, Monotonic, NodeId, WallTime};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::ingest::Agents;
use crate::record::{self, Taps};
use crate::shared::{
    Counter, Counters, IncidentChange, IncidentEvent, Question, Snapshot, StoreStatus,
};
use crate::store::{Command, Committed, StoreHandle, StoredWeights};
use crate::triggers::Triggers;

/// Ticks between two views of the graph.
const GRAPH_EVERY_TICKS: u64 = 5;

/// Events that may wait for the driver; the store and the heartbeats feel it when it is full.
pub const QUEUE: usize = 1_024;

/// Incident events a slow watcher may be behind before it loses some.
pub const INCIDENT_EVENTS: usize = 1_024;

/// Everything that can wake the driver.
#[derive(Debug)]
pub enum Event {
    /// The store has committed these, in order.
    Committed(Vec<Committed>),
    /// An agent is heard.
    Heard {
        /// Who.
        node: NodeId,
        /// Its clock minus ours.
        clock_offset_us: Option<i64>,
    },
    /// What an agent counted for triggers.
    Counted {
        /// Who.
        node: NodeId,
        /// What it says.
        messages: Vec<Up>,
    },
    /// The model has scored a batch.
    Scored(Scores),
    /// Hand the store everything that waits for it.
    Save {
        /// Answered when it has been handed over.
        done: oneshot::Sender<()>,
    },
    /// Somebody asks.
    Question(Question),
    /// What was learned from named cases.
    Learned(Box<Known>),
    /// A second has passed.
    Tick,
    /// End.
    Stop,
}

/// What the driver holds beside the engine.
pub struct Driver {
    /// The engine.
    pub engine: Engine,
    /// The triggers.
    pub triggers: Triggers,
    /// The model, if there is one.
    pub scorer: Scorer,
    /// The engine's limits, for recordings.
    pub config: hsw_engine::Config,
    /// Name of the cluster, for the snapshot.
    pub cluster: String,
    /// Agents' connections.
    pub agents: Arc<Agents>,
    /// Takes incidents.
    pub store: StoreHandle,
    /// How the store fares.
    pub store_status: watch::Receiver<StoreStatus>,
    /// Where snapshots go.
    pub snapshot: watch::Sender<Arc<Snapshot>>,
    /// Where incident events go.
    pub incidents: broadcast::Sender<IncidentEvent>,
    /// The shell's counters.
    pub counters: Arc<Counters>,
    /// Wakes the driver itself; weak, so that it does not keep itself alive.
    pub events: mpsc::WeakSender<Event>,
}

struct Loop {
    driver: Driver,
    began: Instant,
    is_replayed: bool,
    ticks: u64,
    /// Whoever records.
    taps: Taps,
    /// Incidents the store has not taken yet.
    unsaved: BTreeMap<IncidentId, Arc<Incident>>,
    /// Minutes and names the store has not taken yet.
    unsaved_hot: (Vec<HotRow>, Vec<(HotKind, u64, String)>),
    /// Weights the store has not taken yet.
    unsaved_weights: Option<Box<StoredWeights>>,
    why: why::Why,
}

/// Starts the driver's thread; it ends with [`Event::Stop`] or when nobody can wake it any more.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(
    driver: Driver,
    events: mpsc::Receiver<Event>,
) -> anyhow::Result<std::thread::JoinHandle<()>> {
    let snapshot = Snapshot {
        started: wall_now(),
        wall: wall_now(),
        cluster: driver.cluster.clone(),
        ..Snapshot::default()
    };
    driver.snapshot.send_replace(Arc::new(snapshot));
    let state = Loop {
        driver,
        began: Instant::now(),
        is_replayed: false,
        ticks: 0,
        taps: Taps::default(),
        unsaved: BTreeMap::new(),
        unsaved_hot: Default::default(),
        unsaved_weights: None,
        why: why::Why::default(),
    };
    std::thread::Builder::new()
        .name("driver".to_owned())
        .spawn(move || state.run(events))
        .context("start the driver's thread")
}

/// Feeds the driver what comes by other queues (the store's, questions) and the clock, until one end is gone.
pub async fn feed(
    mut committed: mpsc::Receiver<Vec<Committed>>,
    mut questions: mpsc::Receiver<Question>,
    events: mpsc::Sender<Event>,
) {
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            biased;
            _ = clock.tick() => Event::Tick,
            Some(question) = questions.recv() => Event::Question(question),
            batch = committed.recv() => match batch {
                Some(batch) => Event::Committed(batch),
                None => break,
            },
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
    // The store has closed: nothing more will come.
    let _gone_already = events.send(Event::Stop).await;
}

impl Loop {
    fn run(mut self, mut events: mpsc::Receiver<Event>) {
        while let Some(event) = events.blocking_recv() {
            match event {
                Event::Committed(batch) => {
                    for committed in batch {
                        self.committed(committed);
                    }
                }
                Event::Heard {
                    node,
                    clock_offset_us,
                } => self.tell(Input::Heard {
                    node,
                    clock_offset_us,
                }),
                Event::Counted { node, messages } => {
                    let now = self.now();
                    self.driver.triggers.hear(&node, messages, now, wall_now());
                    self.tell_agents();
                }
                Event::Scored(scores) => self.tell(Input::Scored(scores)),
                Event::Save { done } => {
                    self.save();
                    self.save_why();
                    self.save_triggers();
                    let _nobody_waits = done.send(());
                }
                Event::Question(question) => self.answer(question),
                Event::Learned(known) => self.learned(known),
                Event::Tick => self.tick(),
                Event::Stop => break,
            }
        }
        let shards = self.driver.engine.shards();
        self.publish(shards);
    }

    fn committed(&mut self, committed: Committed) {
        match committed {
            Committed::Restored(incident) => self.tell(Input::Restored(incident)),
            Committed::Explained(id, why) => self.tell(Input::Explained(id, why)),
            Committed::Causes(cases) => {
                let is_new = false;
                self.tell(Input::Causes { cases, is_new });
            }
            Committed::HotName {
                kind,
                key,
                name,
                told,
            } => self.tell(Input::HotName {
                kind,
                key,
                name,
                told,
            }),
            Committed::Summary {
                node,
                summary,
                received,
                is_replay,
            } => self.tell(Input::Summary {
                node,
                summary,
                received,
                is_replay,
            }),
            Committed::Weights(kept) => {
                let StoredWeights { versions, labels } = *kept;
                self.tell(Input::Weights { versions, labels });
            }
            Committed::Triggers(kept) => {
                let now = self.now();
                self.driver.triggers.restore(kept, now, wall_now());
                self.tell_agents();
            }
            Committed::Stopped { node } => {
                // It has told all it counted and will not tell it again.
                self.save_triggers();
                self.tell(Input::Stopped { node });
            }
            Committed::ReplayDone => {
                self.tell(Input::ReplayDone { wall: wall_now() });
                self.is_replayed = true;
                let shards = self.driver.engine.shards();
                self.publish(shards);
            }
        }
    }

    fn now(&self) -> Monotonic {
        Monotonic(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Tells the engine and does what it says next.
    fn tell(&mut self, input: Input) {
        let now = self.now();
        self.taps.note(now, &input);
        self.driver.engine.handle(now, input);
        while let Some(output) = self.driver.engine.poll_output() {
            let (change, incident) = match output {
                Output::IncidentRaised(incident) => (IncidentChange::Raised, incident),
                Output::IncidentChanged(incident) => (IncidentChange::Changed, incident),
                Output::IncidentClosed(incident) => (IncidentChange::Closed, incident),
                Output::Explained(id, why) => {
                    self.explained(id, why);
                    continue;
                }
                Output::Causes(cases) => {
                    self.causes_changed(cases);
                    continue;
                }
                Output::Learn(cases) => {
                    self.learn(cases);
                    continue;
                }
                Output::Score(batch) => {
                    // Refused while one is under way: the engine judges without, and the scorer counts it.
                    self.driver.scorer.ask(*batch);
                    continue;
                }
            };
            self.incident(change, incident);
        }
    }

    fn incident(&mut self, change: IncidentChange, incident: Arc<Incident>) {
        self.driver.counters.count(Counter::IncidentEvents);
        if change != IncidentChange::Changed {
            tracing::info!(
                incident = format!("{:016x}", incident.id.0),
                root = %incident.root,
                change = ?change,
                summary = incident.summary,
                is_replay = !self.is_replayed,
                "incident"
            );
        }
        self.unsaved.insert(incident.id, Arc::clone(&incident));
        self.save();
        let event = IncidentEvent {
            change,
            incident,
            is_replay: !self.is_replayed,
        };
        // An error only says that nobody watches.
        let _ = self.driver.incidents.send(event);
    }

    /// Hands incidents to the store as far as it has room.
    fn save(&mut self) {
        while let Some((id, incident)) = self.unsaved.pop_first() {
            if self
                .driver
                .store
                .try_send(Command::Incident(Arc::clone(&incident)))
                .is_err()
            {
                self.unsaved.insert(id, incident);
                return;
            }
        }
    }

    /// Hands finished minutes of what was counted to the store; those that find no room wait.
    fn save_hot(&mut self, now: WallTime) {
        let engine = &mut self.driver.engine;
        let (rows, names) = &mut self.unsaved_hot;
        rows.extend(std::iter::from_fn(|| engine.poll_hot_row()));
        names.extend(std::iter::from_fn(|| engine.poll_hot_name()));
        if rows.is_empty() && names.is_empty() {
            return;
        }
        let (rows, names) = std::mem::take(&mut self.unsaved_hot);
        let refused = self
            .driver
            .store
            .try_send(Command::Hot { rows, names, now });
        if let Err(Command::Hot { rows, names, .. }) = refused {
            self.unsaved_hot = (rows, names);
        }
    }

    fn tick(&mut self) {
        self.ticks += 1;
        let wall = wall_now();
        // While replay goes on the engine's time is that of the replayed data.
        if self.is_replayed {
            self.tell(Input::Clock { wall });
        }
        self.save();
        self.save_why();
        self.save_hot(wall);
        self.save_weights();
        let (now, shards) = (self.now(), self.driver.engine.shards());
        self.driver.triggers.tick(&shards, now, wall);
        self.tell_agents();
        self.save_triggers();
        if self.ticks.is_multiple_of(GRAPH_EVERY_TICKS)
            && let Some(landmarks) = self.driver.engine.landmark_nodes()
        {
            self.driver.agents.assign(&landmarks);
        }
        // A full queue means that the store is busy; it will be asked again in a second.
        let _ = self.driver.store.try_send(Command::Maintain { now: wall });
        self.publish(shards);
    }

    fn publish(&mut self, shards: Vec<ShardView>) {
        let last = Arc::clone(&self.driver.snapshot.borrow());
        let engine = &self.driver.engine;
        let graph = if self.ticks.is_multiple_of(GRAPH_EVERY_TICKS) {
            Arc::new(engine.graph())
        } else {
            Arc::clone(&last.graph)
        };
        let snapshot = Snapshot {
            wall: wall_now(),
            started: last.started,
            cluster: last.cluster.clone(),
            shards,
            incidents: engine.incidents(),
            explanations: engine.explanations().into_iter().collect(),
            graph,
            armed: engine.armed(),
            is_replayed: self.is_replayed,
            agents: self.driver.agents.views(),
            store: self.driver.store_status.borrow().clone(),
            engine_counters: engine.counters(),
            triggers: self.driver.triggers.views(),
            trigger_totals: self.driver.triggers.totals(),
            inference: self.driver.scorer.status(),
        };
        self.driver.snapshot.send_replace(Arc::new(snapshot));
    }

    fn answer(&mut self, question: Question) {
        match question {
            Question::AddTrigger { spec, reply } => self.add_trigger(*spec, reply),
            Question::RemoveTrigger { name, reply } => self.remove_trigger(name, reply),
            Question::Feedback { id, word, reply } => self.feedback(id, word, reply),
            Question::PutCauses { cases, reply } => self.put_causes(cases, reply),
            Question::Causes { reply } => {
                let engine = &self.driver.engine;
                let _nobody_waits = reply.send((engine.causes(), engine.n_causes_shipped()));
            }
            Question::Why {
                shard,
                from,
                to,
                reply,
            } => {
                let why = self.driver.engine.why(&shard, from, to);
                let _nobody_waits = reply.send(why.map(Box::new));
            }
            Question::Accept { id, reply } => {
                self.tell(Input::Accepted(id));
                let shards = self.driver.engine.shards();
                self.publish(shards);
                let _nobody_waits = reply.send(());
            }
            Question::Series {
                key,
                shards,
                from,
                reply,
            } => {
                let _nobody_waits = reply.send(self.driver.engine.series(&key, &shards, from));
            }
            Question::Hot {
                shard,
                kind,
                limit,
                reply,
            } => {
                let lists = self.driver.engine.hot();
                let _nobody_waits = reply.send(lists.now(shard.as_ref(), kind, limit));
            }
            Question::HotSpan {
                stored,
                nodes,
                kind,
                span,
                limit,
                reply,
            } => {
                let lists = self.driver.engine.hot();
                let mut counts = *stored;
                // Of one shape, both of them.
                let _ = counts.merge(&lists.unfinished(&nodes, kind, span));
                let seconds = span.n_minutes().saturating_mul(MINUTE_S) as f64;
                let _nobody_waits = reply.send(lists.in_span(kind, &counts, seconds, limit));
            }
            Question::Weights(question) => self.answer_about_weights(question),
            Question::Record { reply } => {
                let now = self.now();
                let driver = &self.driver;
                let header = record::header(&driver.cluster, &driver.config, driver.engine.map());
                let tapped = self.taps.begin(header, now, wall_now());
                let _nobody_waits = reply.send(tapped);
            }
            Question::SeriesNames { node, reply } => {
                let _nobody_waits = reply.send(self.driver.engine.series_names(&node));
            }
        }
    }
}

fn wall_now() -> WallTime {
    crate::store::wall_now()
}
