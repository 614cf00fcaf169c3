//! What systemd likes to hear; silent where there is none. (steps 5–6)
//!
//! In: the environment systemd sets. Out: datagrams to its socket.
//! Does not: fail; a service manager that does not listen is not our trouble.

use std::time::Duration;

use sd_notify::NotifyState;

/// Started: `READY=1` with a status line.
pub fn ready(status: &str) {
    let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Alive: `WATCHDOG=1` with a status line.
pub fn watchdog(status: &str) {
    let _ = sd_notify::notify(&[NotifyState::Watchdog, NotifyState::Status(status)]);
}

/// Stopping in order: `STOPPING=1`.
pub fn stopping() {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
}

/// How often [`watchdog`] should be called: half of what the unit asks for; `None` when it asks for nothing.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}
