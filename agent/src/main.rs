//! hsw-agent
fn main() {}
