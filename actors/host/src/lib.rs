//! Wiring: configuration, the embedded server, the supervision tree, telemetry.
//!
//! Here, and only here, the runtime meets the entities, and the agents that the program gives it.

pub mod chaos;
mod claims;
pub mod config;
mod declared;
pub mod embedded;
pub mod gates;
pub mod healer;
pub mod host;
mod live;
pub mod panics;
pub mod quarantine;
mod sweeper;
pub mod telemetry;
mod webhook;

pub use config::{Config, ConfigError};
pub use host::{Addresses, Running, StartError, start, start_unless};
