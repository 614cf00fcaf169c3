//! Templates on their way out: counted, masked once more, named by the hash of their text. (step 2)
//!
//! In: messages. Out: events per template and tick, and new names for templates that widened.
//! Invariants: TE-1 only masked text leaves ([`mask`]). TE-2 a name is the hash of its text: equal on every agent, after every
//! restart. TE-3 at most `n_series_max` templates are told apart; lines of others count in one series for all.

use std::collections::BTreeMap;
use std::sync::Arc;

use hsw_types::{Reading, Renamed, SeriesKey, Subject, Value, fnv1a_64};

use super::mask::mask;
use super::mine::{Config, Counters, Event, Miner, TemplateNumber};
use super::record::Severity;

/// Text of the series that takes lines of templates over the limit.
const OVERFLOW: &str = "<other templates>";
/// Ticks after which an unseen template gives way to a new one: ten minutes.
const IDLE_TICKS: u64 = 600;
/// New names told per tick; more wait for no one, their series just end.
const N_RENAMED_MAX: usize = 100;

#[derive(Debug)]
struct Told {
    key: Arc<SeriesKey>,
    n: u64,
    seen_at: u64,
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct TemplateTable {
    miner: Miner,
    n_series_max: usize,
    /// Hash of the masked text of each template of the miner.
    names: BTreeMap<u32, u64>,
    told: BTreeMap<u64, Told>,
    overflow_key: Arc<SeriesKey>,
    overflow: u64,
    n_over_limit: u64,
    /// The tick in which no template could give way.
    full_at: Option<u64>,
    renamed: Vec<Renamed>,
    n_ticks: u64,
    text: String,
}

impl TemplateTable {
    pub(super) fn new(n_series_max: usize, mining: Config) -> Self {
        Self {
            miner: Miner::new(mining),
            n_series_max,
            names: BTreeMap::new(),
            told: BTreeMap::new(),
            overflow_key: key(OVERFLOW),
            overflow: 0,
            n_over_limit: 0,
            full_at: None,
            renamed: Vec::new(),
            n_ticks: 0,
            text: String::new(),
        }
    }

    /// Lines of templates over the limit.
    pub(super) const fn n_over_limit(&self) -> u64 {
        self.n_over_limit
    }

    /// What the miner did under pressure.
    pub(super) const fn mining(&self) -> Counters {
        self.miner.counters()
    }

    /// Counts a message.
    pub(super) fn take(&mut self, severity: Severity, message: &str) {
        let number = self.miner.observe_of(severity as u8, message);
        let events: Vec<Event> = self.miner.take_events().collect();
        for event in events {
            match event {
                Event::Widened(number) => self.name(number),
                Event::Merged { from, to } => self.merged(from, to),
            }
        }
        if !self.names.contains_key(&number.0) {
            self.name(number);
        }
        let Some(&name) = self.names.get(&number.0) else {
            return;
        };
        if let Some(told) = self.told.get_mut(&name) {
            told.n += 1;
            told.seen_at = self.n_ticks;
        } else if !self.tell(number, name) {
            self.overflow += 1;
            self.n_over_limit += 1;
        }
    }

    /// Events since the last tick.
    pub(super) fn tick(&mut self, readings: &mut Vec<Reading>) {
        self.n_ticks += 1;
        let mut events = |key: &Arc<SeriesKey>, n: &mut u64| {
            if *n > 0 {
                readings.push(Reading {
                    key: Arc::clone(key),
                    value: Value::Events(std::mem::take(n) as f64),
                });
            }
        };
        for told in self.told.values_mut() {
            events(&told.key, &mut told.n);
        }
        events(&self.overflow_key, &mut self.overflow);
    }

    /// New names since the last call; to be told before the readings of the tick.
    pub(super) fn take_renamed(&mut self) -> Vec<Renamed> {
        std::mem::take(&mut self.renamed)
    }

    /// Gives a template, new or changed, the name of its text.
    fn name(&mut self, number: TemplateNumber) {
        let mut masked = std::mem::take(&mut self.text);
        let name = mask(&self.miner.text(number).unwrap_or_default(), &mut masked);
        let before = self.names.insert(number.0, name);
        if let Some(before) = before.filter(|before| *before != name) {
            self.move_on(before, name, &masked);
        }
        self.text = masked;
    }

