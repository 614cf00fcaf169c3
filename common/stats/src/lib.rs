//! hsw-stats
