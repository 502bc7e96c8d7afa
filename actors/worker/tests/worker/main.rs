//! Workers against a real nats-server and a host that is played.
//!
//! The goal: whatever happens to a job, its task hears the truth about it, and the worker's place is free again.

mod host;
mod server;
mod stage;

mod effects;
mod interrupted;
mod jobs;
mod presence;
mod replay;
mod steps;
