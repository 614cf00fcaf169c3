//! What is known of an edge: sessions, round trip, bytes and lag, now and over the last minute. (step 9)
//!
//! In: readings of a node about its edges. Out: [`Edge`]. Invariants: ED-1 readings of one window that end at one edge (several
//! roles and databases of one client) count together; the next window begins anew, an older one changes nothing. ED-2 what has not
//! been told for [`STALE_AFTER_US`] is unknown, never an old value. Limits: [`N_USERS_MAX`] roles, [`N_STEPS`] steps.

use std::collections::{BTreeMap, VecDeque};

use hsw_types::WallTime;

/// Login roles remembered of an edge.
pub const N_USERS_MAX: usize = 16;
/// Steps of its history an edge keeps: with [`STEP_US`] a minute.
pub const N_STEPS: usize = 12;
/// Length of a step of history, microseconds: five seconds, as the slowest agent tells of its edges.
pub const STEP_US: i64 = 5_000_000;
/// A quantity not told for so long is unknown: a minute, twelve rounds of the slowest agent.
pub const STALE_AFTER_US: i64 = 60_000_000;

/// What is told of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Sessions (refused logins a second, where that is the kind).
    Sessions,
    /// Sessions that run a statement.
    Active,
    /// Round trip of the address's sockets, milliseconds.
    RttMs,
    /// Bytes a second that the node sends.
    TxBytesPerS,
    /// Bytes a second that the node receives.
    RxBytesPerS,
    /// Bytes a replica is behind.
    LagBytes,
}

const N_QUANTITIES: usize = 6;
const NEVER: WallTime = WallTime(i64::MIN);

/// What is known of an edge.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// Sessions as last told, of all roles and databases (refused logins a second, `EdgeKind::RefusedLogin`).
    pub sessions: f64,
    /// Sessions that run a statement; `None` where nobody says.
    pub active: Option<f64>,
    /// Round trip of the sockets of the client's address, milliseconds: one for all its applications.
    pub rtt_ms: Option<f64>,
    /// Bytes a second that the node sends; of an address with several edges, this edge's share by active sessions.
    pub tx_bytes_per_s: Option<f64>,
    /// Bytes a second that the node receives, shared likewise.
    pub rx_bytes_per_s: Option<f64>,
    /// Bytes the replica is behind; of several on one host the most.
    pub lag_bytes: Option<f64>,
    /// Login roles seen on it, and when last; at most [`N_USERS_MAX`], those seen last.
    pub users: BTreeMap<String, WallTime>,
    /// First seen, data time.
    pub first_seen: WallTime,
    /// Last seen, data time.
    pub last_seen: WallTime,
    told: [WallTime; N_QUANTITIES],
    /// Newest step's number, and values of each step, oldest first; NaN where nothing was told.
    newest_step: i64,
    steps: VecDeque<[f32; N_QUANTITIES]>,
}

impl Edge {
    pub(crate) fn new(at: WallTime) -> Self {
        Self {
            sessions: 0.0,
            active: None,
            rtt_ms: None,
            tx_bytes_per_s: None,
            rx_bytes_per_s: None,
            lag_bytes: None,
            users: BTreeMap::new(),
            first_seen: at,
            last_seen: at,
            told: [NEVER; N_QUANTITIES],
            newest_step: i64::MIN,
            steps: VecDeque::new(),
        }
    }

