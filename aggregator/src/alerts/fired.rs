//! The book of fired triggers: which of them people hear of now. (step 14)
//!
//! In: the triggers as they stand, the silences. Out: the alerts to send, and what Alertmanager must hear again.
//! Invariants: AL-13 each firing is told once, and once that it is over: [`FIRES_S`] later, or when its trigger is removed.
//! AL-14 fail open: after a restart what has fired within [`FIRES_S`] is told again, what ended within [`RECENT_S`] is told
//! to be over. Limits: as many entries as there are triggers. Does not: send, or know a clock.

use std::collections::BTreeMap;

use hsw_types::WallTime;

use super::book::{RECENT_S, RESOLVED_REPEAT_S};
use super::message::{Alert, Sender};
use super::silence::{Silence, silenced_by};
use crate::triggers::TriggerView;

/// A fired trigger is over after so long: it is an event, no state.
pub(super) const FIRES_S: i64 = 300;

#[derive(Debug)]
struct Told {
    alert: Alert,
    fired_at: WallTime,
    /// A silence keeps it back.
    is_silent: bool,
    is_over: bool,
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct Fired {
    sender: Sender,
    started: WallTime,
    told: BTreeMap<String, Told>,
    n_suppressed: u64,
}

impl Fired {
    /// An empty book; `started` decides what an earlier life has told.
    pub(super) const fn new(sender: Sender, started: WallTime) -> Self {
        Self {
            sender,
            started,
            told: BTreeMap::new(),
            n_suppressed: 0,
        }
    }

    /// The alerts to send now. Calling it again at once gives none.
    pub(super) fn reconcile(
        &mut self,
        now: WallTime,
        triggers: &[TriggerView],
        silences: &[Silence],
    ) -> Vec<Alert> {
        let mut due = Vec::new();
        let mut there = BTreeMap::new();
        for trigger in triggers {
            there.insert(trigger.name.as_str(), trigger.fired);
            if let Some((at, _)) = trigger.fired
                && self
                    .told
                    .get(&trigger.name)
                    .is_none_or(|told| told.fired_at != at)
                && !is_old(at, self.started)
            {
                self.fire(now, at, trigger, silences, &mut due);
            }
        }
        for (name, told) in &mut self.told {
            let is_there = there.get(name.as_str()).is_some_and(Option::is_some);
            let ends = told.fired_at.window().0 + FIRES_S;
            if !told.is_over && (!is_there || now.window().0 >= ends) {
                told.is_over = true;
                told.alert.ends_at = Some(now);
                if !told.is_silent {
                    due.push(told.alert.clone());
                }
            }
        }
        let is_kept = |name: &str, told: &Told| there.contains_key(name) || !is_past(told, now);
        self.told.retain(|name, told| is_kept(name, told));
        due
    }

    fn fire(
        &mut self,
        now: WallTime,
        at: WallTime,
        trigger: &TriggerView,
        silences: &[Silence],
        due: &mut Vec<Alert>,
    ) {
        let alert = Alert::of_trigger(trigger, &self.sender);
        let is_silent = silenced_by(silences, &alert.labels, now).is_some();
        self.n_suppressed += u64::from(is_silent);
        // Over already in the life before: that alone is told.
        if !is_silent && now.window().0 < at.window().0 + FIRES_S {
            due.push(alert.clone());
        }
        let told = Told {
            alert,
            fired_at: at,
            is_silent,
            is_over: false,
        };
        self.told.insert(trigger.name.clone(), told);
    }

    /// Everything Alertmanager must hear again at `now`.
    pub(super) fn standing(&self, now: WallTime) -> impl Iterator<Item = Alert> {
        let told = self.told.values();
        told.filter(move |told| !told.is_silent && !is_past(told, now))
            .map(|told| told.alert.clone())
    }

