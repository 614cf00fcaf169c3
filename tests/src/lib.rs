//! hsw-tests
