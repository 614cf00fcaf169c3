//! One statement as a log tells it: what triggers count. (steps 2–4)

use crate::WallTime;

/// One execution of a statement that the log tells of. Names are keys ([`key_of`](crate::key_of)): nothing is allocated for it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Statement {
    /// Data time, as the log says.
    pub at: WallTime,
    /// Hash of the fingerprint's whole text; 0 where unknown, as for each key here.
    pub fingerprint: u64,
    /// Key of the database's name.
    pub database: u64,
    /// Key of the login role.
    pub user: u64,
    /// Key of `application_name`.
    pub application: u64,
    /// How long it took.
    pub latency_ms: Option<f64>,
    /// Time spent waiting for locks.
    pub lock_ms: Option<f64>,
    /// Rows (documents) it looked at.
    pub rows_examined: Option<u64>,
    /// Rows (documents) it returned.
    pub rows_sent: Option<u64>,
    /// It failed.
    pub is_error: bool,
}
