//! The tables that are read from end to end most. (step 1)
//!
//! In: totals of rows read by sequential scans. Out: `pg.table_sequential_tuples`. Invariant: PG-17 a table once shown stays
//! shown while it moves, so that its counter has no holes. Limits: [`ADDED_MAX`] new tables a round, [`SHOWN_MAX`] in all.

use std::collections::BTreeMap;
use std::sync::Arc;

use hsw_types::{Reading, SeriesKey};

use super::connection::Line;

const ADDED_MAX: usize = 10;
const SHOWN_MAX: usize = 40;

#[derive(Debug)]
struct Shown {
    key: Arc<SeriesKey>,
    moved: u64,
}

/// The tables of one database.
#[derive(Debug, Default)]
pub(super) struct Board {
    round: u64,
    last: BTreeMap<u64, f64>,
    shown: BTreeMap<u64, Shown>,
}

impl Board {
    /// Takes the rows `table` (schema, name; oid, total) and adds the readings of the tables shown.
    pub(super) fn update(
        &mut self,
        database: &str,
        lines: &[Line],
        epoch: u64,
        out: &mut Vec<Reading>,
    ) {
        self.round += 1;
        let mut steps: Vec<(f64, u64, f64, &Line)> = Vec::with_capacity(lines.len());
        for line in lines.iter().filter(|line| line.kind == "table") {
            let (Some(oid), Some(total)) = (line.number(0), line.number(1)) else {
                continue;
            };
            let oid = oid as u64;
            // A table unseen so far counts with all it has: at the start that shows the most read ones.
            let step = total - self.last.get(&oid).copied().unwrap_or(0.0);
            steps.push((step, oid, total, line));
        }
        self.last = steps
            .iter()
            .map(|(_, oid, total, _)| (*oid, *total))
            .collect();
        self.shown.retain(|oid, _| self.last.contains_key(oid));
        steps.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        for (step, oid, _, line) in steps
            .iter()
            .filter(|(step, ..)| *step > 0.0)
            .take(ADDED_MAX)
        {
            debug_assert!(*step > 0.0);
            self.show(database, *oid, line);
        }
        for (step, oid, total, _) in steps {
            if let Some(shown) = self.shown.get_mut(&oid) {
                if step > 0.0 {
                    shown.moved = self.round;
                }
                // The oid is part of the life: a table made anew under the same name starts at zero.
                out.push(Reading::counter(&shown.key, total, epoch ^ oid));
            }
        }
    }

    fn show(&mut self, database: &str, oid: u64, line: &Line) {
        if self.shown.contains_key(&oid) {
            return;
        }
        if self.shown.len() >= SHOWN_MAX {
            let idle = self
                .shown
                .iter()
                .min_by_key(|(_, shown)| shown.moved)
                .map(|(oid, shown)| (*oid, shown.moved));
            match idle {
                Some((idle, moved)) if moved + 30 < self.round => self.shown.remove(&idle),
                _ => return,
            };
        }
        let part = format!("{database}.{}.{}", line.name(0), line.name(1));
        let key = Arc::new(SeriesKey::object("pg.table_sequential_tuples", &part));
        self.shown.insert(
            oid,
            Shown {
                key,
                moved: self.round,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(oid: f64, total: f64) -> Line {
        Line::new("table", &["public", &format!("t{oid}")], &[oid, total])
    }

    #[test]
    fn the_table_that_moves_most_is_shown_although_its_total_is_small() {
        let mut board = Board::default();
        let mut out = Vec::new();
        let mut lines: Vec<_> = (1..=20).map(|oid| table(f64::from(oid), 1e6)).collect();
        lines.push(table(99.0, 1.0));
        board.update("shop", &lines, 7, &mut out);
        assert_eq!(out.len(), ADDED_MAX);
        out.clear();
        lines[20] = table(99.0, 5e4);
        board.update("shop", &lines, 7, &mut out);
        assert!(
            out.iter()
                .any(|r| r.key.to_string() == "pg.table_sequential_tuples{shop.public.t99}")
        );
    }

    #[test]
    fn a_dropped_table_is_no_longer_shown_and_the_board_is_bounded() {
        let mut board = Board::default();
        for round in 1..200 {
            let lines: Vec<_> = (1..=200)
                .map(|oid| table(f64::from(oid), f64::from(round * oid)))
                .collect();
            board.update("shop", &lines, 7, &mut Vec::new());
            assert!(board.shown.len() <= SHOWN_MAX);
        }
        let mut out = Vec::new();
        board.update("shop", &[table(200.0, 1e9)], 7, &mut out);
        assert_eq!((out.len(), board.shown.len()), (1, 1));
    }
}
