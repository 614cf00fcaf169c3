//! hsw-aggregator
fn main() {}
