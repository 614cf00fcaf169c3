//! What lines become, by example and by property.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::oracle::Oracle;
use super::*;

/// The final template of each line.
fn mined(config: Config, lines: &[String]) -> (Vec<String>, Miner) {
    let mut miner = Miner::new(config);
    let mut merged: BTreeMap<u32, u32> = BTreeMap::new();
    let mut numbers = Vec::new();
    for line in lines {
        numbers.push(miner.observe(line).0);
        for event in miner.take_events() {
            if let Event::Merged { from, to } = event {
                merged.insert(from.0, to.0);
            }
        }
    }
    let texts: BTreeMap<u32, String> = miner.templates().map(|(n, text, _)| (n.0, text)).collect();
    let last = |mut number: u32| {
        while let Some(&next) = merged.get(&number) {
            number = next;
        }
        texts[&number].clone()
    };
    (numbers.into_iter().map(last).collect(), miner)
}

fn check(lines: &[&str], expected: &[&str]) {
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let (mut texts, _) = mined(Config::default(), &lines);
    texts.dedup();
    assert_eq!(texts, expected);
}

#[test]
fn what_is_variable_by_its_looks_is_masked_at_once() {
    check(
        &["took 17 ms at 10.0.0.7:5432, id 0x7f00 of /var/lib/pg/base/1: done."],
        &["took <*> ms at <*>:<*>, id <*> of /<*>: done."],
    );
    check(
        &["block blk_-1608 of job_2015_0001 node-17"],
        &["block blk_<*> of job_<*> node-<*>"],
    );
    check(
        &["free 12MB, load 0.75%, -5 left"],
        &["free <*>MB, load <*>, <*> left"],
    );
    check(
        &["mac 00:1a:2b:3c:4d:5e up at 12:30:59"],
        &["mac <*> up at <*>:<*>:<*>"],
    );
    check(
        &["id 6ba7b810-9dad-11d1-80b4-00c04fd430c8 deadbeefcafe by http://a.b/c?d=1"],
        &["id <*> by http://<*>"],
    );
    check(
        &["at Sat Jun 18 02:08:11 2005 end"],
        &["at <*>:<*>:<*> end"],
    );
    check(
        &["illegal instruction......17", "may 4th be with you"],
        &["illegal instruction......<*>", "may <*>th be with you"],
    );
}

#[test]
fn units_vary_with_their_numbers_and_stay_where_they_do_not() {
    check(
        &[
            "stored, free 17.2 KB left",
            "stored, free 1.1 MB left",
            "took 5 ms all",
            "took 6 ms all",
        ],
        &["stored, free <*> <*> left", "took <*> ms all"],
    );
}

#[test]
fn paths_of_either_slash_are_masked() {
    check(
        &[r"loading C:\Windows\System32\config\SOFTWARE now"],
        &["loading C:<*> now"],
    );
}

#[test]
fn verbs_and_kinds_of_messages_are_no_variables() {
    let verbs = ["open", "read", "stat", "rename", "remove", "fsync"];
    let lines: Vec<String> = verbs
        .iter()
        .map(|v| format!("could not {v} the file: gone"))
        .collect();
    assert_eq!(mined(Config::default(), &lines).0, lines);
    let texts = [
        "login ok",
        "disk full",
        "node lost",
        "peer gone",
        "cache cold",
        "lock held",
    ];
    let lines: Vec<String> = texts
        .iter()
        .map(|t| format!("level=info msg=\"{t}\""))
        .collect();
    assert_eq!(mined(Config::default(), &lines).0, lines);
}

#[test]
fn lines_of_different_severities_share_no_template() {
    let levels = ["Debug", "Info", "Note", "Warning", "Error", "Fatal"];
    let lines: Vec<String> = levels
        .iter()
        .map(|l| format!("[{l}] worker 1 restarted"))
        .collect();
    assert_eq!(mined(Config::default(), &lines).1.n_templates(), 6);
    let mut miner = Miner::new(Config::default());
    assert_ne!(miner.observe_of(1, "gone 7"), miner.observe_of(2, "gone 8"));
    assert_eq!(
        miner.observe_of(1, "gone 9"),
        miner.observe_of(1, "gone 10")
    );
}

