//! Times in every spelling.

use super::*;

/// 2026-11-20 17:50:48 UTC.
const AT: WallTime = WallTime(1_795_197_048_000_000);

#[test]
fn a_timestamp_with_a_known_zone_is_exact_and_one_that_could_be_several_is_unknown_or_given() {
    let utc = WallTime(AT.0 + 123_000);
    for text in [
        "2026-11-20 17:50:48.123 UTC",
        "2026-11-20 18:50:48.123 +01",
        "2026-11-20T17:50:48.123Z",
        "2026-11-20 12:20:48.123000 -0530",
        "2026-11-20 18:50:48.123 CET",
        "2026-11-20 19:50:48.123 CEST",
        "2026-11-20 12:50:48.123 EST",
        "2026-11-20 10:50:48.123 PDT",
        "2026-11-20 20:50:48.123 MSK",
        "2026-11-21 02:50:48.123 JST",
    ] {
        assert_eq!(parse_timestamp(text), Some(utc), "{text}");
    }
    assert_eq!(
        parse_timestamp("2000-02-29 00:00:00 GMT"),
        Some(WallTime::from_unix_seconds(951_782_400))
    );
    for text in [
        "2026-11-20 17:50:48.123 IST",
        "2026-11-20 17:50:48.123 CST",
        "2026-11-20 17:50:48.123 BST",
        "2026-13-20 17:50:48 UTC",
        "",
        "2026-11-20",
    ] {
        assert_eq!(parse_timestamp(text), None, "{text}");
    }
    let given = |offset| TimeDefaults {
        utc_offset_s: Some(offset),
        not_after: None,
    };
    let text = "2026-11-20 23:20:48.123 IST";
    assert_eq!(timestamp(text, given(19_800)), Some(utc));
    assert_eq!(timestamp(text, given(0)), None);
    assert_eq!(
        timestamp("2026-11-20 18:50:48.123 CET", given(19_800)),
        Some(utc)
    );
    assert_eq!(
        timestamp("2026-11-20 18:50:48.123 words follow", given(19_800)),
        None
    );
    let found = scan(
        b"2026-11-20 18:50:48.123 CET [7] x",
        TimeDefaults::default(),
    );
    assert_eq!(
        found,
        Some(Found {
            at: Some(utc),
            n: 27
        })
    );
    let found = scan(b"2026-11-20 18:50:48.123 ERROR x", given(3_600));
    assert_eq!(
        found,
        Some(Found {
            at: Some(utc),
            n: 23
        })
    );
}

#[test]
fn every_spelling_of_a_moment_is_that_moment() {
    let defaults = TimeDefaults {
        utc_offset_s: Some(0),
        not_after: Some(WallTime(AT.0 + 5 * DAY_US)),
    };
    for (text, n) in [
        ("2026-11-20T17:50:48Z x", 20),
        ("2026-11-20T19:50:48+02:00 x", 25),
        ("2026-11-20 17:50:48,000 INFO", 23),
        ("2026/11/20 17:50:48 x", 19),
        ("261120 17:50:48 x", 15),
        ("261120 175048 143 INFO", 13),
        ("26/11/20 17:50:48 INFO", 17),
        ("Nov 20 17:50:48 host sshd[5]: x", 15),
        ("Fri Nov 20 17:50:48.000 [conn1] x", 23),
        ("Fri Nov 20 17:50:48 2026] x", 24),
        ("20 Nov 2026 17:50:48.000 * x", 24),
        ("20 Nov 17:50:48.000 * x", 19),
        ("1795197048 x", 10),
        ("1795197048000 x", 13),
    ] {
        let found = scan(text.as_bytes(), defaults);
        assert_eq!(found, Some(Found { at: Some(AT), n }), "{text}");
    }
    let padded = scan(b"2026-11-20  7:50:48 x", defaults);
    assert_eq!(
        padded.and_then(|f| f.at),
        Some(WallTime(AT.0 - 36_000_000_000))
    );
}

#[test]
fn what_is_left_open_is_unknown_and_other_words_are_no_time() {
    let none = TimeDefaults::default();
    for text in [
        "2026-11-20 17:50:48 x",
        "Nov 20 17:50:48 x",
        "261120 17:50:48 x",
    ] {
        let found = scan(text.as_bytes(), none);
        assert!(found.is_some_and(|f| f.at.is_none()), "{text}");
    }
    for text in [
        "2026-11-20",
        "2026-11-20 17:50",
        "2026-11-20 25:50:48",
        "12345 x",
        "123456789012345",
        "Mon",
        "November 20 17:50:48",
        "May flowers",
        "",
    ] {
        assert_eq!(scan(text.as_bytes(), none), None, "{text}");
    }
}

#[test]
fn a_time_without_a_year_belongs_to_the_latest_year_it_can() {
    let defaults = TimeDefaults {
        utc_offset_s: Some(0),
        // The first of January 2027, noon.
        not_after: Some(WallTime(1_798_804_800_000_000)),
    };
    let at = |text: &str| scan(text.as_bytes(), defaults).and_then(|f| f.at).unwrap();
    assert_eq!(
        at("Jan  1 01:00:00").to_rfc3339(),
        "2027-01-01T01:00:00.000Z"
    );
    assert_eq!(
        at("Dec 31 23:00:00").to_rfc3339(),
        "2026-12-31T23:00:00.000Z"
    );
}
