//! Where the time of requests goes: spans of normal and of abnormal requests. (step 12)
//!
//! In: spans with parents. Out: per entity how surprising its own time, the way to it and the way from it are, in nats.
//! Each moment of a request inside a service belongs to the deepest span that is open, of equally deep ones to the latest: a
//! span is charged with what no other explains. A span whose children run in another service is a call, and what it takes
//! beyond them is the way there and back: it needs no common clock. The way speaks about both its ends, most about the end
//! that all slow ways share: [`Slow::of`].
//! Invariants: SP-1 spans of a service in one trace are charged together what their union lasts, calls aside.
//! SP-2 the order of spans changes nothing. Limits: parents are followed 256 levels; O(n log n).

use std::collections::{BTreeMap, BTreeSet};

use crate::counts::Count;
use crate::surprise::{Bad, Usual};

/// One span. Numbers stand for names, the same in normal and abnormal time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// When it began, microseconds.
    pub start_us: f64,
    /// How long it took, microseconds.
    pub duration_us: f64,
    /// Number of its service.
    pub service: u32,
    /// Number of its operation.
    pub operation: u32,
    /// Its request.
    pub trace: u64,
    /// Itself.
    pub id: u64,
    /// What it is part of.
    pub parent: Option<u64>,
}

/// Spans of normal and abnormal requests.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Spans {
    /// Names of services, by number; they are entities.
    pub services: Vec<String>,
    /// Names of operations, by number.
    pub operations: Vec<String>,
    /// Of normal requests.
    pub normal: Vec<Span>,
    /// Of abnormal ones.
    pub abnormal: Vec<Span>,
}

/// Parents beyond this depth count as roots.
const DEPTH_MAX: usize = 256;
/// A duration is unusual when it is off by about as much as is usual. Ours: swept 0.25–2 of the median, equal.
const FLOOR: f64 = 1.0;
/// Nothing shorter is worth telling: the clocks of most tracers tick in tenths of milliseconds.
const LEAST_US: f64 = 100.0;
/// Normal and calm observations every mean is given: few calls say little. Ours: swept 0–10, equal.
const PRIOR: f64 = 3.0;

/// A part of requests: an operation's own time, or the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    /// Where the time is charged: the service, or the caller.
    from: u32,
    /// The callee, when it is a way.
    to: Option<u32>,
    operation: u32,
}

/// How slow the parts of requests are that touch a service, each a mean in nats.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Slow {
    /// Its own operations.
    pub(crate) own: f64,
    /// Calls that reach it, beyond what it says they took.
    pub(crate) to: f64,
    /// Calls that it makes, beyond what the callees say they took.
    pub(crate) from: f64,
}

impl Slow {
    /// By service, those with normal and abnormal time of the same part. O(n log n).
    pub(crate) fn of(spans: &Spans) -> BTreeMap<u32, Self> {
        let normal = parts(&spans.normal);
        let mut sums: BTreeMap<u32, [(f64, f64); 3]> = BTreeMap::new();
        for (part, durations) in parts(&spans.abnormal) {
            let known = normal.get(&part).map(Vec::as_slice).unwrap_or_default();
            let Some(usual) = Usual::of(known, FLOOR, LEAST_US, 1) else {
                continue;
            };
            let all = durations.iter().map(|d| usual.surprise(*d, Bad::Up));
            let (nats, n) = (all.sum::<f64>(), durations.len() as f64);
            let mut add = |service: u32, role: usize| {
                let sum = &mut sums.entry(service).or_default()[role];
                *sum = (sum.0 + nats, sum.1 + n);
            };
            match part.to {
                None => add(part.from, 0),
                Some(to) => {
                    add(to, 1);
                    add(part.from, 2);
                }
            }
        }
        let mean = |(nats, n): (f64, f64)| nats / (n + PRIOR);
        let slow = |(service, [own, to, from]): (u32, [(f64, f64); 3])| {
            let slow = Self {
                own: mean(own),
                to: mean(to),
                from: mean(from),
            };
            (service, slow)
        };
        sums.into_iter().map(slow).collect()
    }
}

