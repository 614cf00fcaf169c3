//! What was counted for, in a file: frames of the wire, as the aggregator would send them. (step 5)
//!
//! Invariants: TM-1 the file is whole: it is written beside its place and moved there. TM-2 a file that cannot be read or
//! written costs what is counted between a start and the aggregator's word, and is logged. Limits: [`FILE_BYTES_MAX`].

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use hsw_trigger::{Down, QueryId, Question};
use hsw_wire::{FRAME_HEADER_BYTES, TRIGGERS_MAX, ToAgent, TriggerDown, frame_length};

/// What was counted for.
type Remembered = Vec<(QueryId, Arc<Question>)>;

/// Far above ten thousand triggers.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// What an earlier life counted for, and which it was; 0 where there was none.
pub(super) fn read(file: &Path) -> (Remembered, u64) {
    match try_read(file) {
        Ok(remembered) => remembered,
        Err(error) => {
            let error = format!("{error:#}");
            tracing::warn!(error, "it is not remembered what triggers are counted");
            (Vec::new(), 0)
        }
    }
}

fn try_read(file: &Path) -> anyhow::Result<(Remembered, u64)> {
    let Ok(about) = fs::metadata(file) else {
        return Ok((Vec::new(), 0));
    };
    let name = file.display();
    anyhow::ensure!(
        about.len() <= FILE_BYTES_MAX,
        "{name} is too long: remove it"
    );
    let bytes = fs::read(file).with_context(|| format!("read {name}"))?;
    let mut rest = bytes.as_slice();
    let (mut remembered, mut last_epoch) = (Vec::new(), 0);
    while let Some((header, body)) = rest.split_first_chunk::<FRAME_HEADER_BYTES>() {
        let length = frame_length(*header).with_context(|| format!("read {name}"))?;
        let (body, after) = body
            .split_at_checked(length)
            .with_context(|| format!("{name} ends in the middle of a frame"))?;
        rest = after;
        if let ToAgent::Triggers(list) =
            ToAgent::decode(body).with_context(|| format!("read {name}"))?
        {
            for message in list {
                if let Ok(Down::Watch {
                    query,
                    question,
                    epoch,
                    ..
                }) = Down::try_from(message)
                {
                    remembered.push((query, question));
                    last_epoch = epoch.max(last_epoch);
                }
            }
        }
    }
    Ok((remembered, last_epoch))
}

/// Remembers these.
pub(super) fn write<'a>(
    file: &Path,
    epoch: u64,
    questions: impl Iterator<Item = (QueryId, &'a Arc<Question>)>,
) {
    if file.as_os_str().is_empty() {
        return;
    }
    let watch = |(query, question): (QueryId, &Arc<Question>)| {
        TriggerDown::from(&Down::Watch {
            query,
            epoch,
            round: 0,
            slack: 1,
            base: 0,
            question: Arc::clone(question),
        })
    };
    let all: Vec<_> = questions.map(watch).collect();
    if let Err(error) = try_write(file, &all) {
        let error = format!("{error:#}");
        tracing::warn!(error, "cannot remember what triggers are counted");
    }
}

fn try_write(file: &Path, all: &[TriggerDown]) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    for list in all.chunks(TRIGGERS_MAX) {
        bytes.extend(ToAgent::Triggers(list.to_vec()).encode()?);
    }
    let beside = file.with_extension("new");
    fs::write(&beside, bytes)
        .and_then(|()| fs::rename(&beside, file))
        .with_context(|| format!("write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_trigger::{Measure, Range, Space, Weight};

    #[test]
    fn what_is_written_is_read_and_a_torn_file_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("triggers");
        assert_eq!(read(&file), (Vec::new(), 0));
        let space = Space::new(&[Measure::Rows], Weight::Ms).unwrap();
        let question = |n: u64| {
            let range = Range { lo: n, hi: n + 1 };
            Arc::new(Question::new(space, [None, Some(n), None, None], vec![range]).unwrap())
        };
        let all: Vec<_> = (0..2_500).map(|n| (QueryId(n), question(n))).collect();
        write(
            &file,
            77,
            all.iter().map(|(query, question)| (*query, question)),
        );
        assert_eq!(read(&file), (all, 77));
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(read(&file), (Vec::new(), 0));
    }
}
