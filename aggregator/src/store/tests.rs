//! The store against crashes, full disks, duplicates and its own limits. (step 7)

use std::path::Path;
use std::sync::Arc;

use hsw_engine::{IncidentId, IncidentState};
use hsw_explain::NamedCase;
use hsw_types::{
    NodeFacts, NodeId, SeriesDef, SeriesId, SeriesKey, SeriesValues, ShardSummary, WallTime,
    WindowIndex,
};
use proptest::prelude::*;
use tokio::sync::{mpsc, oneshot, watch};

use super::commit::{Batch, Outcome};
use super::stored_incident::tests::incident;
use super::worker::Effect;
use super::*;
use crate::shared::{Counter, Counters, Matcher};

const SECOND_US: i64 = 1_000_000;
/// Any moment will do: no test reads the clock but those that start the thread.
const START_US: i64 = 1_700_000_000 * SECOND_US;

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn summary(window: i64, names: bool) -> ShardSummary {
    let id = SeriesId(0);
    ShardSummary {
        first_window: WindowIndex(window),
        n_windows: 2,
        dictionary_epoch: 9,
        facts: names.then(NodeFacts::default),
        dictionary: if names {
            vec![SeriesDef {
                id,
                key: SeriesKey::node("pg.commits"),
            }]
        } else {
            Vec::new()
        },
        series: vec![SeriesValues {
            id,
            values: vec![Some(1.0), None],
        }],
        latencies: Vec::new(),
        log_samples: Vec::new(),
        sources: Vec::new(),
        hot: Vec::new(),
    }
}

fn received(name: &str, sequence: u64, at_us: i64, summary: ShardSummary) -> Received {
    Received {
        node: node(name),
        incarnation: u64::MAX - 3,
        sequence,
        payload: hsw_wire::encode_summary(&summary).unwrap(),
        summary: Some(Box::new(summary)),
        received: WallTime(at_us),
        ack: watch::Sender::new(0),
    }
}

fn plain(name: &str, sequence: u64) -> Received {
    let at = i64::try_from(sequence).unwrap();
    received(
        name,
        sequence,
        START_US + at * SECOND_US,
        summary(at * 2, false),
    )
}

fn open(dir: &Path, config: Config) -> Store {
    Store::open(dir, config, Arc::new(Counters::default())).unwrap()
}

fn commit(store: &mut Store, batch: &[Received]) -> Vec<Outcome> {
    let mut under_way = Batch::begin(&mut store.connection, &mut store.marks).unwrap();
    let outcomes = batch
        .iter()
        .map(|received| under_way.summary(received).unwrap())
        .collect();
    under_way.commit().unwrap();
    outcomes
}

fn replayed(store: &Store, since: i64) -> Vec<Committed> {
    let mut told = Vec::new();
    store
        .replay(WallTime(since), &mut |committed| told.push(committed))
        .unwrap();
    told
}

