//! The miner written for reading: texts instead of hashes, every template looked at for every line, nothing bounded.
//!
//! Holds [`super::Miner`] to its rules where no limit is reached: same lines, same templates.

use std::collections::{BTreeMap, BTreeSet};

use super::scan::{Kind, Scanner};

/// What a token shows, and what it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    text: String,
    kind: u8,
    spaced: bool,
}

/// Kinds as numbers, so that parts can be ordered.
const WORDS: [u8; 3] = [Kind::Mixed as u8, Kind::Capitals as u8, Kind::Plain as u8];
const WILD: u8 = Kind::Wild as u8;
const SLOT: u8 = Kind::Slot as u8;
const EMPTY: u8 = Kind::Empty as u8;
const SEPARATOR: u8 = Kind::Separator as u8;
const MIXED: u8 = Kind::Mixed as u8;
const CAPITALS: u8 = Kind::Capitals as u8;
const PLAIN: u8 = Kind::Plain as u8;
const LEVEL: u8 = Kind::Level as u8;

#[derive(Debug, Default)]
pub(super) struct Oracle {
    scanner: Scanner,
    /// In the order they were first seen.
    templates: BTreeMap<u32, Vec<Part>>,
    shapes: BTreeMap<Vec<Part>, u32>,
    followers: BTreeMap<String, BTreeSet<String>>,
    n: u32,
}

fn is_word(kind: u8) -> bool {
    WORDS.contains(&kind)
}

fn skeleton(parts: &[Part]) -> Vec<(bool, Option<&str>)> {
    let separator = |p: &Part| p.kind == SEPARATOR || p.kind == LEVEL;
    let shown = |p: &Part| (p.spaced, separator(p));
    let mut all = Vec::new();
    for part in parts {
        let (spaced, is_separator) = shown(part);
        all.push((spaced, is_separator.then_some(part.text.as_str())));
    }
    all
}

/// Letters before the digits, of a slot `J<*>`.
fn head(text: &str) -> &str {
    text.strip_suffix("<*>").unwrap_or("")
}

fn fits(slot: &Part, text: &str) -> bool {
    let head = head(&slot.text);
    head.is_empty()
        || text
            .strip_prefix(head)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || c == '<'))
}

fn equal(a: &Part, b: &Part) -> bool {
    let kind = |p: &Part| match p.kind {
        kind if is_word(kind) => PLAIN,
        EMPTY | SLOT => EMPTY,
        kind => kind,
    };
    kind(a) == kind(b) && (kind(a) == EMPTY || a.text == b.text)
}

/// The value of `key=`.
fn is_value(parts: &[Part], i: usize) -> bool {
    i > 0 && parts[i - 1].text == "="
}

fn covers(template: &[Part], other: &[Part]) -> bool {
    template.iter().zip(other).all(|(a, b)| {
        if a.kind == SLOT {
            fits(a, &b.text)
        } else {
            equal(a, b)
        }
    })
}

impl Oracle {
    pub(super) fn observe(&mut self, line: &str) -> u32 {
        let (tokens, _) = self.scanner.scan(line);
        let mut parts = Vec::new();
        for token in tokens {
            let mut text = String::new();
            super::template::push_shown(&mut text, line, token);
            parts.push(Part {
                text,
                kind: token.kind as u8,
                spaced: token.spaced,
            });
        }
        if let Some(&number) = self.shapes.get(&parts) {
            return number;
        }
        let number = self.place(&parts);
        self.shapes.insert(parts, number);
        number
    }

    pub(super) fn texts(&self) -> Vec<(u32, String)> {
        let render = |parts: &Vec<Part>| {
            let mut out = String::new();
            for (at, part) in parts.iter().enumerate() {
                out.push_str(if part.spaced && at > 0 { " " } else { "" });
                out.push_str(&part.text);
            }
            out
        };
        self.templates
            .iter()
            .map(|(n, parts)| (*n, render(parts)))
            .collect()
    }

