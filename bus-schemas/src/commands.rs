//! Every command, one file per kind. Imperative names; the wire name is in `type`.

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

/// Whether to leave out a field that is usually 0.
fn is_zero(number: &u64) -> bool {
    *number == 0
}
