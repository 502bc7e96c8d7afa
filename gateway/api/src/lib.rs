//! The HTTP interface as types: endpoints, requests, responses and problems.
//!
//! Each type is defined once, here. The gateway serves them, the command line is their client, and other
//! edges answer with the same views. Pure: nothing here does I/O or decides.

pub mod endpoint;
pub mod errors;
pub mod problem;

pub mod agents;
pub mod approvals;
pub mod breakers;
pub mod changes;
pub mod commands;
pub mod dead_letters;
pub mod events;
pub mod halts;
pub mod healer;
pub mod lanes;
pub mod operations;
pub mod paging;
pub mod redrives;
pub mod schedules;
pub mod settings;
pub mod tasks;

pub mod openapi;
pub mod routes;

pub use endpoint::{Endpoint, Method};
pub use problem::{NextStep, Problem, code};
