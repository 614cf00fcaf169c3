//! What keys stand for. (step 8)

use std::collections::BTreeMap;
use std::sync::Arc;

use hsw_types::{HotKind, WindowIndex};

/// Names of a kind; the ones longest not told make room.
pub(crate) const N_NAMES_MAX: usize = 50_000;
/// Agents repeat a name every few minutes; it is stored again only after this.
const STORED_FOR_S: i64 = 6 * 3_600;

#[derive(Debug)]
struct Name {
    text: Arc<str>,
    told: WindowIndex,
    stored: WindowIndex,
}

/// Names by kind and key.
#[derive(Debug, Default)]
pub struct Names {
    known: BTreeMap<(HotKind, u64), Name>,
    n_of_kind: [usize; HotKind::ALL.len()],
}

impl Names {
    /// Learns a name at `at`; whether it is to be stored: new, changed, or stored long ago. O(log n), rarely O(n).
    pub fn learn(&mut self, kind: HotKind, key: u64, text: &str, at: WindowIndex) -> bool {
        if let Some(name) = self.known.get_mut(&(kind, key)) {
            name.told = name.told.max(at);
            let is_due = at - name.stored >= STORED_FOR_S || *name.text != *text;
            if is_due {
                name.stored = at;
                name.text = Arc::from(text);
            }
            return is_due;
        }
        if self.n_of_kind[kind as usize] >= N_NAMES_MAX {
            self.make_room(kind);
        }
        let name = Name {
            text: Arc::from(text),
            told: at,
            stored: at,
        };
        self.known.insert((kind, key), name);
        self.n_of_kind[kind as usize] += 1;
        true
    }

    /// What a key stands for.
    #[must_use]
    pub fn name(&self, kind: HotKind, key: u64) -> Option<&Arc<str>> {
        self.known.get(&(kind, key)).map(|name| &name.text)
    }

    /// Lets go of the older half of a kind.
    fn make_room(&mut self, kind: HotKind) {
        let of_kind = |key: &(HotKind, u64)| key.0 == kind;
        let told = self.known.iter().filter(|(key, _)| of_kind(key));
        let mut told: Vec<WindowIndex> = told.map(|(_, name)| name.told).collect();
        told.sort_unstable();
        let middle = told.get(told.len() / 2).copied().unwrap_or_default();
        self.known
            .retain(|key, name| !of_kind(key) || name.told > middle);
        let left = self.known.keys().filter(|key| of_kind(key)).count();
        self.n_of_kind[kind as usize] = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_stored_when_new_changed_or_old_and_the_oldest_make_room() {
        let mut names = Names::default();
        let mut learn =
            |key, text: &str, at| names.learn(HotKind::Table, key, text, WindowIndex(at));
        assert!(learn(1, "a", 10));
        assert!(!learn(1, "a", 20));
        assert!(learn(1, "b", 20));
        assert!(learn(1, "b", 20 + STORED_FOR_S));
        for key in 2..=N_NAMES_MAX as u64 + 1 {
            learn(key, "x", 30_000 + key as i64);
        }
        let known = |key| names.name(HotKind::Table, key).is_some();
        assert!(!known(1) && known(N_NAMES_MAX as u64 + 1));
        assert!(names.known.len() <= N_NAMES_MAX / 2 + 2);
    }
}
