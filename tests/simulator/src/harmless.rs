//! What happens in a healthy cluster and must be nobody's incident.
//!
//! In: a [`Disturbance`]. Out: changes of nodes' parameters at each second, of all shards alike, of one after the other, or
//! of one within its habit.

use crate::kinds::kinds;
use crate::random::{Random, wave};
use crate::stress::Stress;

kinds! {
    "What is harmless."
    Harmless
    LoadDouble "load-surge-all" "twice the load on all shards alike"
    Burst "burst" "waves of load on all shards alike, half a minute each"
    RollingDeploy "rolling-deploy" "clients of one shard after the other connect anew"
    NightBatch "night-batch" "a batch job updates rows on every shard"
    Backup "backup" "each shard in turn is read from end to end, slowly"
    VacuumAll "vacuum-all" "vacuum runs on one shard after the other"
    AnalyzeAll "analyze-all" "statistics are gathered on every shard at once"
    ReportRush "report-rush" "three times the reports on all shards"
    NewTenant "new-tenant" "a tenant of usual size moves in on one shard"
    TenantGrows "tenant-grows" "a tenant sends a fifth more, over ten minutes"
    Checkpoints "checkpoints" "a planned checkpoint on each shard in turn"
    PlannedFailover "planned-failover" "the replica of a shard is restarted, as planned"
}

impl Harmless {
    /// It asks for more of every shard.
    const fn is_load(self) -> bool {
        matches!(
            self,
            Self::LoadDouble | Self::Burst | Self::NightBatch | Self::ReportRush
        )
    }

    /// How long it goes on in practice, seconds: at least, at most.
    #[must_use]
    pub const fn lasts(self) -> (u32, u32) {
        match self {
            Self::PlannedFailover => (60, 120),
            Self::Burst | Self::AnalyzeAll => (180, 600),
            Self::LoadDouble | Self::ReportRush | Self::Checkpoints | Self::RollingDeploy => {
                (600, 1_800)
            }
            Self::NightBatch | Self::Backup | Self::VacuumAll => (1_800, 3_600),
            Self::NewTenant | Self::TenantGrows => (7_200, 14_400),
        }
    }
}

/// Times a begin is drawn anew where it would meet another one that asks for more of every shard.
const DRAWS: usize = 50;

/// What happens on a usual day of a healthy cluster: each kind `times`, each time at a random shard, beginning at random from second `from` on
/// and over before second `until`. They may overlap, but for those that ask for more of every shard: shards have room for one of these at a time.
/// The same seed gives the same day.
#[must_use]
pub fn usual_day(
    seed: u64,
    n_shards: usize,
    times: usize,
    (from, until): (u32, u32),
) -> Vec<Disturbance> {
    let mut random = Random::part(seed, 3);
    let mut all = Vec::with_capacity(times * Harmless::ALL.len());
    for kind in Harmless::ALL {
        for _ in 0..times {
            let (least, most) = kind.lasts();
            let lasts = random.between(f64::from(least), f64::from(most)) as u32;
            let last = until.saturating_sub(lasts).max(from + 1);
            let mut begin = 0;
            for _ in 0..DRAWS {
                begin = random.between(f64::from(from), f64::from(last)) as u32;
                let is_free = |one: &Disturbance| one.until < begin || begin + lasts < one.from;
                let mut loads = all.iter().filter(|one: &&Disturbance| one.kind.is_load());
                if !kind.is_load() || loads.all(is_free) {
                    break;
                }
            }
            all.push(Disturbance {
                kind: *kind,
                shard: random.below(n_shards),
                from: begin,
                until: (begin + lasts).min(until),
            });
        }
    }
    all.sort_by_key(|one| one.from);
    all
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Disturbance {
    /// Which.
    pub kind: Harmless,
    /// The shard it begins at, or that it is about, from 0.
    pub shard: usize,
    /// First second.
    pub from: u32,
    /// First second without it.
    pub until: u32,
}

impl Disturbance {
    /// Changes the parameters of a node of `shard` in second `at`.
    pub(crate) fn apply(
        &self,
        at: u32,
        shard: usize,
        n_shards: usize,
        is_replica: bool,
        stress: &mut Stress,
    ) {
        if !(self.from..self.until).contains(&at) {
            return;
        }
        let (since, span) = (at - self.from, (self.until - self.from).max(1));
        let is_subject = shard == self.shard % n_shards.max(1);
        // Whose turn it is where one goes after the other.
        let turn = (u64::from(since) * n_shards as u64 / u64::from(span)) as usize;
        let is_turn = (self.shard + turn) % n_shards.max(1) == shard;
        match self.kind {
            Harmless::LoadDouble => stress.load *= 2.0,
            Harmless::Burst => stress.load *= 1.0 + 0.4 * (1.0 + wave(f64::from(since) / 30.0)),
            Harmless::RollingDeploy if is_turn => stress.reconnects = 0.34,
            Harmless::NightBatch => stress.batch += 0.5,
            Harmless::Backup if is_turn => stress.backup_reads += 0.1,
            Harmless::VacuumAll if is_turn => stress.vacuum_now = 1.0,
            Harmless::AnalyzeAll => stress.vacuum_now = 0.5,
            Harmless::ReportRush => stress.reports *= 3.0,
            Harmless::NewTenant if is_subject => {
                stress.load *= 1.12;
                stress.newcomer = 2.0;
            }
            Harmless::TenantGrows if is_subject => {
                let grown = f64::from(since.min(600)) / 600.0;
                stress.tenant_load *= 1.0 + 0.2 * grown;
            }
            Harmless::Checkpoints if is_turn => {
                let turns = (span as usize / n_shards.max(1)).max(1);
                if (since as usize).is_multiple_of(turns) {
                    stress.checkpoints += 1.0;
                }
            }
            Harmless::PlannedFailover if is_subject && is_replica && since < 4 => {
                stress.reconnects = 0.5;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_day_holds_each_kind_as_often_as_asked_within_its_span() {
        let day = usual_day(7, 20, 2, (300, 86_400));
        assert_eq!(day, usual_day(7, 20, 2, (300, 86_400)));
        assert_ne!(day, usual_day(8, 20, 2, (300, 86_400)));
        for kind in Harmless::ALL {
            let own: Vec<&Disturbance> = day.iter().filter(|one| one.kind == *kind).collect();
            assert_eq!(own.len(), 2, "{}", kind.name());
            let (least, most) = kind.lasts();
            for one in own {
                assert!(one.from >= 300 && one.until <= 86_400 && one.shard < 20);
                assert!((least..=most).contains(&(one.until - one.from)));
            }
        }
        let loads: Vec<&Disturbance> = day.iter().filter(|one| one.kind.is_load()).collect();
        assert!(loads.windows(2).all(|two| two[0].until < two[1].from));
    }

    #[test]
    fn each_changes_something_on_some_shard_and_there_are_enough() {
        assert!(Harmless::ALL.len() >= 8);
        for kind in Harmless::ALL {
            let disturbance = Disturbance {
                kind: *kind,
                shard: 1,
                from: 0,
                until: 60,
            };
            let changed = (0..60).any(|at| {
                (0..3).any(|shard| {
                    let mut stress = Stress::default();
                    disturbance.apply(at, shard, 3, true, &mut stress);
                    stress != Stress::default()
                })
            });
            assert!(changed, "{}", kind.name());
            assert_eq!(Harmless::parse(kind.name()), Some(*kind));
        }
    }
}
