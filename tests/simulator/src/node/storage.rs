//! WAL, checkpoints, vacuum, file system, memory, replication, and the totals of a second.

use super::flow::{BAD_PLAN_ROWS, CHANGES, Costs};
use super::{Checkpoint, Event, Kind, Memory, Node, Offered};
use crate::machine::{DiskLoad, left_of};
use crate::random::wave;
use crate::topology::ShardPlan;

/// `checkpoint_timeout`, and the part of it that a checkpoint is spread over (`checkpoint_completion_target`).
const CHECKPOINT_EVERY_S: f64 = 300.0;
const SPREAD: f64 = 0.9;
/// Pages that a change makes dirty: its own and those of its indexes.
const DIRTY_PAGES: f64 = 2.2;
/// Writes of a checkpoint beside its buffers (control file, commit log, WAL), as the test bed's device counts them.
const CHECKPOINT_WRITES: f64 = 16.0;
/// Bytes of WAL of a change, and of the page that goes with the first one after a checkpoint.
const WAL_BYTES: f64 = 450.0;
const PAGE_BYTES: f64 = 8_192.0;
/// After a checkpoint the share of changes that carry their page falls with this time, seconds.
const PAGES_FADE_S: f64 = 150.0;
/// `autovacuum_vacuum_scale_factor` and the fixed part.
const VACUUM_AT: (f64, f64) = (0.2, 50.0);
/// Times that, where a vacuum was missed: one looks each minute and takes about another, in which a busy shard's rows become nearly twice as many.
const MISSED: f64 = 2.0;
/// `autovacuum_naptime`, seconds.
pub(super) const NAP_S: f64 = 60.0;
/// WAL a replica replays in a second when nothing is in its way, bytes.
const REPLAY_BYTES: f64 = 20e6;

/// Seconds of WAL from which on a replica is behind, and times the dirty pages of the busiest hour's load from which on there are more than
/// the load's noise makes (6 % of spread, cut at three of them).
const BEHIND_S: f64 = 1.0;
const MORE_DIRTY: f64 = 1.25;

/// What is under way at a node that has run for long: pages that changes have made dirty since the last checkpoint began, and what that
/// checkpoint has still to write. Without them each node's usual load on its disk would begin only with its second checkpoint.
pub(super) fn under_way(kind: Kind, plan: &ShardPlan, since_checkpoint_s: f64) -> Memory {
    if kind != Kind::Primary {
        return Memory::default();
    }
    let now = plan.per_second * (1.0 + plan.day_height * wave(plan.day_phase));
    let per_s = DIRTY_PAGES * CHANGES * now / SPREAD;
    let all = per_s * SPREAD * CHECKPOINT_EVERY_S;
    let left = all - per_s * since_checkpoint_s;
    Memory {
        dirty: DIRTY_PAGES * CHANGES * now * since_checkpoint_s,
        checkpoint: (left >= 1.0).then_some(Checkpoint {
            left,
            per_s,
            all,
            seconds: since_checkpoint_s.floor(),
        }),
        ..Memory::default()
    }
}

/// What a node does beside what it is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Upkeep {
    pub(super) cores: f64,
    pub(super) reads: f64,
    pub(super) writes: f64,
    pub(super) wal_bytes: f64,
}

impl Node {
    /// `changes`: rows that are to be changed in this second.
    pub(super) fn upkeep(&mut self, changes: f64) -> Upkeep {
        let mut upkeep = Upkeep {
            // The database's own processes, and the agent's questions.
            cores: 0.004,
            ..Upkeep::default()
        };
        if self.kind == Kind::Router {
            return upkeep;
        }
        self.checkpoint(changes, &mut upkeep);
        self.vacuum(changes, &mut upkeep);
        self.space(&upkeep);
        upkeep
    }

