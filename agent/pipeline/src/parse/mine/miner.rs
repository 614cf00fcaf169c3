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
    /// Merged because there were too many.
    pub merged_over_limit: u64,
    /// Lines put into the template of all others, because nothing could be merged.
    pub others: u64,
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
    /// Slots by skeleton.
    buckets: BTreeMap<u64, Vec<u32>>,
    /// Direct mapped: shape hash and slot.
    shapes: Vec<(u64, u32)>,
    followers: Followers,
    n_numbers: u32,
    events: Vec<Event>,
    counters: Counters,
}

/// An empty place of the cache.
const NOWHERE: u32 = u32::MAX;

impl Miner {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let n_shapes = config.n_shapes_max.clamp(64, 1 << 24).next_power_of_two();
        Self {
            config: Config {
                n_templates_max: config.n_templates_max.clamp(2, 1 << 20),
                n_shapes_max: n_shapes,
            },
            scanner: Scanner::default(),
            templates: Vec::new(),
            free: Vec::new(),
            buckets: BTreeMap::new(),
            shapes: vec![(0, NOWHERE); n_shapes],
            followers: Followers::default(),
            n_numbers: 0,
            events: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// The template of a line; it may be a new one. Take the [`events`](Self::take_events) before the next line.
    pub fn observe(&mut self, line: &str) -> TemplateNumber {
        let mut scanner = std::mem::take(&mut self.scanner);
        let (tokens, shape) = scanner.scan(line);
        let place = (shape >> 7) as usize & (self.shapes.len() - 1);
        let (known, mut slot) = self.shapes[place];
        if known != shape || slot == NOWHERE {
            self.counters.shapes_missed += 1;
            slot = self.place(line, tokens);
            self.shapes[place] = (shape, slot);
        }
        self.scanner = scanner;
        let Some(template) = &mut self.templates[slot as usize] else {
            debug_assert!(false, "a cached slot holds a template");
            return TemplateNumber(0);
        };
        template.n_lines += 1;
        TemplateNumber(template.number)
    }

    /// What happened since the last call, in order.
    pub fn take_events(&mut self) -> std::vec::Drain<'_, Event> {
        self.events.drain(..)
    }

    /// The templates, in the order they were first seen: number, text, lines.
    pub fn templates(&self) -> impl Iterator<Item = (TemplateNumber, String, u64)> {
        let mut all: Vec<&Template> = self.templates.iter().flatten().collect();
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

    /// Templates now.
    #[must_use]
    pub fn n_templates(&self) -> usize {
        self.templates.len() - self.free.len()
    }

    /// Bytes held, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let templates: usize = self.templates.iter().flatten().map(Template::bytes).sum();
        templates + self.shapes.len() * size_of::<(u64, u32)>() + self.followers.bytes()
    }

    /// The slot for a shape that is not in the cache.
    fn place(&mut self, line: &str, tokens: &[Token]) -> u32 {
        let skeleton = skeleton(line, tokens);
        let bucket = self.buckets.entry(skeleton).or_default();
        let accepting = bucket.iter().copied().filter(|&slot| {
            self.templates[slot as usize]
                .as_ref()
                .is_some_and(|template| template.accepts(line, tokens))
        });
        // The one that says most; the oldest among equals.
        let n_said = |slot: &u32| self.templates[*slot as usize].as_ref().map_or(0, n_words);
        if let Some(slot) = accepting.min_by_key(|slot| (std::cmp::Reverse(n_said(slot)), *slot)) {
            return slot;
        }
        self.followers.saw(tokens);
        let full =
            bucket.len() >= N_BUCKET_MAX || self.n_templates() >= self.config.n_templates_max;
        let bucket = &self.buckets[&skeleton];
        let candidates: Vec<&Template> = bucket
            .iter()
            .filter_map(|&slot| self.templates[slot as usize].as_ref())
            .collect();
        let new = Template::new(self.n_numbers, skeleton, line, tokens);
        let (counter, joined) = match merge::evidence(&new, &candidates, &self.followers) {
            Some(joined) => (&mut self.counters.merged, joined),
            None if full => (
                &mut self.counters.merged_over_limit,
                merge::nearest(&new, &candidates).into_iter().collect(),
            ),
            None => return self.insert(new),
        };
        if !joined.is_empty() {
            *counter += 1;
            let slots: Vec<u32> = joined.iter().map(|&at| bucket[at]).collect();
            return self.join(&slots, Some(&new));
        }
        if self.make_room() {
            return self.insert(new);
        }
        self.counters.others += 1;
        self.others()
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

    /// The template of lines for which there is no room; made when it is first needed.
    fn others(&mut self) -> u32 {
        let mut scanner = Scanner::default();
        let (tokens, _) = scanner.scan("0");
        let skeleton = skeleton("0", tokens);
        if let Some(&slot) = self.buckets.get(&skeleton).and_then(|b| b.first()) {
            return slot;
        }
        self.insert(Template::new(self.n_numbers, skeleton, "0", tokens))
    }

    /// One template of those in `slots` (at least one) and of `new`: the oldest goes on, the others are merged into it.
    fn join(&mut self, slots: &[u32], new: Option<&Template>) -> u32 {
        let oldest = slots.iter().copied().filter_map(|slot| {
            let template = self.templates[slot as usize].as_ref()?;
            Some((template.number, slot))
        });
        let Some((_, keep)) = oldest.min() else {
            return self.others();
        };
        let Some(mut kept) = self.templates[keep as usize].take() else {
            return self.others();
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
        if !gone.is_empty() {
            for (_, slot) in &mut self.shapes {
                if gone.contains(slot) {
                    *slot = keep;
                }
            }
        }
        keep
    }

    /// Merges the newest of the fullest bucket into its nearest; false where every bucket holds one template.
    fn make_room(&mut self) -> bool {
        let fullest = self.buckets.values().max_by_key(|bucket| bucket.len());
        // What is old has proved itself, the newest gives way.
        let Some((&last, rest)) = fullest.and_then(|bucket| bucket.split_last()) else {
            return false;
        };
        let others: Vec<&Template> = rest
            .iter()
            .filter_map(|&slot| self.templates[slot as usize].as_ref())
            .collect();
        let nearest = self.templates[last as usize]
            .as_ref()
            .and_then(|newest| merge::nearest(newest, &others));
        let Some(nearest) = nearest.map(|at| rest[at]) else {
            return false;
        };
        self.counters.merged_over_limit += 1;
        self.join(&[nearest, last], None);
        true
    }
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