/// Stored sequences of each node, in row order.
fn stored(store: &Store) -> Vec<(String, i64)> {
    let mut statement = store
        .connection
        .prepare(
            "SELECT name, sequence FROM summary JOIN node ON node.id = summary.node ORDER BY summary.id",
        )
        .unwrap();
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    rows.map(Result::unwrap).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Batches of two agents that resend from anywhere; the power fails at any commit: what lies on disk then is copied
    /// away (as kill -9 would leave it) and opened as the store of the next life.
    #[test]
    fn prop_no_acknowledged_summary_is_lost_or_stored_twice(
        steps in prop::collection::vec((0..2_usize, 1..5_u64, 0..4_u64, prop::bool::weighted(0.25), prop::bool::ANY), 1..25)
    ) {
        let mut dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path(), Config::default());
        let mut acknowledged = [0_u64; 2];
        for (agent, n, back, crashes, before_commit) in steps {
            let name = ["a", "b"][agent];
            let first = (acknowledged[agent] + 1).saturating_sub(back).max(1);
            let batch: Vec<Received> = (first..first + n).map(|sequence| plain(name, sequence)).collect();
            if crashes && before_commit {
                let mut under_way = Batch::begin(&mut store.connection, &mut store.marks).unwrap();
                for received in &batch {
                    under_way.summary(received).unwrap();
                }
                let copy = copy_of(dir.path());
                drop(under_way);
                store = open(copy.path(), Config::default());
                dir = copy;
                continue;
            }
            commit(&mut store, &batch);
            acknowledged[agent] = acknowledged[agent].max(first + n - 1);
            if crashes {
                let copy = copy_of(dir.path());
                store = open(copy.path(), Config::default());
                dir = copy;
            }
        }
        let found = stored(&store);
        for (agent, name) in ["a", "b"].into_iter().enumerate() {
            let sequences: Vec<i64> = found.iter().filter(|(n, _)| n == name).map(|(_, s)| *s).collect();
            let expected: Vec<i64> = (1..=i64::try_from(acknowledged[agent]).unwrap()).collect();
            prop_assert_eq!(sequences, expected);
        }
        drop(dir);
    }
}

/// What the disk holds at this moment, while the file is open and written.
fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

#[test]
fn replay_gives_the_first_summary_the_names_told_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), Config::default());
    let named = received("a", 1, START_US, summary(0, true));
    let bare: Vec<Received> = (2..=200).map(|sequence| plain("a", sequence)).collect();
    commit(&mut store, &[named]);
    commit(&mut store, &bare);

    let since = START_US + 150 * SECOND_US;
    let told: Vec<ShardSummary> = replayed(&store, since)
        .into_iter()
        .filter_map(|committed| match committed {
            Committed::Summary {
                summary,
                received,
                is_replay: true,
                ..
            } => {
                assert!(received.0 >= since);
                Some(*summary)
            }
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 51);
    assert_eq!(told[0].first_window, WindowIndex(300));
    assert_eq!(told[0].dictionary.len(), 1);
    assert!(told[0].facts.is_some());
    assert!(told[1].dictionary.is_empty());
}

#[test]
fn replay_tells_of_a_silent_node_and_of_one_that_said_goodbye() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), Config::default());
    commit(
        &mut store,
        &[received("silent", 1, START_US, summary(0, true))],
    );
    let later = START_US + 3_600 * SECOND_US;
    commit(
        &mut store,
        &[received("well", 1, later, summary(3_600, true))],
    );
    let mut batch = Batch::begin(&mut store.connection, &mut store.marks).unwrap();
    batch.set_stopped(&node("well"), true).unwrap();
    batch.commit().unwrap();
    drop(store);

    let store = open(dir.path(), Config::default());
    let told: Vec<String> = replayed(&store, later - SECOND_US)
        .iter()
        .map(|committed| match committed {
            Committed::Summary { node, .. } => format!("summary {node}"),
            Committed::Stopped { node } => format!("stopped {node}"),
            Committed::Restored(_) => "restored".to_owned(),
            Committed::HotName { name, .. } => format!("name {name}"),
            Committed::Weights(kept) => format!("{} versions", kept.versions.len()),
            Committed::Triggers(kept) => format!("{} triggers", kept.len()),
            Committed::Explained(id, _) => format!("why {}", id.0),
            Committed::Causes(cases) => format!("{} causes", cases.len()),
            Committed::ReplayDone => "done".to_owned(),
        })
        .collect();
    assert_eq!(
        told,
        [
            "0 triggers",
            "summary silent",
            "summary well",
            "stopped well",
            "done"
        ]
    );
}

