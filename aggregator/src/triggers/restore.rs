//! Triggers of earlier, and those of the configuration. (steps 7, 14)

use std::collections::BTreeMap;

use hsw_trigger::QueryId;
use hsw_types::{Monotonic, WallTime};

use super::{Body, Row, Triggers};
use crate::store::{Kept, StoredTrigger};

impl Triggers {
    /// What was stored, at start: takes it up again, then makes the configuration's triggers what the configuration says.
    pub fn restore(&mut self, kept: Vec<Kept>, now: Monotonic, wall: WallTime) {
        self.is_ready = true;
        for (stored, known) in kept {
            if let Some(row) = Self::read(stored) {
                let known: BTreeMap<_, _> = known
                    .into_iter()
                    .map(|(node, known)| (self.participant(&node), known))
                    .collect();
                self.insert(row, &known, now);
            }
        }
        // The store has them as they are.
        self.unsaved.clear();
        let asked: BTreeMap<_, _> = self
            .from_config
            .iter()
            .map(|s| (s.name.clone(), s))
            .collect();
        let stale = |(name, row): (&String, &Row)| {
            let is_other = asked.get(name).is_some_and(|spec| **spec != row.body.spec);
            let is_gone = row.body.from_config && !asked.contains_key(name);
            (is_other || is_gone).then(|| name.clone())
        };
        let stale: Vec<_> = self.rows.iter().filter_map(stale).collect();
        for name in stale {
            tracing::info!(
                trigger = name,
                "trigger ends: the configuration says otherwise"
            );
            self.drop_row(&name);
        }
        for spec in self.from_config.clone() {
            match self.rows.get_mut(&spec.name) {
                Some(row) if row.body.from_config => {}
                Some(row) => {
                    row.body.from_config = true;
                    self.unsaved.insert(spec.name);
                }
                None => {
                    // Checked with the configuration.
                    if let Ok(row) = self.row(spec, true, wall) {
                        self.insert(row, &BTreeMap::new(), now);
                    }
                }
            }
        }
        self.carry_on(now, wall);
    }

    fn read(stored: StoredTrigger) -> Option<Row> {
        let name = stored.name.clone();
        let read = serde_json::from_str::<Body>(&stored.body)
            .map_err(|error| error.to_string())
            .and_then(|body| body.spec.check().map(|checked| (body, checked)));
        match read {
            Ok((body, checked)) => Some(Row {
                id: QueryId(stored.id),
                body,
                checked,
                created: stored.created,
                fired: stored.fired,
            }),
            Err(error) => {
                tracing::warn!(trigger = name, error, "left out a stored trigger");
                None
            }
        }
    }
}
