//! Who there is: shards with replicas, routers before them, tenants on the shards, and how big each machine is.
//!
//! In: a [`Topology`]. Out: plans of nodes, drawn from its seed. Machines differ, siblings less so than clusters.

use crate::random::Random;

/// Times the usual load that a shard has room for, and how full its processor is then.
const SURGE: f64 = 2.0;
const FULL: f64 = 0.75;
/// Processor time of a transaction and its share of reports, seconds (see `node/flow.rs`).
pub(crate) const TRANSACTION_CPU_S: f64 = 0.55e-3;

/// What to simulate.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// Shards, 1 to 2,000.
    pub n_shards: usize,
    /// Replicas of each shard, 0 to 3.
    pub n_replicas: usize,
    /// Shards behind one router; each router serves its own, 1 to 200.
    pub shards_per_router: usize,
    /// Seed of everything.
    pub seed: u64,
    /// Sizes as in the test bed's cluster (small machines, constant load) instead of drawn ones.
    pub like_test_bed: bool,
}

impl Topology {
    /// The test bed's cluster: a router, four shards, no replicas.
    #[must_use]
    pub const fn test_bed(seed: u64) -> Self {
        Self {
            n_shards: 4,
            n_replicas: 0,
            shards_per_router: 200,
            seed,
            like_test_bed: true,
        }
    }

    /// So many shards, each with a replica, fifty behind a router.
    #[must_use]
    pub const fn of(n_shards: usize, seed: u64) -> Self {
        Self {
            n_shards,
            n_replicas: 1,
            shards_per_router: 50,
            seed,
            like_test_bed: false,
        }
    }

    pub(crate) fn n_routers(&self) -> usize {
        self.n_shards.div_ceil(self.shards_per_router.clamp(1, 200))
    }

    /// Machine and load of each shard, in order.
    pub(crate) fn shards(&self) -> Vec<ShardPlan> {
        let mut random = Random::part(self.seed, 1);
        if self.like_test_bed {
            return vec![ShardPlan::test_bed(); self.n_shards];
        }
        // A cluster has one class of machine; its load leaves room, as an operator sizes it: the heaviest shard's too, at its busiest hour, for a
        // surge. A shard that a surge drives over its capacity would be sick, whatever befalls the others.
        let cores = [2.0, 4.0, 8.0][random.below(3)];
        let per_second = cores * random.between(150.0, 500.0);
        let has_quota = random.chance(0.5);
        let disk = random.between(1.0, 4.0);
        let day_s = 86_400.0;
        let (day_height, day_phase) = (random.between(0.1, 0.5), random.unit());
        let tenants = Tenants::draw(self.n_shards, &mut random);
        let heaviest = tenants.of_shard.iter().map(|load| load.weight);
        let heaviest = heaviest.fold(1.0, f64::max);
        let room = cores / (SURGE * (1.0 + day_height) * heaviest * TRANSACTION_CPU_S);
        let per_second = per_second.min(FULL * room);
        let plan = |load: &TenantLoad| ShardPlan {
            machine: MachineSpec {
                cores,
                has_quota,
                disk_iops: 3_000.0 * disk,
                disk_bytes: 120e6 * disk,
                read_ms: 0.6,
                write_ms: 0.5,
                memory_bytes: cores * 4e9,
                fs_bytes: 60e9,
                net_bytes: 125e6,
                rtt_ms: 0.25,
            },
            per_second: per_second * load.weight,
            reports: 0.6 * per_second * load.weight,
            largest_tenant: load.largest,
            pool: pool(per_second * load.weight),
            report_pool: report_pool(0.6 * per_second * load.weight),
            cache_hit: 0.985,
            rows: 1e6,
            max_connections: 60.0 + 2.0 * f64::from(pool(per_second * load.weight)),
            day_s,
            day_height,
            day_phase,
            noise: 0.06,
        };
        tenants.of_shard.iter().map(plan).collect()
    }
}

/// Sessions of a pool that is sized generously: a transaction takes a few milliseconds.
fn pool(per_second: f64) -> u32 {
    6 + (per_second / 60.0) as u32
}

/// Sessions of reports, which take a third of a millisecond each: as generous.
fn report_pool(per_second: f64) -> u32 {
    2 + (per_second / 150.0) as u32
}

/// One node's machine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MachineSpec {
    pub(crate) cores: f64,
    /// The cores are a quota of the control group on a larger host.
    pub(crate) has_quota: bool,
    /// Small requests a second.
    pub(crate) disk_iops: f64,
    /// Bytes a second.
    pub(crate) disk_bytes: f64,
    /// Of an idle device.
    pub(crate) read_ms: f64,
    /// Of an idle device.
    pub(crate) write_ms: f64,
    pub(crate) memory_bytes: f64,
    pub(crate) fs_bytes: f64,
    /// Bytes a second each way.
    pub(crate) net_bytes: f64,
    pub(crate) rtt_ms: f64,
}

