//! Timelines of logs written for these tests.

use super::*;
use crate::{Assembler, TimeDefaults};

fn events(format: LogFormat, log: &str) -> (Vec<String>, String) {
    let defaults = TimeDefaults {
        utc_offset_s: Some(0),
        not_after: None,
    };
    let mut timeline = Timeline::new(&format);
    let mut assembler = Assembler::with_defaults(format, defaults);
    let mut told = Vec::new();
    let mut take = |record: &LogRecord| {
        timeline.record(record, &mut |event| {
            told.push(
                format!(
                    "{} {} {} {}",
                    &event.at.to_rfc3339()[17..19],
                    event.kind.as_str(),
                    event.a,
                    event.b
                )
                .trim_end()
                .to_owned(),
            );
        });
    };
    for line in log.lines() {
        assembler.line(0, line.as_bytes(), &mut take);
    }
    assembler.flush(&mut take);
    let name = timeline.name().to_owned();
    (told, name)
}

#[test]
fn a_node_of_mysql_8_is_followed_from_start_to_stop() {
    let log = "\
2026-11-20T08:00:01.1Z 0 [System] [MY-010116] [Server] /usr/sbin/mysqld (mysqld 8.0.36-28.1) starting as process 7
2026-11-20T08:00:02.1Z 0 [Note] [MY-000000] [Galera] Shifting CLOSED -> OPEN (TO: 0)
2026-11-20T08:00:03.1Z 0 [Note] [MY-000000] [Galera] New COMPONENT: primary = yes, bootstrap = no, my_idx = 1, memb_num = 2
2026-11-20T08:00:04.1Z 0 [Note] [MY-000000] [Galera] STATE EXCHANGE: got state msg: aaaa from 0 (alpha)
2026-11-20T08:00:04.2Z 0 [Note] [MY-000000] [Galera] STATE EXCHANGE: got state msg: aaaa from 1 (beta)
2026-11-20T08:00:05.1Z 0 [Note] [MY-000000] [Galera] Quorum results:
\tversion    = 6,
\tcomponent  = PRIMARY,
\tmembers    = 1/2 (joined/total),
2026-11-20T08:00:06.1Z 0 [Note] [MY-000000] [Galera] Shifting OPEN -> PRIMARY (TO: 9)
2026-11-20T08:00:07.1Z 2 [Note] [MY-000000] [WSREP] Server status change connected -> joiner
2026-11-20T08:00:08.1Z 0 [Note] [MY-000000] [Galera] Shifting PRIMARY -> JOINER (TO: 9)
2026-11-20T08:00:09.1Z 0 [Note] [MY-000000] [Galera] Shifting JOINER -> JOINED (TO: 9)
2026-11-20T08:00:10.1Z 0 [Note] [MY-000000] [Galera] Member 1.0 (beta) synced with group.
2026-11-20T08:00:10.2Z 0 [Note] [MY-000000] [Galera] Shifting JOINED -> SYNCED (TO: 9)
2026-11-20T08:00:11.1Z 0 [Note] [MY-000000] [Galera] Shifting SYNCED -> DONOR/DESYNCED (TO: 9)
2026-11-20T08:00:12.1Z 0 [Note] [MY-000000] [Galera] Shifting DONOR/DESYNCED -> JOINED (TO: 9)
2026-11-20T08:00:13.1Z 5 [ERROR] [MY-000000] [Galera] Inconsistency detected: Inconsistent by consensus on aaaa:9
2026-11-20T08:00:14.1Z 0 [Note] [MY-000000] [Galera] New COMPONENT: primary = no, bootstrap = no, my_idx = 0, memb_num = 1
2026-11-20T08:00:15.1Z 0 [System] [MY-010910] [Server] /usr/sbin/mysqld: Shutdown complete (mysqld 8.0.36-28.1)  x.
08:00:16 UTC - mysqld got signal 11 ;
stack_bottom = 0";
    let (told, name) = events(LogFormat::MysqlError, log);
    assert_eq!(
        told,
        [
            "01 start 8.0.36-28.1",
            "02 state CLOSED OPEN",
            "03 view PRIMARY 2",
            "06 state OPEN PRIMARY",
            "08 state PRIMARY JOINER",
            "09 state JOINER JOINED",
            "10 state JOINED SYNCED",
            "11 state SYNCED DONOR",
            "12 state DONOR JOINED",
            "13 other inconsistent with the cluster",
            "14 view NON-PRIMARY 1",
            "15 stop shutdown complete",
            "15 stop crashed",
        ]
    );
    assert_eq!(name, "beta");
}

