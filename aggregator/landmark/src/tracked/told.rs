//! What is asked of landmarks under change, and what is told of each event.

/// What the landmarks must achieve through all events.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aim {
    /// Share of vertices with an edge that must be told apart from all others of their colour, 0 to 1; 1 by default, and always where
    /// losses are to be survived.
    pub target: f64,
    /// Whether all must be told apart still when any one landmark is lost.
    pub is_fault_tolerant: bool,
    /// Whether twins of one colour, which only they themselves tell apart, may stay together; one landmark in each component is kept all the
    /// same, so that everybody has a place. Not where losses are to be survived.
    pub leaves_twins: bool,
}

impl Default for Aim {
    fn default() -> Self {
        Self {
            target: 1.0,
            is_fault_tolerant: false,
            leaves_twins: false,
        }
    }
}

/// What an event changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changed {
    /// Distances that are others now.
    pub n_entries: usize,
    /// Vertices with such a distance.
    pub n_vertices: usize,
}

/// One distance that an event changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Whose.
    pub vertex: u32,
    /// To which landmark.
    pub landmark: u32,
    /// Hops before.
    pub was: u16,
    /// Hops after.
    pub now: u16,
}

/// What keeping the set resolving took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// Landmarks added.
    pub n_added: usize,
    /// Landmarks taken out again.
    pub n_pruned: usize,
}
