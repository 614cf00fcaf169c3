//! Models of a few nodes through the real library: opened, warmed, scored, swapped, refused. (step 11)
//!
//! Without the library each test says so and passes: deploy/onnxruntime brings it.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::print_stderr, reason = "a test that skips says so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hsw_fusion::{Batch, Scores, quantise};
use hsw_inference::{Config, Device, Error, Found, Model, Provider, Runtime, Scorer, find};
use hsw_types::{ShardId, WindowIndex};
use sha2::{Digest as _, Sha256};

const LAYOUT: &str = "test/1/0";
const WAIT: Duration = Duration::from_secs(20);

/// The library of this checkout; `None`, and a line that says so, where there is none.
fn runtime() -> Option<Runtime> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let here = root.join(".ort/libonnxruntime.so");
    let configured = here.is_file().then_some(here.as_path());
    match find(configured).expect("what is configured is there") {
        Some(found) => Some(Runtime::start(&found, Device::Auto, 1).expect("the library loads")),
        None => {
            eprintln!("skipped: no ONNX Runtime here, run deploy/onnxruntime");
            None
        }
    }
}

/// Writes `model` of tests/data with its card into the folder, as `name`.
fn put(folder: &Path, name: &str, model: &str, change: impl Fn(String) -> String) -> PathBuf {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let bytes = fs::read(data.join(format!("{model}.onnx"))).unwrap();
    put_bytes(folder, name, &bytes, change)
}

fn put_bytes(
    folder: &Path,
    name: &str,
    bytes: &[u8],
    change: impl Fn(String) -> String,
) -> PathBuf {
    let sum: String = Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let card = format!(
        r#"{{"format":1,"name":"{name}","file":"{name}.onnx","sha256":"{sum}","layout":"{LAYOUT}",
        "enabled":true,"why":"a test",
        "inputs":[{{"name":"history","dims":[-1,2,3]}},{{"name":"edges","dims":[2,-1]}}],
        "outputs":[{{"name":"sick","dims":[-1]}},{{"name":"soon","dims":[-1]}}],
        "bounds":{{"difference_mean_max":0.05,"verdicts_differ_max":0.3}}}}"#
    );
    fs::write(folder.join(format!("{name}.onnx")), bytes).unwrap();
    let path = folder.join(format!("{name}.json"));
    fs::write(&path, change(card)).unwrap();
    path
}

