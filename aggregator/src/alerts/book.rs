//! The book of what people were told: which incident needs a message now, and which does not. (step 14)
//!
//! In: the incidents as they stand, the silences. Out: the alerts to send, and what Alertmanager must hear again.
//! Invariants: AL-5 a message is due when an incident is raised, its root changes, its severity rises, or it closes,
//! and at no other revision. AL-6 fail open: whoever was told that it fires is told that it is over, silenced or not;
//! after a restart, open incidents and those closed within [`RECENT_S`] are told again. AL-7 identity (the labels) stays
//! as told, until root or severity change; then the old identity is resolved first.
//! Limits: as many entries as the engine keeps incidents.
//! Does not: send, wait, or know a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hsw_engine::{Incident, IncidentId, IncidentState};
use hsw_types::WallTime;

use super::message::{Alert, Sender};
use super::silence::{Silence, silenced_by};

/// A resolved alert is repeated to Alertmanager for so long; docs/alerts_api.md asks for 5 min.
pub(super) const RESOLVED_REPEAT_S: i64 = 300;
/// What closed so recently before a start may not have been told: tell it (again).
pub(super) const RECENT_S: i64 = 900;

/// What is known of one incident's messages.
#[derive(Debug, Clone)]
struct Told {
    alert: Alert,
    is_over: bool,
    resolved_at: Option<WallTime>,
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct Book {
    sender: Sender,
    started: WallTime,
    told: BTreeMap<IncidentId, Told>,
    /// Old identities of incidents whose root or severity changed; resolved, to be repeated for a while.
    left: Vec<(WallTime, Alert)>,
    /// Incidents kept back by a silence now.
    suppressed: BTreeSet<IncidentId>,
    n_suppressed: u64,
}

impl Book {
    /// An empty book; `started` decides what counts as raised in this life.
    #[must_use]
    pub(super) const fn new(sender: Sender, started: WallTime) -> Self {
        Self {
            sender,
            started,
            told: BTreeMap::new(),
            left: Vec::new(),
            suppressed: BTreeSet::new(),
            n_suppressed: 0,
        }
    }

    /// The alerts to send now, in the order to send them. Calling it again at once gives none.
    pub(super) fn reconcile(
        &mut self,
        now: WallTime,
        incidents: &[Arc<Incident>],
        silences: &[Silence],
    ) -> Vec<Alert> {
        let mut due = Vec::new();
        // Oldest first: the engine lists newest first.
        for incident in incidents.iter().rev() {
            let alert = Alert::of(incident, &self.sender);
            if incident.state == IncidentState::Open {
                self.open(now, incident.id, alert, silences, &mut due);
            } else {
                self.closed(now, incident, alert, silences, &mut due);
            }
        }
        let known: BTreeSet<_> = incidents.iter().map(|incident| incident.id).collect();
        self.told.retain(|id, told| {
            known.contains(id)
                || !told.is_over
                || told.resolved_at.is_some_and(|at| is_recent(at, now))
        });
        self.suppressed.retain(|id| known.contains(id));
        self.left.retain(|(at, _)| is_recent(*at, now));
        due
    }

    /// Everything Alertmanager must hear again at `now`: what fires, and what resolved a short while ago.
    #[must_use]
    pub(super) fn standing(&self, now: WallTime) -> Vec<Alert> {
        let told = self
            .told
            .iter()
            .filter(|(id, told)| {
                if told.is_over {
                    told.resolved_at.is_some_and(|at| is_recent(at, now))
                } else {
                    !self.suppressed.contains(id)
                }
            })
            .map(|(_, told)| told.alert.clone());
        // An old identity that came back to life must not be resolved in the same breath.
        let fires: BTreeSet<_> = self
            .told
            .values()
            .filter(|told| !told.is_over)
            .map(|told| &told.alert.labels)
            .collect();
        self.left
            .iter()
            .map(|(_, alert)| alert.clone())
            .chain(told)
            .filter(|alert| alert.ends_at.is_none() || !fires.contains(&alert.labels))
            .collect()
    }

    /// Messages kept back by silences since the start.
    #[must_use]
    pub(super) const fn n_suppressed(&self) -> u64 {
        self.n_suppressed
    }