#[test]
fn retention_by_age_deletes_the_old_and_keeps_the_young_and_the_marks() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        keep_days: 1,
        ..Config::default()
    };
    let mut store = open(dir.path(), config.clone());
    let batch: Vec<Received> = (1..=100).map(|sequence| plain("a", sequence)).collect();
    commit(&mut store, &batch);
    let now = WallTime(START_US + (86_400 + 51) * SECOND_US);
    let gone = retention::step(&store.connection, &config, now).unwrap();
    assert_eq!(gone, 50);
    assert_eq!(stored(&store).first().unwrap().1, 51);
    drop(store);
    let mut store = open(dir.path(), config);
    assert_eq!(commit(&mut store, &[plain("a", 3)]), [Outcome::Duplicate]);
}

#[test]
fn retention_by_size_deletes_the_oldest_and_gives_the_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        size_max_mib: 1,
        ..Config::default()
    };
    let mut store = open(dir.path(), config.clone());
    let batch: Vec<Received> = (1..=6_000)
        .map(|sequence| {
            let mut received = plain("a", sequence);
            received.payload = vec![7; 600];
            received
        })
        .collect();
    commit(&mut store, &batch);
    let before = retention::status(&store.connection).unwrap();
    for _ in 0..3 {
        retention::step(&store.connection, &config, WallTime(START_US)).unwrap();
    }
    let after = retention::status(&store.connection).unwrap();
    let first = stored(&store).first().unwrap().1;
    // The pages of the other tables count too.
    assert!((4_001..4_900).contains(&first), "{first}");
    assert!(
        before.bytes > 3 << 20 && after.bytes < before.bytes / 2,
        "{before:?} {after:?}"
    );
}

#[test]
fn incidents_and_silences_outlive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), Config::default());
    let old = incident(1, 1_000, IncidentState::Closed);
    let mut new = incident(u64::MAX, 2_000, IncidentState::Open);
    let silence = Silence {
        id: 0,
        matchers: vec![Matcher {
            label: "shard".to_owned(),
            value: "shard-1".to_owned(),
        }],
        reason: "rebuild".to_owned(),
        author: "ops".to_owned(),
        created: WallTime(START_US),
        expires: WallTime(START_US + 60 * SECOND_US),
    };
    let mut batch = Batch::begin(&mut store.connection, &mut store.marks).unwrap();
    batch.incident(&old).unwrap();
    batch.incident(&new).unwrap();
    new.revision -= 1;
    new.summary = "an older story".to_owned();
    batch.incident(&new).unwrap();
    let id = batch.add_silence(&silence).unwrap();
    batch.commit().unwrap();
    drop(store);

    let store = open(dir.path(), Config::default());
    let found = store.answer_incidents(10, None).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].summary, "shard-1: commits fell");
    assert_eq!(*found[1], old);
    let before = store
        .answer_incidents(10, Some(WindowIndex(2_000)))
        .unwrap();
    assert_eq!(before.len(), 1);
    let restored = replayed(&store, START_US).len();
    assert_eq!(restored, 4, "triggers, two incidents and the end of replay");

    let in_force = commit::silences(&store.connection, WallTime(START_US)).unwrap();
    assert_eq!(
        in_force,
        [Silence {
            id,
            ..silence.clone()
        }]
    );
    let expired = commit::silences(&store.connection, silence.expires).unwrap();
    assert!(expired.is_empty());
}

