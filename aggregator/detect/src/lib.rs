//! hsw-detect
