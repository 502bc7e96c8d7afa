//! The runtime: partitions, their loop and its stages, and supervision.
//!
//! `lease → inbox → decide → journal → fold → fanout`: the first six of the nine words live here,
//! `effects` with the agents, `projections` and `gateway` at the edge. [`core::Core`] is the loop's
//! decisions without I/O, so that a simulation can drive it; [`partition`] gives it a clock and a bus.
//! The runtime knows no kind of entity: they come in a [`actors_core::Registry`].

pub mod supervision;

mod absence;
pub mod lease;
pub mod partition;
pub mod versions;

pub mod bounds;
mod chaos;
pub mod claims;
pub mod core;
pub mod inbox;
pub mod park;
pub mod renewals;
pub mod tenure;

pub mod decide;
pub mod deciding;
pub mod journal;
pub mod quarantine;
pub mod stuck;

pub mod observer;

pub mod fold;
pub mod look;

pub mod fanout;

pub mod recent;
pub mod seen;
pub mod state;

pub mod crash;
pub mod metric;
pub mod takeover;
pub mod trace;
