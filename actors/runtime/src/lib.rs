//! The runtime: partitions, the loop of a partition with its stages, and supervision.
//!
//! Six of the nine stages are here: `lease → inbox → decide → journal → fold → fanout`. `effects` is with the
//! agents; `projections` and `gateway` are at the edge. [`core::Core`] holds the loop's decisions without
//! I/O, so that the simulation can drive them; [`partition`] adds a clock and a bus. The runtime knows no
//! kind of entity: a [`Registry`] brings the kinds and the policy for commands that cannot be delivered, and
//! [`Gates`] bring the checks that refuse a command before it is decided.

pub mod supervision;

mod absence;
pub mod lease;
pub mod partition;
pub mod versions;

pub mod bounds;
pub mod claims;
pub mod core;
pub mod inbox;
pub mod park;
pub mod renewals;
pub mod tenure;

pub mod decide;
pub mod deciding;
pub mod journal;
pub mod stuck;

pub mod observer;

pub mod fold;
pub mod look;

pub mod fanout;

pub mod recent;
pub mod replies;
pub mod seen;
pub mod state;

pub mod crash;
pub mod metric;
pub mod takeover;
pub mod trace;

pub use actors_core::{Gate, GateRequest, Gates, Registry};
