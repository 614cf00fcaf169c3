//! When different words in one place are one variable: by how many there are. (step 2)
//!
//! A word is a part of the template until the same template, but for this place, was seen with [`N_VALUES`] different words.
//! What looks like a name (digits, dots) needs two, constants of a program (capitals) need [`N_CAPITALS`]; the values of
//! `key=` may differ together. Templates must agree in half of what is not variable by its looks.

use std::collections::BTreeMap;

use super::scan::{Kind, Token};
use super::template::Template;

/// Different words that make a variable. Swept on loghub-2k, one setting for all systems: mean grouping accuracy 0.990 at 4
/// and 5, 0.982 at 6, 0.963 at 3, 0.958 at 8.
const N_VALUES: usize = 5;
/// Different words in capitals that make a variable: names of states are a closed set, and seldom larger (ours).
const N_CAPITALS: usize = 3 * N_VALUES;
/// Different words in one template that suffice where the word before is known to be followed by anything.
const N_POOLED: usize = 3;
/// Words whose followers are known.
const N_FOLLOWED_MAX: usize = 4_096;
/// Behind these a verb comes, and a verb is what happened: `could not open`, `could not stat`.
pub(super) const AUXILIARIES: [&str; 14] = [
    "not", "to", "is", "was", "be", "been", "are", "were", "could", "cannot", "can", "will", "did",
    "does",
];
/// Places of words that may vary together; each more would merge what only has the same length.
const N_HARD_MAX: usize = 2;

/// Which words follow a word, over all templates: after `user` comes anything.
#[derive(Debug, Default)]
pub(super) struct Followers(BTreeMap<u64, [u64; N_VALUES]>);

impl Followers {
    /// Takes the words of a shape that is new.
    pub(super) fn saw(&mut self, tokens: &[Token]) {
        for pair in tokens.windows(2) {
            if pair[0].kind != Kind::Plain || !pair[1].kind.is_word() {
                continue;
            }
            let n_known = self.0.len();
            let entry = self.0.entry(pair[0].hash);
            if n_known >= N_FOLLOWED_MAX
                && matches!(entry, std::collections::btree_map::Entry::Vacant(_))
            {
                continue;
            }
            let followers = entry.or_default();
            if !followers.contains(&pair[1].hash)
                && let Some(free) = followers.iter_mut().find(|hash| **hash == 0)
            {
                *free = pair[1].hash;
            }
        }
    }

    fn anything_after(&self, hash: u64) -> bool {
        self.0
            .get(&hash)
            .is_some_and(|all| all.iter().all(|&hash| hash != 0))
    }

    /// Bytes held, about.
    pub(super) fn bytes(&self) -> usize {
        self.0.len() * (N_VALUES + 2) * size_of::<u64>()
    }
}

/// How a template differs from a new one.
struct Difference<'a> {
    template: &'a Template,
    slot: u32,
    places: Vec<u16>,
    /// Only in what looks variable.
    is_easy: bool,
    /// Only there, and in values of `key=`.
    is_value: bool,
    /// In the first word, which is no variable as long as it is a word.
    is_first: bool,
}

/// The slots of the candidates that are one with `new`, on evidence; `None`: nothing speaks for it.
pub(super) fn evidence(
    new: &Template,
    candidates: &[(u32, &Template)],
    followers: &Followers,
) -> Option<Vec<u32>> {
    let differences: Vec<Difference<'_>> = candidates
        .iter()
        .filter_map(|&(slot, candidate)| difference(new, candidate, slot))
        .collect();
    if let Some(easy) = differences.iter().find(|d| d.is_easy) {
        return Some(vec![easy.slot]);
    }
    let values: Vec<u32> = differences
        .iter()
        .filter(|d| d.is_value)
        .map(|d| d.slot)
        .collect();
    if values.len() + 1 >= N_VALUES {
        return Some(values);
    }
    let mut sets: Vec<&Vec<u16>> = differences
        .iter()
        .filter(|d| !d.is_first)
        .map(|d| &d.places)
        .collect();
    sets.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    sets.dedup();
    sets.into_iter().find_map(|places| {
        let within = |d: &&Difference<'_>| d.places.iter().all(|place| places.contains(place));
        let group: Vec<&Difference<'_>> = differences.iter().filter(within).collect();
        is_variable(new, &group, places, followers).then(|| group.iter().map(|d| d.slot).collect())
    })
}

