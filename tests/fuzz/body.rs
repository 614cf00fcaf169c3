//! What must hold for any bytes that come from the network: they are a message, or an error; never a panic, and what
//! was read is written back to something that reads the same. And for any bytes of a log file: each line is in one
//! record or counted, and no field of a record grows over its limit. And for any SQL: it has a template of bounded length
//! and statements that are in it; any plan has a shape or none. And for any lines: templates are few, and count each once.
#![allow(dead_code, reason = "each fuzz target plays one of the bodies")]

use hsw_pipeline::mine::{Config, Miner};
use hsw_pipeline::{
    Assembler, ClassifierConfig, Dialect, Fingerprinter, LogClassifier, LogFormat, LogRecord,
    PlanReader, Statements, TimeDefaults, Timeline, detect, mask,
};
use hsw_sketch::{Distinct, HOT_CELLS, HeavyHitters, QuantileSketch, hot_now};
use hsw_types::{WallTime, fnv1a_64};
use hsw_wire::{
    FRAME_HEADER_BYTES, ToAgent, ToAggregator, decode_summary, encode_summary, frame_length,
};

/// Plays `bytes` through every decoder.
pub(crate) fn frame(bytes: &[u8]) {
    let body = match bytes.split_first_chunk::<FRAME_HEADER_BYTES>() {
        Some((header, body)) if frame_length(*header).is_ok() => body,
        _ => bytes,
    };
    if let Ok(message) = ToAggregator::decode(body) {
        let frame = message.encode().expect("what was decoded fits a frame");
        assert_eq!(
            ToAggregator::decode(&frame[FRAME_HEADER_BYTES..]).as_ref(),
            Ok(&message)
        );
        if let ToAggregator::Summary { payload, .. } = &message {
            summary(payload);
        }
    }
    if let Ok(message) = ToAgent::decode(body) {
        let frame = message.encode().expect("what was decoded fits a frame");
        assert_eq!(
            ToAgent::decode(&frame[FRAME_HEADER_BYTES..]).as_ref(),
            Ok(&message)
        );
    }
    summary(body);
    if let Ok(sketch) = QuantileSketch::decode(body) {
        assert_eq!(
            QuantileSketch::decode(&sketch.encode()).as_ref(),
            Ok(&sketch)
        );
        let _ = sketch.quantile(0.99);
    }
    hot(body, body);
}

/// What is hot, as the aggregator takes it in.
fn hot(sketch: &[u8], distinct: &[u8]) {
    if let Ok(window) = HeavyHitters::decode(sketch, HOT_CELLS) {
        let again = HeavyHitters::decode(&window.encode(), HOT_CELLS);
        assert_eq!(again.map(|one| one.encode()).ok(), Some(window.encode()));
        let mut now = hot_now(60.0);
        // Another shape is refused, a like one is taken.
        let _ = now.absorb(&window, 1_795_000_000);
        let _ = now.merge(&window);
        assert!(now.top(10, 1_795_000_000).len() <= 10);
    }
    if let Ok(seen) = Distinct::decode(distinct) {
        assert!(seen.count() >= 0.0);
        assert_eq!(Distinct::decode(&seen.encode()).as_ref(), Ok(&seen));
    }
}

fn summary(payload: &[u8]) {
    let Ok(summary) = decode_summary(payload) else {
        return;
    };
    for window in &summary.hot {
        hot(&window.sketch, &window.distinct);
    }
    let values = summary
        .series
        .iter()
        .flat_map(|series| series.values.iter().flatten());
    assert!(
        values.clone().all(|value| value.is_finite()),
        "a value that is not finite came through"
    );
    // A summary that was barely short enough may be too long in our own words; else it must come back.
    if let Ok(again) = encode_summary(&summary) {
        assert_eq!(decode_summary(&again).as_ref(), Ok(&summary));
    }
}

/// Plays `bytes` as a log file through every format.
pub(crate) fn formats(bytes: &[u8]) {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let found = detect(&lines, "x.log");
    let named = LogFormat::names()
        .iter()
        .filter_map(|name| LogFormat::named(name, Some("%m [%p] %q%u@%d ")));
    for format in named.chain([found]) {
        log(&lines, format);
    }
}

