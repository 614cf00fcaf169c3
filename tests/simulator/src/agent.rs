//! A simulated agent: the production pipeline over what the simulated sources tell. (steps 1–4)
//!
//! In: a [`Node`] after its second. Out: summaries, as the agent of a real node makes them. Log lines go through the production
//! assembler and classifier as text. Does not: ship.

use std::collections::VecDeque;
use std::sync::Arc;

use hsw_pipeline::{
    Assembler, ClassifierConfig, Config, Counted, CountedKind, Input, LogClassifier, LogFormat,
    Output, Pipeline, TenantKey,
};
use hsw_types::{
    Monotonic, NodeFacts, Reading, ShardSummary, SourceState, SourceStatus, WallTime, key_of,
};

use crate::edges::Edges;
use crate::keys::{Keys, Series};
use crate::log;
use crate::node::{Kind, Node, Reach};
use crate::observe::{Before, Out, observe};

/// Readings of a second: room for them is made once.
const READINGS: usize = 160;
/// Statements and tables are counted every tenth second.
const COUNTS_EVERY: u32 = 10;

/// See the module's header.
pub(crate) struct Agent {
    pipeline: Pipeline,
    classifier: LogClassifier,
    assembler: Assembler,
    edges: Edges,
    before: Before,
    said: Option<SourceState>,
    facts: NodeFacts,
    told_life: u64,
    fingerprints: Vec<(u64, Arc<str>)>,
    counted: [f64; 4],
    offset: u64,
    buffer: String,
    n_bytes: u64,
}

impl Agent {
    /// `number` tells nodes' clocks apart: they are not in step.
    pub(crate) fn new(facts: NodeFacts, edges: Edges, number: u64) -> Self {
        let fingerprints = STATEMENTS
            .iter()
            .map(|text| (key_of(text), Arc::from(*text)))
            .collect();
        Self {
            pipeline: Pipeline::new(Config {
                dictionary_epoch: number + 1,
                ..Config::default()
            }),
            classifier: LogClassifier::new(ClassifierConfig::default()),
            assembler: Assembler::new(LogFormat::Json),
            edges,
            before: Before::default(),
            said: None,
            facts,
            told_life: 0,
            fingerprints,
            counted: [0.0; 4],
            offset: number,
            buffer: String::new(),
            n_bytes: 0,
        }
    }

    /// What the second `at` (from the begin; `second` of Unix time) brings; summaries are appended.
    pub(crate) fn second(
        &mut self,
        node: &mut Node,
        keys: &Keys,
        (at, second): (u32, i64),
        out: &mut VecDeque<ShardSummary>,
    ) {
        let phase = 50_000 + (self.offset * 37_003 % 400_000) as i64;
        let wall = WallTime(second * 1_000_000 + phase);
        let now = Monotonic(u64::from(at) * 1_000_000 + 500_000);
        // Half of the agents begin a second later: their summaries cover other pairs of windows.
        if u64::from(at) < self.offset % 2 {
            return;
        }
        self.facts(node, now);
        self.status(node, now);
        let mut readings = Out {
            keys,
            readings: Vec::with_capacity(READINGS),
            epoch: 1,
        };
        observe(
            node,
            &mut self.before,
            at.wrapping_add(self.offset as u32),
            &mut readings,
        );
        let mut readings = readings.readings;
        if node.reach == Reach::Up && (u64::from(at) + self.offset).is_multiple_of(2) {
            self.edges.tell(node, &mut readings);
        }
        self.log(node, second, keys, now, &mut readings);
        self.pipeline
            .handle(now, Input::Readings { at: wall, readings });
        if node.reach == Reach::Up
            && (u64::from(at) + self.offset).is_multiple_of(u64::from(COUNTS_EVERY))
        {
            let counts = self.counts(node);
            self.pipeline.handle(now, Input::Counts(counts));
        }
        self.pipeline
            .handle(now, Input::Clock(WallTime(second * 1_000_000 + 1_300_000)));
        while let Some(Output::Summary { summary, .. }) = self.pipeline.poll_output() {
            out.push_back(*summary);
        }
    }

