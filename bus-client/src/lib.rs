//! The one place that talks to NATS: connection, server check, streams, asks, logs, leases, blobs.
//!
//! `async-nats` appears in no other manifest but the system tests'. This crate moves bytes and
//! says what happened to them; it decides nothing and knows no entity.

pub mod config;
pub mod error;

pub mod access;
mod bounded;
mod direct;
mod following;
mod patient;
mod publish;
mod trouble;

pub mod bus;
pub mod inspect;
pub mod server;
pub mod streams;

pub mod asks;
pub mod backup;
pub mod blobs;
pub mod chaos;
pub mod claims;
pub mod events;
pub mod halts;
pub mod history;
pub mod inbox;
pub mod jobs;
pub mod latest;
pub mod leases;
pub mod log;
pub mod mail;
pub mod snapshots;
pub mod trim;
pub mod watch;

pub use asks::{Ask, AskError};
pub use bus::{Bus, Connects};
pub use chaos::Chaos;
pub use config::{NatsConfig, Profile, redacted_url};
pub use error::Error;
pub use events::{EventQuery, StoredEvent};
pub use halts::HaltWatch;
pub use patient::patiently;
pub use publish::PublishError;
pub use trouble::Trouble;

/// Where the answer to an ask goes.
pub type ReplyTo = async_nats::Subject;
