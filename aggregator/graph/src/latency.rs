//! Round trips as small whole lengths, so that distances in time can be kept exact under change. (step 9)
//!
//! In: what is usual of an edge's round trip. Out: its class, 1 to [`CLASSES`]: class 1 below [`FIRST_MS`], each further one up to twice
//! the one before (0.5, 1, 2 … ms), the last without end. Unknown is class 1: a Unix socket, and what nobody measures.
//! Invariant: LT-1 a class changes only where the round trip has left it by a quarter, so that noise at a border changes nothing.

/// Classes there are: the last begins at 0.25 · 2¹⁴ ms, about four seconds, where connections are given up.
pub const CLASSES: u8 = 16;
/// Upper border of the first class, milliseconds. Within a rack and a host round trips are below it, and differ by how processors are
/// scheduled.
pub const FIRST_MS: f64 = 0.25;
/// How far beyond its class's borders a round trip must be: the kernel's estimate moves by an eighth of a sample's distance (RFC 6298,
/// section 2.3), so that one sample three times as long as the rest moves it by a quarter.
const MARGIN: f64 = 1.25;

/// Milliseconds that the class begins and ends at.
fn borders_ms(class: u8) -> (f64, f64) {
    let end = FIRST_MS * f64::from(1_u32 << (class.clamp(1, CLASSES) - 1));
    match class {
        ..=1 => (0.0, FIRST_MS),
        CLASSES.. => (end / 2.0, f64::INFINITY),
        _ => (end / 2.0, end),
    }
}

/// The class of a round trip that was of class `was`; nothing new while it is unknown.
#[must_use]
pub fn latency_class(was: Option<u8>, rtt_ms: Option<f64>) -> u8 {
    let Some(rtt_ms) = rtt_ms else {
        return was.unwrap_or(1);
    };
    if let Some(was) = was {
        let (from, to) = borders_ms(was);
        if (from / MARGIN..to * MARGIN).contains(&rtt_ms) {
            return was;
        }
    }
    (1..CLASSES)
        .find(|class| rtt_ms < borders_ms(*class).1)
        .unwrap_or(CLASSES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classes_double_and_noise_at_a_border_changes_nothing() {
        let classes =
            [0.0, 0.2, 0.25, 0.49, 0.5, 1.0, 100.0, 1e9].map(|ms| latency_class(None, Some(ms)));
        assert_eq!(classes, [1, 1, 2, 2, 3, 4, 10, CLASSES]);
        let mut class = latency_class(None, Some(0.49));
        for ms in [0.51, 0.49, 0.6, 0.21, 0.4] {
            class = latency_class(Some(class), Some(ms));
            assert_eq!(class, 2, "{ms}");
        }
        assert_eq!(latency_class(Some(class), Some(0.63)), 3);
        assert_eq!(latency_class(Some(3), Some(0.41)), 3, "nor on the way back");
        assert_eq!(latency_class(Some(3), Some(0.39)), 2);
        assert_eq!(
            (latency_class(None, None), latency_class(Some(7), None)),
            (1, 7)
        );
    }

    proptest! {
        #[test]
        fn prop_a_round_trip_that_varies_by_a_tenth_changes_class_once_at_most(ms in 0.01..5_000.0_f64, noise in prop::collection::vec(0.9..1.1_f64, 1..50)) {
            let mut class = latency_class(None, Some(ms));
            let mut n_changes = 0;
            for by in noise {
                let next = latency_class(Some(class), Some(ms * by));
                n_changes += usize::from(next != class);
                class = next;
            }
            prop_assert_eq!(n_changes, 0, "a quarter is more than a tenth");
        }
    }
}
