//! hsw-engine