/// One shard: machine, load, sizes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ShardPlan {
    pub(crate) machine: MachineSpec,
    /// Transactions a second on average.
    pub(crate) per_second: f64,
    /// Statements of reports a second on average.
    pub(crate) reports: f64,
    /// Share of the transactions that the largest tenant sends.
    pub(crate) largest_tenant: f64,
    /// Sessions of the pool that the transactions share.
    pub(crate) pool: u32,
    /// Sessions that the reports share.
    pub(crate) report_pool: u32,
    /// Hits of the buffer cache.
    pub(crate) cache_hit: f64,
    pub(crate) rows: f64,
    pub(crate) max_connections: f64,
    /// Length of a day, seconds.
    pub(crate) day_s: f64,
    /// Height of its wave.
    pub(crate) day_height: f64,
    pub(crate) day_phase: f64,
    /// Relative spread of the rate from minute to minute.
    pub(crate) noise: f64,
}

impl ShardPlan {
    /// Sizes of the test bed (`tests/src/testbed`): 0.6 cores, 30 transactions and 20 statements of reports a second.
    fn test_bed() -> Self {
        Self {
            machine: MachineSpec {
                cores: 0.6,
                has_quota: true,
                disk_iops: 6_000.0,
                disk_bytes: 150e6,
                read_ms: 0.4,
                write_ms: 0.5,
                memory_bytes: 24e9,
                fs_bytes: 690e6,
                net_bytes: 1e9,
                rtt_ms: 0.9,
            },
            per_second: 30.0,
            reports: 20.0,
            largest_tenant: 0.97,
            pool: 4,
            report_pool: 2,
            cache_hit: 0.997,
            rows: 1e5,
            max_connections: 57.0,
            day_s: 1_800.0,
            day_height: 0.0,
            day_phase: 0.0,
            noise: 0.02,
        }
    }
}

/// What the tenants of a shard send together.
#[derive(Debug, Clone, Copy)]
struct TenantLoad {
    /// Relative to the average shard.
    weight: f64,
    /// Share of the largest tenant in it.
    largest: f64,
}

struct Tenants {
    of_shard: Vec<TenantLoad>,
}

impl Tenants {
    /// Eight tenants a shard, sizes by Zipf's law (exponent 0.8) over the cluster, put where there is most room: as an operator who
    /// balances does. What one tenant alone exceeds by stays.
    fn draw(n_shards: usize, random: &mut Random) -> Self {
        let n = n_shards * 8;
        let mut sizes: Vec<f64> = (1..=n)
            .map(|rank| hsw_stats::exp(-0.8 * hsw_stats::ln(rank as f64 + 4.0)))
            .collect();
        let total: f64 = sizes.iter().sum();
        sizes
            .iter_mut()
            .for_each(|size| *size *= n_shards as f64 / total);
        let mut sums = vec![(0.0_f64, 0.0_f64); n_shards];
        for size in sizes {
            // The emptier of three drawn at random.
            let at = (0..3)
                .map(|_| random.below(n_shards))
                .min_by(|a, b| sums[*a].0.total_cmp(&sums[*b].0))
                .unwrap_or(0);
            sums[at].0 += size;
            sums[at].1 = sums[at].1.max(size);
        }
        let of_shard = sums
            .into_iter()
            .map(|(sum, largest)| TenantLoad {
                weight: sum.max(0.2),
                largest: largest / sum.max(0.2),
            })
            .collect();
        Self { of_shard }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_are_skewed_and_shards_are_of_one_order() {
        let plans = Topology::of(100, 7).shards();
        let mean = plans.iter().map(|plan| plan.per_second).sum::<f64>() / 100.0;
        for plan in &plans {
            assert!((0.15..4.0).contains(&(plan.per_second / mean)));
            assert!(plan.largest_tenant > 0.0 && plan.largest_tenant <= 1.0);
        }
        assert!(plans.iter().any(|plan| plan.largest_tenant > 0.3));
        let busiest = plans.iter().map(|plan| {
            SURGE * (1.0 + plan.day_height) * plan.per_second * TRANSACTION_CPU_S
                / plan.machine.cores
        });
        assert!(
            busiest.fold(0.0, f64::max) < FULL + 1e-9,
            "a surge finds room"
        );
        assert_eq!(plans, Topology::of(100, 7).shards());
        assert_ne!(plans, Topology::of(100, 8).shards());
    }
}
