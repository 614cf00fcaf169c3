//! How often connections are looked at and summaries shipped: by what the node is in the interaction graph. (steps 1, 4–5)
//!
//! In: `[landmark]` of the configuration, the aggregator's word. Out: a [`Pace`] that sources, driver and shipper watch.
//! Invariants: PC-1 until an aggregator has spoken, connections are looked at as at a landmark and shipped as elsewhere. PC-2 the role
//! outlives connections: an aggregator that is away changes nothing. PC-3 what detection judges keeps its second whatever the role.
//! Does not: decide who is a landmark (the aggregator does).

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Pace at landmarks of the interaction graph and elsewhere. Changed by the operator of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Seconds between two looks at sessions and replicas, at a landmark. Default 2, limits 1 to 10.
    pub edges_s: u64,
    /// The same elsewhere. Default 5: each step of an edge's history has a value, and a client that stays for five seconds is seen.
    pub edges_elsewhere_s: u64,
    /// Seconds between two looks at the traffic of each peer's sockets, at a landmark. Default 2, limits 1 to 10.
    pub peers_s: u64,
    /// The same elsewhere. Default 5.
    pub peers_elsewhere_s: u64,
    /// Seconds in one summary, at a landmark. Default 1, limits 1 to 3: windows are judged when the slowest agent has told them, and
    /// detection has ten seconds.
    pub summary_s: u16,
    /// The same elsewhere. Default 2.
    pub summary_elsewhere_s: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            edges_s: 2,
            edges_elsewhere_s: 5,
            peers_s: 2,
            peers_elsewhere_s: 5,
            summary_s: 1,
            summary_elsewhere_s: 2,
        }
    }
}

impl Config {
    /// # Errors
    /// One line that names the key.
    pub fn check(&self) -> anyhow::Result<()> {
        for (key, seconds, most) in [
            ("edges_s", self.edges_s, 10),
            ("edges_elsewhere_s", self.edges_elsewhere_s, 10),
            ("peers_s", self.peers_s, 10),
            ("peers_elsewhere_s", self.peers_elsewhere_s, 10),
            ("summary_s", u64::from(self.summary_s), 3),
            (
                "summary_elsewhere_s",
                u64::from(self.summary_elsewhere_s),
                3,
            ),
        ] {
            anyhow::ensure!(
                (1..=most).contains(&seconds),
                "landmark.{key} = {seconds}: choose 1 to {most}"
            );
        }
        Ok(())
    }

    /// The pace of a node of this role; `None`: nobody has said.
    #[must_use]
    pub fn pace(&self, is_landmark: Option<bool>) -> Pace {
        let looks_often = is_landmark.unwrap_or(true);
        Pace {
            is_landmark,
            edges_s: if looks_often {
                self.edges_s
            } else {
                self.edges_elsewhere_s
            },
            peers_s: if looks_often {
                self.peers_s
            } else {
                self.peers_elsewhere_s
            },
            summary_s: if is_landmark == Some(true) {
                self.summary_s
            } else {
                self.summary_elsewhere_s
            },
        }
    }
}

/// The pace in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The role, as the aggregator last said.
    pub is_landmark: Option<bool>,
    /// Seconds between two looks at sessions and replicas.
    pub edges_s: u64,
    /// Seconds between two looks at peers' traffic.
    pub peers_s: u64,
    /// Seconds in one summary.
    pub summary_s: u16,
}

impl Default for Pace {
    fn default() -> Self {
        Config::default().pace(None)
    }
}

/// Who hears of the role says it here; the others watch the pace.
#[derive(Debug, Clone)]
pub struct Setter {
    config: Config,
    pace: watch::Sender<Pace>,
}

impl Setter {
    /// Nobody has said anything yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let pace = watch::Sender::new(config.pace(None));
        Self { config, pace }
    }

    /// The pace to watch.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Pace> {
        self.pace.subscribe()
    }

    /// The aggregator's word.
    pub(crate) fn hear(&self, is_landmark: bool) {
        let pace = self.config.pace(Some(is_landmark));
        let is_new = self
            .pace
            .send_if_modified(|now| std::mem::replace(now, pace) != pace);
        if is_new {
            tracing::info!(
                is_landmark,
                edges_s = pace.edges_s,
                peers_s = pace.peers_s,
                summary_s = pace.summary_s,
                "role in the interaction graph"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_somebody_speaks_it_looks_often_and_ships_as_elsewhere_and_a_role_stays() {
        let setter = Setter::new(Config::default());
        let watched = setter.watch();
        let now = || {
            let pace = *watched.borrow();
            (pace.is_landmark, pace.edges_s, pace.peers_s, pace.summary_s)
        };
        assert_eq!(now(), (None, 2, 2, 2));
        setter.hear(true);
        assert_eq!(now(), (Some(true), 2, 2, 1));
        setter.hear(false);
        setter.hear(false);
        assert_eq!(now(), (Some(false), 5, 5, 2));
    }

    #[test]
    fn a_pace_that_detection_cannot_keep_is_refused_with_its_key() {
        let slow = Config {
            summary_elsewhere_s: 4,
            ..Config::default()
        };
        let why = slow.check().unwrap_err().to_string();
        assert!(why.contains("landmark.summary_elsewhere_s = 4"), "{why}");
        assert!(Config::default().check().is_ok());
    }
}
