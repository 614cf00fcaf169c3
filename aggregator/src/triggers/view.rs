//! What people see of a trigger. (step 15)

use hsw_trigger::Progress;
use hsw_types::WallTime;

use super::{Row, Severity, grouped};

/// How a trigger stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriggerState {
    /// It counts.
    Waiting,
    /// It has fired and is over.
    Fired,
}

/// One trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerView {
    /// What it is called.
    pub name: String,
    /// What it waits for, in words: `10,000 statements with latency_ms in [100, 1000)`.
    pub words: String,
    /// How loud it is.
    pub severity: Severity,
    /// State.
    pub state: TriggerState,
    /// What is known to have been counted, since it began (anew).
    pub known: u64,
    /// When it fires.
    pub threshold: u64,
    /// Nodes that are to count for it.
    pub n_members: usize,
    /// Nodes that do.
    pub n_heard: usize,
    /// Since when it counts, or counted.
    pub since: WallTime,
    /// When it last fired, and with how much.
    pub fired: Option<(WallTime, u64)>,
    /// It begins anew each time it fires.
    pub again: bool,
    /// It stands in the configuration.
    pub from_config: bool,
}

pub(super) fn view(row: &Row, progress: Option<Progress>) -> TriggerView {
    let spec = &row.body.spec;
    let state = if row.waits() {
        TriggerState::Waiting
    } else {
        TriggerState::Fired
    };
    let fired_count = row.fired.map_or(0, |(_, count)| count);
    TriggerView {
        name: spec.name.clone(),
        words: format!("{} {}", grouped(spec.count), row.checked.words),
        severity: spec.severity,
        state,
        known: progress.map_or(fired_count, |progress| progress.known),
        threshold: spec.count,
        n_members: progress.map_or(0, |progress| progress.n_members),
        n_heard: progress.map_or(0, |progress| progress.n_in),
        since: row.created,
        fired: row.fired,
        again: spec.again,
        from_config: row.body.from_config,
    }
}
