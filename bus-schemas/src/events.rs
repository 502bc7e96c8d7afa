//! Every event, one file per kind. Past tense; the wire name is in `type`.
//!
//! A published event never changes its meaning or loses a field: add a variant, raise the
//! schema version, write an upcaster in [`crate::upcast`].

pub mod agent;
pub mod breaker;
pub mod broker;
pub mod campaign;
pub mod chaos;
pub mod config;
pub mod deadletter;
pub mod halt;
pub mod healer;
pub mod probe;
pub mod queue;
pub mod schedule;
pub mod task;
