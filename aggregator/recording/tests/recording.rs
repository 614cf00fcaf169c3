//! Recordings as files: what comes back, what is refused, what a played one gives.
#![expect(
    clippy::unwrap_used,
    reason = "a test file: helpers fail the test by panicking"
)]

use hsw_engine::{Config, Engine, IncidentId, Input, ShardEntry, ShardMap};
use hsw_fusion::Scores;
use hsw_recording::{Entry, Error, Header, Reader, Writer, play, rescore};
use hsw_simulator::{Fault, Injection, Scenario, Simulation, Topology};
use hsw_types::{Monotonic, NodeId, ShardId, WallTime, WindowIndex};
use proptest::prelude::*;
use std::collections::BTreeMap;

const START: i64 = 1_795_000_000;

fn header() -> Header {
    let entry = ShardEntry {
        shard: ShardId::new("shard-1").unwrap(),
        nodes: vec![NodeId::new("shard-1-a").unwrap()],
        is_router: false,
    };
    let map = ShardMap::new(vec![entry], true).unwrap();
    Header::new("0.1.0", "main", Config::default(), &map)
}

/// A small cluster with a held lock, as an engine hears it, and what the engine made of it.
fn lived(seconds: u32) -> (Vec<(Monotonic, Entry)>, Vec<String>) {
    let mut simulation = Simulation::new(Scenario {
        topology: Topology::test_bed(3),
        start: START,
        faults: vec![Injection::step(Fault::LockStorm, 1, 90, 130)],
        disturbances: Vec::new(),
    })
    .unwrap();
    let members = simulation.members().to_vec();
    let mut engine = Engine::new(Config::default(), ShardMap::new(Vec::new(), true).unwrap());
    let mut entries = Vec::new();
    let mut incidents = Vec::new();
    let mut tell = |at: u32, input: Input| {
        let now = Monotonic(u64::from(at) * 1_000_000);
        entries.push((now, Entry::of(&input).unwrap()));
        engine.handle(now, input);
        while let Some(output) = engine.poll_output() {
            incidents.push(format!("{output:?}"));
        }
    };
    let wall = |at: u32| WallTime::from_unix_seconds(START + i64::from(at) + 1);
    tell(0, Input::ReplayDone { wall: wall(0) });
    for at in 0..seconds {
        simulation.step(&mut |told| {
            // As it comes over the wire.
            let bytes = hsw_wire::encode_summary(&told.summary).unwrap();
            let node = members[told.node].node.clone();
            let summary = Box::new(hsw_wire::decode_summary(&bytes).unwrap());
            tell(
                at,
                Input::Summary {
                    node,
                    summary,
                    received: wall(at),
                    is_replay: false,
                },
            );
        });
        tell(at, Input::Clock { wall: wall(at) });
    }
    (entries, incidents)
}

fn written(entries: &[(Monotonic, Entry)]) -> Vec<u8> {
    let map = ShardMap::new(Vec::new(), true).unwrap();
    let header = Header::new("0.1.0", "simulated", Config::default(), &map);
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    for (now, entry) in entries {
        writer.push(*now, entry).unwrap();
    }
    let last = entries.last().map_or(Monotonic(0), |(now, _)| *now);
    writer.finish(last, 0).unwrap()
}

#[test]
fn a_played_recording_gives_the_incidents_of_the_engine_that_was_recorded() {
    let (entries, lived) = lived(180);
    assert!(!lived.is_empty(), "the lock is an incident");
    let bytes = written(&entries);
    let mut reader = Reader::new(bytes.as_slice()).unwrap();
    let mut engine = Engine::new(
        reader.header().config.clone(),
        reader.header().map().unwrap(),
    );
    let mut again = Vec::new();
    while let Some((now, entry)) = reader.read().unwrap() {
        let Some(input) = entry.into_input() else {
            continue;
        };
        engine.handle(now, input);
        while let Some(output) = engine.poll_output() {
            again.push(format!("{output:?}"));
        }
    }
    assert_eq!(lived, again);
    let played = play(Reader::new(bytes.as_slice()).unwrap()).unwrap();
    assert_eq!(played.lost, Some(0));
    assert_eq!(played.incidents[0].root.as_str(), "shard-2");
}