/// Nothing was stored before.
async fn replay_is_over(committed: &mut mpsc::Receiver<Vec<Committed>>) {
    let triggers = committed.recv().await.unwrap();
    assert!(matches!(&triggers[..], [Committed::Triggers(kept)] if kept.is_empty()));
    let done = committed.recv().await.unwrap();
    assert!(matches!(done[..], [Committed::ReplayDone]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_acknowledges_nothing_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let counters = Arc::new(Counters::default());
    let config = Config {
        gather_ms: 1,
        ..Config::default()
    };
    let store = Store::open(dir.path(), config, Arc::clone(&counters)).unwrap();
    let pages: i64 = store
        .connection
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    store
        .connection
        .pragma_update(None, "max_page_count", pages + 2)
        .unwrap();
    let (driver, mut committed) = mpsc::channel(16);
    let mut running = start(store, driver).unwrap();
    replay_is_over(&mut committed).await;

    let mut big = plain("a", 1);
    big.payload = vec![1; 200_000];
    let mut ack = big.ack.subscribe();
    running.handle.summary(big).await.unwrap();
    running
        .status
        .wait_for(|status| status.trouble.is_some())
        .await
        .unwrap();
    let trouble = running.status.borrow().trouble.clone().unwrap();
    assert!(
        trouble.contains("full") && trouble.contains("data_dir"),
        "{trouble}"
    );
    assert_eq!(*ack.borrow_and_update(), 0);
    assert!(counters.value(Counter::CommitFailures) >= 1);
    assert_eq!(counters.value(Counter::Summaries), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_summary_is_kept_and_acknowledged_but_told_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Config::default());
    let (driver, mut committed) = mpsc::channel(16);
    let running = start(store, driver).unwrap();
    replay_is_over(&mut committed).await;
    let mut torn = plain("a", 1);
    torn.payload = vec![0xff; 10];
    torn.summary = None;
    let mut ack = torn.ack.subscribe();
    running.handle.summary(torn).await.unwrap();
    running.handle.summary(plain("a", 2)).await.unwrap();
    ack.changed().await.unwrap();
    let told = committed.recv().await.unwrap();
    assert!(
        matches!(&told[..], [Committed::Summary { summary, .. }] if summary.first_window.0 == 4)
    );
    running.handle.close().await;
    running.thread.join().unwrap();
    let store = open(dir.path(), Config::default());
    assert_eq!(stored(&store).len(), 2);
}

#[test]
fn a_batch_that_could_not_be_written_is_written_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), Config::default());
    let room = |store: &Store, pages: i64| {
        store
            .connection
            .pragma_update(None, "max_page_count", pages)
            .unwrap();
    };
    room(&store, 1);
    let mut batch: Vec<Command> = (1..=3)
        .map(|sequence| {
            let mut big = plain("a", sequence);
            big.payload = vec![1; 200_000];
            Command::Summary(Box::new(big))
        })
        .collect();
    assert!(store.transact(&mut batch).is_err());
    assert_eq!(batch.len(), 3);
    assert!(stored(&store).is_empty());
    room(&store, 1_000_000);
    let effects = store.transact(&mut batch).unwrap();
    let acks = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Ack(..)))
        .count();
    assert_eq!(acks, 3);
    assert_eq!(stored(&store).len(), 3);
}

#[test]
fn explanations_and_named_cases_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), Config::default());
    let incident = incident(7, 1_000_000, IncidentState::Closed);
    let why = stored_explanation::example(1_000_000);
    let named = NamedCase {
        cause: "backup".to_owned(),
        ..why.case.clone()
    };
    let (reply, mut answer) = oneshot::channel();
    let mut commands = vec![
        Command::Incident(Arc::new(incident)),
        Command::Explained(IncidentId(7), Arc::clone(&why)),
        Command::Causes {
            cases: Arc::new(vec![named.clone()]),
            replies: vec![reply],
        },
    ];
    for effect in store.transact(&mut commands).unwrap() {
        if let Effect::Answer(answer) = effect {
            answer();
        }
    }
    assert_eq!(answer.try_recv(), Ok(()));
    drop(store);

    let store = open(dir.path(), Config::default());
    let told = replayed(&store, START_US);
    let causes = told.iter().find_map(|committed| match committed {
        Committed::Causes(cases) => Some(cases.clone()),
        _ => None,
    });
    assert_eq!(causes, Some(vec![named]));
    let read = told.iter().find_map(|committed| match committed {
        Committed::Explained(id, read) => Some((*id, read.clone())),
        _ => None,
    });
    assert_eq!(read, Some((IncidentId(7), Box::new((*why).clone()))));
}
