//! hsw-shell
