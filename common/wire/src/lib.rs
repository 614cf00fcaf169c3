//! hsw-wire