/// Callers and callees, as spans have them, without repetition.
pub(crate) fn calls(spans: &Spans) -> BTreeSet<(u32, u32)> {
    let mut calls = BTreeSet::new();
    for spans in [&spans.normal, &spans.abnormal] {
        let services: BTreeMap<(u64, u64), u32> =
            spans.iter().map(|s| ((s.trace, s.id), s.service)).collect();
        for span in spans {
            let parent = span.parent.and_then(|id| services.get(&(span.trace, id)));
            if let Some(caller) = parent.filter(|caller| **caller != span.service) {
                calls.insert((*caller, span.service));
            }
        }
    }
    calls
}

/// How often each operation led to each other one: requests that end early or go elsewhere, whatever the traffic.
pub(crate) fn children(spans: &Spans) -> Vec<Count> {
    /// An operation of a service.
    type Place = (u32, u32);
    let mut ofs: BTreeMap<Place, [u64; 2]> = BTreeMap::new();
    let mut seen: BTreeMap<(Place, Place), [u64; 2]> = BTreeMap::new();
    for (time, spans) in [&spans.normal, &spans.abnormal].into_iter().enumerate() {
        let place = |span: &Span| (span.service, span.operation);
        let places: BTreeMap<(u64, u64), Place> =
            spans.iter().map(|s| ((s.trace, s.id), place(s))).collect();
        for span in spans {
            ofs.entry(place(span)).or_default()[time] += 1;
            if let Some(parent) = span.parent.and_then(|id| places.get(&(span.trace, id))) {
                seen.entry((*parent, place(span))).or_default()[time] += 1;
            }
        }
    }
    let name =
        |names: &[String], number: u32| names.get(number as usize).cloned().unwrap_or_default();
    let count = |((parent, child), [normal, abnormal]): ((Place, Place), [u64; 2])| {
        let [of_normal, of_abnormal] = ofs[&parent];
        let (from, to) = (
            name(&spans.operations, parent.1),
            name(&spans.operations, child.1),
        );
        Count {
            entity: name(&spans.services, parent.0),
            what: format!("spans: {from} → {to}"),
            is_error: false,
            normal,
            abnormal,
            of_normal,
            of_abnormal,
        }
    };
    seen.into_iter().map(count).collect()
}

/// Durations by part, microseconds, ascending.
fn parts(spans: &[Span]) -> BTreeMap<Part, Vec<f64>> {
    let places: BTreeMap<(u64, u64), usize> = spans
        .iter()
        .enumerate()
        .map(|(at, span)| ((span.trace, span.id), at))
        .collect();
    let parent = |at: usize| -> Option<usize> {
        let id = spans[at].parent?;
        places.get(&(spans[at].trace, id)).copied()
    };
    // What each call's callees say they took, and the first of them.
    let mut callees: BTreeMap<usize, (f64, Part)> = BTreeMap::new();
    for (at, span) in spans.iter().enumerate() {
        let Some(caller) = parent(at).filter(|p| spans[*p].service != span.service) else {
            continue;
        };
        let part = Part {
            from: spans[caller].service,
            to: Some(span.service),
            operation: span.operation,
        };
        let known = callees.entry(caller).or_insert((0.0, part));
        known.0 += span.duration_us;
        known.1 = known.1.min(part);
    }
    let own = own_times(spans, &depths(spans, parent));
    let mut parts: BTreeMap<Part, Vec<f64>> = BTreeMap::new();
    for (at, span) in spans.iter().enumerate() {
        let (part, duration_us) = match callees.get(&at) {
            Some((theirs_us, part)) => (*part, (span.duration_us - theirs_us).max(0.0)),
            None => {
                let part = Part {
                    from: span.service,
                    to: None,
                    operation: span.operation,
                };
                (part, own[at])
            }
        };
        if duration_us.is_finite() {
            parts.entry(part).or_default().push(duration_us);
        }
    }
    for durations in parts.values_mut() {
        durations.sort_by(f64::total_cmp);
    }
    parts
}

/// How many spans each one lies in.
fn depths(spans: &[Span], parent: impl Fn(usize) -> Option<usize>) -> Vec<usize> {
    let mut depths: Vec<Option<usize>> = vec![None; spans.len()];
    let mut path = Vec::new();
    for at in 0..spans.len() {
        let mut next = Some(at);
        let mut depth = 0;
        while let Some(here) = next {
            if let Some(known) = depths[here] {
                depth = known + 1;
                break;
            }
            if path.len() >= DEPTH_MAX {
                break;
            }
            path.push(here);
            next = parent(here);
        }
        while let Some(here) = path.pop() {
            depths[here] = Some(depth);
            depth += 1;
        }
    }
    depths.into_iter().map(Option::unwrap_or_default).collect()
}