#[test]
fn a_recording_scored_anew_gives_the_same_incidents_and_says_how_far_the_scores_are_apart() {
    let (mut entries, _) = lived(180);
    // What a model said then, as it came: after the clock that asked for it.
    let scores = |window: WindowIndex, sick: f32, shards: &[ShardId]| Scores {
        window,
        shards: shards.to_vec(),
        sick: vec![sick; shards.len()],
        ..Scores::default()
    };
    let mut asked = Vec::new();
    let bytes = written(&entries);
    let read = |bytes: &[u8]| play(Reader::new(bytes).unwrap()).unwrap();
    let first = rescore(Reader::new(bytes.as_slice()).unwrap(), &mut |batch| {
        asked.push((batch.window, batch.shards.clone()));
        None
    })
    .unwrap();
    let found = first.rescored.unwrap();
    assert_eq!(found.n_batches as usize, asked.len());
    assert!(found.n_batches > 60 && found.n_scored == 0, "{found:?}");

    let (window, shards) = asked[5].clone();
    let at = entries.iter().position(|(now, _)| now.0 >= 170_000_000);
    let (now, _) = entries[at.unwrap()];
    entries.insert(
        at.unwrap(),
        (now, Entry::Scored(scores(window, 0.25, &shards))),
    );
    let bytes = written(&entries);
    let (last, last_shards) = asked.last().unwrap().clone();
    let (now, _) = *entries.last().unwrap();
    entries.push((now, Entry::Scored(scores(last, 0.25, &last_shards))));
    let second = rescore(
        Reader::new(written(&entries).as_slice()).unwrap(),
        &mut |batch| Some(scores(batch.window, 0.75, &batch.shards)),
    )
    .unwrap();
    let found = second.rescored.unwrap();
    assert_eq!(found.n_scored, found.n_batches);
    // The one of long ago waits no longer.
    assert_eq!(found.n_compared as usize, last_shards.len());
    assert!((found.difference_max - 0.5).abs() < 1e-6, "{found:?}");
    let incidents = |played: &hsw_recording::Played| format!("{:?}", played.incidents);
    assert_eq!(incidents(&second), incidents(&read(&bytes)));
}

#[test]
fn every_entry_comes_back_and_the_file_is_small() {
    let (mut entries, _) = lived(60);
    let node = NodeId::new("shard-1-a").unwrap();
    let now = Monotonic(60_000_000);
    entries.push((
        now,
        Entry::Heard {
            node: node.clone(),
            clock_offset_us: Some(-5),
        },
    ));
    entries.push((
        now,
        Entry::Heard {
            node: node.clone(),
            clock_offset_us: None,
        },
    ));
    entries.push((now, Entry::Stopped { node }));
    entries.push((now, Entry::Accepted(IncidentId(7))));
    let shards = vec![ShardId::new("shard-1").unwrap()];
    let (sick, soon) = (vec![0.25], vec![0.5]);
    let window = WindowIndex(7);
    let scores = Scores {
        window,
        reasons: BTreeMap::from([(shards[0].clone(), vec![("locks".to_owned(), 0.75)])]),
        shards,
        sick,
        soon,
    };
    entries.push((now, Entry::Scored(scores)));
    let bytes = written(&entries);
    assert!(bytes.len() < 120_000, "{} bytes", bytes.len());
    let mut reader = Reader::new(bytes.as_slice()).unwrap();
    for wanted in &entries {
        assert_eq!(reader.read().unwrap().as_ref(), Some(wanted));
    }
    assert_eq!(reader.read().unwrap(), Some((now, Entry::End { lost: 0 })));
    assert_eq!(reader.read().unwrap(), None);
}

#[test]
fn other_files_newer_versions_and_damage_are_told_apart() {
    let bytes = Writer::new(Vec::new(), &header())
        .unwrap()
        .finish(Monotonic(1), 2)
        .unwrap();
    let error = |bytes: &[u8]| match Reader::new(bytes) {
        Err(error) => error,
        Ok(mut reader) => loop {
            match reader.read() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("read to its end"),
                Err(error) => break error,
            }
        },
    };
    assert!(matches!(
        error(b"PK\x03\x04 something else"),
        Error::NotARecording
    ));
    let mut newer = bytes.clone();
    newer[7] = 9;
    assert!(matches!(error(&newer), Error::Version(9)));
    assert!(matches!(error(&bytes[..bytes.len() - 3]), Error::BrokenOff));
    let mut changed = bytes.clone();
    let at = changed.len() - 2;
    changed[at] ^= 1;
    assert!(matches!(error(&changed), Error::Damaged(_)));
    assert_eq!(Reader::new(bytes.as_slice()).unwrap().header(), &header());
}

proptest! {
    #[test]
    fn prop_any_bytes_are_a_recording_or_an_error(
        cut in 0_usize..400,
        changes in prop::collection::vec((0_usize..400, any::<u8>()), 0..4),
    ) {
        let mut bytes = Writer::new(Vec::new(), &header()).unwrap().finish(Monotonic(1), 2).unwrap();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len() - cut.min(bytes.len()));
        if let Ok(mut reader) = Reader::new(bytes.as_slice()) {
            while let Ok(Some(_)) = reader.read() {}
        }
    }
}
