//! What a host's programs are called is evidence of nothing; where the host is as which role is.

use super::*;

#[test]
fn another_program_of_a_host_is_expected_where_the_host_is_as_that_role_and_nowhere_else() {
    let raised = |told: &[(&str, EdgeSubject)]| {
        let mut world = World::new();
        for (node, subject) in told {
            world.connect(node, subject);
        }
        world.pass(60);
        world.patterns()
    };
    let on = |node: &'static str, host: &str, role: &str| (node, client(host, "dashboard", role));
    // The monitor's host is on every shard as `monitor`, a pod of `login` on one shard as `login`.
    assert_eq!(raised(&[on("users-1-a", "10.0.9.1", "monitor")]), []);
    assert_eq!(raised(&[on("users-1-a", "10.0.2.1", "login")]), []);
    for (node, host, role, why) in [
        ("users-1-a", "10.0.7.7", "monitor", "another host"),
        ("users-1-a", "10.0.2.1", "monitor", "another role"),
        ("orders-1-a", "10.0.2.1", "login", "another shard"),
    ] {
        assert_eq!(raised(&[on(node, host, role)]).len(), 1, "{why}");
    }
    let many = ["orders-1-a", "orders-2-a", "orders-3-a"];
    let many: Vec<_> = many
        .iter()
        .map(|node| on(node, "10.0.9.1", "monitor"))
        .collect();
    assert_eq!(
        raised(&many),
        [(Pattern::FanOut, "client:10.0.9.1/dashboard".to_owned())]
    );
}