    fn facts(&mut self, node: &Node, now: Monotonic) {
        if self.told_life == node.life {
            return;
        }
        self.told_life = node.life;
        self.facts.database_started += i64::try_from(node.life).unwrap_or(0);
        let facts = Box::new(self.facts.clone());
        self.pipeline.handle(now, Input::Facts(facts));
        for source in ["cgroup", "host", "instance", "log", "sockets"] {
            let status = status(source, SourceState::Ok, "");
            self.pipeline.handle(now, Input::Status(status));
        }
    }

    fn status(&mut self, node: &Node, now: Monotonic) {
        let (state, message) = match node.reach {
            Reach::Up => (SourceState::Ok, ""),
            Reach::Silent(since) if since < 2 => return,
            Reach::Silent(_) => (SourceState::Silent, "no answer within 1500 ms"),
            Reach::Down | Reach::Gone => (SourceState::Unreachable, "connection refused"),
        };
        if self.said != Some(state) {
            self.said = Some(state);
            let status = status("postgres", state, message);
            self.pipeline.handle(now, Input::Status(status));
        }
    }

    fn log(
        &mut self,
        node: &mut Node,
        second: i64,
        keys: &Keys,
        now: Monotonic,
        readings: &mut Vec<Reading>,
    ) {
        let at = WallTime::from_unix_seconds(second);
        let (assembler, classifier, n_bytes) =
            (&mut self.assembler, &mut self.classifier, &mut self.n_bytes);
        let mut buffer = std::mem::take(&mut self.buffer);
        if matches!(node.reach, Reach::Up | Reach::Down) {
            log::lines(node, second, &mut buffer, &mut |line| {
                assembler.line(*n_bytes, line.as_bytes(), &mut |record| {
                    classifier.record(at, record)
                });
                *n_bytes += line.len() as u64 + 1;
            });
        }
        self.buffer = buffer;
        for renamed in classifier.take_renamed() {
            self.pipeline.handle(now, Input::Renamed(renamed));
        }
        let told = classifier.take_statements();
        if !told.is_empty() {
            self.pipeline.handle(now, Input::Statements(told));
        }
        for sample in classifier.take_samples() {
            self.pipeline.handle(now, Input::Log(sample));
        }
        classifier.tick(readings);
        readings.push(Reading::gauge(keys.of(Series::LogLag), 0.0));
    }

    /// Calls by statement, rows by table, as the database counts them.
    fn counts(&mut self, node: &Node) -> Vec<Counted> {
        let totals = &node.totals;
        let now = [
            totals.commits - totals.updated,
            totals.updated,
            totals.inserted,
            totals.fetched / 6.0,
        ];
        let mut counts = Vec::with_capacity(7);
        let mut put = |kind, key, name: &Arc<str>, n: f64| {
            if n >= 1.0 {
                let name = Arc::clone(name);
                counts.push(Counted { kind, key, name, n });
            }
        };
        let mut all = 0.0;
        for ((key, text), (now, before)) in
            self.fingerprints.iter().zip(now.iter().zip(&self.counted))
        {
            let n = (now - before).max(0.0).round();
            all += n;
            put(CountedKind::Fingerprint, *key, text, n);
        }
        self.counted = now;
        let shop: Arc<str> = Arc::from("shop");
        put(CountedKind::Looked, 0, &shop, 1.0);
        put(
            CountedKind::Tenant(TenantKey::Database),
            key_of("shop"),
            &shop,
            all,
        );
        if node.kind == Kind::Primary {
            let table: Arc<str> = Arc::from("shop.public.accounts");
            put(CountedKind::Table, key_of(&table), &table, 2.0 * all);
        }
        counts
    }
}

const STATEMENTS: [&str; 4] = [
    "select balance, id, note from public.accounts where customer_no = $1",
    "update public.accounts set balance = $1, updated_at = $2 where ctid = $3",
    "insert into public.accounts(balance, customer_no, id, note, region) values ($1)",
    "select count(*), sum(amount) from tenant_1.orders where customer_id = $1",
];

fn status(source: &str, state: SourceState, message: &str) -> SourceStatus {
    SourceStatus {
        source: source.to_owned(),
        state,
        dropped: 0,
        message: message.to_owned(),
    }
}
