//! hsw
fn main() {}
