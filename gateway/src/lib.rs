//! The edge: read models of the event stream, and the REST interface over them.
//!
//! A gateway talks to the bus only, keeps nothing that it could not rebuild, and decides nothing:
//! a handler parses, then sends one command or reads one view, then renders. Any number of gateways
//! may run beside each other, each with a read model of its own.

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
pub use rest::openapi::openapi;
