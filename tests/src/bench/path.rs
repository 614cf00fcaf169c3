//! From one change of the interaction graph to the score: graph, watch (distances, landmarks), structure (what was expected).

use std::time::Instant;

use hsw_graph::{InteractionGraph, Watch};
use hsw_structure::{Place, Structure};
use hsw_types::{EdgeKind, EdgeSubject, NodeId, ShardId, WallTime};

use super::log_lines::Dice;
use super::{Figure, Report};

const N_SHARDS: u64 = 120;
const N_APPLICATIONS: u64 = 150;
const N_VERTICES: u64 = 5_120;
const N_CHANGES: usize = 300;

fn client(host: u64, application: u64) -> EdgeSubject {
    EdgeSubject {
        kind: EdgeKind::Client,
        peer: format!("10.0.{}.{}", host >> 8, host & 255),
        port: 0,
        user: format!("role-{application}"),
        application: format!("application-{application}"),
        database: String::new(),
    }
}

fn node(shard: u64) -> NodeId {
    NodeId::new(&format!("shard-{shard}-a")).expect("letters, digits and dashes")
}

fn place(node: &NodeId) -> Option<Place> {
    let shard = node.as_str().strip_suffix("-a")?;
    Some(Place {
        shard: ShardId::new(shard).ok()?,
        is_router: false,
    })
}

/// Applications of four shards each; each pod talks to some of them.
pub(super) fn path(report: &mut Report) {
    let mut dice = Dice::new(5);
    let mut graph = InteractionGraph::default();
    let (mut watch, mut structure) = (Watch::default(), Structure::default());
    let mut talk = |graph: &mut InteractionGraph, host: u64, n: u64, at_us: i64| {
        let application = host % N_APPLICATIONS;
        for _ in 0..n {
            let shard = (application * 7 + dice.below(6)) % N_SHARDS;
            graph.touch(
                &node(shard),
                &client(host, application),
                1.0,
                WallTime(at_us),
            );
        }
    };
    for host in 0..N_VERTICES - N_SHARDS {
        talk(&mut graph, host, 3, 0);
    }
    let began = Instant::now();
    watch.follow(&graph, WallTime(0));
    let first_s = began.elapsed().as_secs_f64();
    structure.follow(&graph, place, &watch, WallTime(0));
    let (mut all, mut watching, mut judging) = (Vec::new(), Vec::new(), Vec::new());
    let mut renewing = Vec::new();
    for change in 0..N_CHANGES {
        let at_us = 600_000_000 + change as i64 * 1_000_000;
        let host = N_VERTICES + change as u64;
        let began = Instant::now();
        talk(&mut graph, host, 1, at_us);
        watch.follow_changes(&graph, &|_| None, WallTime(at_us));
        let watched = began.elapsed();
        structure.follow(&graph, place, &watch, WallTime(at_us));
        let whole = began.elapsed();
        all.push(whole.as_secs_f64() * 1e3);
        watching.push(watched.as_secs_f64() * 1e3);
        judging.push((whole - watched).as_secs_f64() * 1e3);
        let began = Instant::now();
        watch.renew();
        renewing.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let of = format!(
        "{} vertices, {} edges",
        graph.vertices().len(),
        graph.n_edges()
    );
    let how = "a new pod's first edge: graph, distances, landmarks, verdict";
    report.add(Figure::of("change to score, ms", &all, how).at_most(1.0));
    report.add(Figure::of("of it graph and watch, ms", &watching, how));
    report.add(Figure::of("of it structure, ms", &judging, how));
    let longest = all.iter().copied().fold(0.0, f64::max);
    let how = "the longest of all";
    report.add(Figure::new("change to score at most, ms", longest, how).at_most(20.0));
    let how = "one slice a second, of a set chosen anew";
    report.add(Figure::of(
        "beside it a smaller set, ms a slice",
        &renewing,
        how,
    ));
    let (n, n_fresh) = (watch.landmarks().len(), watch.n_chosen_anew());
    let how = "landmarks kept by landmarks chosen from scratch, twins left together by both";
    let ratio = n as f64 / n_fresh.max(1) as f64;
    report.add(Figure::new("landmarks kept by a fresh choice", ratio, how).at_most(1.1));
    let (n_twins, n_classes) = watch.n_twins();
    let (n_alone, n_all) = watch.n_alone();
    report.note(format!(
        "change to score: {of}, {n} landmarks; {n_alone} of {n_all} vertices stand alone, {n_twins} in {n_classes} classes have the same neighbours; the first look took {first_s:.2} s"
    ));
}