    fn open(
        &mut self,
        now: WallTime,
        id: IncidentId,
        mut alert: Alert,
        silences: &[Silence],
        due: &mut Vec<Alert>,
    ) {
        let mut old = None;
        let mut is_due = true;
        if let Some(told) = self.told.get(&id).filter(|told| !told.is_over) {
            let label = |alert: &Alert, name: &str| alert.labels.get(name).cloned();
            let is_same_root = label(&told.alert, "shard") == label(&alert, "shard");
            let has_risen = label(&told.alert, "severity").as_deref() == Some("warning")
                && label(&alert, "severity").as_deref() == Some("critical");
            if is_same_root && !has_risen {
                alert.labels.clone_from(&told.alert.labels);
                is_due = false;
            } else {
                old = Some(told.alert.clone());
            }
        }
        if silenced_by(silences, &alert.labels, now).is_some() {
            if self.suppressed.insert(id) {
                self.n_suppressed += 1;
            }
            if !is_due {
                self.keep(id, alert);
            }
            return;
        }
        self.suppressed.remove(&id);
        if let Some(mut old) = old {
            old.ends_at = Some(now);
            self.left.push((now, old.clone()));
            due.push(old);
        }
        if is_due {
            due.push(alert.clone());
        }
        self.keep(id, alert);
    }

    fn closed(
        &mut self,
        now: WallTime,
        incident: &Incident,
        mut alert: Alert,
        silences: &[Silence],
        due: &mut Vec<Alert>,
    ) {
        match self.told.get(&incident.id) {
            Some(told) if told.is_over => return,
            Some(told) => alert.labels.clone_from(&told.alert.labels),
            None => {
                let is_of_this_life = incident.raised.start() >= self.started;
                let ended_s = incident.ended.unwrap_or(incident.raised).0;
                let is_recent = self.started.window().0 - ended_s <= RECENT_S;
                if !is_recent || silenced_by(silences, &alert.labels, now).is_some() {
                    return;
                }
                if is_of_this_life {
                    // Raised and over between two looks: nobody heard of it yet.
                    let mut firing = alert.clone();
                    firing.ends_at = None;
                    due.push(firing);
                }
            }
        }
        due.push(alert.clone());
        let told = Told {
            alert,
            is_over: true,
            resolved_at: Some(now),
        };
        self.told.insert(incident.id, told);
    }

