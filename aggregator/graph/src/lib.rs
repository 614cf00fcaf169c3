//! hsw-graph
