//! What must hold for any bytes that come from the network: they are a message, or an error; never a panic, and what
//! was read is written back to something that reads the same.

use hsw_sketch::QuantileSketch;
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
}

fn summary(payload: &[u8]) {
    let Ok(summary) = decode_summary(payload) else {
        return;
    };
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
