//! A recording as a download: what was told shortly before, then what is told while it lasts. (step 15)
//!
//! In: for how long, and how much of before. Out: the file's bytes as they come (see `hsw-recording`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hsw_recording::{Entry, Error, Writer};
use hsw_types::{Monotonic, WallTime};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::Parts;
use super::api::problem;
use crate::record::{Noted, Tapped};
use crate::store::Committed;

/// Longest recording, seconds.
const SECONDS_MAX: u64 = 86_400;
/// Longest time before it, seconds.
const BEFORE_MAX: u64 = 3_600;
/// What came is sent on at least this often.
const SEND_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    seconds: u64,
    #[serde(default)]
    before: u64,
}

/// `GET /api/v1/recording?seconds=N[&before=N]`.
pub(super) async fn recording(State(parts): State<Parts>, Query(asked): Query<Asked>) -> Response {
    if !(1..=SECONDS_MAX).contains(&asked.seconds) || asked.before > BEFORE_MAX {
        return problem(
            StatusCode::BAD_REQUEST,
            "seconds: 1 to 86400; before: 0 to 3600",
        );
    }
    // Listening first: what is committed meanwhile comes twice, and is told once.
    let Ok(tapped) = parts.shared.driver.record().await else {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "the engine is busy: ask again",
        );
    };
    let since = WallTime(tapped.began.1.0 - asked.before as i64 * 1_000_000);
    let told = if asked.before == 0 {
        Ok(Vec::new())
    } else {
        parts.shared.store.recent(since).await
    };
    match told
        .map_err(|error| error.to_string())
        .and_then(|told| Live::new(tapped, told, asked.seconds))
    {
        Ok(live) => {
            let stream = futures_util::stream::unfold(live, Live::next);
            let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
            (kind, Body::from_stream(stream)).into_response()
        }
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error),
    }
}

/// A recording under way.
struct Live {
    writer: Option<Writer<Vec<u8>>>,
    /// What was told before, and has not been written yet.
    told: VecDeque<Noted>,
    entries: mpsc::Receiver<Noted>,
    lost: Arc<AtomicU64>,
    last: Monotonic,
    until: Instant,
}

impl Live {
    fn new(tapped: Tapped, told: Vec<Committed>, seconds: u64) -> Result<Self, String> {
        let (now, wall) = tapped.began;
        let mut before: VecDeque<Noted> = told
            .into_iter()
            .filter_map(|committed| Some((now, entry(committed)?)))
            .collect();
        before.push_back((now, Entry::ReplayDone { wall }));
        let writer = Writer::new(Vec::new(), &tapped.header).map_err(|error| error.to_string())?;
        Ok(Self {
            writer: Some(writer),
            told: before,
            entries: tapped.entries,
            lost: tapped.lost,
            last: now,
            until: Instant::now() + Duration::from_secs(seconds),
        })
    }

    /// The next bytes; `None` once the end has been told.
    async fn next(mut self) -> Option<(Result<Bytes, Error>, Self)> {
        let mut writer = self.writer.take()?;
        let told = self.gather(&mut writer).await;
        let bytes = match told {
            Err(error) => return Some((Err(error), self)),
            Ok(true) => {
                let lost = self.lost.load(Ordering::Relaxed);
                return Some((writer.finish(self.last, lost).map(Bytes::from), self));
            }
            Ok(false) => writer.flush().map(|()| std::mem::take(writer.out())),
        };
        self.writer = Some(writer);
        Some((bytes.map(Bytes::from), self))
    }

    /// Writes what comes until it is time to send it on; true at the end.
    async fn gather(&mut self, writer: &mut Writer<Vec<u8>>) -> Result<bool, Error> {
        while let Some((now, entry)) = self.told.pop_front() {
            writer.push(now, &entry)?;
        }
        let send = self.until.min(Instant::now() + SEND_EVERY);
        loop {
            match timeout_at(send, self.entries.recv()).await {
                Ok(Some((now, entry))) => {
                    self.last = now;
                    writer.push(now, &entry)?;
                }
                // Not kept up with, or the aggregator ends.
                Ok(None) => return Ok(true),
                Err(_) => return Ok(Instant::now() >= self.until),
            }
        }
    }
}

fn entry(committed: Committed) -> Option<Entry> {
    match committed {
        Committed::Summary {
            node,
            summary,
            received,
            ..
        } => Some(Entry::Summary {
            node,
            received,
            is_replay: true,
            summary,
        }),
        Committed::Stopped { node } => Some(Entry::Stopped { node }),
        _ => None,
    }
}
