//! hsw-cli
