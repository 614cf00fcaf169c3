//! Every event against a search from scratch.

use super::*;
use proptest::prelude::*;

/// Ten thousand edges come and go; every event is held against a search from scratch.
#[test]
fn ten_thousand_events_leave_the_set_resolving_at_every_one_and_near_a_fresh_one() {
    let n = 300_u64;
    let mut state = 3_u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        (state >> 33) % below
    };
    let start = (1..n as u32)
        .map(|v| (random(u64::from(v)) as u32, v))
        .collect::<Vec<_>>();
    let mut tracked = Tracked::new(Topology::with_edges(n as usize, start));
    let (mut worst, mut since) = (0.0_f64, 0);
    for at in 0..10_000 {
        let (u, v) = (random(n) as u32, random(n) as u32);
        if tracked.graph().neighbours(u).binary_search(&v).is_ok() || tracked.graph().m() > 420 {
            let all = tracked.graph().neighbours(u);
            let Some(w) = all.get(random(all.len().max(1) as u64) as usize).copied() else {
                continue;
            };
            tracked.remove(u, w);
        } else {
            tracked.insert(u, v);
        }
        tracked.keep();
        assert!(tracked.is_resolved() && tracked.is_true(), "event {at}");
        since += 1;
        if since == 20 {
            since = 0;
            let fresh = tracked.chosen_anew();
            worst = worst.max(tracked.landmarks().len() as f64 / fresh.len() as f64);
            // What the shell does in the background.
            if tracked.landmarks().len() * 20 > fresh.len() * 21 {
                tracked.swap(fresh);
            }
        }
    }
    let ratio = tracked.landmarks().len() as f64 / tracked.chosen_anew().len() as f64;
    assert!(ratio <= 1.1, "{ratio}, at worst {worst} before a swap");
}