#[test]
fn mariadb_and_mysql_5_7_say_the_same_in_their_own_way() {
    let maria = "\
2026-11-20  8:00:01 0 [Note] Starting MariaDB 10.11.6-MariaDB-log source revision abc as process 7
2026-11-20  8:00:02 0 [Note] WSREP: Shifting CLOSED -> OPEN (TO: 0)
2026-11-20  8:00:03 0 [Note] WSREP: New COMPONENT: primary = yes, bootstrap = no, my_idx = 0, memb_num = 1
2026-11-20  8:00:04 0 [Note] WSREP: Restored state OPEN -> SYNCED (9)
2026-11-20  8:00:05 0 [Note] WSREP: ================================================
View:
  id: aaaa:9
  status: primary
  own_index: 0
  members(1):
\t0: 1d3ea8f5-dddd, db-7
=================================================
2026-11-20  8:00:06 0 [Note] /usr/sbin/mariadbd (initiated by: unknown): Normal shutdown
2026-11-20  8:00:07 0 [Note] /usr/sbin/mariadbd: Shutdown complete
261120  8:00:08 [ERROR] /usr/sbin/mariadbd got signal 11 ;";
    let (told, name) = events(LogFormat::MysqlError, maria);
    assert_eq!(
        told,
        [
            "01 start 10.11.6-MariaDB-log",
            "02 state CLOSED OPEN",
            "03 view PRIMARY 1",
            "04 state OPEN SYNCED",
            "06 stop received shutdown",
            "07 stop shutdown complete",
            "08 stop crashed",
        ]
    );
    assert_eq!(name, "db-7");
}

#[test]
fn the_status_of_the_server_and_the_view_it_is_told_count_where_the_group_is_silent() {
    let log = "\
2026-11-20T08:00:01Z 2 [Note] [MY-000000] [WSREP] Server status change disconnected -> connected
2026-11-20T08:00:02Z 2 [Note] [MY-000000] [WSREP] Server status change connected -> joiner
2026-11-20T08:00:03Z 2 [Note] [MY-000000] [WSREP] Server status change joiner -> initializing
2026-11-20T08:00:04Z 2 [Note] [MY-000000] [WSREP] New cluster view: global state: a:9, view# 3: Primary, number of nodes: 3, my index: 0, protocol version 3
2026-11-20T08:00:05Z 2 [Note] [MY-000000] [WSREP] Server status change joined -> synced";
    let (told, _) = events(LogFormat::MysqlError, log);
    assert_eq!(
        told,
        [
            "01 state  OPEN",
            "02 state OPEN JOINER",
            "04 view PRIMARY 3",
            "05 state JOINER SYNCED"
        ]
    );
}

#[test]
fn lines_wrapped_by_a_container_runtime_or_a_journal_are_unwrapped() {
    let log = "\
{\"log\":\"2026-11-20T08:00:01Z 0 [Note] [MY-000000] [Galera] Shifting CLOSED -> OPEN (TO: 0)\\n\",\"file\":\"/x.log\"}
2026-11-20T08:00:09.123456789Z stderr F 2026-11-20T08:00:02Z 0 [Note] WSREP: Shifting OPEN -> CLOSED (TO: 0)
Nov 20 08:00:09 db1 mariadbd[7]: 2026-11-20  8:00:03 0 [Note] WSREP: Shifting CLOSED -> OPEN (TO: 0)";
    let (told, _) = events(LogFormat::MysqlError, log);
    assert_eq!(
        told,
        [
            "01 state CLOSED OPEN",
            "02 state OPEN CLOSED",
            "03 state CLOSED OPEN"
        ]
    );
}