    fn checkpoint(&mut self, changes: f64, upkeep: &mut Upkeep) {
        let requested = self.random.poisson(self.stress.checkpoints);
        let memory = &mut self.memory;
        memory.since_checkpoint_s += 1.0;
        memory.dirty += DIRTY_PAGES * changes;
        let fresh = hsw_stats::exp(-memory.since_checkpoint_s / PAGES_FADE_S);
        upkeep.wal_bytes = changes * (WAL_BYTES + 0.6 * PAGE_BYTES * fresh);
        let is_timed = memory.since_checkpoint_s >= CHECKPOINT_EVERY_S;
        if requested > 0.0 || (is_timed && memory.checkpoint.is_none()) {
            let left = memory.dirty + memory.checkpoint.map_or(0.0, |one| one.left);
            let is_requested = requested > 0.0;
            let fast = 0.4 * self.plan.machine.disk_iops;
            let per_s = if is_requested {
                fast
            } else {
                (left / (SPREAD * CHECKPOINT_EVERY_S)).max(1.0)
            };
            memory.checkpoint = Some(Checkpoint {
                left,
                per_s,
                all: left,
                seconds: 0.0,
            });
            memory.dirty = 0.0;
            memory.since_checkpoint_s = 0.0;
            if is_requested {
                self.totals.checkpoints_requested += requested;
            } else {
                self.totals.checkpoints_timed += 1.0;
            }
            let times = if is_requested { requested as usize } else { 1 };
            // Each one writes the control file and more beside its buffers.
            upkeep.writes += CHECKPOINT_WRITES * times as f64;
            for _ in 0..times.min(60) {
                self.events.push(Event::CheckpointBegins { is_requested });
            }
        }
        let Some(mut one) = memory.checkpoint else {
            return;
        };
        let now = one.per_s.min(one.left) * self.disk.served.max(0.05);
        one.left -= now;
        one.seconds += 1.0;
        upkeep.writes += now;
        self.totals.checkpoint_buffers += now;
        // Spread or not, it is the time spent at it that the database counts, once it is over.
        memory.checkpoint = (one.left >= 1.0).then_some(one);
        if memory.checkpoint.is_none() {
            self.totals.checkpoint_ms += one.seconds * 1e3 - 900.0;
            self.events.push(Event::CheckpointEnds {
                buffers: one.all,
                seconds: one.seconds - 0.9,
            });
        }
    }

    /// Whether something is left to be made up for: WAL that the replica has not replayed, pages that a flood of changes has made dirty.
    pub(crate) fn owes(&self) -> bool {
        let busiest = self.plan.per_second * (1.0 + self.plan.day_height);
        let usual = MORE_DIRTY * DIRTY_PAGES * CHANGES * busiest * CHECKPOINT_EVERY_S;
        let memory = &self.memory;
        let writes = memory.checkpoint.map_or(0.0, |one| one.all);
        self.now.lag_s >= BEHIND_S || memory.dirty.max(writes) > usual
    }

    /// Whether a vacuum has been missed: tables that autovacuum is off for have more dead rows than others ever have.
    pub(crate) fn misses_vacuum(&self) -> bool {
        self.stress.vacuum_off > 0.0 && self.now.vacuum_overdue >= MISSED
    }

    /// Dead rows come with changes and go with a vacuum: the tables alike, but for those that autovacuum is off for.
    fn vacuum(&mut self, changes: f64, upkeep: &mut Upkeep) {
        self.neglect(changes);
        let (stress, memory, now) = (&self.stress, &mut self.memory, &mut self.now);
        let due = |share: f64| VACUUM_AT.0 * share * self.plan.rows + VACUUM_AT.1;
        let kept = 1.0 - memory.vacuum_off;
        let dead = now.dead_tuples - memory.neglected;
        memory.nap_s += 1.0;
        let looks = memory.nap_s >= NAP_S;
        if looks {
            memory.nap_s = 0.0;
        }
        let may = kept > 0.0 && stress.idle_transactions == 0.0 && memory.vacuum_left_s <= 0.0;
        let is_asked = stress.vacuum_now > 0.0 && dead > 0.01 * due(kept);
        if may && (is_asked || (looks && dead > due(kept))) {
            memory.vacuum_left_s = (kept * self.plan.rows / 2e4).clamp(4.0, 120.0);
        }
        if memory.vacuum_left_s > 0.0 {
            memory.vacuum_left_s -= 1.0;
            upkeep.cores += 0.08;
            upkeep.reads += 40.0;
            upkeep.writes += 25.0;
            upkeep.wal_bytes += 6e4;
            if memory.vacuum_left_s <= 0.0 {
                now.dead_tuples = memory.neglected;
                self.events.push(Event::Vacuumed);
            }
        }
        let dead = now.dead_tuples - memory.neglected;
        let neglected = memory.neglected / due(memory.vacuum_off);
        now.vacuum_overdue = neglected.max(dead / due(kept));
        // Up to what calls for a vacuum pages are used again; a table that was rebuilt has no more of them.
        let usual = due(1.0);
        let excess = (now.dead_tuples - usual).max(0.0);
        memory.bloat = excess / (self.plan.rows + usual + excess);
    }

