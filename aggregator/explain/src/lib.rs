//! Explanations: readable predicates that separate a bad time from a good one, and causes that are known by them. (step 12)
//!
//! In: columns of values, which rows are abnormal and which normal, cases whose cause somebody named. Out: predicates, ranked
//! causes with confidence and probability, regions that stand out by themselves.
//! Invariants: those of each module. Does not: read files, know clocks, nodes or units; format text.
//! Source: Yoon, Niu, Mozafari: DBSherlock, SIGMOD 2016; ALGORITHMS section 6.

mod columns;
pub use columns::{Column, MISSING, Regions, Values, differences, is_counter};

mod lay;

mod partition;
pub use partition::{Block, Config, Coverage, PARTITIONS_MAX, Space, THETA_MERGED, THETA_SINGLE};

mod predicate;
pub use predicate::{Condition, Method, Predicate, rows_covered, sort};

mod generate;
pub use generate::published;

mod model;
pub use model::{CausalModel, Fit, Models, Spaces};

mod case;
pub use case::{Case, Levels};

mod judge;
pub use judge::{ATTRIBUTES_MAX, Judge, NONE, SHORT_LIST, Verdict};

mod separate;
pub use separate::{NEAR_BEST, POWER_MIN, separating};

mod controlled;
pub use controlled::{Controlled, SIBLINGS_MAX, controlled};

mod region;
pub use region::{ROWS_MAX, Search, find};

mod sherlock;
pub use sherlock::sherlock;

mod rules;
pub use rules::{KAPPA_MIN, RULES_MAX, RuleError, Rules, kappa};

mod known;
pub use known::{CASES_MAX, Diagnosis, Known, NamedCase, models};

pub mod format;

#[cfg(test)]
mod tests;
