//! Every event, one file per kind. Names are in the past tense; the wire name is in `type`.
//!
//! A published event never changes its meaning and never loses a field: add a variant, raise the schema
//! version, and write an upcaster in [`crate::upcast`].

pub mod agent;
pub mod approval;
pub mod breaker;
pub mod change;
pub mod chaos;
pub mod dead_letter;
pub mod halt;
pub mod healer;
pub mod lane;
pub mod probe;
pub mod queue;
pub mod redrive;
pub mod schedule;
pub mod settings;
pub mod task;
