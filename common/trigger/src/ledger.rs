//! Counters and rounds of a fixed set of triggers over the nodes of a tree. (ALGORITHMS 2.2, 2.6)
//!
//! In: the canonical nodes and the rest of each trigger's threshold; paths of weighted elements. Out: which triggers an
//! element matures, and by how much it went over.
//! Invariants: LE-1 a trigger matures with the element that reaches its threshold, never before and never after. LE-2
//! what a trigger has got is the sum over its canonical nodes. LE-3 an element moves one counter of a trigger at most.
//! Limits: an element costs its path, plus O(log n) per signal, plus O(1) per trigger in its direct phase.
//! Source: Qiao, Gan, Tao, SIGMOD 2016, section 4, with two changes. Slack: the paper gives each node λ = rest/2h and ends
//! the round with the h-th signal. Here node u gets λ_u by the share it is expected to get, and the round ends once the
//! signals (each worth its λ_u) have brought `rest - Σλ_u`; before that the rest is not reached, because what is not
//! signalled is at most `Σ(λ_u - 1)`. Nodes then run out together, and a round takes a few signals instead of h. In the direct phase, where the paper asks for the exact sum at each
//! hit, the hit is subtracted: that is plain stabbing (`choose`) and needs no counter.
//! Does not: know keys, ranges or ids.

use crate::choose::Rule;
use crate::range::WEIGHT_MAX;
use crate::shelf::{Entry, Shelves, Slack};
use crate::slack::Step;

/// What the hot path reads at a node: 16 bytes, four to a cache line.
#[derive(Debug, Clone, Copy)]
struct Hot {
    count: u64,
    /// The counter's value that somebody waits for; 0 where a trigger is told of every hit.
    next: u64,
}

/// What a trigger's signals touch.
#[derive(Debug, Clone, Copy)]
struct Tracked {
    /// What signals may bring until the round ends; 0 in the direct phase.
    credit: u64,
    version: u16,
    /// Where its canonical nodes begin.
    n_nodes: u32,
    first: u32,
}

/// A canonical node of a trigger.
#[derive(Debug, Clone, Copy)]
struct Part {
    node: u32,
    /// Of the node: how often the key space was halved above it.
    depth: u32,
    /// The counter when the round began.
    base: u64,
}

/// Part of the rest of a threshold that a round hands out as slack by expected share: less, and rounds end early; more,
/// and one signal of a small node ends them. Ours, not swept; any sum with [`EVENLY`] below 5/6 keeps credit above 0.
const SHARED: f64 = 0.7;
/// Part handed out evenly, so that a node that gets more than expected does not signal for little.
const EVENLY: f64 = 0.1;

/// The ledger.
#[derive(Debug)]
pub(crate) struct Ledger {
    hot: Vec<Hot>,
    shelves: Shelves,
    tracked: Vec<Tracked>,
    /// Left of each threshold when the round began; in the direct phase, now; 0 once gone. Apart, because each hit of a
    /// direct trigger touches it and nothing else.
    remaining: Vec<u64>,
    parts: Vec<Part>,
    n_alive: usize,
    rule: Rule,
    due: Vec<u32>,
    slacks: Vec<Slack>,
    /// Weight of all elements.
    total: u64,
}

impl Ledger {
    /// Begins with triggers whose canonical nodes `canonical` appends, with `remaining` left of each (≥ 1).
    /// O(Σ canonical nodes).
    pub(crate) fn new(
        n_nodes: usize,
        rule: Rule,
        remaining: &[u64],
        mut canonical: impl FnMut(usize, &mut Vec<(u32, u32)>),
    ) -> Self {
        let mut n_at = vec![0; n_nodes];
        let mut parts = Vec::new();
        let mut tracked = Vec::with_capacity(remaining.len());
        let mut nodes = Vec::new();
        for query in 0..remaining.len() {
            nodes.clear();
            canonical(query, &mut nodes);
            tracked.push(Tracked {
                credit: 0,
                version: 0,
                first: parts.len() as u32,
                n_nodes: nodes.len() as u32,
            });
            for &(node, depth) in &nodes {
                n_at[node as usize] += 1;
                let base = 0;
                parts.push(Part { node, depth, base });
            }
        }
        let nobody = Hot {
            count: 0,
            next: u64::MAX,
        };
        let mut ledger = Self {
            hot: vec![nobody; n_nodes],
            shelves: Shelves::new(&n_at),
            n_alive: tracked.len(),
            tracked,
            remaining: remaining.to_vec(),
            parts,
            rule,
            due: Vec::new(),
            slacks: Vec::new(),
            total: 0,
        };
        for query in 0..ledger.tracked.len() {
            ledger.begin(query, true);
        }
        ledger.shelves.order();
        for node in 0..n_nodes {
            ledger.hot[node].next = ledger.next(node);
        }
        ledger
    }

