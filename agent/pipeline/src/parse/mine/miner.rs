//! Which template a line belongs to: a cache of shapes first, a search among templates of its skeleton, then evidence. (step 2)
//!
//! Time: O(bytes) for a shape seen before; else O(templates of the skeleton × tokens), at most
//! [`N_BUCKET_MAX`] × [`N_TOKENS_MAX`](super::scan::N_TOKENS_MAX).

use std::collections::BTreeMap;

use super::merge::{self, Followers};
use super::scan::{Scanner, Token};
use super::template::{Template, skeleton};

/// Templates of one skeleton; beyond it a new shape joins the nearest.
const N_BUCKET_MAX: usize = 256;

/// Limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Templates at a time; beyond it the nearest are merged. 4,096 by default, about 2 MiB.
    pub n_templates_max: usize,
    /// Shapes remembered, 16 bytes each; rounded up to a power of two. 32,768 by default.
    pub n_shapes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            n_templates_max: 4_096,
            n_shapes_max: 32_768,
        }
    }
}

/// Names a template for as long as the miner lives; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateNumber(pub u32);

/// What happened to templates that were handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Its text changed: it stands for more lines than before.
    Widened(TemplateNumber),
    /// `from` is no more; its lines are lines of `to`.
    Merged {
        /// The one that is gone.
        from: TemplateNumber,
        /// The one that goes on.
        to: TemplateNumber,
    },
}

/// What was done under pressure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Merged on evidence.
    pub merged: u64,
    /// Merged with the nearest because there were too many.
    pub merged_over_limit: u64,
    /// Merged into the template of all others because there were too many and none was near.
    pub forgotten: u64,
    /// Shapes not in the cache.
    pub shapes_missed: u64,
}

/// See the module's header.
#[derive(Debug)]
pub struct Miner {
    config: Config,
    scanner: Scanner,
    /// By slot; a slot is used anew once its template is gone.
    templates: Vec<Option<Template>>,
    free: Vec<u32>,
    /// Slots by skeleton; never empty.
    buckets: BTreeMap<u64, Vec<u32>>,
    shapes: Shapes,
    followers: Followers,
    /// The slot that is asked next whether it can go.
    hand: usize,
    n_numbers: u32,
    events: Vec<Event>,
    counters: Counters,
}

/// The slots of shapes seen before, direct mapped: a shape that is overwritten is only searched for again.
#[derive(Debug)]
struct Shapes {
    hashes: Vec<u64>,
    slots: Vec<u32>,
}

/// An empty place.
const NOWHERE: u32 = u32::MAX;
/// Slot of the template of all others: lines of which nothing is known any more.
const OTHERS: u32 = 0;

impl Shapes {
    fn new(n: usize) -> Self {
        Self {
            hashes: vec![0; n],
            slots: vec![NOWHERE; n],
        }
    }

    fn place(&self, shape: u64) -> usize {
        // The low bits serve the maps that hash by identity elsewhere; the middle ones are as good.
        (shape >> 7) as usize & (self.hashes.len() - 1)
    }

    /// Whatever lay in `gone` lies in `keep` now.
    fn moved(&mut self, gone: &[u32], keep: u32) {
        match gone {
            [] => {}
            [one] => {
                for slot in &mut self.slots {
                    *slot = if slot == one { keep } else { *slot };
                }
            }
            all => {
                for slot in &mut self.slots {
                    if all.contains(slot) {
                        *slot = keep;
                    }
                }
            }
        }
    }
}