#[test]
fn an_access_log_has_a_template_per_method() {
    check(
        &[
            r#"10.0.0.1 - - [20/Nov/2026:17:50:48 +0000] "GET /a HTTP/1.1" 200 5 "-" "Mozilla/5.0 (X11; Linux) like Gecko""#,
            r#"10.0.0.2 - - [20/Nov/2026:17:50:49 +0000] "GET /a/b?q=1 HTTP/1.1" 200 7 "-" "curl/8.1 (a; b; c) and more (x)""#,
        ],
        &[r#"<*> - - [<*>/<*>/<*>] "GET /<*> HTTP/<*>" <*> "-" "<*>""#],
    );
    check(
        &["key SHA256:ab/Cd+123xyzABC45678qq ok"],
        &["key SHA256:<*> ok"],
    );
}

#[test]
fn lists_of_any_length_look_alike() {
    check(
        &["freed 1 2 3 of 7,8,9", "freed 4 of 5"],
        &["freed <*> of <*>"],
    );
}

#[test]
fn an_empty_value_in_brackets_is_one_and_a_call_is_not() {
    check(
        &[
            "from 10.0.0.1 () at 5",
            "from 10.0.0.2 (ns1.example.org) at 6",
            "init() ok",
        ],
        &["from <*> (<*>) at <*>", "init() ok"],
    );
}

#[test]
fn a_word_is_constant_until_five_were_seen_in_its_place() {
    let line = |name: &str| format!("session opened for {name} today");
    let names = ["ann", "bob", "cid", "dan", "eve"];
    let four: Vec<String> = names[..4].iter().map(|n| line(n)).collect();
    let (texts, miner) = mined(Config::default(), &four);
    assert_eq!((texts, miner.n_templates()), (four.clone(), 4));
    let five: Vec<String> = names.iter().map(|n| line(n)).collect();
    let (texts, miner) = mined(Config::default(), &five);
    assert!(
        texts
            .iter()
            .all(|text| text == "session opened for <*> today")
    );
    assert_eq!((miner.n_templates(), miner.counters().merged), (1, 1));
}

#[test]
fn names_of_states_stay_apart() {
    let states = ["OPEN", "CLOSED", "JOINER", "DONOR", "SYNCED", "LOST"];
    let lines: Vec<String> = states
        .iter()
        .map(|s| format!("node changed to {s} now"))
        .collect();
    assert_eq!(mined(Config::default(), &lines).0, lines);
}

#[test]
fn what_has_digits_in_it_is_a_name_from_the_second_on() {
    check(
        &["port J16 of u7 failed", "port J17 of u8 failed"],
        &["port J<*> of u<*> failed"],
    );
    check(
        &["using ssh2 to a", "using ssh2 to b"],
        &["using ssh2 to a", "using ssh2 to b"],
    );
}

#[test]
fn lines_that_only_have_the_same_length_stay_apart() {
    let lines = [
        "disk is full",
        "login was refused",
        "replica lags behind",
        "nothing else matters",
        "all good things",
        "x y z",
    ];
    check(&lines, &lines);
}

#[test]
fn merged_templates_are_told_and_their_lines_added_up() {
    let mut miner = Miner::new(Config::default());
    let numbers: Vec<u32> = ["a", "b", "c", "d", "e", "a"]
        .iter()
        .map(|name| miner.observe(&format!("user logged in as {name}")).0)
        .collect();
    let events: Vec<Event> = miner.take_events().collect();
    assert_eq!(numbers, [1, 2, 3, 4, 1, 1]);
    let to = TemplateNumber(1);
    let merged = |from| Event::Merged {
        from: TemplateNumber(from),
        to,
    };
    assert_eq!(
        events,
        [Event::Widened(to), merged(2), merged(3), merged(4)]
    );
    let all: Vec<_> = miner.templates().collect();
    assert_eq!(all, [(to, "user logged in as <*>".to_owned(), 6)]);
}

#[test]
fn any_number_of_shapes_stays_within_the_limits() {
    let config = Config {
        n_templates_max: 50,
        n_shapes_max: 64,
    };
    let mut miner = Miner::new(config);
    let letters = |n: usize| -> String {
        n.to_string()
            .bytes()
            .map(|b| char::from(b - b'0' + b'a'))
            .collect()
    };
    for n in 0..20_000 {
        let marks = ".:;!"
            .chars()
            .cycle()
            .skip(n)
            .take(n % 40)
            .collect::<String>();
        miner.observe(&format!(
            "{} {} {marks} {}",
            letters(n),
            letters(n * 7),
            letters(n / 3)
        ));
        miner.take_events();
    }
    assert!(miner.n_templates() <= 50, "{}", miner.n_templates());
    assert!(miner.bytes() < 200_000, "{}", miner.bytes());
    assert!(miner.counters().merged_over_limit > 0 && miner.counters().forgotten > 0);
    let n_lines: u64 = miner.templates().map(|(_, _, n)| n).sum();
    assert_eq!(n_lines, 20_000);
}

/// Whether what is constant in the template stands in the line, in order.
fn fits(template: &str, line: &str) -> bool {
    let mut rest = line;
    template
        .split_whitespace()
        .flat_map(|word| word.split("<*>"))
        .all(|piece| {
            let Some(at) = rest.find(piece) else {
                return false;
            };
            rest = &rest[at + piece.len()..];
            true
        })
}

fn lines() -> impl Strategy<Value = Vec<String>> {
    let word = prop_oneof![
        "(open|closed|failed|user|from|to|at|for)",
        "[a-e]{1,2}",
        "[0-9]{1,4}",
        "[a-z]{2}[0-9]{2}",
        "[:=(),./_-]{1,2}",
        "(10[.]0[.]0[.][0-9]|/var/log/[a-z]{3}|0x[0-9a-f]{4}|é+|Jun)",
    ];
    let line = proptest::collection::vec(word, 0..9).prop_map(|words| words.join(" "));
    proptest::collection::vec(line, 1..120)
}

/// Lines that differ in few places, so that the evidence decides.
fn alike() -> impl Strategy<Value = Vec<String>> {
    let name = || "(ann|bob|cid|dan|eve|fay|gus|hal|17|n1[.]a[.]b|x7)";
    let state = "[A-Z]{2}";
    let line = prop_oneof![
        (name(), name()).prop_map(|(a, b)| format!("session opened for user {a} by {b} now")),
        name().prop_map(|a| format!("login of user {a}")),
        name().prop_map(|a| format!("{a} went away")),
        state.prop_map(|a| format!("node changed state to {a} ok")),
        (name(), name(), name()).prop_map(|(a, b, c)| format!("got lock tag={a} name={b} of={c}")),
        (0..30_u32, name()).prop_map(|(n, a)| format!("port J{n} of u-{n} said {a}")),
        name().prop_map(|a| format!("from 10.0.0.1 ({a}) done")),
        Just("from 10.0.0.1 () done".to_owned()),
    ];
    proptest::collection::vec(line, 1..150)
}

proptest! {
    #[test]
    fn prop_the_miner_finds_the_templates_of_its_oracle(any in lines(), alike in alike()) {
        let lines: Vec<String> = alike.into_iter().chain(any).collect();
        let (_, miner) = mined(Config::default(), &lines);
        let mut oracle = Oracle::default();
        for line in &lines {
            oracle.observe(line);
        }
        let found: Vec<(u32, String)> = miner.templates().map(|(n, text, _)| (n.0, text)).collect();
        prop_assert_eq!(found, oracle.texts());
    }

    #[test]
    fn prop_every_line_fits_its_final_template_and_is_counted_once(lines in lines()) {
        let (texts, miner) = mined(Config::default(), &lines);
        for (text, line) in texts.iter().zip(&lines) {
            prop_assert!(fits(text, line), "{text} | {line}");
        }
        let n_lines: u64 = miner.templates().map(|(_, _, n)| n).sum();
        prop_assert_eq!(n_lines, lines.len() as u64);
    }

    #[test]
    fn prop_the_same_lines_give_the_same_templates_under_any_limit(lines in lines(), n in 2..40_usize) {
        let config = Config { n_templates_max: n, n_shapes_max: 64 };
        let (texts, miner) = mined(config, &lines);
        prop_assert!(miner.n_templates() <= n);
        prop_assert_eq!(&mined(config, &lines).0, &texts);
        for (text, line) in texts.iter().zip(&lines) {
            prop_assert!(fits(text, line) || text == "<*>", "{text} | {line}");
        }
    }

    #[test]
    fn prop_any_text_is_a_line(text in ".{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut miner = Miner::new(Config::default());
        let number = miner.observe(&text);
        prop_assert_eq!(miner.observe(&text), number);
        miner.observe(&String::from_utf8_lossy(&bytes));
    }
}