    /// Triggers that have neither matured nor been terminated.
    pub(crate) const fn n_alive(&self) -> usize {
        self.n_alive
    }

    /// Whether the counters have come so far that the next element might overflow one: time to begin anew.
    pub(crate) const fn is_full(&self) -> bool {
        self.total >= WEIGHT_MAX
    }

    /// Adds an element's weight (at most [`WEIGHT_MAX`]) to the nodes of its path; appends each trigger that matures
    /// with what it got beyond its threshold.
    pub(crate) fn add(&mut self, path: &[u32], weight: u64, matured: &mut Vec<(u32, u64)>) {
        if path.is_empty() {
            return;
        }
        self.total += weight;
        self.rule.see(weight);
        let mut due = std::mem::take(&mut self.due);
        for &node in path {
            let hot = &mut self.hot[node as usize];
            hot.count += weight;
            if hot.count >= hot.next {
                due.push(node);
            }
        }
        for node in due.drain(..) {
            self.serve(node as usize, weight, matured);
        }
        self.due = due;
    }

    /// Tells direct triggers of the hit and takes the signals that are due at a node.
    fn serve(&mut self, node: usize, weight: u64, matured: &mut Vec<(u32, u64)>) {
        let Self {
            shelves,
            tracked,
            remaining,
            n_alive,
            ..
        } = self;
        if shelves.n_direct(node) > 0 {
            shelves.each_direct(node, |entry| {
                // Once direct, a trigger stays so: its entries are stale only when it is gone.
                let left = &mut remaining[entry.query as usize];
                if *left > weight {
                    *left -= weight;
                    return true;
                }
                if *left > 0 {
                    matured.push((entry.query, weight - *left));
                    *left = 0;
                    let query = &mut tracked[entry.query as usize];
                    query.version = query.version.wrapping_add(1);
                    *n_alive -= 1;
                }
                false
            });
        }
        let count = self.hot[node].count;
        while let Some(entry) = self.shelves.first(node).filter(|entry| entry.at <= count) {
            let query = &mut self.tracked[entry.query as usize];
            if query.version != entry.version {
                self.shelves.pop(node);
                continue;
            }
            let slack = entry.slack.get();
            let signalled = ((count - entry.at) / slack + 1) * slack;
            if signalled >= query.credit {
                self.shelves.pop(node);
                self.end_round(entry.query as usize, matured);
            } else {
                query.credit -= signalled;
                self.shelves.put_off(node, entry.at + signalled);
            }
        }
        self.hot[node].next = self.next(node);
    }

    /// Collects a trigger's counters: it matures, or another round begins. O(h log n).
    fn end_round(&mut self, query: usize, matured: &mut Vec<(u32, u64)>) {
        let got = self.collect(query, true);
        let tracked = &mut self.tracked[query];
        tracked.version = tracked.version.wrapping_add(1);
        let left = &mut self.remaining[query];
        if got >= *left {
            matured.push((query as u32, got - *left));
            *left = 0;
            self.n_alive -= 1;
        } else {
            *left -= got;
            self.begin(query, false);
        }
    }

    /// What a trigger got since its round began.
    fn collect(&mut self, query: usize, is_end: bool) -> u64 {
        let range = parts_of(&self.tracked[query]);
        let mut got = 0;
        for part in &mut self.parts[range] {
            let count = self.hot[part.node as usize].count;
            got += count - part.base;
            if is_end {
                part.base = count;
            }
        }
        got
    }

