//! hsw-state