    fn merged(&mut self, from: TemplateNumber, to: TemplateNumber) {
        if !self.names.contains_key(&to.0) {
            self.name(to);
        }
        let (Some(before), Some(&name)) = (self.names.remove(&from.0), self.names.get(&to.0))
        else {
            return;
        };
        if before != name {
            let mut masked = std::mem::take(&mut self.text);
            mask(&self.miner.text(to).unwrap_or_default(), &mut masked);
            self.move_on(before, name, &masked);
            self.text = masked;
        }
    }

    /// One template left the name `before` for `name`; the series goes with the last that leaves.
    fn move_on(&mut self, before: u64, name: u64, text: &str) {
        if self.names.values().any(|other| *other == before) {
            return;
        }
        let Some(old) = self.told.remove(&before) else {
            return;
        };
        let told = self.told.entry(name).or_insert_with(|| Told {
            key: key(text),
            n: 0,
            seen_at: old.seen_at,
        });
        told.n += old.n;
        told.seen_at = told.seen_at.max(old.seen_at);
        if self.renamed.len() < N_RENAMED_MAX {
            self.renamed.push(Renamed {
                from: old.key,
                to: Arc::clone(&told.key),
            });
        }
    }

    /// Makes a series for the first line of a template that has none; false where there is no room.
    fn tell(&mut self, number: TemplateNumber, name: u64) -> bool {
        if self.told.len() >= self.n_series_max && !self.make_room() {
            return false;
        }
        let mut masked = std::mem::take(&mut self.text);
        mask(&self.miner.text(number).unwrap_or_default(), &mut masked);
        let told = Told {
            key: key(&masked),
            n: 1,
            seen_at: self.n_ticks,
        };
        self.told.insert(name, told);
        self.text = masked;
        true
    }

    /// Searched until nothing is found, then not again in this tick: a storm of new templates stays cheap.
    fn make_room(&mut self) -> bool {
        if self.full_at == Some(self.n_ticks) {
            return false;
        }
        let idle = |told: &Told| told.n == 0 && self.n_ticks - told.seen_at >= IDLE_TICKS;
        let oldest = self
            .told
            .iter()
            .filter(|(_, told)| idle(told))
            .min_by_key(|(_, told)| told.seen_at)
            .map(|(&name, _)| name);
        match oldest {
            Some(name) => self.told.remove(&name).is_some(),
            None => {
                self.full_at = Some(self.n_ticks);
                false
            }
        }
    }
}

fn key(text: &str) -> Arc<SeriesKey> {
    Arc::new(SeriesKey {
        metric: "log.template".to_owned(),
        subject: Subject::Template {
            hash: fnv1a_64(text.as_bytes()),
            text: text.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(table: &mut TemplateTable) -> BTreeMap<String, f64> {
        let mut readings = Vec::new();
        table.tick(&mut readings);
        crate::parse::by_name(&readings)
    }

    #[test]
    fn a_template_that_widens_goes_on_under_its_new_name() {
        let mut table = TemplateTable::new(10, Config::default());
        for name in ["ann", "bob", "cid", "dan"] {
            table.take(Severity::Log, &format!("session opened for {name} today"));
        }
        assert_eq!(told(&mut table).len(), 4);
        table.take(Severity::Log, "session opened for ann today");
        table.take(Severity::Log, "session opened for eve today");
        let renamed = table.take_renamed();
        assert_eq!(renamed.len(), 4);
        assert!(
            renamed
                .iter()
                .all(|r| r.to == key("session opened for <*> today"))
        );
        let expected = [("log.template{session opened for <*> today}".to_owned(), 2.0)];
        assert_eq!(told(&mut table), BTreeMap::from(expected));
    }

    #[test]
    fn templates_over_the_limit_share_one_series_until_old_ones_give_way() {
        let mut table = TemplateTable::new(2, Config::default());
        for text in [
            "alpha is one",
            "beta was other thing",
            "gamma did this today now",
        ] {
            table.take(Severity::Log, text);
        }
        assert_eq!(told(&mut table)["log.template{<other templates>}"], 1.0);
        assert_eq!(table.n_over_limit(), 1);
        for _ in 0..IDLE_TICKS {
            told(&mut table);
        }
        table.take(Severity::Log, "gamma did this today now");
        assert_eq!(
            told(&mut table)["log.template{gamma did this today now}"],
            1.0
        );
    }

    #[test]
    fn what_leaves_is_masked() {
        let mut table = TemplateTable::new(10, Config::default());
        table.take(
            Severity::Log,
            "role \"ann\" refused, key=secret at host.example.org",
        );
        let names: Vec<String> = told(&mut table).into_keys().collect();
        assert_eq!(names, ["log.template{role <*> refused, key=<*> at <*>}"]);
    }
}