/// The time each span is charged with among those of its service and trace, microseconds.
fn own_times(spans: &[Span], depths: &[usize]) -> Vec<f64> {
    let mut groups: BTreeMap<(u64, u32), Vec<usize>> = BTreeMap::new();
    for (at, span) in spans.iter().enumerate() {
        groups
            .entry((span.trace, span.service))
            .or_default()
            .push(at);
    }
    let mut own = vec![0.0; spans.len()];
    for group in groups.values_mut() {
        // In order of who is charged first; by id where nothing else tells, so that the order of rows does not matter.
        group.sort_by(|a, b| {
            depths[*a]
                .cmp(&depths[*b])
                .then(spans[*a].start_us.total_cmp(&spans[*b].start_us))
                .then(spans[*a].id.cmp(&spans[*b].id))
        });
        let mut events: Vec<(f64, bool, usize)> = Vec::with_capacity(2 * group.len());
        for (rank, at) in group.iter().enumerate() {
            let span = &spans[*at];
            events.push((span.start_us, true, rank));
            events.push((span.start_us + span.duration_us.max(0.0), false, rank));
        }
        events.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        let mut open = BTreeSet::new();
        let mut before = f64::NAN;
        for (now, is_start, rank) in events {
            if let Some(charged) = open.last() {
                own[group[*charged]] += now - before;
            }
            before = now;
            if is_start {
                open.insert(rank);
            } else {
                open.remove(&rank);
            }
        }
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: u64, parent: u64, service: u32, start_us: f64, duration_us: f64) -> Span {
        Span {
            start_us,
            duration_us,
            service,
            operation: service,
            trace: 1,
            id,
            parent: (parent > 0).then_some(parent),
        }
    }

    #[test]
    fn a_moment_belongs_to_the_deepest_then_the_latest_open_span() {
        // Two children beside each other: the second began later and is charged while both are open.
        let spans = [
            span(1, 0, 0, 0.0, 100.0),
            span(2, 1, 0, 10.0, 50.0),
            span(3, 1, 0, 40.0, 40.0),
        ];
        let depths = depths(&spans, |at| (at > 0).then_some(0));
        assert_eq!(own_times(&spans, &depths), [30.0, 30.0, 40.0]);
    }

    #[test]
    fn a_call_is_charged_with_what_its_callee_does_not_explain() {
        // The callee's clock is an hour ahead.
        let spans = [span(1, 0, 0, 0.0, 100.0), span(2, 1, 1, 3.6e9, 70.0)];
        let parts = parts(&spans);
        let way = Part {
            from: 0,
            to: Some(1),
            operation: 1,
        };
        assert_eq!(parts[&way], [30.0]);
        assert_eq!(parts.len(), 2);
    }

    #[test]
    fn parents_that_turn_in_circles_end() {
        let spans = [span(1, 2, 0, 0.0, 5.0), span(2, 1, 0, 0.0, 5.0)];
        assert_eq!(parts(&spans).values().map(Vec::len).sum::<usize>(), 2);
        let spans = [span(7, 7, 0, 0.0, 5.0)];
        assert_eq!(parts(&spans).len(), 1);
    }

    #[test]
    fn the_callee_of_slow_ways_is_told_from_callers_with_other_ways() {
        let mut spans = Spans::default();
        for n in 0..20 {
            let slow = if n < 10 { 1.0 } else { 200.0 };
            let into = if n < 10 {
                &mut spans.normal
            } else {
                &mut spans.abnormal
            };
            let ways = [(1, 1_000.0 * slow), (2, 1_000.0)];
            for (callee, way_us) in ways {
                let id = 100 * n + 10 * u64::from(callee);
                let call = span(id, 0, 0, 0.0, 2_000.0 + way_us);
                let trace = id;
                into.push(Span { trace, ..call });
                let answer = span(id + 1, id, callee, 0.0, 2_000.0);
                into.push(Span { trace, ..answer });
            }
        }
        let slow = Slow::of(&spans);
        assert!(slow[&1].to > 5.0 && slow[&2].to < 0.1, "{slow:?}");
        assert!(slow[&0].from < slow[&1].to, "{slow:?}");
    }
}