fn log(lines: &[&[u8]], format: LogFormat) {
    let defaults = TimeDefaults {
        utc_offset_s: Some(3_600),
        not_after: Some(WallTime::from_unix_seconds(1_795_197_048)),
    };
    let mut timeline = Timeline::new(&format);
    let mut assembler = Assembler::with_defaults(format, defaults);
    let mut template = String::new();
    let mut n_lines = 0;
    let mut take = |record: &LogRecord| {
        n_lines += record.n_lines;
        assert!(record.n_lines > 0, "a record of no line");
        assert!(record.message.len() <= 8 * 1024, "a message over the limit");
        let long = record.statement.len().max(record.plan.len());
        assert!(long <= 64 * 1024, "a statement or plan over the limit");
        let numbers = [record.duration_ms, record.lock_ms];
        assert!(
            numbers
                .iter()
                .flatten()
                .all(|ms| ms.is_finite() && *ms >= 0.0)
        );
        mask(&record.message, &mut template);
        timeline.record(record, &mut |event| {
            assert!(event.a.len() <= 8 * 1024 && event.b.len() <= 8 * 1024);
        });
    };
    let mut start = 0;
    for (at, line) in lines.iter().enumerate() {
        assembler.line(start, line, &mut take);
        start += line.len() as u64 + 1;
        if at % 7 == 6 {
            assembler.idle(&mut take);
        }
    }
    assembler.flush(&mut take);
    let counters = assembler.counters();
    assert_eq!(counters.lines, lines.len() as u64);
    assert_eq!(
        counters.lines,
        n_lines + counters.lines_outside,
        "lines got lost"
    );
}

/// Plays `bytes` as statements of every dialect and as a plan.
pub(crate) fn sql(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for dialect in [Dialect::MySql, Dialect::PostgreSql] {
        let mut fingerprinter = Fingerprinter::new(dialect);
        let bytes_max = 8 * text.len() + 64;
        for sql in Statements::new(&text, dialect).chain([&*text]) {
            let fingerprint = fingerprinter.fingerprint(sql);
            assert!(
                fingerprint.text.len() <= bytes_max,
                "a template outgrew its statement"
            );
            assert_eq!(fingerprint.hash, fnv1a_64(fingerprint.text.as_bytes()));
            let again = fingerprint.hash;
            assert_eq!(
                fingerprinter.fingerprint(sql).hash,
                again,
                "buffers remember"
            );
            assert!(fingerprinter.normalized(sql).len() <= bytes_max);
        }
    }
    let mut plans = PlanReader::default();
    if let Some(shape) = plans.shape(&text) {
        assert_eq!(shape.hash, fnv1a_64(shape.text.as_bytes()));
    }
}

/// Plays the lines of `bytes` through the miner, under limits that they reach, and through all that is made of a record.
pub(crate) fn templates(bytes: &[u8]) {
    let config = Config {
        n_templates_max: 12,
        n_shapes_max: 64,
    };
    let mut miner = Miner::new(config);
    let mut classifier = LogClassifier::new(ClassifierConfig {
        mining: config,
        n_templates_max: 6,
        ..ClassifierConfig::default()
    });
    let mut readings = Vec::new();
    let mut n_lines = 0;
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let text = String::from_utf8_lossy(line);
        let number = miner.observe(&text);
        assert!(miner.take_events().count() <= 13);
        assert!(miner.text(number).is_some(), "a template that is not there");
        assert_eq!(
            miner.observe(&text),
            number,
            "the same line, another template"
        );
        miner.take_events();
        n_lines += 2;
        classifier.record(WallTime(0), &LogRecord::plain(&text));
        if at % 5 == 4 {
            classifier.tick(&mut readings);
        }
    }
    assert!(miner.n_templates() <= 12);
    assert_eq!(miner.templates().map(|(_, _, n)| n).sum::<u64>(), n_lines);
    assert!(classifier.take_renamed().len() <= 100);
}