#[test]
fn a_replication_group_of_mysql_is_followed() {
    let at = |second: u32| {
        format!(
            "2026-11-20T08:00:{second:02}Z 0 [System] [MY-011503] [Repl] Plugin group_replication reported: "
        )
    };
    let log = format!(
        "{}'This server was declared online within the replication group.'\n\
         {}'Group membership changed to db1:3306, db2:3306, db3:3306 on view 17:3.'\n\
         {}'This server is not able to reach a majority of members in the group.'\n\
         {}'Member was expelled from the group due to network failures, changing member status to ERROR.'",
        at(1),
        at(2),
        at(3),
        at(4)
    );
    let (told, _) = events(LogFormat::MysqlError, &log);
    assert_eq!(
        told,
        [
            "01 state  ONLINE",
            "02 view PRIMARY 3",
            "03 view NON-PRIMARY",
            "04 state ONLINE ERROR"
        ]
    );
    let log = "2026-11-20  8:00:01 0 [Note] WSREP: Server db-7 connected to cluster at position a:9 with ID b";
    assert_eq!(events(LogFormat::MysqlError, log).1, "db-7");
}

#[test]
fn other_systems_tell_their_starts_stops_and_roles() {
    let prefix = crate::LinePrefix::compile("%m [%p] ");
    let log = "\
2026-11-20 08:00:01.000 UTC [1] LOG:  starting PostgreSQL 15.6 on x86_64
2026-11-20 08:00:02.000 UTC [1] LOG:  entering standby mode
2026-11-20 08:00:03.000 UTC [1] LOG:  database system is ready to accept read-only connections
2026-11-20 08:00:04.000 UTC [1] LOG:  received promote request
2026-11-20 08:00:05.000 UTC [1] LOG:  database system is ready to accept connections
2026-11-20 08:00:06.000 UTC [1] LOG:  received fast shutdown request
2026-11-20 08:00:07.000 UTC [1] LOG:  database system is shut down";
    let (told, _) = events(LogFormat::Stderr(std::sync::Arc::new(prefix)), log);
    assert_eq!(
        told,
        [
            "01 start 15.6",
            "02 state  STANDBY",
            "04 state STANDBY PROMOTING",
            "05 state PROMOTING PRIMARY",
            "06 stop received shutdown",
            "07 stop shutdown complete",
            "07 state PRIMARY DOWN",
        ]
    );
    let log = "\
2026-11-20T08:00:01.000+0000 I CONTROL  [initandlisten] MongoDB starting : pid=7 port=27017
2026-11-20T08:00:02.000+0000 I REPL     [rsSync] transition to SECONDARY from RECOVERING
2026-11-20T08:00:03.000+0000 I REPL     [replexec-1] transition to PRIMARY from SECONDARY";
    let (told, _) = events(LogFormat::MongoText, log);
    assert_eq!(
        told,
        [
            "01 start",
            "02 state  SECONDARY",
            "03 state SECONDARY PRIMARY"
        ]
    );
    let log = "\
7:C 20 Nov 2026 08:00:01.000 * Redis version=7.0.15, bits=64, commit=0, modified=0, pid=7, just started
7:S 20 Nov 2026 08:00:02.000 * Before turning into a replica, using my own master parameters
7:M 20 Nov 2026 08:00:03.000 * MASTER MODE enabled (user request from 'id=3')
7:M 20 Nov 2026 08:00:04.000 # Cluster state changed: fail
7:M 20 Nov 2026 08:00:05.000 # Redis is now ready to exit, bye bye...";
    let (told, _) = events(LogFormat::Redis, log);
    assert_eq!(
        told,
        [
            "01 start 7.0.15",
            "02 state  REPLICA",
            "03 state REPLICA PRIMARY",
            "04 view NON-PRIMARY",
            "05 stop shutdown complete",
            "05 state PRIMARY DOWN",
        ]
    );
}
