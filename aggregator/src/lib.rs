//! hsw-aggregator
pub mod alerts;
pub mod shared;
pub mod store;
pub mod web;
