//! Tests of `hsw rca`.
