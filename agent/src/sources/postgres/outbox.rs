//! What leaves the source: readings, states, facts; and the sign of life each second. (step 1)
//!
//! In: readings of a round, failures, waits. Out: [`SourceEvent`]s. Invariants: PG-9 while the database does not answer,
//! `pg.up` 0 is said each second, the first time 1.5 s after the question. PG-10 what the driver has no room for is counted.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hsw_pipeline::Counted;
use hsw_types::{NodeFacts, Reading, SeriesKey, SourceState, SourceStatus, WallTime};
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use crate::sources::{Sink, SourceEvent};

/// An answer later than this means "not up"; equal to the default client timeout.
const LATE: Duration = Duration::from_millis(1500);
const SECOND: Duration = Duration::from_secs(1);

/// The way out.
#[derive(Debug)]
pub(super) struct Outbox {
    sink: Sink,
    status: SourceStatus,
    status_sent: Option<SourceStatus>,
    facts: Option<Box<NodeFacts>>,
    up: Arc<SeriesKey>,
    probe: Arc<SeriesKey>,
    /// The oldest question without an answer.
    asked: Option<Instant>,
    /// When to say next that the database is not up.
    late_at: Option<Instant>,
}

/// Data time now.
pub(super) fn now() -> WallTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    WallTime(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

impl Outbox {
    /// Nothing said yet.
    pub(super) fn new(sink: Sink) -> Self {
        Self {
            sink,
            status: SourceStatus {
                source: "postgres".to_owned(),
                state: SourceState::Ok,
                dropped: 0,
                message: String::new(),
            },
            status_sent: None,
            facts: None,
            up: Arc::new(SeriesKey::node("pg.up")),
            probe: Arc::new(SeriesKey::node("pg.probe_ms")),
            asked: None,
            late_at: None,
        }
    }

    /// Whether the last question was answered.
    pub(super) fn is_up(&self) -> bool {
        self.asked.is_none() && self.late_at.is_none()
    }

    /// Waits for `answer` and meanwhile says each second that the database is late (PG-9).
    pub(super) async fn watched<T>(&mut self, answer: impl Future<Output = T>) -> T {
        let now = Instant::now();
        self.asked.get_or_insert(now);
        self.late_at.get_or_insert(now + LATE);
        self.speaking(answer).await
    }

    /// Waits for `future` with no question open beyond those that are; says "not up" each second while that is so.
    pub(super) async fn speaking<T>(&mut self, future: impl Future<Output = T>) -> T {
        tokio::pin!(future);
        loop {
            let Some(late_at) = self.late_at else {
                return future.await;
            };
            tokio::select! {
                biased;
                out = &mut future => return out,
                () = tokio::time::sleep_until(late_at) => self.say_down(),
            }
        }
    }

    /// The database answered.
    pub(super) fn answered(&mut self) {
        self.asked = None;
        self.late_at = None;
    }

    /// The question failed for good; the database is down from now on. A hang goes on counting its time.
    pub(super) fn failed(&mut self, state: SourceState, message: String) {
        if state != SourceState::Silent {
            self.asked = None;
        }
        let was_said = self.late_at.is_some_and(|at| at > Instant::now())
            && self.status.state != SourceState::Ok;
        self.status(state, message);
        if !was_said {
            self.say_down();
        }
    }

    fn say_down(&mut self) {
        let now = Instant::now();
        self.late_at = Some(now + SECOND);
        let mut readings = vec![Reading::gauge(&self.up, 0.0)];
        if let Some(asked) = self.asked {
            readings.push(Reading::gauge(
                &self.probe,
                (now - asked).as_secs_f64() * 1e3,
            ));
        }
        self.readings(readings);
        self.flush();
    }

    /// Readings of now.
    pub(super) fn readings(&mut self, readings: Vec<Reading>) {
        let n = readings.len() as u64;
        if n > 0
            && let Err(TrySendError::Full(_)) = self.sink.try_send(SourceEvent::Readings {
                at: now(),
                readings,
            })
        {
            self.dropped(n);
        }
    }

    /// Counts of now.
    pub(super) fn counts(&mut self, counted: Vec<Counted>) {
        let n = counted.len() as u64;
        if n > 0
            && let Err(TrySendError::Full(_)) = self.sink.try_send(SourceEvent::Counts(counted))
        {
            self.dropped(n);
        }
    }

    /// Counts what was left out.
    pub(super) fn dropped(&mut self, n: u64) {
        self.status.dropped = self.status.dropped.saturating_add(n);
    }

    /// The state; sent when it changed.
    pub(super) fn status(&mut self, state: SourceState, message: String) {
        self.status.state = state;
        self.status.message = message;
    }

    /// Facts, sent with the next flush.
    pub(super) fn facts(&mut self, facts: NodeFacts) {
        self.facts = Some(Box::new(facts));
    }

    /// Sends state and facts that are due; those that find no room wait for the next time.
    pub(super) fn flush(&mut self) {
        if self.status_sent.as_ref() != Some(&self.status)
            && self
                .sink
                .try_send(SourceEvent::Status(self.status.clone()))
                .is_ok()
        {
            self.status_sent = Some(self.status.clone());
        }
        if let Some(facts) = self.facts.take()
            && let Err(TrySendError::Full(SourceEvent::Facts(facts))) =
                self.sink.try_send(SourceEvent::Facts(facts))
        {
            self.facts = Some(facts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_types::Value;
    use tokio::sync::mpsc;

    fn downs(receiver: &mut mpsc::Receiver<SourceEvent>) -> Vec<f64> {
        let mut out = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            if let SourceEvent::Readings { readings, .. } = event {
                assert_eq!(readings[0].value, Value::Gauge(0.0));
                if let Some(Value::Gauge(ms)) = readings.get(1).map(|reading| reading.value) {
                    out.push(ms);
                }
            }
        }
        out
    }

    #[tokio::test]
    async fn a_late_answer_is_said_each_second_from_one_and_a_half_on() {
        let (sink, mut receiver) = mpsc::channel(64);
        let mut outbox = Outbox::new(sink);
        outbox
            .watched(tokio::time::sleep(Duration::from_millis(900)))
            .await;
        outbox.answered();
        assert!(downs(&mut receiver).is_empty() && outbox.is_up());
        outbox
            .watched(tokio::time::sleep(Duration::from_millis(3700)))
            .await;
        let said = downs(&mut receiver);
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0] >= 1500.0 && said[0] < 1700.0 && said[2] >= 3500.0);
        // Still unanswered: the wait before the next attempt goes on counting.
        outbox.failed(SourceState::Silent, "x".into());
        outbox
            .speaking(tokio::time::sleep(Duration::from_millis(2300)))
            .await;
        assert_eq!(downs(&mut receiver).len(), 3);
    }

    #[tokio::test]
    async fn a_refusal_is_said_at_once_without_a_made_up_time() {
        let (sink, mut receiver) = mpsc::channel(64);
        let mut outbox = Outbox::new(sink);
        outbox.failed(SourceState::Refused, "x".into());
        assert!(
            matches!(receiver.try_recv(), Ok(SourceEvent::Readings { readings, .. }) if readings.len() == 1)
        );
        assert!(
            matches!(receiver.try_recv(), Ok(SourceEvent::Status(status)) if status.state == SourceState::Refused)
        );
    }

    #[tokio::test]
    async fn what_finds_no_room_is_counted_and_the_state_waits_for_room() {
        let (sink, mut receiver) = mpsc::channel(1);
        let mut outbox = Outbox::new(sink);
        let key = Arc::new(SeriesKey::node("pg.up"));
        outbox.readings(vec![Reading::gauge(&key, 1.0)]);
        outbox.readings(vec![Reading::gauge(&key, 1.0); 3]);
        outbox.flush();
        assert!(matches!(
            receiver.try_recv(),
            Ok(SourceEvent::Readings { .. })
        ));
        assert!(receiver.try_recv().is_err());
        outbox.flush();
        assert!(
            matches!(receiver.try_recv(), Ok(SourceEvent::Status(status)) if status.dropped == 3)
        );
    }
}
