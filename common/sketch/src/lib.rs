//! hsw-sketch
