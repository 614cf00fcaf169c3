//! Templates: what kinds of lines there are, mined online in one pass. (step 2)
//!
//! In: lines. Out: a template for each, and news of templates that became one.
//! Invariants: MI-1 templates only ever widen or merge; a line never leaves the template it was given to. MI-2 same lines
//! in, same templates out. MI-3 memory is bounded by [`Config`], whatever is written. MI-4 one setting for every system.
//! Source: fixed-depth grouping after He et al., "Drain", ICWS 2017; past it in that a word becomes a wildcard only on
//! evidence: so many different words in its place, all else being equal (see `miner`).
//! Does not: keep literals from leaving (see [`crate::mask()`]); parse formats.

mod looks;
mod scan;
mod template;

mod merge;
mod miner;

#[cfg(test)]
mod oracle;

pub use miner::{Config, Counters, Event, Miner, TemplateNumber};
