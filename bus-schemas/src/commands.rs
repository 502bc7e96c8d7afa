//! Every command, one file per kind. Imperative names; the wire name is in `type`.

pub mod agent;
pub mod broker;
pub mod deadletter;
pub mod probe;
pub mod schedule;
pub mod task;
