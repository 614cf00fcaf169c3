//! `hsw-agent check` on a real database: every finding with the statement that mends it, and every query with its cost.

use crate::rig::{Database, Rig, watched};

#[test]
fn the_agents_check_names_what_the_role_lacks_even_while_the_aggregator_is_away() {
    let rig = Rig::new(44);
    let database = rig.postgres();
    let bare = Database {
        user: "bare",
        ..watched(&database)
    };
    let path = rig
        .configure_agent("shard-1-a", &bare, "")
        .display()
        .to_string();
    let lacking = rig.run("hsw-agent", &["check", "--config", &path]);
    assert_eq!(lacking.code, 1, "{lacking:?}");
    assert!(lacking.out.contains("FATAL    aggregator"), "{lacking:?}");
    assert!(
        lacking.out.contains("GRANT pg_monitor TO bare;"),
        "{lacking:?}"
    );
    assert!(
        lacking.out.contains("CREATE EXTENSION pg_stat_statements;"),
        "{lacking:?}"
    );
    assert!(
        lacking.out.contains("ALTER SYSTEM SET log_temp_files"),
        "{lacking:?}"
    );
    assert!(
        lacking.err.contains("aggregator") && !lacking.err.contains("database"),
        "{lacking:?}"
    );

    rig.configure_aggregator("", "");
    let _aggregator = rig.start_aggregator();
    rig.configure_agent("shard-1-a", &watched(&database), "");
    let fine = rig.run("hsw-agent", &["check", "--config", &path]);
    // A script can tell what only lacks something from what is as it should be.
    let code = if fine.out.contains("MISSING") { 3 } else { 0 };
    assert_eq!((fine.code, fine.err.as_str()), (code, ""), "{fine:?}");
    assert!(!fine.out.contains("GRANT pg_monitor"), "{fine:?}");
    let vital = fine
        .out
        .lines()
        .find(|line| line.trim_start().starts_with("vital "))
        .unwrap();
    let cells: Vec<&str> = vital.split_whitespace().collect();
    assert_eq!(cells[1..3], ["1", "s"], "{vital}");
    assert!(
        cells[3].parse::<f64>().is_ok_and(|ms| ms < 500.0),
        "{vital}"
    );

    let wrong = Database {
        password: "not-the-word",
        ..watched(&database)
    };
    rig.configure_agent("shard-1-a", &wrong, "");
    let refused = rig.run("hsw-agent", &["check", "--config", &path]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.out.contains("answers and takes the certificate"),
        "{refused:?}"
    );
    assert!(refused.out.contains("CREATE ROLE hsw LOGIN"), "{refused:?}");
    assert!(refused.err.contains("database"), "{refused:?}");
}
