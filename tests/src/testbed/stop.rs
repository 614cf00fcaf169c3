//! One word that everything listens to: stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// A flag that is set once, by a signal or by the owner, and never cleared.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A flag that nobody has set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everything that shares this flag to end.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether somebody asked to stop.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Sleeps in small steps; false when it was cut short by [`Stop::set`].
    #[must_use]
    pub fn sleep(&self, span: Duration) -> bool {
        let until = Instant::now() + span;
        loop {
            if self.is_set() {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }

    /// Sets the flag on SIGINT, SIGTERM and SIGHUP; a second signal ends the process at once (the next start cleans up).
    ///
    /// # Errors
    /// When no thread or signal handler can be had.
    pub fn on_signals(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("build the runtime that listens for signals")?;
        let (ready, armed) = std::sync::mpsc::channel();
        let stop = self.clone();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(listen(stop, ready)))
            .context("start the thread that listens for signals")?;
        armed.recv().context("arm the signal handlers")?
    }
}

async fn listen(stop: Stop, ready: std::sync::mpsc::Sender<Result<()>>) {
    use tokio::signal::unix::{SignalKind, signal};
    let armed = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = armed else {
        let _ = ready.send(Err(anyhow::anyhow!(
            "install handlers for SIGINT, SIGTERM, SIGHUP"
        )));
        return;
    };
    let _ = ready.send(Ok(()));
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        if stop.is_set() {
            std::process::exit(130);
        }
        stop.set();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_cut_short_by_a_stop() {
        let stop = Stop::new();
        let other = stop.clone();
        let started = Instant::now();
        let thread = std::thread::spawn(move || other.sleep(Duration::from_secs(60)));
        stop.set();
        assert!(!thread.join().unwrap());
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