    fn keep(&mut self, id: IncidentId, alert: Alert) {
        let told = Told {
            alert,
            is_over: false,
            resolved_at: None,
        };
        self.told.insert(id, told);
    }
}

fn is_recent(at: WallTime, now: WallTime) -> bool {
    now.window() - at.window() <= RESOLVED_REPEAT_S
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::fixture;
    use crate::alerts::silence::{Matcher, SilenceSpec};

    const START: i64 = fixture::T0 - 100;

    fn at(s: i64) -> WallTime {
        WallTime::from_unix_seconds(fixture::T0 + s)
    }

    fn book() -> Book {
        let sender = Sender {
            cluster: "orders".to_owned(),
            external_url: String::new(),
        };
        Book::new(sender, WallTime::from_unix_seconds(START))
    }

    fn said(due: &[Alert]) -> Vec<String> {
        due.iter()
            .map(|alert| {
                let state = if alert.ends_at.is_some() {
                    "resolved"
                } else {
                    "firing"
                };
                format!(
                    "{state} {} {}",
                    alert.labels["shard"], alert.labels["severity"]
                )
            })
            .collect()
    }

    fn silence(matcher: &str, for_s: i64) -> Silence {
        let spec = SilenceSpec {
            matchers: vec![Matcher::parse(matcher).unwrap()],
            reason: "known".to_owned(),
            expires_at: at(0).window().0 + for_s,
            author: String::new(),
        };
        Silence::new(1, spec, at(0)).unwrap()
    }

    #[test]
    fn an_incident_is_told_when_raised_and_when_over_and_not_between() {
        let (mut book, mut incident) = (book(), fixture::incident(1, "a"));
        let mut look = |s, incident: &Incident| {
            said(&book.reconcile(at(s), &[Arc::new(incident.clone())], &[]))
        };
        assert_eq!(look(1, &incident), ["firing a warning"]);
        incident.revision += 1;
        incident.summary.push_str(", still");
        assert!(look(2, &incident).is_empty());
        fixture::close(&mut incident, 60);
        assert_eq!(look(61, &incident), ["resolved a warning"]);
        assert!(look(62, &incident).is_empty());
    }

    #[test]
    fn a_new_root_or_a_higher_severity_is_told_under_the_new_identity() {
        let (mut book, mut incident) = (book(), fixture::incident(1, "a"));
        book.reconcile(at(1), &[Arc::new(incident.clone())], &[]);
        incident.root = hsw_types::ShardId::new("b").unwrap();
        let due = book.reconcile(at(2), &[Arc::new(incident.clone())], &[]);
        assert_eq!(said(&due), ["resolved a warning", "firing b warning"]);
        incident.confidence = 0.95;
        let due = book.reconcile(at(3), &[Arc::new(incident.clone())], &[]);
        assert_eq!(said(&due), ["resolved b warning", "firing b critical"]);
        incident.confidence = 0.5;
        assert!(book.reconcile(at(4), &[Arc::new(incident)], &[]).is_empty());
        assert_eq!(
            said(&book.standing(at(4))).last().unwrap(),
            "firing b critical"
        );
    }

    #[test]
    fn a_silence_keeps_the_message_back_until_it_expires() {
        let (mut book, incident) = (book(), Arc::new(fixture::incident(1, "a")));
        let silences = [silence("shard=a", 100)];
        assert!(
            book.reconcile(at(1), &[Arc::clone(&incident)], &silences)
                .is_empty()
        );
        assert!(
            book.reconcile(at(2), &[Arc::clone(&incident)], &silences)
                .is_empty()
        );
        assert_eq!(book.n_suppressed(), 1);
        assert!(book.standing(at(2)).is_empty());
        assert_eq!(
            said(&book.reconcile(at(101), &[incident], &silences)),
            ["firing a warning"]
        );
    }

    #[test]
    fn who_was_told_that_it_fires_is_told_that_it_is_over_despite_a_silence() {
        let (mut book, mut incident) = (book(), fixture::incident(1, "a"));
        book.reconcile(at(1), &[Arc::new(incident.clone())], &[]);
        let silences = [silence("shard=a", 1_000)];
        book.reconcile(at(2), &[Arc::new(incident.clone())], &silences);
        assert!(book.standing(at(2)).is_empty(), "silenced: not repeated");
        fixture::close(&mut incident, 60);
        assert_eq!(
            said(&book.reconcile(at(61), &[Arc::new(incident)], &silences)),
            ["resolved a warning"]
        );
    }

    #[test]
    fn after_a_restart_open_and_just_closed_incidents_are_told_again_and_old_ones_are_not() {
        let mut book = book();
        let mut open = fixture::incident(1, "a");
        open.raised = hsw_types::WindowIndex(START - 5_000);
        let (mut recent, mut old) = (open.clone(), open.clone());
        (recent.id, old.id) = (IncidentId(2), IncidentId(3));
        fixture::close(&mut recent, -200);
        fixture::close(&mut old, -100 - RECENT_S - 1);
        let all = [Arc::new(open), Arc::new(recent), Arc::new(old)];
        assert_eq!(
            said(&book.reconcile(at(0), &all, &[])),
            ["resolved a warning", "firing a warning"]
        );
    }

    #[test]
    fn what_was_raised_and_closed_between_two_looks_is_still_told() {
        let (mut book, mut incident) = (book(), fixture::incident(1, "a"));
        fixture::close(&mut incident, 20);
        assert_eq!(
            said(&book.reconcile(at(21), &[Arc::new(incident)], &[])),
            ["firing a warning", "resolved a warning"]
        );
    }

    #[test]
    fn alertmanager_hears_a_resolved_alert_for_five_minutes() {
        let (mut book, mut incident) = (book(), fixture::incident(1, "a"));
        book.reconcile(at(1), &[Arc::new(incident.clone())], &[]);
        assert_eq!(said(&book.standing(at(2))), ["firing a warning"]);
        fixture::close(&mut incident, 60);
        book.reconcile(at(61), &[Arc::new(incident)], &[]);
        assert_eq!(
            said(&book.standing(at(61 + RESOLVED_REPEAT_S))),
            ["resolved a warning"]
        );
        assert!(book.standing(at(62 + RESOLVED_REPEAT_S)).is_empty());
    }
}