impl Miner {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let n_shapes = config.n_shapes_max.clamp(64, 1 << 24).next_power_of_two();
        let mut scanner = Scanner::default();
        let (tokens, _) = scanner.scan("0");
        // Of no bucket, so that nothing is near it.
        let others = Template::new(0, 0, "0", tokens);
        Self {
            config: Config {
                n_templates_max: config.n_templates_max.clamp(2, 1 << 20),
                n_shapes_max: n_shapes,
            },
            scanner,
            templates: vec![Some(others)],
            free: Vec::new(),
            buckets: BTreeMap::new(),
            shapes: Shapes::new(n_shapes),
            followers: Followers::default(),
            hand: 0,
            n_numbers: 1,
            events: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// The template of a line; it may be a new one. Take the [`events`](Self::take_events) before the next line.
    pub fn observe(&mut self, line: &str) -> TemplateNumber {
        self.observe_of(0, line)
    }

    /// As [`observe`](Self::observe), of a line of some class (its severity): lines of different classes share no template.
    pub fn observe_of(&mut self, class: u8, line: &str) -> TemplateNumber {
        let mut scanner = std::mem::take(&mut self.scanner);
        let (tokens, shape) = scanner.scan(line);
        let shape = shape ^ class_bits(class);
        let place = self.shapes.place(shape);
        let mut slot = self.shapes.slots[place];
        if self.shapes.hashes[place] != shape || slot == NOWHERE {
            self.counters.shapes_missed += 1;
            slot = self.place(class, line, tokens);
            (self.shapes.hashes[place], self.shapes.slots[place]) = (shape, slot);
        }
        self.scanner = scanner;
        let Some(template) = &mut self.templates[slot as usize] else {
            debug_assert!(false, "a cached slot holds a template");
            return TemplateNumber(0);
        };
        template.n_lines += 1;
        template.is_in_use = true;
        TemplateNumber(template.number)
    }

    /// What happened since the last call, in order.
    pub fn take_events(&mut self) -> std::vec::Drain<'_, Event> {
        self.events.drain(..)
    }

    /// The templates, in the order they were first seen: number, text, lines.
    pub fn templates(&self) -> impl Iterator<Item = (TemplateNumber, String, u64)> {
        let told = |t: &&Template| t.number != 0 || t.n_lines > 0;
        let mut all: Vec<&Template> = self.templates.iter().flatten().filter(told).collect();
        all.sort_by_key(|template| template.number);
        all.into_iter()
            .map(|t| (TemplateNumber(t.number), t.render(), t.n_lines))
    }

    /// The text of a template that is still there. O(templates).
    #[must_use]
    pub fn text(&self, number: TemplateNumber) -> Option<String> {
        self.templates
            .iter()
            .flatten()
            .find(|template| template.number == number.0)
            .map(Template::render)
    }

    /// What was done under pressure.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Templates now, that of all others aside.
    #[must_use]
    pub fn n_templates(&self) -> usize {
        self.templates.len() - self.free.len() - 1
    }

