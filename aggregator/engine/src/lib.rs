//! The engine: summaries in, incidents out; what every face of the product shows. (steps 8–13)
//!
//! In: [`Input`]s. Out: [`Output`]s, and views of the state.
//! Ordering contract: a summary is applied to state and graph at once; a window is judged once every heard node has
//! told it (or has fallen behind): detectors, then liveness, then incidents. Windows are judged in order, once.
//! Invariants: EN-1 one root per incident, one open incident per root. EN-2 unknown is never well. EN-3 the same inputs
//! give the same outputs. Does not: know sockets, files, clocks or how people are told.

mod view;

mod map;

mod judgement;

mod incident;

mod intrusion;

mod words;

mod liveness;

mod hot;
mod log_lines;

mod plans;

mod symptoms;

mod features;

mod policy;

mod why;

mod contract;

mod engine;

mod show;

pub use contract::{Config, Input, Output};
pub use engine::Engine;
pub use hsw_structure::Pattern;
pub use incident::{
    Evidence, Incident, IncidentId, IncidentState, Intrusion, IntrusionEdge, Symptom,
};
pub use judgement::{Judgement, Said, WeightsView};
pub use map::{ShardEntry, ShardMap, ShardMapError};
pub use view::{
    Armed, ChangeView, EdgeView, GraphView, HISTORY_STEP_S, Health, NodeLiveness, NodeView, Point,
    SeriesView, ShardView, TrafficView, VertexView,
};
pub use why::{
    CASES_LEARNED_MAX, CAUSE_CHARS_MAX, Cause, Culprit, Explanation, Feedback, HARMLESS, Reason,
    Similar, WhyError,
};
pub use words::in_words;
