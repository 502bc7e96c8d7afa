//! What an attempt uses of its installation: settings, the cache, and blobs.

use std::time::Duration;

use bus_client::{Ask, Error};
use bus_schemas::commands::settings::{Description, Query};
use bus_schemas::settings::{self, Setting};
use bus_schemas::wire::WireQuery;
use bus_schemas::{Body, EntityAddress, Hash, Key, Reply, chain};
use bytes::Bytes;

use super::{Source, Work};
use crate::contract::failure::Failure;

/// How long settings may take to answer: a partition moves to another host within seconds.
const SETTINGS_PATIENCE: Duration = Duration::from_secs(20);

impl Work {
    /// The installation's name, which no other has: the prefix of its subjects, and its id. `None` for a recorded attempt,
    /// which uses nothing of an installation.
    pub async fn installation(&self) -> Result<Option<String>, Failure> {
        let Source::Live(live) = &self.source else { return Ok(None) };
        let named = live.client.bus().identity().await;
        named
            .map(|name| Some(name.to_owned()))
            .map_err(|error| failed("reading the installation's id", &error))
    }

    /// The active version of settings of the installation; the defaults for a recorded attempt.
    pub async fn setting<T: Setting>(&self) -> Result<T, Failure> {
        let Source::Live(live) = &self.source else { return Ok(T::default()) };
        let failed = |reason: String| {
            let message = format!("reading the settings `{}`: {reason}", T::NAME);
            Failure::transient("settings-unreachable", message)
        };
        let entity = EntityAddress::new(Query::KIND, Key::parse(T::NAME).expect("a constant that is a key"));
        let ask =
            Ask::new(entity, Body::json(&Query::Describe { version: None })).caller(live.client.worker());
        let reply = live.client.bus().query(&ask, SETTINGS_PATIENCE).await;
        let value = match reply.map_err(|error| failed(chain(&error)))? {
            Reply::Accepted { result, .. } => result,
            Reply::Refused { refusal, .. } => return Err(failed(refusal.message)),
        };
        let described: Description =
            serde_json::from_value(value).map_err(|error| failed(error.to_string()))?;
        settings::read(&described.value).map_err(|mistakes| {
            let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            failed(mistakes.join("; "))
        })
    }

    /// What the installation keeps under a key, for at most 30 days and as long as there is room.
    pub async fn cached(&self, key: Hash) -> Result<Option<Bytes>, Failure> {
        let Source::Live(live) = &self.source else { return Ok(None) };
        live.client.bus().cached(key).await.map_err(|error| failed("reading the cache", &error))
    }

    /// Keeps at most 64 KiB under a key for others, who may lose it at any time.
    pub async fn cache(&self, key: Hash, bytes: Bytes) -> Result<(), Failure> {
        let Source::Live(live) = &self.source else { return Ok(()) };
        live.client.bus().cache(key, bytes).await.map_err(|error| failed("writing the cache", &error))
    }

    /// Stores bytes under their hash, for the recorded result of an effect.
    pub async fn put_blob(&self, bytes: Bytes) -> Result<Hash, Failure> {
        match &self.source {
            Source::Live(live) => {
                live.client.bus().put_blob(&bytes).await.map_err(|error| failed("storing a blob", &error))
            }
            Source::Recorded(tape) => Ok(tape.make(bytes)),
        }
    }

    /// Reads what was stored under a hash, and checks it.
    pub async fn get_blob(&self, hash: Hash) -> Result<Bytes, Failure> {
        let bus = match &self.source {
            Source::Live(live) => live.client.bus(),
            Source::Recorded(tape) => match tape.made(hash) {
                Some(bytes) => return Ok(bytes),
                None => tape.bus(),
            },
        };
        bus.get_blob(hash).await.map_err(|error| failed("reading a blob", &error))
    }
}

fn failed(doing: &str, error: &Error) -> Failure {
    Failure::transient("ledger-unreachable", format!("{doing}: {}", chain(error))).hint(error.hint())
}
