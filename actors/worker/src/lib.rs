//! Workers: the contract of an agent, and the loop that runs its jobs.
//!
//! This is the stage `effects`: everything here may have side effects, and nothing here decides what becomes
//! of a task. An agent must never send entities commands itself: its [`contract::Work`] does, under ids that
//! make repeats harmless.

pub mod breaker;
pub mod contract;
pub mod crash;
pub mod replay;
pub mod worker;

pub use breaker::Breakers;
pub use contract::{
    Agent, Agents, Compared, Declares, Done, Effect, Failure, MANIFEST_STEP, Meter, Reconciled, Recording,
    Request, Watch, Work, canonical,
};
pub use worker::{Worker, WorkerError};
