//! hsw-aggregator
