//! Simulated clusters before the production engine, and recordings: made, compared, measured.
//!
//! In: scenarios of `hsw-simulator`, recordings. Out: engine inputs, recordings with their truth, figures.
//! Does not: change what either of them does.

pub mod evaluate;
pub mod movement;
pub mod record;

use hsw_engine::{Input, ShardEntry, ShardMap};
use hsw_simulator::Simulation;
use hsw_types::{Monotonic, NodeId, ShardId, WallTime};

/// The map of a simulated cluster, as an operator configures it.
///
/// # Errors
/// When a name is none.
pub fn map(simulation: &Simulation) -> anyhow::Result<ShardMap> {
    let mut entries: Vec<ShardEntry> = Vec::new();
    for member in simulation.members() {
        let shard = ShardId::new(&member.shard)?;
        match entries.iter_mut().find(|entry| entry.shard == shard) {
            Some(entry) => entry.nodes.push(member.node.clone()),
            None => entries.push(ShardEntry {
                shard,
                nodes: vec![member.node.clone()],
                is_router: member.is_router,
            }),
        }
    }
    Ok(ShardMap::new(entries, false)?)
}

/// Plays so many seconds and tells what an engine is told: summaries as they come over the wire, and the clock.
///
/// # Errors
/// When a summary does not fit the wire.
pub fn play(
    simulation: &mut Simulation,
    seconds: u32,
    tell: &mut dyn FnMut(Monotonic, Input),
) -> anyhow::Result<()> {
    let nodes: Vec<NodeId> = simulation
        .members()
        .iter()
        .map(|member| member.node.clone())
        .collect();
    for _ in 0..seconds {
        let now = Monotonic((u64::from(simulation.at()) + 1) * 1_000_000);
        // Summaries arrive a little after the second that they end with.
        let wall = WallTime(simulation.second() * 1_000_000 + 1_350_000);
        if simulation.at() == 0 {
            tell(now, Input::ReplayDone { wall });
        }
        let mut told = Vec::new();
        simulation.step(&mut |one| told.push(one));
        for one in told {
            let bytes = hsw_wire::encode_summary(&one.summary)?;
            let summary = Box::new(hsw_wire::decode_summary(&bytes)?);
            tell(
                now,
                Input::Summary {
                    node: nodes[one.node].clone(),
                    summary,
                    received: wall,
                    is_replay: false,
                },
            );
        }
        tell(now, Input::Clock { wall });
    }
    Ok(())
}