    /// The dead rows that changes leave, by whether autovacuum will look at their tables.
    fn neglect(&mut self, changes: f64) {
        let (off, memory, now) = (self.stress.vacuum_off, &mut self.memory, &mut self.now);
        if off <= 0.0 {
            memory.neglected = 0.0;
        } else if off > memory.vacuum_off {
            let newly = (off - memory.vacuum_off) / (1.0 - memory.vacuum_off).max(1e-9);
            memory.neglected += newly.min(1.0) * (now.dead_tuples - memory.neglected);
        }
        memory.vacuum_off = off;
        memory.neglected += off * changes;
        now.dead_tuples += changes;
    }

    /// Space on the file system; a full one fails what writes.
    fn space(&mut self, upkeep: &Upkeep) {
        let (stress, memory) = (&self.stress, &mut self.memory);
        if stress.fill > 0.0 {
            memory.stuffed = (memory.stuffed + stress.fill).min(1.0 - memory.filled);
        } else {
            memory.stuffed = 0.0;
        }
        if stress.archive_failing > 0.0 {
            self.now.retained_bytes += upkeep.wal_bytes * stress.archive_failing;
            let failures = self.random.poisson(0.7 * stress.archive_failing);
            self.totals.archive_failures += failures;
            if failures > 0.0 {
                self.events.push(Event::ArchiveFailed);
            }
        } else {
            self.now.retained_bytes = 0.0;
        }
        let piled = self.now.retained_bytes / self.plan.machine.fs_bytes;
        self.now.fs_used = (memory.filled + memory.stuffed + piled).min(1.0);
    }

    /// What the device and the kernel count.
    pub(super) fn storage_totals(&mut self, load: &DiskLoad) {
        let (disk, totals, stress) = (&self.disk, &mut self.totals, &self.stress);
        let spec = &self.plan.machine;
        totals.reads += load.reads * disk.served + disk.foreign_read_bytes / 1.3e5;
        totals.writes += load.writes * disk.served + disk.foreign_write_bytes / 2.6e5;
        totals.own_read_bytes += load.read_bytes * disk.served;
        totals.own_write_bytes += load.write_bytes * disk.served;
        totals.read_bytes += load.read_bytes * disk.served + disk.foreign_read_bytes;
        totals.write_bytes += load.write_bytes * disk.served + disk.foreign_write_bytes;
        let cpu = &self.cpu;
        totals.cpu_s += (cpu.busy.min(1.0) * cpu.available).max(0.0);
        totals.foreign_cpu_s += cpu.foreign + 0.002;
        totals.throttled_periods += 10.0 * cpu.throttled;
        // Every thread that wants to run is throttled for itself.
        let threads = 0.5 + 0.4 * self.now.active.min(4.0);
        totals.throttled_s += cpu.throttled * threads;
        totals.pressure_cpu += cpu.pressure;
        let own_io = (load.reads * disk.read_ms + load.writes * disk.write_ms) / 1e3;
        totals.pressure_io += (0.3 * own_io + 0.8 * disk.utilisation.powi(4)).min(1.0);
        totals.iowait += (0.15 * own_io).min(0.5);
        let short = (stress.memory_taken - 0.7).max(0.0);
        let pages = 4_000.0 * short * short * (0.8 + 0.4 * self.random.unit());
        totals.swap_out += pages;
        totals.swap_in += 0.7 * pages;
        totals.major_faults += 0.2 * pages;
        totals.pressure_memory += (1.6 * short * short).min(0.9);
        let used = 0.06 + 2.6e6 * self.now.sessions / spec.memory_bytes;
        self.now.memory_available = (1.0 - used - stress.memory_taken.min(0.97)).max(0.01);
    }

