//! Honest newcomers while it is judged: services with a role of their own, jobs, a service that shares a role.

use super::topology::{App, JUDGED_S, Topology, Way};

impl Topology {
    /// Services that nobody has seen before; they talk as their kind does.
    pub(crate) fn receive(&mut self) {
        for at in 0..6 {
            let from_s = JUDGED_S + at * 5_400 + self.dice.between(600, 5_000);
            let way = *self.dice.of(&[
                Way::Routed,
                Way::Routed,
                Way::Direct,
                Way::Home,
                Way::Reading,
                Way::Job,
            ]);
            let mut app = self.app(way, &mut Vec::new());
            app.role = self.name();
            app.n_pods = if way == Way::Job {
                1
            } else {
                2 + self.dice.below(6)
            };
            self.deploy(&app, from_s);
        }
        // One more of those that share a role behind the routers.
        let shared = self.shared_role();
        if let Some((role, keyspace)) = shared {
            let from_s = JUDGED_S + self.dice.between(600, 30_000);
            let app = App {
                name: self.name(),
                role,
                way: Way::Routed,
                keyspaces: vec![keyspace],
                n_pods: 2 + self.dice.below(4),
            };
            self.run(&app, from_s);
        }
    }

    /// First the role, then the pods.
    fn deploy(&mut self, app: &App, from_s: i64) {
        let before_s = self.dice.between(60, 1_500);
        self.provision(&app.role, "writers", &app.keyspaces, from_s - before_s);
        self.run(app, from_s);
    }

    /// A role of three or more applications behind the routers of one keyspace.
    fn shared_role(&self) -> Option<(String, usize)> {
        let routed = || self.apps.iter().filter(|app| app.way == Way::Routed);
        routed().find_map(|app| {
            let keyspace = app.keyspaces[0];
            let same = routed().filter(|o| o.role == app.role && o.keyspaces.contains(&keyspace));
            (same.count() >= 3).then(|| (app.role.clone(), keyspace))
        })
    }
}
