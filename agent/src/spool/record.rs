//! One summary on disk: `[len u32][crc32 u32][sequence u64][last window i64][payload len u32][payload][checkpoint]`. (step 5)
//!
//! Little endian; `len` counts what follows the checksum, which covers the same bytes.
//! Invariants: RC-1 any bytes read as records, torn ends or damage, never as a panic or a huge allocation.

use hsw_types::{Sequence, WindowIndex};
use hsw_wire::SUMMARY_BYTES_MAX;

/// Length and checksum.
pub(crate) const HEAD_BYTES: usize = 8;
/// Sequence, window, payload length.
const FIXED_BYTES: usize = 20;
/// The log's position is a few hundred bytes, of thousands of files some hundred KiB; more than this is damage.
pub(crate) const CHECKPOINT_BYTES_MAX: usize = 4 << 20;
/// Longest body.
const BODY_BYTES_MAX: usize = FIXED_BYTES + SUMMARY_BYTES_MAX + CHECKPOINT_BYTES_MAX;

/// A summary that waits to be acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) sequence: Sequence,
    pub(crate) last_window: WindowIndex,
    pub(crate) payload: Vec<u8>,
    pub(crate) checkpoint: Option<Vec<u8>>,
}

impl Record {
    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        into.clear();
        let checkpoint = self.checkpoint.as_deref().unwrap_or_default();
        let bytes = FIXED_BYTES + self.payload.len() + checkpoint.len();
        into.extend_from_slice(&u32_of(bytes).to_le_bytes());
        into.extend_from_slice(&[0; 4]);
        into.extend_from_slice(&self.sequence.0.to_le_bytes());
        into.extend_from_slice(&self.last_window.0.to_le_bytes());
        into.extend_from_slice(&u32_of(self.payload.len()).to_le_bytes());
        into.extend_from_slice(&self.payload);
        into.extend_from_slice(checkpoint);
        let crc = crc32fast::hash(&into[HEAD_BYTES..]);
        into[4..HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
    }

    /// The record at the start of `bytes` and how many it takes; `None` when it is torn or damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let body_bytes = u32::from_le_bytes(array(bytes, 0)?) as usize;
        if !(FIXED_BYTES..=BODY_BYTES_MAX).contains(&body_bytes) {
            return None;
        }
        let crc = u32::from_le_bytes(array(bytes, 4)?);
        let body = bytes.get(HEAD_BYTES..HEAD_BYTES + body_bytes)?;
        let payload_bytes = u32::from_le_bytes(array(body, 16)?) as usize;
        let payload = body.get(FIXED_BYTES..FIXED_BYTES.checked_add(payload_bytes)?)?;
        if crc32fast::hash(body) != crc {
            return None;
        }
        let checkpoint = &body[FIXED_BYTES + payload_bytes..];
        let record = Self {
            sequence: Sequence(u64::from_le_bytes(array(body, 0)?)),
            last_window: WindowIndex(i64::from_le_bytes(array(body, 8)?)),
            payload: payload.to_vec(),
            checkpoint: (!checkpoint.is_empty()).then(|| checkpoint.to_vec()),
        };
        Some((record, HEAD_BYTES + body_bytes))
    }
}

/// Reads a segment: each good record with its offset and length; how many stretches in between were damaged; and where
/// the last good record ends.
pub(crate) fn scan(bytes: &[u8]) -> (Vec<(Record, u64, u32)>, u64, u64) {
    let mut found = Vec::new();
    let mut damaged = 0;
    let mut at = 0;
    let mut good_end = 0;
    while at < bytes.len() {
        if let Some((record, n)) = Record::decode(&bytes[at..]) {
            found.push((record, at as u64, u32_of(n)));
            at += n;
            good_end = at;
            continue;
        }
        // Damage inside a record leaves its length, or another record begins somewhere behind it.
        match (at + 1..bytes.len()).find(|next| Record::decode(&bytes[*next..]).is_some()) {
            Some(next) => {
                damaged += 1;
                at = next;
            }
            None => break,
        }
    }
    (found, damaged, good_end as u64)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn u32_of(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(sequence: u64) -> Record {
        Record {
            sequence: Sequence(sequence),
            last_window: WindowIndex(1000 + sequence.cast_signed()),
            payload: vec![sequence as u8; 50],
            checkpoint: sequence.is_multiple_of(2).then(|| vec![9; 5]),
        }
    }

    fn segment(n: u64) -> Vec<u8> {
        let mut all = Vec::new();
        let mut one = Vec::new();
        for sequence in 1..=n {
            record(sequence).encode(&mut one);
            all.extend_from_slice(&one);
        }
        all
    }

    #[test]
    fn a_damaged_byte_anywhere_costs_one_record_and_no_other() {
        let bytes = segment(3);
        let (whole, _, _) = scan(&bytes);
        for at in 0..bytes.len() {
            let mut hurt = bytes.clone();
            hurt[at] ^= 0x55;
            let (found, _, _) = scan(&hurt);
            assert_eq!(found.len(), 2, "byte {at}");
            assert!(found.iter().all(|f| whole.contains(f)), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn prop_any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let (found, _, end) = scan(&bytes);
            prop_assert!(end as usize <= bytes.len());
            prop_assert!(found.len() <= bytes.len());
        }
    }
}
