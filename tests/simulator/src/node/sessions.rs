//! Sessions, waits, the network, and what the database says about it all in its log.

use super::{Event, Node, Offered};

/// Clients of transactions that lock in different order, as the test bed has them.
const TRANSFERS: f64 = 8.0;
/// Slower than this a statement is logged (`log_min_duration_statement`).
const LOGGED_FROM_MS: f64 = 500.0;

impl Node {
    pub(super) fn sessions(&mut self, offered: &Offered) {
        let pools = f64::from(self.plan.pool + self.plan.report_pool);
        let own = pools + 1.0 + self.stress.newcomer + offered.sessions;
        let stress = &self.stress;
        let transfers = self.transfers();
        let holder = if stress.lock_hold > 0.0 { 1.0 } else { 0.0 };
        let base = own
            + stress.lock_waiters
            + stress.runaway
            + stress.idle_transactions
            + transfers
            + holder;
        let room = self.logins(base);
        let (stress, memory) = (&self.stress, &mut self.memory);
        let step = |age: f64, is_so: bool| if is_so { age + 1.0 } else { 0.0 };
        memory.runaway_age_s = step(memory.runaway_age_s, stress.runaway > 0.0);
        memory.idle_age_s = step(memory.idle_age_s, stress.idle_transactions > 0.0);
        let queued = self.work.queue + 2.0 * stress.deadlocks;
        let queued = self.random.poisson(queued).min(own + transfers);
        let waiting_lock = (memory.blocked + stress.lock_waiters + queued).floor();
        let busy = (self.work.active + self.work.active_reports).max(0.0);
        let running = self.random.poisson(busy).min(own);
        let remote = self.random.poisson(offered.remote_active).min(own);
        let io_ms = 0.2 * self.disk.read_ms + self.disk.write_ms;
        let in_io = (io_ms / (io_ms + self.work.update_ms + 1.0)).min(0.95);
        let now = &mut self.now;
        now.sessions = base + memory.leaked + memory.held_logins;
        now.waiting_lock = waiting_lock;
        now.blocked = waiting_lock;
        now.waiting_remote = remote;
        now.waiting_io = (running * in_io).round();
        now.active = running + waiting_lock + stress.runaway + remote;
        now.idle_in_transaction = stress.idle_transactions + holder;
        let usual_s = if running > 0.0 {
            (self.work.update_ms + self.disk.write_ms) / 1e3
        } else {
            0.0
        };
        let waited_s = if waiting_lock > 0.0 {
            memory.hold_s.max(0.3 * self.work.queue)
        } else {
            0.0
        };
        let remote_s = if remote > 0.0 {
            offered.remote_ms / 1e3
        } else {
            0.0
        };
        now.query_age_s = usual_s
            .max(waited_s)
            .max(memory.runaway_age_s.min(20.0))
            .max(remote_s);
        now.transaction_age_s = now.query_age_s.max(memory.hold_s).max(memory.idle_age_s);
        now.xmin_age = memory.idle_age_s.max(memory.hold_s) * self.plan.per_second * 0.4;
        let jitter = 0.6 + 0.9 * self.random.unit();
        now.probe_ms = jitter * (0.3 + 0.6 * self.cpu.stretch);
        let is_full = room < 1.0 && stress.logins > 0.0;
        now.listen_queue = if is_full {
            self.random.poisson(0.3)
        } else {
            0.0
        };
    }

    /// Clients of transactions that lock in different order; three of four wait at any time.
    pub(super) fn transfers(&self) -> f64 {
        if self.stress.deadlocks > 0.0 {
            TRANSFERS
        } else {
            0.0
        }
    }

    /// Sessions beyond the pools: those of a storm and those that leak; returns the slots that are left.
    fn logins(&mut self, base: f64) -> f64 {
        let (stress, memory) = (&self.stress, &mut self.memory);
        let free = (self.plan.max_connections - base).max(0.0);
        memory.leaked = if stress.leak > 0.0 {
            (memory.leaked + stress.leak).min(free)
        } else {
            0.0
        };
        let room = (free - memory.leaked - memory.held_logins).max(0.0);
        let mut refused = 0.0;
        if stress.logins > 0.0 {
            let new = self.random.poisson(stress.logins);
            refused = (new - room.floor()).max(0.0);
            memory.held_logins += new.min(room.floor());
        } else {
            memory.held_logins = 0.0;
        }
        if stress.leak > 0.0 && room < 1.0 {
            refused += self.random.poisson(1.5 * stress.leak);
        }
        if refused > 0.0 {
            self.events.push(Event::Refused(refused));
        }
        room
    }

    pub(super) fn network(&mut self, done: f64) {
        let stress = &self.stress;
        let trip = self.plan.machine.rtt_ms + stress.rtt_ms + 0.3 * self.queue_ms();
        let jitter = 1.0 + 0.08 * self.random.normal();
        self.now.rtt_ms = (trip * jitter).max(0.02);
        let logins = self.work.logins;
        let segments = 6.0 * done + 10.0 * logins;
        self.totals.retransmits += self.random.poisson(segments * stress.loss);
        self.totals.rx_bytes += 260.0 * done + 600.0 * logins;
        self.totals.tx_bytes += 340.0 * done + 400.0 * logins;
    }

    pub(super) fn complain(&mut self) {
        let stress = &self.stress;
        let memory = &self.memory;
        let waiters = memory.blocked + stress.lock_waiters;
        if waiters > 0.0 && memory.hold_s >= 2.0 {
            // All of the first ones at `deadlock_timeout`; afterwards those that have come since.
            let n = if memory.hold_s < 3.0 {
                waiters
            } else {
                0.1 * waiters
            };
            let n = if memory.hold_s < 3.0 {
                n
            } else {
                self.random.poisson(n)
            };
            self.events.push(Event::LockWait(n));
        } else if stress.deadlocks > 0.0 {
            let n = self.random.poisson(1.5 * stress.deadlocks);
            self.events.push(Event::LockWait(n));
        } else if stress.hot_row > 0.0 && self.now.waiting_lock > 2.0 {
            let n = self.random.poisson(self.now.waiting_lock / 4.0);
            self.events.push(Event::LockWait(n));
        }
        let work = &self.work;
        let slowest_ms = work.lookup_ms.max(work.update_ms).max(work.report_ms);
        if slowest_ms > 0.6 * LOGGED_FROM_MS {
            let n = self.random.poisson((work.active + 1.0).min(20.0));
            let ms = slowest_ms.max(LOGGED_FROM_MS);
            self.events.push(Event::Slow { n, ms });
        }
        let deadlocks = self.random.poisson(stress.deadlocks);
        if deadlocks > 0.0 {
            self.totals.deadlocks += deadlocks;
            self.totals.rollbacks += deadlocks;
            self.events.push(Event::Deadlock(deadlocks));
        }
        if work.logins > 0.0 {
            self.events.push(Event::Connected(work.logins.min(60.0)));
        }
    }
}
