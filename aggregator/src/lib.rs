//! hsw-aggregator
pub mod shared;
pub mod store;
