//! The wire contract of Orrery: ids, envelope, subjects, topology, the commit record, and every command,
//! event and view.
//!
//! This crate is pure: it opens no socket, reads no clock and draws no random number. Only this crate formats
//! or parses a subject, and only its types go over the wire.

pub mod ids;
pub mod subjects;
pub mod topology;

pub mod body;
pub mod envelope;
pub mod payload;
pub mod record;
pub mod wire;

pub mod approvals;
pub mod chaos;
pub mod claims;
pub mod commands;
pub mod events;
pub mod halts;
pub mod jobs;
pub mod kinds;
pub mod manifests;
pub mod settings;
pub mod views;

pub mod upcast;

pub mod schemas;

mod chain;
pub mod text;

pub use chain::chain;
pub use envelope::{Body, ContentType, Refusal, Reply, TraceContext};
pub use ids::{
    Caller, CommandId, EntityAddress, Hash, Key, Kind, LogSequence, PartitionId, Revision, Timestamp,
    address_text,
};
