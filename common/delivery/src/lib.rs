//! hsw-delivery
