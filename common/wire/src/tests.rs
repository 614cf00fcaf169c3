//! Golden bytes, bincode as the oracle, hostile input. (steps 4–6)

use expect_test::expect;
use hsw_trigger::{Down, Measure, QueryId, Question, Range, Space, Up, Weight, Why};
use hsw_types::{
    EdgeKind, EdgeSubject, HotKind, HotWindow, Latencies, LogSample, NodeFacts, Role, SeriesDef,
    SeriesId, SeriesKey, SeriesValues, ShardSummary, SourceState, SourceStatus, WallTime,
    WindowIndex,
};
use proptest::prelude::*;

use crate::{
    Error, FRAME_HEADER_BYTES, TRIGGERS_MAX, ToAgent, ToAggregator, TriggerDown, TriggerUp,
    VERSION, VERSION_MAX, decode_summary, encode_summary, frame_length,
};

fn sample_summary() -> ShardSummary {
    let edge = EdgeSubject {
        kind: EdgeKind::Client,
        peer: "10.0.0.9".into(),
        port: 0,
        user: "app".into(),
        application: "checkout".into(),
        database: "shop".into(),
    };
    ShardSummary {
        first_window: WindowIndex(1_800_000_000),
        n_windows: 2,
        dictionary_epoch: 7,
        facts: Some(NodeFacts {
            role: Role::Primary,
            host: "db1".into(),
            ..NodeFacts::default()
        }),
        dictionary: vec![
            SeriesDef {
                id: SeriesId(0),
                key: SeriesKey::node("pg.commits"),
            },
            SeriesDef {
                id: SeriesId(1),
                key: SeriesKey::edge("edge.sessions", edge),
            },
        ],
        series: vec![
            SeriesValues {
                id: SeriesId(0),
                values: vec![Some(30.0), Some(31.5)],
            },
            SeriesValues {
                id: SeriesId(1),
                values: vec![None, Some(4.0)],
            },
        ],
        latencies: vec![Latencies {
            id: SeriesId(3),
            sketch: vec![1, 2, 3],
        }],
        log_samples: vec![LogSample {
            at: WallTime(1_800_000_000_500_000),
            severity: "ERROR".into(),
            code: "40P01".into(),
            text: "deadlock detected".into(),
        }],
        sources: vec![SourceStatus {
            source: "postgres".into(),
            state: SourceState::Ok,
            dropped: 0,
            message: String::new(),
        }],
        hot: Vec::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn the_bytes_of_version_1_do_not_change() {
    let hello = ToAggregator::Hello {
        versions: (1, 1),
        incarnation: 9,
        agent_version: "0.1.0".into(),
    };
    expect!["1c0000000100000000010109000000000000000500000000000000302e312e30"]
        .assert_eq(&hex(&hello.encode().unwrap()));
    let ack = ToAgent::Ack { sequence: 258 };
    expect!["0d00000001010000000201000000000000"].assert_eq(&hex(&ack.encode().unwrap()));
    expect!["00d2496b00000000020007000000000000000100000000000000000000000000000000010000000000000000000000000000000000000000000000000300000000000000646231000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000200000000000000000000000a0000000000000070672e636f6d6d69747300000000010000000d00000000000000656467652e73657373696f6e7302000000000000080000000000000031302e302e302e3903000000000000006170700800000000000000636865636b6f7574040000000000000073686f700900000000000000020278819f21030210010000000000000003000000030000000000000001020301000000000000002021a0281765060005000000000000004552524f52050000000000000034305030311100000000000000646561646c6f636b20646574656374656401000000000000000800000000000000706f7374677265730000000000000000000000000000000000"].assert_eq(&hex(&encode_summary(&sample_summary()).unwrap()));
}

fn a_watch() -> Down {
    let space = Space::new(&[Measure::LatencyMs, Measure::Rows], Weight::Ms).unwrap();
    let ranges = vec![Range { lo: 1, hi: 2 }, Range { lo: 3, hi: 4 }];
    let question = Question::new(space, [None, Some(9), None, Some(8)], ranges).unwrap();
    Down::Watch {
        query: QueryId(258),
        epoch: 5,
        round: 6,
        slack: 7,
        base: 10,
        question: std::sync::Arc::new(question),
    }
}

fn a_report(why: Why) -> Up {
    Up::Report {
        query: QueryId(258),
        epoch: 5,
        round: 6,
        count: 11,
        why,
    }
}

#[test]
fn the_bytes_of_version_2_do_not_change() {
    let ups = [Up::Hello { epoch: 5 }, a_report(Why::Answer)];
    let ups = ToAggregator::Triggers(ups.map(TriggerUp::from).to_vec());
    expect!["4100000002040000000200000000000000000000000500000000000000010000000201000000000000050000000000000006000000000000000b0000000000000002000000"].assert_eq(&hex(&ups.encode().unwrap()));
    let query = QueryId(258);
    let downs = [
        Down::Welcome { epoch: 5 },
        a_watch(),
        Down::Collect { query, round: 6 },
        Down::Heard {
            query,
            epoch: 5,
            count: 11,
        },
        Down::Forget { query },
    ];
    let downs = ToAgent::Triggers(downs.iter().map(TriggerDown::from).collect());
    expect!["c6000000020400000005000000000000000000000005000000000000000100000002010000000000000500000000000000060000000000000007000000000000000a00000000000000020200000000000000000100000000000000020000000000000002030000000000000004000000000000000200000000000000010900000000000000030800000000000000020000000201000000000000060000000000000003000000020100000000000005000000000000000b00000000000000040000000201000000000000"].assert_eq(&hex(&downs.encode().unwrap()));
}

#[test]
fn the_bytes_of_version_3_do_not_change() {
    let role = |is_landmark| ToAgent::Role { is_landmark };
    expect!["06000000030500000001"].assert_eq(&hex(&role(true).encode().unwrap()));
    for is_landmark in [false, true] {
        let frame = role(is_landmark).encode().unwrap();
        assert_eq!(
            ToAgent::decode(&frame[FRAME_HEADER_BYTES..]),
            Ok(role(is_landmark))
        );
    }
    assert!(ToAgent::decode(&[5, 0, 0, 0, 2]).is_err(), "neither");
}

#[test]
fn messages_about_triggers_come_back_as_they_went() {
    for why in [Why::Signal, Why::Repeat, Why::Answer] {
        let message = a_report(why);
        assert_eq!(Up::from(TriggerUp::from(message)), message);
    }
    let frame = ToAgent::Triggers(vec![(&a_watch()).into()]).encode();
    let read = ToAgent::decode(&frame.unwrap()[FRAME_HEADER_BYTES..]);
    let Ok(ToAgent::Triggers(list)) = read else {
        panic!("{read:?}");
    };
    assert_eq!(Down::try_from(list[0].clone()), Ok(a_watch()));
}

#[test]
fn a_question_that_cannot_be_and_a_list_over_its_limit_are_refused() {
    let frame = ToAgent::Triggers(vec![(&a_watch()).into()]).encode();
    let body = frame.unwrap()[FRAME_HEADER_BYTES..].to_vec();
    // Behind variant, length, variant and five numbers: the weight, the ranges' number, the first range's measure.
    let weight = 4 + 8 + 4 + 5 * 8;
    for (at, bad) in [
        (weight, 3),
        (weight + 1, 1),
        (weight + 9, 2),
        (weight + 10, 3),
    ] {
        let mut changed = body.clone();
        changed[at] = bad;
        let read = ToAgent::decode(&changed);
        assert!(
            matches!(read, Err(Error::Malformed { .. })),
            "{at}: {read:?}"
        );
    }
    let hello = TriggerUp::Hello { epoch: 1 };
    let list = |n| ToAggregator::Triggers(vec![hello; n]).encode().unwrap();
    assert!(ToAggregator::decode(&list(TRIGGERS_MAX)[FRAME_HEADER_BYTES..]).is_ok());
    let over = ToAggregator::decode(&list(TRIGGERS_MAX + 1)[FRAME_HEADER_BYTES..]);
    assert!(matches!(over, Err(Error::TooLong { .. })), "{over:?}");
}

#[test]
fn what_is_hot_follows_the_summary_and_one_of_before_there_was_any_is_read() {
    let without = encode_summary(&sample_summary()).unwrap();
    let mut with = sample_summary();
    with.hot = vec![HotWindow {
        kind: HotKind::Tenant,
        sketch: vec![1, 2, 3],
        distinct: vec![4],
        names: vec![(258, "shop".to_owned())],
    }];
    let bytes = encode_summary(&with).unwrap();
    assert_eq!(bytes[..without.len()], without);
    expect!["010000000000000002030000000000000001020301000000000000000401000000000000000201000000000000040000000000000073686f70"]
        .assert_eq(&hex(&bytes[without.len()..]));
    assert_eq!(decode_summary(&bytes), Ok(with));
    assert_eq!(decode_summary(&without), Ok(sample_summary()));
    assert!(decode_summary(&bytes[..bytes.len() - 1]).is_err());
    let mut unknown_kind = bytes.clone();
    unknown_kind[without.len() + 8] = 9;
    assert!(decode_summary(&unknown_kind).is_err());
}

#[test]
fn a_summary_comes_back_as_it_went() {
    let bytes = encode_summary(&sample_summary()).unwrap();
    assert_eq!(decode_summary(&bytes), Ok(sample_summary()));
}

#[derive(bincode::Encode)]
enum OracleToAgent {
    #[expect(dead_code, reason = "holds the variant's place in the numbering")]
    Welcome,
    Ack {
        sequence: u64,
    },
    Heartbeat {
        echo_us: i64,
        wall_us: i64,
    },
}

#[test]
fn the_body_is_what_bincode_writes() {
    let bincode =
        |value: &OracleToAgent| bincode::encode_to_vec(value, bincode::config::legacy()).unwrap();
    let ours = ToAgent::Ack { sequence: 77 }.encode().unwrap();
    assert_eq!(
        ours[FRAME_HEADER_BYTES..],
        bincode(&OracleToAgent::Ack { sequence: 77 })
    );
    let ours = ToAgent::Heartbeat {
        echo_us: -5,
        wall_us: 6,
    }
    .encode()
    .unwrap();
    let oracle = OracleToAgent::Heartbeat {
        echo_us: -5,
        wall_us: 6,
    };
    assert_eq!(ours[FRAME_HEADER_BYTES..], bincode(&oracle));
}

#[test]
fn a_header_over_the_limit_or_of_another_version_is_refused() {
    let header = |bytes: u32, version: u8| {
        let [a, b, c, d] = bytes.to_le_bytes();
        frame_length([a, b, c, d, version])
    };
    assert_eq!(header(11, VERSION), Ok(10));
    assert_eq!(header(11, VERSION_MAX), Ok(10));
    let next = VERSION_MAX + 1;
    assert_eq!(header(11, next), Err(Error::UnknownVersion { found: next }));
    assert!(matches!(
        header(u32::MAX, VERSION),
        Err(Error::TooLong { .. })
    ));
    assert!(matches!(header(0, VERSION), Err(Error::Malformed { .. })));
    assert_eq!(header(11, 9), Err(Error::UnknownVersion { found: 9 }));
}

#[test]
fn a_length_that_asks_for_more_than_there_is_fails_without_allocating_it() {
    // A summary message whose payload claims 2^60 bytes.
    let mut body = 1_u32.to_le_bytes().to_vec();
    body.extend_from_slice(&1_u64.to_le_bytes());
    body.extend_from_slice(&(1_u64 << 60).to_le_bytes());
    assert!(matches!(
        ToAggregator::decode(&body),
        Err(Error::Malformed { .. })
    ));
}

proptest! {
    #[test]
    fn prop_any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = ToAggregator::decode(&bytes);
        let _ = ToAgent::decode(&bytes);
        let _ = decode_summary(&bytes);
    }

    #[test]
    fn prop_a_changed_trigger_message_decodes_or_fails_but_never_panics(at in 0_usize..400, to in any::<u8>()) {
        let mut bytes = ToAgent::Triggers(vec![(&a_watch()).into(); 2]).encode().unwrap();
        let at = at % bytes.len();
        bytes[at] = to;
        if let Ok(ToAgent::Triggers(list)) = ToAgent::decode(&bytes[FRAME_HEADER_BYTES..]) {
            for message in list {
                prop_assert!(Down::try_from(message).is_ok(), "decoded, and is none");
            }
        }
    }

    #[test]
    fn prop_a_changed_summary_decodes_or_fails_but_never_panics(at in 0_usize..400, to in any::<u8>()) {
        let mut bytes = encode_summary(&sample_summary()).unwrap();
        let at = at % bytes.len();
        bytes[at] = to;
        let _ = decode_summary(&bytes);
    }
}
