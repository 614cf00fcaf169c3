//! A second host of a program that one host alone has had: scale-out, a move, or somebody who poses as it.

use super::*;

/// A look in five seconds: an hour and ten minutes, after which a habit is old, and longer than a release is waited for.
const OLD: usize = 840;
const RELEASE: usize = 400;

fn second() -> EdgeSubject {
    client("10.0.7.7", "monitor", "monitor")
}

/// A world whose monitor has run on one host for more than an hour.
fn grown() -> World {
    let mut world = World::started(&[]);
    world.pass(OLD);
    world
}

impl World {
    /// The second host goes to every shard at once.
    fn pose(&mut self) {
        for shard in 1..=4 {
            self.connect(&format!("orders-{shard}-a"), &second());
        }
    }
}

fn posing() -> Vec<(Pattern, String)> {
    vec![(Pattern::FanOut, "client:10.0.7.7/monitor".to_owned())]
}

#[test]
fn a_second_host_of_a_program_on_a_shard_or_two_is_scale_out_and_one_on_many_poses_as_it() {
    for (n_shards, expected) in [(1, vec![]), (2, vec![]), (3, posing()), (4, posing())] {
        let mut world = grown();
        for shard in 1..=n_shards {
            world.connect(&format!("orders-{shard}-a"), &second());
        }
        world.pass(RELEASE);
        assert_eq!(world.patterns(), expected, "{n_shards} shards");
    }
}

#[test]
fn one_who_poses_as_a_program_shard_by_shard_or_from_a_second_host_of_his_is_seen() {
    let mut world = grown();
    for shard in 1..=4 {
        world.connect(&format!("orders-{shard}-a"), &second());
        world.pass(RELEASE);
    }
    assert_eq!(world.patterns(), posing());
    // A guest on one shard does not make it a program of several hosts.
    let mut world = grown();
    world.connect("orders-1-a", &client("10.0.7.6", "monitor", "monitor"));
    world.pass(RELEASE);
    world.pose();
    world.pass(RELEASE);
    assert_eq!(world.patterns(), posing());
}

#[test]
fn a_second_host_that_was_refused_or_may_do_everything_is_suspected_on_one_shard() {
    let mut world = grown();
    world.connect("orders-1-a", &refused("10.0.7.7", "monitor", "login"));
    world.pass(2);
    world.connect("orders-1-a", &second());
    world.pass(RELEASE);
    assert_eq!(world.patterns(), posing());
    let (node, privileged) = member("orders-1-a", "monitor", "pg_read_all_data");
    let mut world = World::started(&[(&node, privileged)]);
    world.pass(OLD);
    world.connect("orders-1-a", &second());
    world.pass(RELEASE);
    assert_eq!(world.patterns(), posing());
}

#[test]
fn a_program_that_moves_to_another_host_is_expected_beside_a_guest_of_it() {
    let mut world = grown();
    world.connect("orders-1-a", &client("10.0.7.6", "monitor", "monitor"));
    world.pass(RELEASE);
    world.leave("10.0.9.1");
    world.pose();
    world.pass(RELEASE);
    assert_eq!(world.patterns(), []);
}

#[test]
fn who_poses_as_a_program_stays_suspected_when_his_first_steps_are_long_ago() {
    let mut world = grown();
    world.pose();
    world.pass(RELEASE);
    assert_eq!(world.patterns(), posing());
    world.pass(RELEASE);
    // Another first step, after which those of half an hour ago are forgotten.
    world.connect("orders-1-a", &client("10.0.7.7", "monitor", "other"));
    world.pass(RELEASE);
    assert!(
        world.patterns().contains(&posing()[0]),
        "{:?}",
        world.patterns()
    );
}
