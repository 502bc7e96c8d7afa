//! Every command, one file per kind. Imperative names; the wire name is in `type`.

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

/// Whether a field that is usually zero can be left out.
fn is_zero(number: &u64) -> bool {
    *number == 0
}
