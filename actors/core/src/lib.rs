//! The contract of an entity: what an author writes (`decide` and `fold`), and what they get.
//!
//! This crate is pure. Time, ids and everything else from outside come through [`Context`],
//! so that deciding a recorded command again gives the recorded events, byte for byte.

pub mod decision;
pub mod entity;
pub mod instance;
pub mod registry;
pub mod scenario;

pub use bus_schemas::{CommandId, EntityAddress, Key, Kind, Refusal, Revision, Timestamp};
pub use decision::Decision;
pub use entity::{Context, Entity, Opening, Origin, Taking, View};
pub use instance::{Instance, Turn, TurnError};
pub use registry::Registry;