/// The slot of the candidate most like `new`, the oldest of several. `None` where none agrees in half of its places, unless
/// `any` will do.
pub(super) fn nearest(new: &Template, candidates: &[(u32, &Template)], any: bool) -> Option<u32> {
    let alike = |candidate: &Template| {
        let pairs = new.parts.iter().zip(&candidate.parts);
        pairs.filter(|(a, b)| a.hash == b.hash).count()
    };
    let (n_alike, _, slot) = candidates
        .iter()
        .map(|&(slot, t)| (alike(t), std::cmp::Reverse(t.number), slot))
        .max()?;
    (any || 2 * n_alike >= new.parts.len()).then_some(slot)
}

/// `None` where the two have too little in common.
fn difference<'a>(new: &Template, candidate: &'a Template, slot: u32) -> Option<Difference<'a>> {
    let mut found = Difference {
        template: candidate,
        slot,
        places: Vec::new(),
        is_easy: true,
        is_value: true,
        is_first: false,
    };
    let (mut n_same, mut n_wild) = (0, 0);
    for (place, (a, b)) in new.parts.iter().zip(&candidate.parts).enumerate() {
        if a.hash == b.hash {
            n_same += usize::from(a.kind.is_word());
            n_wild += usize::from(matches!(a.kind, Kind::Wild | Kind::Slot));
            continue;
        }
        found.places.push(place as u16);
        if b.kind == Kind::Slot || a.kind == Kind::Empty || b.kind == Kind::Empty {
            continue;
        }
        let is_name = |template: &Template, kind: Kind| match kind {
            Kind::Wild => true,
            // `java.lang.Error: …` against `rpc.statd: …`: who speaks is no variable.
            Kind::Mixed => place > 0 || template.shown(0).bytes().any(|b| b.is_ascii_digit()),
            _ => false,
        };
        let (x, y) = (is_name(new, a.kind), is_name(candidate, b.kind));
        let is_number = place > 0 && (a.kind == Kind::Wild || b.kind == Kind::Wild);
        if !(x && y || is_number) {
            found.is_easy = false;
            found.is_value &= is_value(new, place);
            found.is_first |= place == 0;
        }
    }
    let n_words = new
        .parts
        .iter()
        .filter(|part| part.kind != Kind::Separator)
        .count();
    (n_same >= 1 && 2 * n_same >= n_words - n_wild && !found.places.is_empty()).then_some(found)
}

/// Whether a place holds the value of `key=`.
fn is_value(template: &Template, place: usize) -> bool {
    place > 0 && template.shown(place - 1) == "="
}

/// Whether enough different words were seen in each of `places`.
fn is_variable(
    new: &Template,
    group: &[&Difference<'_>],
    places: &[u16],
    followers: &Followers,
) -> bool {
    let is_pooled = |place: usize| {
        places.len() == 1
            && !is_verb(new, place)
            && place > 0
            && new.parts[place - 1].kind == Kind::Plain
            && followers.anything_after(new.parts[place - 1].hash)
    };
    let mut n_hard = 0;
    for &place in places {
        let place = usize::from(place);
        let all = || {
            let others = group.iter().map(|d| d.template);
            others.chain([new]).map(|t| t.parts[place])
        };
        let mut values: Vec<u64> = all().map(|part| part.hash).collect();
        values.sort_unstable();
        values.dedup();
        let n_needed = if all().any(|part| part.kind == Kind::Plain) && !is_value(new, place) {
            n_hard += 1;
            match () {
                () if is_verb(new, place) => N_CAPITALS,
                () if is_pooled(place) => N_POOLED,
                () => N_VALUES,
            }
        } else if all().all(|part| part.kind == Kind::Capitals) {
            n_hard += 1;
            N_CAPITALS
        } else {
            2
        };
        let is_few = group.len() + 1 < N_VALUES && !is_pooled(place);
        if values.len() < n_needed || is_few {
            return false;
        }
    }
    n_hard <= N_HARD_MAX && (n_hard < 2 || is_independent(new, group, places))
}

/// Whether two places vary by themselves: in kinds of messages each word comes with its own others.
fn is_independent(new: &Template, group: &[&Difference<'_>], places: &[u16]) -> bool {
    let members: Vec<&Template> = group.iter().map(|d| d.template).chain([new]).collect();
    let word = |template: &Template, place: u16| template.parts[usize::from(place)].hash;
    let differs = |a: &Template, b: &Template| {
        let n = places.iter().filter(|&&p| word(a, p) != word(b, p)).count();
        n > 0 && n < places.len()
    };
    members
        .iter()
        .enumerate()
        .any(|(at, a)| members[..at].iter().any(|b| differs(a, b)))
}

/// Whether a place holds what somebody could not, was, or is going to do.
fn is_verb(template: &Template, place: usize) -> bool {
    place > 0 && AUXILIARIES.contains(&template.shown(place - 1))
}