    /// Bytes held, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let templates: usize = self.templates.iter().flatten().map(Template::bytes).sum();
        templates
            + self.shapes.hashes.len() * (size_of::<u64>() + size_of::<u32>())
            + self.followers.bytes()
    }

    /// The slot for a shape that is not in the cache.
    fn place(&mut self, class: u8, line: &str, tokens: &[Token]) -> u32 {
        let skeleton = skeleton(line, tokens) ^ class_bits(class);
        let bucket = self.buckets.get(&skeleton).map_or(&[][..], Vec::as_slice);
        let candidates: Vec<(u32, &Template)> = bucket
            .iter()
            .filter_map(|&slot| Some((slot, self.templates[slot as usize].as_ref()?)))
            .collect();
        let accepting = candidates.iter().filter(|(_, t)| t.accepts(line, tokens));
        // The one that says most; the oldest among equals.
        let most = accepting.min_by_key(|(_, t)| (std::cmp::Reverse(n_words(t)), t.number));
        if let Some(&(slot, _)) = most {
            return slot;
        }
        self.followers.saw(tokens);
        let new = Template::new(self.n_numbers, skeleton, line, tokens);
        if let Some(joined) = merge::evidence(&new, &candidates, &self.followers) {
            self.counters.merged += 1;
            return self.join(&joined, Some(&new));
        }
        let is_crowded = bucket.len() >= N_BUCKET_MAX;
        if is_crowded || self.n_templates() >= self.config.n_templates_max {
            if let Some(nearest) = merge::nearest(&new, &candidates, is_crowded) {
                self.counters.merged_over_limit += 1;
                return self.join(&[nearest], Some(&new));
            }
            self.forget_one();
        }
        self.insert(new)
    }

    fn insert(&mut self, template: Template) -> u32 {
        self.n_numbers += 1;
        let skeleton = template.skeleton;
        let slot = if let Some(slot) = self.free.pop() {
            self.templates[slot as usize] = Some(template);
            slot
        } else {
            self.templates.push(Some(template));
            (self.templates.len() - 1) as u32
        };
        self.buckets.entry(skeleton).or_default().push(slot);
        slot
    }

    /// One template of those in `slots` (at least one) and of `new`: the oldest goes on, the others are merged into it.
    fn join(&mut self, slots: &[u32], new: Option<&Template>) -> u32 {
        let oldest = slots.iter().copied().filter_map(|slot| {
            let template = self.templates[slot as usize].as_ref()?;
            Some((template.number, slot))
        });
        let Some((_, keep)) = oldest.min() else {
            return OTHERS;
        };
        let Some(mut kept) = self.templates[keep as usize].take() else {
            return OTHERS;
        };
        let others = slots
            .iter()
            .filter_map(|&slot| self.templates[slot as usize].as_ref());
        let seen = kept.differences(others.chain(new));
        if kept.widen(&seen) {
            self.events
                .push(Event::Widened(TemplateNumber(kept.number)));
        }
        let bucket = self.buckets.entry(kept.skeleton).or_default();
        let templates = &self.templates;
        let covered = |slot: &u32| {
            slots.contains(slot)
                || templates[*slot as usize]
                    .as_ref()
                    .is_some_and(|other| kept.covers(other))
        };
        let gone: Vec<u32> = bucket
            .extract_if(.., |slot| *slot != keep && covered(slot))
            .collect();
        for &slot in &gone {
            if let Some(other) = self.templates[slot as usize].take() {
                kept.n_lines += other.n_lines;
                self.events.push(Event::Merged {
                    from: TemplateNumber(other.number),
                    to: TemplateNumber(kept.number),
                });
                self.free.push(slot);
            }
        }
        self.templates[keep as usize] = Some(kept);
        self.shapes.moved(&gone, keep);
        keep
    }

    /// Merges a template that was not in use of late into that of all others: a hand goes round and takes the mark of use
    /// off each (Corbató's clock), so that a flood of lines seen once drives out itself.
    fn forget_one(&mut self) {
        // Twice round finds one: the first round takes every mark off.
        for _ in 0..2 * self.templates.len() {
            self.hand = (self.hand + 1) % self.templates.len();
            let slot = self.hand as u32;
            let Some(template) = self.templates[self.hand]
                .as_mut()
                .filter(|_| slot != OTHERS)
            else {
                continue;
            };
            if std::mem::take(&mut template.is_in_use) {
                continue;
            }
            let (number, skeleton, n_lines) =
                (template.number, template.skeleton, template.n_lines);
            self.templates[self.hand] = None;
            self.free.push(slot);
            if let Some(bucket) = self.buckets.get_mut(&skeleton) {
                bucket.retain(|&other| other != slot);
                if bucket.is_empty() {
                    self.buckets.remove(&skeleton);
                }
            }
            self.shapes.moved(&[slot], NOWHERE);
            if let Some(others) = &mut self.templates[OTHERS as usize] {
                others.n_lines += n_lines;
                self.events.push(Event::Merged {
                    from: TemplateNumber(number),
                    to: TemplateNumber(others.number),
                });
            }
            self.counters.forgotten += 1;
            return;
        }
    }
}

/// What a class adds to hashes; nothing for class 0.
const fn class_bits(class: u8) -> u64 {
    (class as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn n_words(template: &Template) -> usize {
    template
        .parts
        .iter()
        .filter(|part| part.kind.is_word())
        .count()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
