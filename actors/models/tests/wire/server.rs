//! The server that plays a model.

use std::time::Duration;

pub use actors_models::scripted::*;

/// Longer than anything that a test waits for on a machine that is busy.
pub const LONG: Duration = Duration::from_secs(20);
