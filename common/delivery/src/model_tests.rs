//! Both halves against a connection that breaks, repeats and loses its tail, while either side crashes.
//!
//! The model: the spool is a map that survives its process with an acknowledged position that may be older; the store is
//! a list of committed windows that survives its process. Whatever happens, at the end each window that was not dropped
//! is in the store once, in order, and what the receiver counts as lost is exactly what was dropped.

use std::collections::{BTreeMap, VecDeque};

use hsw_types::{Incarnation, Monotonic, NodeId, Sequence, WindowIndex};
use proptest::prelude::*;

use crate::{Config, Entry, Input, Output, Receiver, Sender, Verdict};

const LIFE: Incarnation = Incarnation(1);
const NOW: Monotonic = Monotonic(0);

#[derive(Debug, Clone)]
enum Step {
    Append { n_windows: u16 },
    Send,
    Deliver,
    Repeat,
    Commit,
    FailCommit,
    Ack,
    Break { kept: usize },
    Connect,
    CrashSender { acked_lag: u64 },
    CrashReceiver,
    DropOldest,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u16..4).prop_map(|n_windows| Step::Append { n_windows }),
        8 => Just(Step::Send),
        8 => Just(Step::Deliver),
        2 => Just(Step::Repeat),
        6 => Just(Step::Commit),
        1 => Just(Step::FailCommit),
        6 => Just(Step::Ack),
        2 => (0usize..4).prop_map(|kept| Step::Break { kept }),
        4 => Just(Step::Connect),
        1 => (0u64..4).prop_map(|acked_lag| Step::CrashSender { acked_lag }),
        1 => Just(Step::CrashReceiver),
        1 => Just(Step::DropOldest),
    ]
}

type Frame = (Sequence, WindowIndex, u16);

struct Model {
    node: NodeId,
    // The sender's side.
    sender: Sender,
    spool: BTreeMap<Sequence, (WindowIndex, u16)>,
    next: Sequence,
    next_window: WindowIndex,
    appended: Vec<i64>,
    dropped: Vec<Sequence>,
    // The connection.
    connected: bool,
    up: VecDeque<Frame>,
    down: VecDeque<Sequence>,
    last_delivered: Option<Frame>,
    // The receiver's side.
    receiver: Receiver,
    judged: Vec<Frame>,
    store: Vec<i64>,
    committed: Sequence,
}

impl Model {
    fn new() -> Self {
        Self {
            node: NodeId::new("n").unwrap(),
            sender: Sender::new(Config::default(), Sequence(0), Sequence(0)),
            spool: BTreeMap::new(),
            next: Sequence(1),
            next_window: WindowIndex(1000),
            appended: Vec::new(),
            dropped: Vec::new(),
            connected: false,
            up: VecDeque::new(),
            down: VecDeque::new(),
            last_delivered: None,
            receiver: Receiver::default(),
            judged: Vec::new(),
            store: Vec::new(),
            committed: Sequence(0),
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Append { n_windows } => self.append(*n_windows),
            Step::Send => self.send(),
            Step::Deliver => {
                if let Some(frame) = self.up.pop_front() {
                    self.deliver(frame);
                }
            }
            Step::Repeat => {
                if let Some(frame) = self.last_delivered {
                    self.deliver(frame);
                }
            }
            Step::Commit => self.commit(),
            Step::FailCommit => {
                self.receiver.rollback(&self.node);
                self.judged.clear();
                self.disconnect();
            }
            Step::Ack => {
                if let Some(sequence) = self.down.pop_front() {
                    assert!(sequence <= self.committed, "DE-2");
                    self.sender.handle(NOW, Input::Acked(sequence));
                    self.outputs();
                }
            }
            Step::Break { kept } => {
                let tail = self.up.len().min(*kept);
                for frame in self.up.drain(..tail).collect::<Vec<_>>() {
                    self.deliver(frame);
                }
                self.disconnect();
            }
            Step::Connect => self.connect(),
            Step::CrashSender { acked_lag } => {
                self.disconnect();
                let acked = Sequence(self.sender.acked_position().0.saturating_sub(*acked_lag));
                let newest = Sequence(self.next.0 - 1);
                self.sender = Sender::new(Config::default(), acked, newest);
            }
            Step::CrashReceiver => {
                self.disconnect();
                self.judged.clear();
                let entry = Entry {
                    node: self.node.clone(),
                    incarnation: LIFE,
                    sequence: self.committed,
                    last_window: self.store.last().map(|w| WindowIndex(*w)),
                };
                self.receiver = Receiver::restore((self.committed.0 > 0).then_some(entry));
            }
            Step::DropOldest => {
                // Whether something in the air is dropped or committed is a race; the model drops between connections.
                if let Some(first) = self.spool.keys().next().copied()
                    && !self.connected
                    && self.judged.is_empty()
                    && first > self.committed
                {
                    let (window, n) = self.spool.remove(&first).unwrap();
                    self.appended
                        .retain(|w| !(window.0..window.0 + i64::from(n)).contains(w));
                    self.dropped.push(first);
                }
            }
        }
    }

