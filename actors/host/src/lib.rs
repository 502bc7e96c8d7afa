//! Wiring: configuration, the embedded server, the supervision tree, telemetry.
//!
//! Here, and only here, the runtime meets the entities and the agents.

mod chaos;
mod claims;
pub mod config;
pub mod embedded;
pub mod healer;
pub mod host;
mod live;
pub mod panics;
mod sweeper;
pub mod telemetry;
mod webhook;

pub use actors_agents::report::parsed_instead;
pub use config::{Config, ConfigError};
pub use host::{Addresses, Running, StartError, start, start_unless};
