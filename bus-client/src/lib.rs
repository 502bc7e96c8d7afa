//! The only crate that talks to NATS: connection, server check, streams, asks, logs, leases, blobs.
//!
//! Besides this crate, only the system tests and the benchmarks (`bench`, `tests/benches`) name `async-nats` in
//! their manifests. This crate moves bytes and reports what happened to them; it decides nothing and knows no
//! entity.

pub mod config;
pub mod error;

pub mod access;
mod batch;
mod bounded;
mod clock;
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
pub mod cache;
pub mod claims;
pub mod disturbance;
pub mod events;
pub mod folded;
mod forward;
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
pub use clock::now;
pub use config::{NatsConfig, Profile, redacted_url};
pub use disturbance::Disturbances;
pub use error::Error;
pub use events::{EventQuery, StoredEvent};
pub use folded::{Folded, Follower};
pub use patient::patiently;
pub use publish::PublishError;
pub use trouble::Trouble;

/// Where the reply to an ask goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo {
    subject: async_nats::Subject,
    /// Whether the message there is an array of replies.
    is_batch: bool,
}

impl ReplyTo {
    /// The inbox of a connection that asks in batches.
    pub(crate) fn batch(subject: async_nats::Subject) -> Self {
        Self { subject, is_batch: true }
    }
    /// The subject.
    pub fn as_str(&self) -> &str {
        self.subject.as_str()
    }
}

impl From<async_nats::Subject> for ReplyTo {
    fn from(subject: async_nats::Subject) -> Self {
        Self { subject, is_batch: false }
    }
}

impl From<String> for ReplyTo {
    fn from(subject: String) -> Self {
        async_nats::Subject::from(subject).into()
    }
}

impl From<&str> for ReplyTo {
    fn from(subject: &str) -> Self {
        async_nats::Subject::from(subject).into()
    }
}