    /// The last minute of a quantity in steps of five seconds, oldest first; `None` where nothing was told, empty before
    /// anything was.
    pub fn history(&self, quantity: Quantity) -> impl Iterator<Item = Option<f64>> + '_ {
        let at = quantity as usize;
        let values = self.steps.iter().map(move |step| f64::from(step[at]));
        values.map(|value| (!value.is_nan()).then_some(value))
    }

    /// The upper of the middle two values of the last minute: what is usual now, without the odd one.
    #[must_use]
    pub fn usual(&self, quantity: Quantity) -> Option<f64> {
        let (mut known, mut n) = ([0.0; N_STEPS], 0);
        for (place, value) in known.iter_mut().zip(self.history(quantity).flatten()) {
            *place = value;
            n += 1;
        }
        known[..n].sort_unstable_by(f64::total_cmp);
        known[..n].get(n / 2).copied()
    }

    /// Takes a reading of the window that began at `at` (ED-1).
    pub(crate) fn tell(&mut self, quantity: Quantity, value: f64, at: WallTime) {
        let told = &mut self.told[quantity as usize];
        if at < *told {
            return;
        }
        let before = if at > *told {
            None
        } else {
            self.value(quantity)
        };
        self.told[quantity as usize] = at;
        let value = match (quantity, before) {
            (_, None) | (Quantity::RttMs, _) => value,
            (Quantity::LagBytes, Some(before)) => before.max(value),
            (_, Some(before)) => before + value,
        };
        match quantity {
            Quantity::Sessions => self.sessions = value,
            Quantity::Active => self.active = Some(value),
            Quantity::RttMs => self.rtt_ms = Some(value),
            Quantity::TxBytesPerS => self.tx_bytes_per_s = Some(value),
            Quantity::RxBytesPerS => self.rx_bytes_per_s = Some(value),
            Quantity::LagBytes => self.lag_bytes = Some(value),
        }
        self.remember(quantity, value, at);
    }

    const fn value(&self, quantity: Quantity) -> Option<f64> {
        match quantity {
            Quantity::Sessions => Some(self.sessions),
            Quantity::Active => self.active,
            Quantity::RttMs => self.rtt_ms,
            Quantity::TxBytesPerS => self.tx_bytes_per_s,
            Quantity::RxBytesPerS => self.rx_bytes_per_s,
            Quantity::LagBytes => self.lag_bytes,
        }
    }

    fn remember(&mut self, quantity: Quantity, value: f64, at: WallTime) {
        let step = at.0.div_euclid(STEP_US);
        if self.steps.is_empty() || step.saturating_sub(self.newest_step) >= N_STEPS as i64 {
            self.steps.clear();
            self.steps.push_back([f32::NAN; N_QUANTITIES]);
            self.newest_step = step;
        }
        while self.newest_step < step {
            self.newest_step += 1;
            self.steps.push_back([f32::NAN; N_QUANTITIES]);
        }
        while self.steps.len() > N_STEPS {
            self.steps.pop_front();
        }
        let back = usize::try_from(self.newest_step.saturating_sub(step)).unwrap_or(usize::MAX);
        if let Some(at) = self.steps.len().checked_sub(back.saturating_add(1)) {
            self.steps[at][quantity as usize] = value as f32;
        }
    }

    /// Forgets what has not been told for long (ED-2); sessions stay, their edge's age says how old they are.
    pub(crate) fn fade(&mut self, now: WallTime) {
        let is_old = |told: WallTime| now.0.saturating_sub(told.0) >= STALE_AFTER_US;
        for (quantity, value) in [
            (Quantity::Active, &mut self.active),
            (Quantity::RttMs, &mut self.rtt_ms),
            (Quantity::TxBytesPerS, &mut self.tx_bytes_per_s),
            (Quantity::RxBytesPerS, &mut self.rx_bytes_per_s),
            (Quantity::LagBytes, &mut self.lag_bytes),
        ] {
            if is_old(self.told[quantity as usize]) {
                *value = None;
            }
        }
        if self.told.iter().all(|told| is_old(*told)) {
            self.steps.clear();
        }
    }

    pub(crate) fn see_user(&mut self, user: &str, at: WallTime) {
        if let Some(seen) = self.users.get_mut(user) {
            *seen = at.max(*seen);
            return;
        }
        if self.users.len() == N_USERS_MAX {
            let oldest = self.users.iter().min_by_key(|(_, seen)| **seen);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.users.remove(&oldest);
            }
        }
        self.users.insert(user.to_owned(), at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_told_for_a_minute_is_unknown_and_sessions_stay() {
        let mut edge = Edge::new(WallTime(0));
        edge.tell(Quantity::RttMs, 0.4, WallTime(0));
        edge.tell(Quantity::Sessions, 3.0, WallTime(30_000_000));
        edge.fade(WallTime(STALE_AFTER_US - 1));
        assert_eq!(edge.rtt_ms, Some(0.4));
        edge.fade(WallTime(STALE_AFTER_US));
        assert_eq!((edge.rtt_ms, edge.sessions), (None, 3.0));
        assert!(edge.history(Quantity::Sessions).count() > 0);
        edge.fade(WallTime(30_000_000 + STALE_AFTER_US));
        assert_eq!(edge.history(Quantity::Sessions).count(), 0);
    }

    proptest! {
        #[test]
        fn prop_an_edge_holds_the_newest_window_and_the_last_minute(told in prop::collection::vec((0..200_i64, 1..50_u32), 1..80)) {
            let mut edge = Edge::new(WallTime(0));
            let mut by_window: BTreeMap<i64, f64> = BTreeMap::new();
            let mut by_step: BTreeMap<i64, f64> = BTreeMap::new();
            let mut newest = i64::MIN;
            for (second, value) in told {
                edge.tell(Quantity::TxBytesPerS, f64::from(value), WallTime(second * 1_000_000));
                if second >= newest {
                    newest = second;
                    *by_window.entry(second).or_insert(0.0) += f64::from(value);
                    by_step.insert(second / 5, by_window[&second]);
                }
            }
            prop_assert_eq!(edge.tx_bytes_per_s, Some(by_window[&newest]));
            let shown: Vec<Option<f64>> = edge.history(Quantity::TxBytesPerS).collect();
            prop_assert!(shown.len() <= N_STEPS);
            let first = newest / 5 - shown.len() as i64 + 1;
            for (at, value) in shown.iter().enumerate() {
                prop_assert_eq!(*value, by_step.get(&(first + at as i64)).copied());
            }
        }
    }
}
