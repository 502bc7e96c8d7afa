//! The contract of an entity: the functions that an author writes (`decide` and `fold`) and their input.
//!
//! This crate is pure. Time, ids and all other outside input come through [`Context`], so that deciding a
//! recorded command again gives the recorded events, byte for byte.

pub mod decision;
pub mod entity;
pub mod gate;
pub mod instance;
pub mod registry;
pub mod undeliverable;

pub use bus_schemas::{CommandId, EntityAddress, Key, Kind, Refusal, Revision, Timestamp};
pub use decision::Decision;
pub use entity::{Context, Entity, Opening, Origin, Taking, View};
pub use gate::{Gate, GateRequest, Gates};
pub use instance::{Instance, Turn, TurnError};
pub use registry::Registry;
pub use undeliverable::{Lost, Undeliverable};