/// The card of a model that reads history alone and says `sick` alone.
fn plain(card: String) -> String {
    card.replace(r#",{"name":"edges","dims":[2,-1]}"#, "")
        .replace(r#",{"name":"soon","dims":[-1]}"#, "")
}

fn batch(n: usize, window: i64) -> Batch {
    let value = |i: usize| ((i * 7919) % 13) as f32 / 13.0 - 0.5;
    Batch {
        window: WindowIndex(window),
        shards: (0..n)
            .map(|i| ShardId::new(&format!("s{i}")).unwrap())
            .collect(),
        n_steps: 2,
        n_features: 3,
        history: (0..n * 6).map(value).collect(),
        // Repeated pairs add up.
        edges: vec![(0, 1), (0, 1), (2, 1)],
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[test]
fn all_shards_are_scored_in_one_batch_and_edges_that_repeat_add_up() {
    let Some(runtime) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let card = put(folder.path(), "mean", "mean", |card| card);
    let mut model = Model::open(&runtime, &card, LAYOUT).unwrap();
    for n in [3, 100, 2_000] {
        let batch = batch(n, 7);
        let scores = model.score(&batch).unwrap();
        let means: Vec<f32> = batch
            .history
            .chunks(6)
            .map(|row| row.iter().sum::<f32>() / 6.0)
            .collect();
        let sick: Vec<f32> = means.iter().map(|&m| quantise(sigmoid(m))).collect();
        assert_eq!((scores.window, scores.sick), (WindowIndex(7), sick));
        let received = sigmoid(2.0 * means[0] + means[2]);
        assert!((scores.soon[1] - quantise(received)).abs() < 0.04);
        // Row 0 gets the edge to itself that stands for none.
        assert_eq!(scores.soon.len(), n);
    }
    let nobody = model.score(&Batch {
        n_steps: 2,
        n_features: 3,
        ..Batch::default()
    });
    assert!(nobody.unwrap().sick.is_empty());
}

#[test]
fn a_batch_of_another_shape_is_an_error() {
    let Some(runtime) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let card = put(folder.path(), "mean", "mean", |card| card);
    let mut model = Model::open(&runtime, &card, LAYOUT).unwrap();
    let mut narrow = batch(3, 0);
    narrow.n_features = 2;
    narrow.history.truncate(12);
    assert!(matches!(model.score(&narrow), Err(Error::Score { .. })));
    let mut beyond = batch(3, 0);
    beyond.edges.push((0, 3));
    assert!(matches!(model.score(&beyond), Err(Error::Score { .. })));
    assert!(
        model.score(&batch(3, 0)).is_ok(),
        "and the model still works"
    );
}

#[test]
fn whatever_a_model_file_is_it_is_an_error_that_says_why() {
    let Some(runtime) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let refused = |card: PathBuf| {
        Model::open(&runtime, &card, LAYOUT)
            .unwrap_err()
            .to_string()
    };
    for (model, why) in [
        ("nan", "no probability"),
        ("beyond", "no probability"),
        ("some", "0 values for 16"),
    ] {
        let error = refused(put(at, model, model, plain));
        assert!(error.contains(why), "{model}: {error}");
    }
    for (from, to, why) in [
        ("[-1,2,3]", "[-1,2,4]", "has sizes"),
        ("[-1,2,3]", "[-1,2,-1]", "cannot have sizes"),
        ("history", "secrets", "not known here"),
        (r#"{"name":"sick""#, r#"{"name":"ill""#, "no output `sick`"),
        (r#",{"name":"edges","dims":[2,-1]}"#, "", "has 2 inputs"),
        (
            r#"{"name":"soon","dims":[-1]}"#,
            r#"{"name":"later","dims":[-1]}"#,
            "has no `later`",
        ),
    ] {
        let card = put(at, "mean", "mean", |card| card.replace(from, to));
        let error = refused(card);
        assert!(error.contains(why), "{to}: {error}");
    }
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mean.onnx");
    let whole = fs::read(data).unwrap();
    // Torn anywhere, overwritten anywhere, or nothing like a model: an error or a model, never the end of the process.
    for cut in (0..whole.len()).step_by(7) {
        let card = put_bytes(at, "torn", &whole[..cut], |card| card);
        assert!(
            Model::open(&runtime, &card, LAYOUT).is_err(),
            "cut at {cut}"
        );
    }
    for place in (0..whole.len()).step_by(11) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x5a;
        let card = put_bytes(at, "other", &bytes, |card| card);
        let _either = Model::open(&runtime, &card, LAYOUT);
    }
    for bytes in [&b""[..], b"\x00", &[0xff; 4_096], b"not a model"] {
        refused(put_bytes(at, "noise", bytes, |card| card));
    }
}

#[test]
fn a_library_that_is_none_is_an_error_and_a_gpu_is_never_pretended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libonnxruntime.so");
    fs::write(&path, "text").unwrap();
    let found = Found { path, by: "a test" };
    let error = Runtime::start(&found, Device::Cpu, 1)
        .unwrap_err()
        .to_string();
    assert!(error.contains("deploy/onnxruntime"), "{error}");
    let Some(runtime) = runtime() else { return };
    let library = runtime.library().clone();
    if runtime.provider() == Provider::Cpu {
        assert!(runtime.without_gpu().is_some(), "it is said why");
        let found = Found {
            path: library,
            by: "a test",
        };
        let error = Runtime::start(&found, Device::Gpu, 1).unwrap_err();
        assert!(matches!(error, Error::Gpu(_)));
    }
}

fn scorer(runtime: Runtime, models: &Path, n_shadow: u32) -> (Scorer, Receiver<Scores>) {
    let (send, scores) = channel();
    let config = Config {
        models: models.to_owned(),
        layout: LAYOUT.to_owned(),
        n_shadow,
    };
    let deliver = move |scores| drop(send.send(scores));
    (Scorer::start(runtime, config, deliver).unwrap(), scores)
}

/// Scores so many batches, one after the other.
fn play(scorer: &Scorer, scores: &Receiver<Scores>, n: i64) -> Scores {
    let mut last = Scores::default();
    for window in 0..n {
        assert!(scorer.ask(batch(5, window)));
        last = scores.recv_timeout(WAIT).expect("scores come");
        assert_eq!(last.window, WindowIndex(window));
    }
    last
}

#[test]
fn a_new_model_takes_over_after_it_has_agreed_beside_the_old_one() {
    let Some(runtime) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    put(at, "a", "mean", |card| card);
    let (scorer, scores) = scorer(runtime, at, 5);
    let old = play(&scorer, &scores, 3);
    assert_eq!(scorer.status().model.as_deref(), Some("a"));
    put(at, "b", "nearly", |card| card);
    play(&scorer, &scores, 31);
    let status = scorer.status();
    assert_eq!(status.model.as_deref(), Some("a"), "it only scores beside");
    assert_eq!(status.shadow.as_deref(), Some("b"));
    let new = play(&scorer, &scores, 10);
    let status = scorer.status();
    assert_eq!((status.model.as_deref(), status.shadow), (Some("b"), None));
    assert_eq!((status.totals.swapped, status.totals.refused), (1, 0));
    assert_ne!(old.sick, new.sick);
}

#[test]
fn a_new_model_that_says_otherwise_or_is_broken_changes_nothing() {
    let Some(runtime) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    put(at, "a", "mean", |card| card);
    let (scorer, scores) = scorer(runtime, at, 5);
    let old = play(&scorer, &scores, 1);
    put(at, "b", "other", |card| card);
    play(&scorer, &scores, 40);
    assert_eq!(scorer.status().totals.refused, 1);
    put_bytes(at, "b", b"torn", |card| card);
    assert_eq!(play(&scorer, &scores, 65).sick.len(), 5);
    let status = scorer.status();
    assert_eq!((status.totals.refused, status.totals.swapped), (2, 0));
    assert_eq!(status.model.as_deref(), Some("a"));
    assert_eq!(play(&scorer, &scores, 1).sick, old.sick);
}

#[test]
fn without_an_enabled_model_nothing_is_scored_and_it_is_said_why() {
    let without = Scorer::without("no library");
    assert!(!without.ask(batch(3, 0)));
    assert_eq!(without.status().provider, "none");
    let Some(runtime) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a", "mean", |card| {
        card.replace("true", "false")
    });
    let (scorer, scores) = scorer(runtime, folder.path(), 5);
    assert!(scorer.ask(batch(3, 0)));
    assert!(scores.recv_timeout(Duration::from_millis(200)).is_err());
    let note = scorer.status().note;
    assert!(note.contains("a is off: a test"), "{note}");
}
