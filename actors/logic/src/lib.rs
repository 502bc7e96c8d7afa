//! Every entity of Orrery: what each kind decides and remembers.
//!
//! One folder for each kind, all of the same shape: `<kind>.rs` is the front page with the states,
//! the invariants and the command → event table; `decide.rs` checks commands; `state.rs` folds events.
//! This crate is pure: time and ids come through [`actors_core::Context`], and no decision depends
//! on the order of a hash map.

pub mod task;

pub mod agent;
pub mod broker;
pub mod queue;

pub mod breaker;
pub mod halt;
pub mod healer;

pub mod campaign;
pub mod chaos;
pub mod config;
pub mod deadletter;
pub mod probe;
pub mod schedule;

mod order;
mod rules;
mod text;

/// All kinds, for the host.
pub fn registry() -> actors_core::Registry {
    actors_core::Registry::default()
        .with::<task::Task>()
        .with::<agent::Agent>()
        .with::<broker::Broker>()
        .with::<queue::Queue>()
        .with::<breaker::Breaker>()
        .with::<healer::Healer>()
        .with::<halt::Halt>()
        .with::<chaos::Chaos>()
        .with::<deadletter::DeadLetter>()
        .with::<campaign::Campaign>()
        .with::<config::Config>()
        .with::<schedule::Schedule>()
        .with::<probe::Probe>()
}

#[cfg(test)]
mod testing;