    fn place(&mut self, parts: &[Part]) -> u32 {
        let alike: Vec<(u32, Vec<Part>)> = self
            .templates
            .iter()
            .filter(|(_, t)| t.len() == parts.len() && skeleton(t) == skeleton(parts))
            .map(|(n, t)| (*n, t.clone()))
            .collect();
        let n_words = |t: &[Part]| t.iter().filter(|p| is_word(p.kind)).count();
        let accepting = alike.iter().filter(|(_, t)| covers(t, parts));
        if let Some((n, _)) = accepting.max_by_key(|(n, t)| (n_words(t), std::cmp::Reverse(*n))) {
            return *n;
        }
        for pair in parts.windows(2) {
            if pair[0].kind == PLAIN && is_word(pair[1].kind) {
                let followers = self.followers.entry(pair[0].text.clone()).or_default();
                followers.insert(pair[1].text.clone());
            }
        }
        match self.evidence(parts, &alike) {
            Some(group) => self.join(&group, parts),
            None => {
                self.n += 1;
                self.templates.insert(self.n, parts.to_vec());
                self.n
            }
        }
    }

    /// Numbers of the templates that are one with a new shape.
    fn evidence(&self, new: &[Part], alike: &[(u32, Vec<Part>)]) -> Option<Vec<u32>> {
        let mut hard: BTreeMap<(usize, Vec<usize>), Vec<u32>> = BTreeMap::new();
        let mut values = Vec::new();
        for (n, t) in alike {
            let places: Vec<usize> = (0..new.len()).filter(|&i| !equal(&new[i], &t[i])).collect();
            let count = |of: &dyn Fn(&Part) -> bool| {
                (0..new.len())
                    .filter(|&i| equal(&new[i], &t[i]) && of(&new[i]))
                    .count()
            };
            let n_same = count(&|p| is_word(p.kind));
            let n_wild = count(&|p| p.kind == WILD || p.kind == SLOT);
            let n_all = new.iter().filter(|p| p.kind != SEPARATOR).count();
            if n_same == 0 || 2 * n_same < n_all - n_wild || places.is_empty() {
                continue;
            }
            let name = |part: &Part, i: usize| {
                part.kind == WILD
                    || part.kind == MIXED
                        && (i > 0 || part.text.bytes().any(|b| b.is_ascii_digit()))
            };
            let easy = |&i: &usize| {
                let (a, b) = (&new[i], &t[i]);
                b.kind == SLOT
                    || [a.kind, b.kind].contains(&EMPTY)
                    || name(a, i) && name(b, i)
                    || i > 0 && [a.kind, b.kind].contains(&WILD)
            };
            if places.iter().all(easy) {
                return Some(vec![*n]);
            }
            let not_easy: Vec<usize> = places.iter().copied().filter(|i| !easy(i)).collect();
            if not_easy.iter().all(|&i| is_value(new, i)) {
                values.push(*n);
            }
            hard.entry((places.len(), places)).or_default().push(*n);
        }
        if values.len() >= 4 {
            return Some(values);
        }
        let is_first =
            |places: &[usize]| places.contains(&0) && self.is_first_hard(new, alike, places);
        let sets: Vec<Vec<usize>> = hard
            .keys()
            .map(|(_, places)| places.clone())
            .filter(|places| !is_first(places))
            .collect();
        for places in sets {
            let group: Vec<u32> = alike
                .iter()
                .map(|(n, _)| *n)
                .filter(|n| {
                    hard.iter().any(|((_, own), numbers)| {
                        numbers.contains(n) && own.iter().all(|i| places.contains(i))
                    })
                })
                .collect();
            if self.is_variable(new, alike, &group, &places) {
                return Some(group);
            }
        }
        None
    }

    /// Whether every template that differs in exactly these places does so in a first word that is no name.
    fn is_first_hard(&self, new: &[Part], alike: &[(u32, Vec<Part>)], places: &[usize]) -> bool {
        alike.iter().all(|(_, t)| {
            let own: Vec<usize> = (0..new.len()).filter(|&i| !equal(&new[i], &t[i])).collect();
            let digits = |p: &Part| p.kind == MIXED && p.text.bytes().any(|b| b.is_ascii_digit());
            let name = |p: &Part| p.kind == WILD || digits(p);
            own != places
                || !(t[0].kind == SLOT
                    || [new[0].kind, t[0].kind].contains(&EMPTY)
                    || name(&new[0]) && name(&t[0]))
        })
    }