    /// Messages kept back by silences since the start.
    pub(super) const fn n_suppressed(&self) -> u64 {
        self.n_suppressed
    }
}

/// Told and over for so long that Alertmanager need not hear of it again.
fn is_past(told: &Told, now: WallTime) -> bool {
    let ended = told.alert.ends_at.filter(|_| told.is_over);
    ended.is_some_and(|at| now.window() - at.window() > RESOLVED_REPEAT_S)
}

/// An earlier life has told that it is over.
fn is_old(fired: WallTime, started: WallTime) -> bool {
    started.window() - fired.window() > FIRES_S + RECENT_S
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::silence::{Matcher, SilenceSpec};
    use crate::triggers::{Severity, TriggerState};

    const T0: i64 = 1_700_000_000;

    fn at(s: i64) -> WallTime {
        WallTime::from_unix_seconds(T0 + s)
    }

    fn book() -> Fired {
        let sender = Sender {
            cluster: "orders".to_owned(),
            external_url: "https://watch.example".to_owned(),
        };
        Fired::new(sender, at(0))
    }

    fn fired(s: Option<i64>) -> TriggerView {
        TriggerView {
            name: "slow".to_owned(),
            words: "10,000 statements with latency_ms in [100, 1000) on shards a, b".to_owned(),
            severity: Severity::Info,
            state: TriggerState::Fired,
            known: 10_000,
            threshold: 10_000,
            n_members: 2,
            n_heard: 2,
            since: at(-3_600),
            fired: s.map(|s| (at(s), 10_012)),
            again: false,
            from_config: false,
        }
    }

    fn said(due: &[Alert]) -> Vec<&str> {
        let state = |alert: &Alert| {
            if alert.ends_at.is_some() {
                "over"
            } else {
                "fires"
            }
        };
        due.iter().map(state).collect()
    }

    #[test]
    fn a_firing_is_told_once_and_is_over_after_five_minutes() {
        let mut book = book();
        assert!(book.reconcile(at(1), &[fired(None)], &[]).is_empty());
        let due = book.reconcile(at(11), &[fired(Some(10))], &[]);
        assert_eq!(said(&due), ["fires"]);
        let label = |name: &str| due[0].labels[name].as_str();
        assert_eq!(
            (label("alertname"), label("trigger"), label("severity")),
            ("ShardTrigger", "slow", "info")
        );
        assert_eq!(
            due[0].annotations["summary"],
            "10,000 statements with latency_ms in [100, 1000) on shards a, b since 2023-11-14T21:13:20.000Z"
        );
        assert_eq!(due[0].starts_at, at(10));
        assert!(book.reconcile(at(12), &[fired(Some(10))], &[]).is_empty());
        assert_eq!(book.standing(at(300)).count(), 1);
        assert_eq!(
            said(&book.reconcile(at(310), &[fired(Some(10))], &[])),
            ["over"]
        );
        assert!(book.reconcile(at(311), &[fired(Some(10))], &[]).is_empty());
        assert_eq!(
            book.standing(at(311))
                .filter(|a| a.ends_at.is_some())
                .count(),
            1
        );
        assert_eq!(book.standing(at(700)).count(), 0);
    }

    #[test]
    fn a_second_firing_is_told_anew_and_a_removed_trigger_is_over_at_once() {
        let mut book = book();
        book.reconcile(at(11), &[fired(Some(10))], &[]);
        assert_eq!(
            said(&book.reconcile(at(21), &[fired(Some(20))], &[])),
            ["fires"]
        );
        assert_eq!(said(&book.reconcile(at(22), &[], &[])), ["over"]);
        assert!(book.reconcile(at(23), &[], &[]).is_empty());
    }

    #[test]
    fn a_silence_keeps_a_firing_back() {
        let mut book = book();
        let spec = SilenceSpec {
            matchers: vec![Matcher::parse("trigger=slow").unwrap()],
            reason: "known".to_owned(),
            expires_at: T0 + 1_000,
            author: String::new(),
        };
        let silences = [Silence::new(1, spec, at(0)).unwrap()];
        assert!(
            book.reconcile(at(11), &[fired(Some(10))], &silences)
                .is_empty()
        );
        assert!(
            book.reconcile(at(400), &[fired(Some(10))], &silences)
                .is_empty()
        );
        assert_eq!((book.n_suppressed(), book.standing(at(12)).count()), (1, 0));
    }

    #[test]
    fn after_a_restart_a_young_firing_is_told_again_an_old_one_only_to_be_over_and_a_very_old_one_not()
     {
        assert_eq!(
            said(&book().reconcile(at(1), &[fired(Some(-100))], &[])),
            ["fires"]
        );
        assert_eq!(
            said(&book().reconcile(at(1), &[fired(Some(-600))], &[])),
            ["over"]
        );
        assert!(
            book()
                .reconcile(at(1), &[fired(Some(-1_300))], &[])
                .is_empty()
        );
    }
}
