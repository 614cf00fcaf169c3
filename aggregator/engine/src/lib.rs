//! The engine: summaries in, incidents out; what every face of the product shows. (steps 8–13)

mod engine;
mod incident;
mod map;
mod view;

pub use engine::{Config, Engine, Input, Output};
pub use incident::{Evidence, Incident, IncidentId, IncidentState, Symptom};
pub use map::{ShardEntry, ShardMap, ShardMapError};
pub use view::{
    Armed, EdgeView, GraphView, Health, NodeLiveness, NodeView, Point, SeriesView, ShardView,
    VertexView,
};
