//! Agents: the contract they keep, the worker that runs them, and those that ship with Orrery.
//!
//! This is the stage `effects`: everything here may touch the outside, and nothing here decides what a task becomes.
//! An agent must never speak to an entity by itself: its [`contract::Work`] does, under ids that make repeats harmless.

pub mod breaker;
pub mod contract;
pub mod crash;
pub mod worker;

pub mod catalog;
pub mod shipped;

pub mod report;

pub use breaker::Breakers;
pub use contract::{Agent, Done, Effect, Failure, Meter, Reconciled, Work};
pub use worker::{Worker, WorkerError};