    /// What the database counts.
    pub(super) fn count(&mut self, done: f64, costs: &Costs, upkeep: &Upkeep) {
        let (work, stress, transfers) = (self.work, &self.stress, self.transfers());
        let statements = done + work.reports;
        let no_space = self.now.fs_used >= 0.999;
        let failed = done * stress.errors
            + if no_space {
                work.updates + work.inserts
            } else {
                0.0
            };
        if stress.errors > 0.0 && failed > 0.0 {
            self.events.push(Event::Failed(failed));
        } else if failed > 0.0 {
            self.events.push(Event::NoSpace(failed));
        }
        let totals = &mut self.totals;
        let ended = statements + (work.updates - 0.38 * done).max(0.0);
        totals.commits += (ended - failed).max(0.0).round();
        totals.rollbacks += failed.round();
        if self.kind == Kind::Router {
            totals.calls += 1.3 * done;
            totals.exec_ms += done * (self.work.lookup_ms + self.remote_ms);
            return;
        }
        totals.blocks_hit += (statements * costs.pages - statements * costs.misses).max(0.0);
        totals.blocks_read += statements * costs.misses + upkeep.reads;
        totals.block_read_ms += statements * costs.misses * (0.02 + 0.2 * self.disk.read_ms);
        let scanned = work.lookups * stress.seq_scans;
        let misplanned = work.reports * stress.bad_plan;
        let seq_tuples = scanned * self.plan.rows + misplanned * BAD_PLAN_ROWS;
        totals.seq_scans += scanned + misplanned;
        totals.seq_tuples += seq_tuples + stress.runaway * 4e4;
        totals.returned += 8.0 * done + 12.0 * work.reports + seq_tuples + stress.runaway * 4e4;
        totals.fetched += 2.0 * done + 18.0 * work.reports;
        totals.index_scans += (done - scanned).max(0.0) + 3.0 * work.reports;
        totals.updated += work.updates.round();
        totals.inserted += work.inserts.round();
        totals.temp_bytes += work.temp_bytes;
        totals.wal_bytes += upkeep.wal_bytes;
        totals.calls += 3.0 * done + work.reports;
        totals.exec_ms += work.lookups * work.lookup_ms
            + work.updates * work.update_ms
            + work.reports * work.report_ms
            + work.inserts * work.update_ms
            + 1e3 * (stress.runaway + 0.75 * transfers);
        totals.backend_buffers += if self.disk.utilisation > 0.9 {
            4.0
        } else {
            0.0
        };
    }

    /// A replica's WAL: received, replayed, behind.
    pub(super) fn receive(&mut self, offered: &Offered) {
        if self.kind != Kind::Replica {
            return;
        }
        let (stress, memory, now) = (&self.stress, &mut self.memory, &mut self.now);
        memory.wal_rate += (offered.wal_bytes - memory.wal_rate) / 20.0;
        now.lag_bytes += offered.wal_bytes;
        let replay = if stress.replication_broken > 0.0 {
            0.0
        } else {
            // Slower than its primary writes: what that is, is known from the last seconds.
            let free = left_of(
                REPLAY_BYTES,
                memory.wal_rate.max(1e3),
                0.1,
                stress.replay_loss,
            );
            free * self.disk.served / stress.disk_latency.sqrt()
        };
        let replayed = replay.min(now.lag_bytes);
        now.lag_bytes -= replayed;
        self.totals.wal_bytes += replayed;
        now.lag_s = now.lag_bytes / memory.wal_rate.max(1e3);
    }
}
