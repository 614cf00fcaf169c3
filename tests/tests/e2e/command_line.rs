//! `hsw` against a live aggregator: what it prints, its JSON, its exit codes, its token.

use crate::rig::{Rig, absent};

#[test]
fn every_command_answers_in_words_and_in_json_and_its_exit_code_says_how_it_went() {
    let rig = Rig::new(41);
    rig.configure_aggregator(
        "open = false",
        "[[shard]]\nname = \"shard-1\"\nnodes = [\"shard-1-a\"]",
    );
    let lost = rig.hsw(&["status"]);
    assert_eq!(lost.code, 1);
    assert!(
        lost.err.contains("is it running?") && lost.err.lines().count() == 1,
        "{lost:?}"
    );
    assert_eq!(rig.hsw(&["health"]).code, 1);

    rig.configure_agent("shard-1-a", &absent(), "");
    let _aggregator = rig.start_aggregator();
    let _agent = rig.start_agent("shard-1-a");
    rig.wait_connected("shard-1-a");
    let health = rig.hsw(&["health"]);
    assert_eq!((health.code, health.out.as_str()), (0, ""));

    reads(&rig);
    silences(&rig);
    refuses(&rig);
}

fn reads(rig: &Rig) {
    let status = rig.hsw(&["status"]);
    assert_eq!(
        status.code, 3,
        "a cluster of one silent database is not well: {status:?}"
    );
    assert!(status.out.contains("shard-1"), "{status:?}");
    let status = rig.hsw(&["status", "--json"]);
    assert_eq!((status.code, &status.json()["ready"]), (3, &false.into()));
    let shards = rig.hsw(&["shards"]);
    assert!(
        shards.code == 0 && shards.out.contains("shard-1-a"),
        "{shards:?}"
    );
    assert_eq!(
        rig.hsw(&["shards", "--json"]).json()["shards"][0]["shard"],
        "shard-1"
    );
    let incidents = rig.hsw(&["incidents", "--all"]);
    assert_eq!((incidents.code, incidents.err.as_str()), (0, ""));
    assert!(rig.hsw(&["incidents", "--json"]).json()["incidents"].is_array());
    let none = rig.hsw(&["incident", "00000000000000aa"]);
    assert!(
        none.code == 1 && none.err.contains("no such incident"),
        "{none:?}"
    );
    assert_eq!(rig.hsw(&["incident", "xyz"]).code, 1);
}

fn silences(rig: &Rig) {
    let added = rig.hsw(&[
        "silence",
        "add",
        "shard=shard-1",
        "--reason",
        "reindex",
        "--for",
        "30m",
        "--json",
    ]);
    assert_eq!(added.code, 0, "{added:?}");
    let id = added.json()["id"].to_string();
    let list = rig.hsw(&["silence", "list"]);
    assert!(
        list.out.contains("reindex") && list.out.contains("shard-1"),
        "{list:?}"
    );
    let list = rig.hsw(&["silence", "list", "--json"]).json();
    assert_eq!(list["silences"][0]["id"].to_string(), id);
    assert_eq!(rig.metric("hsw_silences"), 1.0);
    let removed = rig.hsw(&["silence", "remove", &id]);
    assert!(
        removed.code == 0 && removed.out.contains(&id),
        "{removed:?}"
    );
    let again = rig.hsw(&["silence", "remove", &id, "--json"]);
    assert!(
        again.code == 1 && again.err.contains("no such silence"),
        "{again:?}"
    );
    assert_eq!(
        rig.hsw(&["silence", "list", "--json"]).json()["silences"],
        serde_json::json!([])
    );
}

fn refuses(rig: &Rig) {
    for wrong in [
        &["conquer"][..],
        &["silence", "add", "--reason", "x"],
        &["silence", "add", "a=b", "--reason", "x", "--for", "soon"],
    ] {
        assert_eq!(rig.hsw(wrong).code, 2, "{wrong:?}");
    }
    let matcher = rig.hsw(&["silence", "add", "colour=blue", "--reason", "x"]);
    assert!(
        matcher.code == 1 && matcher.err.contains("colour"),
        "{matcher:?}"
    );
}

#[test]
fn beyond_loopback_nobody_is_let_in_without_the_token() {
    let mut rig = Rig::new(42);
    let token = rig.dir().join("secrets/token");
    rig.bed
        .service_file(&token, "0123456789abcdef0123456789abcdef\n")
        .unwrap();
    let port = 18_242;
    rig.configure_aggregator(
        &format!(
            "web = \"0.0.0.0:{port}\"\nweb_token_file = \"{}\"",
            token.display()
        ),
        "",
    );
    rig.web = ([127, 0, 0, 1], port).into();
    let _aggregator = rig.start_aggregator();
    let stranger = rig.hsw(&["status"]);
    assert!(
        stranger.code == 1 && stranger.err.contains("--token-file"),
        "{stranger:?}"
    );
    let wrong = rig.dir().join("secrets/wrong");
    std::fs::write(&wrong, "ffffffffffffffffffffffffffffffff").unwrap();
    let wrong = rig.hsw(&["shards", "--token-file", wrong.to_str().unwrap()]);
    assert_eq!(wrong.code, 1, "{wrong:?}");
    let known = rig.hsw(&["shards", "--json", "--token-file", token.to_str().unwrap()]);
    assert_eq!(known.code, 0, "{known:?}");
    assert_eq!(known.json()["cluster"], "e2e");
    assert_eq!(rig.hsw(&["health"]).code, 0);
    for (path, status) in [
        ("/api/v1/shards", 401),
        ("/metrics", 401),
        ("/api/v1/agents", 401),
        ("/healthz", 200),
    ] {
        assert_eq!(rig.page(path).0, status, "{path}");
    }
    let (_, ready) = rig.page("/readyz");
    assert!(
        !ready.contains("reasons"),
        "a stranger learns no reasons: {ready}"
    );
}
