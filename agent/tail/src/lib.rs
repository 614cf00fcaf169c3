//! hsw-tail