#[test]
fn closing_a_long_path_changes_half_of_it_and_needs_one_more() {
    let path = Topology::with_edges(2_000, (0..1_999).map(|v| (v, v + 1)));
    let mut tracked = Tracked::new(path);
    assert_eq!(tracked.landmarks().len(), 1);
    let changed = tracked.insert(0, 1_999);
    assert_eq!(changed.n_entries, 999);
    assert!(!tracked.is_resolved());
    assert_eq!(tracked.repair(), 1);
    assert!(tracked.is_resolved() && tracked.is_true());
    assert!(tracked.remove(0, 1_999).n_entries >= 999);
    assert!(tracked.is_true());
    assert_eq!(tracked.prune(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn prop_after_every_event_all_is_as_from_scratch_and_resolved(
        n in 2..40_u32,
        events in prop::collection::vec((0..40_u32, 0..40_u32, any::<bool>()), 1..120),
    ) {
        let mut tracked = Tracked::new(Topology::with_edges(n as usize, (1..n).map(|v| (v / 2, v))));
        for (at, (u, v, comes)) in events.into_iter().enumerate() {
            if comes {
                tracked.insert(u, v);
            } else {
                tracked.remove(u, v);
            }
            prop_assert!(tracked.is_true(), "event {}", at);
            tracked.repair();
            prop_assert!(tracked.is_resolved() && tracked.is_true());
            if at % 17 == 0 {
                tracked.prune();
                prop_assert!(tracked.is_resolved() && tracked.is_true());
            }
            let isolated = tracked.landmarks().iter().any(|l| tracked.graph().neighbours(*l).is_empty());
            prop_assert!(!isolated);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    /// Colours, a share of vertices, or any one landmark lost: after every event as from scratch.
    #[test]
    fn prop_colours_targets_and_losses_hold_after_every_event(
        n in 2..24_u32,
        first in prop::collection::vec(0..3_u32, 0..24),
        is_fault_tolerant: bool,
        target in prop::sample::select(vec![0.0, 0.5, 0.9, 1.0]),
        events in prop::collection::vec((0..24_u32, 0..24_u32, 0..4_u8), 1..60),
    ) {
        let aim = Aim { target, is_fault_tolerant, ..Aim::default() };
        let path = Topology::with_edges(n as usize, (1..n).map(|v| (v / 2, v)));
        let mut tracked = Tracked::aimed(path, &first, aim);
        prop_assert!(tracked.is_true() && tracked.is_reached());
        for (at, (u, v, event)) in events.into_iter().enumerate() {
            match event {
                0 => drop(tracked.remove(u, v)),
                1 => tracked.paint(u, v % 3),
                _ => drop(tracked.insert(u, v)),
            }
            prop_assert!(tracked.is_true(), "event {}", at);
            tracked.repair();
            if at % 7 == 0 {
                tracked.prune();
            }
            prop_assert!(tracked.is_true() && tracked.is_reached(), "event {}", at);
            let colours: Vec<u32> = (0..tracked.graph().n() as u32).map(|v| tracked.colour(v)).collect();
            let all = tracked.landmarks().to_vec();
            let lost = if is_fault_tolerant { all.len() + 1 } else { 1 };
            for lost in 0..lost {
                // The first round loses nobody.
                let rest: Vec<u32> = all.iter().copied().filter(|l| lost == 0 || *l != all[lost - 1]).collect();
                let matrix = Matrix::of(tracked.graph(), &rest);
                let mut vectors = std::collections::BTreeMap::new();
                let parts: Vec<u32> = (0..tracked.graph().n() as u32).filter(|v| !tracked.graph().neighbours(*v).is_empty()).collect();
                for v in &parts {
                    *vectors.entry((colours[*v as usize], matrix.row(*v))).or_insert(0) += 1;
                }
                let alone = vectors.values().filter(|n| **n == 1).count();
                let share = if is_fault_tolerant { 1.0 } else { target };
                prop_assert!(alone as f64 >= parts.len() as f64 * share, "{} of {} without {}", alone, parts.len(), lost);
            }
        }
    }
}

#[test]
fn colours_spare_landmarks_that_twins_of_different_colour_would_need() {
    let star = || Topology::with_edges(9, (1..9).map(|v| (0, v)));
    assert_eq!(Tracked::new(star()).landmarks().len(), 7);
    let colours: Vec<u32> = (0..9).map(|v| v / 2).collect();
    let mut tracked = Tracked::aimed(star(), &colours, Aim::default());
    // Pairs (0,1), (2,3), (4,5), (6,7) and 8 alone: the centre has another distance than its leaf to any landmark.
    assert_eq!(tracked.landmarks().len(), 3);
    (1..9).for_each(|v| tracked.paint(v, v));
    tracked.prune();
    assert_eq!(
        (tracked.landmarks().len(), tracked.is_resolved()),
        (0, true)
    );
}

/// Vertices by colour and distances, those with edges alone; the landmarks' distances from scratch.
fn classes(tracked: &Tracked) -> std::collections::BTreeMap<(u32, Vec<u16>), Vec<u32>> {
    let matrix = Matrix::of(tracked.graph(), tracked.landmarks());
    let mut classes = std::collections::BTreeMap::new();
    for v in (0..tracked.graph().n() as u32).filter(|v| tracked.has_edges(*v)) {
        let key = (tracked.colour(v), matrix.row(v).to_vec());
        classes.entry(key).or_insert_with(Vec::new).push(v);
    }
    classes
}

proptest! {
    /// After every event only twins share their distances, and nobody is without a landmark he can reach.
    #[test]
    fn prop_only_twins_stay_together_where_they_may(
        n in 2..14_u32,
        events in prop::collection::vec((0..16_u32, 0..16_u32, 0..8_u32), 1..50),
        colours in prop::collection::vec(0..3_u32, 16),
        swaps in 1..20_usize,
    ) {
        let first = events.iter().take(10).map(|(u, v, _)| (u % n, v % n));
        let aim = Aim { leaves_twins: true, ..Aim::default() };
        let mut tracked = Tracked::aimed(Topology::with_edges(n as usize, first), &colours, aim);
        for (at, (u, v, what)) in events.into_iter().enumerate() {
            let is_there = tracked.graph().neighbours(u).contains(&v);
            match what {
                0 => tracked.paint(u, v % 3),
                _ if is_there => drop(tracked.remove(u, v)),
                _ => drop(tracked.insert(u, v)),
            }
            if at % swaps == 0 {
                tracked.swap(tracked.chosen_anew());
            }
            tracked.keep();
            prop_assert!(tracked.is_true() && tracked.is_resolved(), "event {}", at);
            let all: Vec<u32> = (0..tracked.graph().n() as u32).collect();
            let colours: Vec<u32> = all.iter().map(|v| tracked.colour(*v)).collect();
            let mut twins = crate::twin_classes(tracked.graph(), Some(&colours));
            twins.retain(|class| tracked.has_edges(class[0]));
            let mut n_alone = 0;
            for ((_, distances), members) in classes(&tracked) {
                n_alone += usize::from(members.len() == 1);
                prop_assert!(distances.iter().any(|d| *d != crate::FAR), "{:?} have no place", members);
                let is_twins = twins.iter().any(|class| members.iter().all(|v| class.contains(v)));
                prop_assert!(members.len() == 1 || is_twins, "{:?} are no twins", members);
            }
            prop_assert_eq!(tracked.n_alone(), n_alone);
            prop_assert_eq!(tracked.n_twins(), (twins.iter().map(Vec::len).sum(), twins.len()));
        }
    }
}

#[test]
fn a_hundred_pods_of_each_shard_cost_a_landmark_or_two_and_not_ninety_nine() {
    // Vertices 0 to 9 are shards of a colour each, the rest clients of one of them each.
    let edges = (10..1_010).map(|pod| (pod % 10, pod));
    let ring = (0..10).map(|shard| (shard, (shard + 1) % 10));
    let graph = || Topology::with_edges(1_010, edges.clone().chain(ring.clone()));
    let colours: Vec<u32> = (0..1_010).map(|v| if v < 10 { v + 1 } else { 0 }).collect();
    let apart = Tracked::aimed(graph(), &colours, Aim::default());
    assert_eq!(apart.landmarks().len(), 990);
    let aim = Aim {
        leaves_twins: true,
        ..Aim::default()
    };
    let together = Tracked::aimed(graph(), &colours, aim);
    assert!(
        together.landmarks().len() <= 3,
        "{:?}",
        together.landmarks()
    );
    assert_eq!(
        (together.n_twins(), together.is_resolved()),
        ((1_000, 10), true)
    );
}
