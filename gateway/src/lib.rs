//! The gateway: read models of the event stream, and the REST interface over them.
//!
//! A gateway talks only to the bus, keeps nothing that it could not rebuild, and decides nothing: a handler
//! parses, then sends one command or reads one view, then renders. Any number of gateways may run side by
//! side, each with its own read model.

mod metric;
mod trace;

mod connections;

mod projections;
mod rest;

mod gather;
mod heard;
mod supervise;

mod gateway;

pub use gateway::{Config, Error, Gateway, serve, serve_metrics};
pub use metric::record;
