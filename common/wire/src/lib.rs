//! Frames and their codec: what agent and aggregator say to each other. (steps 5–6)
//!
//! In: domain values of `hsw-types`. Out: bytes in bincode's wire format inside a versioned frame, and back.
//! Invariants: WI-1 a length over its limit is refused before anything is allocated. WI-2 decoding any bytes never
//! panics. WI-3 the bytes of a version never change (golden files); an unknown version is an error that says so.
//! Limits: [`FRAME_BYTES_MAX`], [`SUMMARY_BYTES_MAX`]. Does not: know sockets, order or acknowledgement (`hsw-delivery`).

mod column;
mod frame;
mod message;
mod summary;
mod trigger;

pub use frame::{
    Error, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, VERSION, VERSION_MAX, VERSION_ROLES,
    VERSION_TRIGGERS, frame_length,
};
pub use message::{RefusalCode, ToAgent, ToAggregator};
pub use summary::{SUMMARY_BYTES_MAX, decode_summary, encode_summary};
pub use trigger::{TRIGGERS_MAX, TriggerDown, TriggerQuestion, TriggerUp, TriggerWhy};