    fn append(&mut self, n_windows: u16) {
        let first = self.next_window;
        self.spool.insert(self.next, (first, n_windows));
        self.appended
            .extend(first.0..first.0 + i64::from(n_windows));
        self.next_window = first + i64::from(n_windows);
        self.sender.handle(NOW, Input::Appended(self.next));
        self.next = self.next.next();
    }

    fn send(&mut self) {
        self.outputs();
        while let Some(output) = self.sender.poll_output() {
            let Output::Send { after } = output else {
                panic!("{output:?}");
            };
            let found = self.spool.range(after.next()..).next();
            if let Some((sequence, (window, n))) = found {
                self.up.push_back((*sequence, *window, *n));
                let sequence = *sequence;
                self.sender.handle(NOW, Input::Sent(sequence));
                return;
            }
            self.sender.handle(NOW, Input::NothingToSend);
        }
    }

    /// Frees what may be freed; checks that it is committed (DE-1, DE-2).
    fn outputs(&mut self) {
        // A clone looks ahead, because a `Send` that is polled must be answered.
        while matches!(self.sender.clone().poll_output(), Some(Output::Release(_))) {
            let Some(Output::Release(sequence)) = self.sender.poll_output() else {
                unreachable!()
            };
            assert!(sequence <= self.committed, "freed before it was committed");
            self.spool.retain(|s, _| *s > sequence);
        }
    }

    fn deliver(&mut self, frame: Frame) {
        self.last_delivered = Some(frame);
        let (sequence, window, n) = frame;
        match self
            .receiver
            .judge(&self.node, LIFE, sequence, Some((window, n)))
        {
            Verdict::Accept { lost } => {
                let before = self.judged.last().map_or(self.committed, |f| f.0);
                let skipped = self
                    .dropped
                    .iter()
                    .filter(|s| **s > before && **s < sequence);
                let expected = if before.0 == 0 {
                    0
                } else {
                    skipped.count() as u64
                };
                assert_eq!(
                    lost, expected,
                    "what is counted as lost is what was dropped"
                );
                self.judged.push(frame);
            }
            Verdict::Duplicate => {
                if self.connected {
                    self.down.push_back(self.committed);
                }
            }
            Verdict::Overlap => panic!("one incarnation with rising windows cannot overlap"),
        }
    }

    fn commit(&mut self) {
        for (sequence, window, n) in std::mem::take(&mut self.judged) {
            self.store.extend(window.0..window.0 + i64::from(n));
            self.receiver
                .committed(&self.node, LIFE, sequence, window, n);
            self.committed = sequence;
        }
        if self.connected {
            self.down.push_back(self.committed);
        }
    }

    fn connect(&mut self) {
        self.disconnect();
        self.connected = true;
        let (last, _) = self.receiver.last(&self.node, LIFE);
        assert_eq!(last, self.committed);
        self.sender.handle(NOW, Input::Connected { last });
    }

    fn disconnect(&mut self) {
        self.connected = false;
        self.last_delivered = None;
        self.up.clear();
        self.down.clear();
        self.sender.handle(NOW, Input::Disconnected);
    }

    fn settle(&mut self) {
        for _ in 0..3 {
            self.connect();
            loop {
                self.send();
                let idle = self.up.is_empty();
                while let Some(frame) = self.up.pop_front() {
                    self.deliver(frame);
                }
                self.commit();
                while let Some(sequence) = self.down.pop_front() {
                    self.sender.handle(NOW, Input::Acked(sequence));
                    self.outputs();
                }
                if idle {
                    break;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn prop_each_window_is_committed_once_and_in_order(steps in prop::collection::vec(step(), 0..200)) {
        let mut model = Model::new();
        for step in &steps {
            model.run(step);
        }
        model.settle();
        prop_assert_eq!(&model.store, &model.appended);
        prop_assert!(model.spool.is_empty());
    }
}

/// Found by a fresh seed: the sender learned from the welcome what was committed, and crashed before it freed it.
#[test]
fn what_a_crash_left_unfreed_is_freed_by_the_next_life() {
    let mut model = Model::new();
    for step in [
        Step::Append { n_windows: 1 },
        Step::Connect,
        Step::Send,
        Step::Deliver,
        Step::Commit,
        Step::Connect,
        Step::CrashSender { acked_lag: 0 },
    ] {
        model.run(&step);
    }
    model.settle();
    assert!(model.spool.is_empty());
}
