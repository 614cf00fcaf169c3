//! Faults that make an instance silent: stopped, frozen, killed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use super::client::Worker;
use super::{Injected, Undo};

/// How long a killed instance stays down.
const DOWN: Duration = Duration::from_secs(5);

/// The postmaster first, so that no new backend escapes.
pub(super) fn stopped(new: &mut Injected) -> Result<()> {
    let postmaster = new.node.postmaster()?;
    let bed = Arc::clone(new.node.bed());
    new.undo.push(Undo::Continue(vec![postmaster]));
    bed.ledger.stopped(postmaster)?;
    postmaster.signal(Signal::STOP);
    let tree = postmaster.tree();
    new.undo.push(Undo::Continue(tree.clone()));
    for id in tree.into_iter().skip(1) {
        bed.ledger.stopped(id)?;
        id.signal(Signal::STOP);
    }
    Ok(())
}

/// Nothing in the group gets processor time, and nothing is logged.
pub(super) fn frozen(new: &mut Injected) -> Result<()> {
    let group = new.group()?.clone();
    new.undo.push(Undo::Thaw(group.clone()));
    group.freeze(true)
}

/// A crash and what a supervisor does about it.
pub(super) fn crash(new: &mut Injected) -> Result<()> {
    new.node.postmaster()?;
    let node = Arc::clone(&new.node);
    let worker = Worker::start(move |stop| {
        node.kill();
        // Cut short or not, the instance must come back.
        let _ = stop.sleep(DOWN);
        node.start()
    })?;
    new.workers.push(worker);
    Ok(())
}