    /// Puts a trigger's next signals, or the trigger itself, on its nodes. The bases are those of [`Self::collect`].
    fn begin(&mut self, query: usize, is_building: bool) {
        let Self {
            hot,
            shelves,
            tracked,
            remaining,
            parts,
            rule,
            slacks,
            ..
        } = self;
        let (one, left) = (&mut tracked[query], remaining[query]);
        let h = u64::from(one.n_nodes);
        let is_direct = Step::of(left, h, rule.factor()) == Step::Direct;
        let parts = &parts[parts_of(one)];
        // Expected shares: what the nodes have got and, as if that were a thousand elements, what their sizes are.
        let prior = rule.mean() as f64 * 1_000.0;
        let score = |part: &Part| {
            let halves = f64::from_bits((1_023 - u64::from(part.depth.min(1_000))) << 52);
            hot[part.node as usize].count as f64 + prior * halves
        };
        let scores: f64 = parts.iter().map(score).sum();
        let shared = left as f64 * SHARED / scores;
        let evenly = left as f64 * EVENLY / h as f64;
        let slack_of = |part| Slack::new(((shared * score(part) + evenly) as u64).max(1));
        slacks.clear();
        slacks.extend(parts.iter().map(slack_of));
        let handed_out: u64 = slacks.iter().map(|slack| slack.get()).sum();
        one.credit = if is_direct {
            0
        } else {
            left.saturating_sub(handed_out)
        };
        let one = *one;
        let is_current = |entry: &Entry| tracked[entry.query as usize].version == entry.version;
        for (part, &slack) in parts.iter().zip(&*slacks) {
            let node = part.node as usize;
            let entry = Entry {
                at: part.base + slack.get(),
                query: query as u32,
                version: one.version,
                slack,
            };
            if one.credit == 0 {
                shelves.push_direct(node, entry, is_current);
                hot[node].next = 0;
            } else if is_building {
                shelves.fill(node, entry);
            } else {
                shelves.push(node, entry, is_current);
                hot[node].next = hot[node].next.min(entry.at);
            }
        }
    }

    fn next(&self, node: usize) -> u64 {
        if self.shelves.n_direct(node) > 0 {
            return 0;
        }
        self.shelves.first(node).map_or(u64::MAX, |first| first.at)
    }

    /// What is left of a trigger's threshold; 0 once it has matured or been terminated. O(h).
    pub(crate) fn remaining(&self, query: usize) -> u64 {
        let tracked = &self.tracked[query];
        let left = self.remaining[query];
        if tracked.credit == 0 || left == 0 {
            return left;
        }
        let parts = &self.parts[parts_of(tracked)];
        let got = parts
            .iter()
            .map(|part| self.hot[part.node as usize].count - part.base);
        left - got.sum::<u64>()
    }

    /// Forgets a trigger. O(1): what waits for it goes when it surfaces.
    pub(crate) fn terminate(&mut self, query: usize) {
        let (tracked, left) = (&mut self.tracked[query], &mut self.remaining[query]);
        if *left > 0 {
            *left = 0;
            tracked.version = tracked.version.wrapping_add(1);
            self.n_alive -= 1;
        }
    }
}

fn parts_of(tracked: &Tracked) -> std::ops::Range<usize> {
    let first = tracked.first as usize;
    first..first + tracked.n_nodes as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One trigger over ten nodes of equal depth: slack 800 each, credit 2,000.
    fn ten_nodes() -> Ledger {
        Ledger::new(10, Rule::new(1), &[10_000], |_, out| {
            out.extend((0..10).map(|node| (node, 3)));
        })
    }

    #[test]
    fn a_heavy_element_counts_for_each_slack_it_brings() {
        let mut ledger = ten_nodes();
        let mut matured = Vec::new();
        ledger.add(&[0], 1_999, &mut matured);
        for node in 1..10 {
            ledger.add(&[node], 799, &mut matured);
        }
        ledger.add(&[0], 400, &mut matured);
        ledger.add(&[0], 401, &mut matured);
        assert_eq!((ledger.remaining(0), matured.len()), (9, 0));
        ledger.add(&[0], 11, &mut matured);
        assert_eq!(matured, [(0, 2)]);
    }

    #[test]
    fn what_a_trigger_has_got_is_the_sum_over_its_nodes_in_every_phase() {
        let mut ledger = ten_nodes();
        let mut matured = Vec::new();
        let mut sum = 0;
        for i in 0..3_000_u64 {
            let weight = i % 9;
            ledger.add(&[(i * i % 10) as u32], weight.max(1), &mut matured);
            sum += weight.max(1);
            assert_eq!(ledger.remaining(0), 10_000_u64.saturating_sub(sum));
            assert_eq!(matured.len(), usize::from(sum >= 10_000));
        }
        ledger.terminate(0);
        assert_eq!(ledger.n_alive(), usize::from(matured.is_empty()));
    }
}