    fn is_variable(
        &self,
        new: &[Part],
        alike: &[(u32, Vec<Part>)],
        group: &[u32],
        places: &[usize],
    ) -> bool {
        let mut n_hard = 0;
        for &i in places {
            let members = alike
                .iter()
                .filter(|(n, _)| group.contains(n))
                .map(|(_, t)| &t[i]);
            let all: Vec<&Part> = members.chain([&new[i]]).collect();
            let mut distinct: Vec<&Part> = Vec::new();
            for part in &all {
                if !distinct.iter().any(|other| equal(other, part)) {
                    distinct.push(part);
                }
            }
            let is_verb = i > 0 && super::merge::AUXILIARIES.contains(&new[i - 1].text.as_str());
            let is_pooled = places.len() == 1
                && !is_verb
                && i > 0
                && new[i - 1].kind == PLAIN
                && self
                    .followers
                    .get(&new[i - 1].text)
                    .is_some_and(|f| f.len() >= 5);
            let n_needed = if all.iter().any(|p| p.kind == PLAIN) && !is_value(new, i) {
                n_hard += 1;
                if is_verb {
                    15
                } else if is_pooled {
                    3
                } else {
                    5
                }
            } else if all.iter().all(|p| p.kind == CAPITALS) {
                n_hard += 1;
                15
            } else {
                2
            };
            if distinct.len() < n_needed || group.len() < 4 && !is_pooled {
                return false;
            }
        }
        let members: Vec<&[Part]> = alike
            .iter()
            .filter(|(n, _)| group.contains(n))
            .map(|(_, t)| t.as_slice())
            .chain([new])
            .collect();
        let is_independent = members.iter().any(|a| {
            members.iter().any(|b| {
                let n = places.iter().filter(|&&i| !equal(&a[i], &b[i])).count();
                n > 0 && n < places.len()
            })
        });
        n_hard <= 1 || n_hard == 2 && is_independent
    }

    /// The oldest of the group takes the others and the new shape in, and whatever else it then says too.
    fn join(&mut self, group: &[u32], new: &[Part]) -> u32 {
        let keep = *group.iter().min().unwrap();
        let mut kept = self.templates[&keep].clone();
        let others: Vec<Vec<Part>> = group
            .iter()
            .filter(|n| **n != keep)
            .map(|n| self.templates[n].clone())
            .chain([new.to_vec()])
            .collect();
        for other in &others {
            for (a, b) in kept.iter_mut().zip(other) {
                if a.kind == SLOT || !equal(a, b) {
                    let letters: String = a
                        .text
                        .chars()
                        .zip(b.text.chars())
                        .take_while(|(x, y)| {
                            x == y && (x.is_ascii_alphabetic() || "_-".contains(*x))
                        })
                        .map(|(x, _)| x)
                        .collect();
                    let digit = |text: &str| {
                        let rest = text.strip_prefix(letters.as_str()).unwrap_or("");
                        rest.starts_with(|c: char| c.is_ascii_digit() || c == '<')
                    };
                    let is_open = a.kind == SLOT && head(&a.text).is_empty();
                    let shown = if !is_open && digit(&a.text) && digit(&b.text) {
                        &*letters
                    } else {
                        ""
                    };
                    a.text = format!("{shown}<*>");
                    a.kind = SLOT;
                }
            }
        }
        let bucket = skeleton(new);
        let gone: Vec<u32> = self
            .templates
            .iter()
            .filter(|(n, t)| {
                **n != keep
                    && (group.contains(n)
                        || t.len() == kept.len() && skeleton(t) == bucket && covers(&kept, t))
            })
            .map(|(n, _)| *n)
            .collect();
        for n in gone {
            self.templates.remove(&n);
            for number in self.shapes.values_mut().filter(|number| **number == n) {
                *number = keep;
            }
        }
        self.templates.insert(keep, kept);
        keep
    }
}
