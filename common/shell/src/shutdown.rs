//! One token that everybody holds, and the signals that pull it. (steps 5–6)
//!
//! In: SIGTERM, SIGINT, SIGHUP. Out: [`Shutdown`], and a counter of reload requests.
//! Invariants: SD-1 the first SIGTERM or SIGINT asks everybody to stop, a second ends the process at once.
//! Does not: wait for anybody; the order of stopping is the shell's.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Told once that the process should stop; cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown {
    flag: watch::Receiver<bool>,
}

impl Shutdown {
    /// A token and the handle that pulls it; for tests and for stages that stop before the whole process does.
    #[must_use]
    pub fn manual() -> (watch::Sender<bool>, Self) {
        let (sender, flag) = watch::channel(false);
        (sender, Self { flag })
    }

    /// Waits until stopping is asked for; at once when it was before. A vanished sender counts as asking.
    pub async fn requested(&mut self) {
        let _ = self.flag.wait_for(|stop| *stop).await;
    }

    /// Whether stopping has been asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.flag.borrow()
    }

    /// The bare flag, for those who know only tokio.
    #[must_use]
    pub fn flag(&self) -> watch::Receiver<bool> {
        self.flag.clone()
    }
}

/// The process's signals.
#[derive(Debug)]
pub struct Signals {
    /// Stop.
    pub shutdown: Shutdown,
    /// Counts SIGHUP: read what can be read anew (certificates).
    pub reload: watch::Receiver<u64>,
}

impl Signals {
    /// Starts to listen; needs a running tokio runtime.
    ///
    /// # Errors
    /// When the kernel refuses a handler.
    pub fn listen() -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let (stop, flag) = watch::channel(false);
        let (reloads, reload) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    _ = hang_up.recv() => {
                        reloads.send_modify(|n| *n += 1);
                        continue;
                    }
                }
                if stop.send_replace(true) {
                    tracing::warn!("second signal, stopping at once");
                    std::process::exit(130);
                }
                tracing::info!("stopping in order, a second signal stops at once");
            }
        });
        Ok(Self {
            shutdown: Shutdown { flag },
            reload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_asks_late_is_told_as_well() {
        let (stop, shutdown) = Shutdown::manual();
        assert!(!shutdown.is_requested());
        stop.send_replace(true);
        shutdown.clone().requested().await;
        assert!(shutdown.is_requested());
    }

    #[tokio::test]
    async fn a_signal_pulls_the_token_and_a_hang_up_only_counts() {
        let mut signals = Signals::listen().unwrap();
        let me = rustix::process::getpid();
        rustix::process::kill_process(me, rustix::process::Signal::HUP).unwrap();
        signals.reload.changed().await.unwrap();
        assert_eq!(*signals.reload.borrow(), 1);
        assert!(!signals.shutdown.is_requested());
        rustix::process::kill_process(me, rustix::process::Signal::TERM).unwrap();
        signals.shutdown.requested().await;
    }
}
