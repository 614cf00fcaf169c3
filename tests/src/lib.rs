//! hsw-tests

pub mod simagents;
