//! Answers that a provider gave before, so that the same call is not paid for twice.
//!
//! The key is a hash over everything that decides what is answered: the installation, the provider, and the whole
//! call. Only an answer that was whole and that its caller accepted is kept. A cache that fails is a miss: it delays
//! no call beyond [`PATIENCE`], and is left alone for a while.

mod redis;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actors_worker::Work;
use bus_schemas::Hash;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

use self::redis::Redis;
use crate::call::{Call, Completion};
use crate::formats::Format;
use crate::prompt::PromptRef;

/// Lookups in the cache and entries kept, by `outcome`: `hit`, `miss`, `kept`, `too-large` or `unavailable`.
const LOOKUPS: &str = "orrery_model_cache_total";
/// The version of the key: another one when an answer to the same key would not be the same any more.
const KEY_VERSION: u32 = 1;
/// How long a call waits for the cache at the most: short beside the fastest answer of a model.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long a cache that failed is not asked.
const PAUSE: Duration = Duration::from_secs(1);
/// The most bytes of an entry: larger answers are made again.
const ENTRY_BYTES_MAX: usize = 64 * 1024;
/// How old an answer may be, unless the settings say otherwise.
pub const AGE: Duration = Duration::from_secs(86_400);
/// The bounds of that setting: the bucket of an installation keeps nothing for longer.
pub const AGES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);

/// What became of a call in the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Cached {
    /// The answer of an earlier call: it cost nothing.
    Hit,
    /// No answer was there, or the cache is away, so the provider was asked.
    Miss,
    /// The call is none that may be answered from the cache.
    #[default]
    Off,
}

/// Where answers are kept: in Redis, or in the bucket of the installation.
#[derive(Debug)]
pub struct Cache {
    redis: Option<Redis>,
    age: Duration,
    health: Health,
}

/// Everything that decides what is answered. `Call` is serialized as a whole, so that no parameter can be forgotten.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Asked<'a> {
    pub(crate) provider: &'a str,
    pub(crate) format: Format,
    pub(crate) url: &'a str,
    pub(crate) call: &'a Call,
    pub(crate) prompts: &'a [PromptRef],
}

/// What is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// The key again: an entry under another one is none.
    key: Hash,
    /// When it was kept, in milliseconds since 1970.
    at: u64,
    completion: Completion,
}

/// Whether the cache answers. One warning is logged for each time that it stops doing so.
#[derive(Debug, Default)]
struct Health {
    /// Until when it is left alone; `None` while it answers.
    rests_until: Mutex<Option<Instant>>,
}

impl Default for Cache {
    fn default() -> Self {
        Self { redis: None, age: AGE, health: Health::default() }
    }
}

impl Cache {
    /// A cache in Redis, if a URL is given; answers older than `age`, one of [`AGES`], do not count. Makes no
    /// connection. The reason of a mistake repeats nothing of the URL, which may hold a password.
    pub fn new(redis_url: Option<&str>, age: Duration) -> Result<Self, String> {
        let redis = redis_url.map(Redis::new).transpose()?;
        Ok(Self { redis, age: age.clamp(*AGES.start(), *AGES.end()), health: Health::default() })
    }

    /// The key of a call; `None` if the installation has no name here, or it cannot be read.
    pub(crate) async fn key(&self, work: &Work, asked: &Asked<'_>) -> Option<Hash> {
        let name = async { work.installation().await.map_err(|failure| failure.to_string()) };
        self.bounded(name).await.flatten().map(|tenant| key(&tenant, asked))
    }

    /// The answer under a key.
    pub(crate) async fn find(&self, work: &Work, key: Hash) -> Option<Completion> {
        let read = async {
            match &self.redis {
                Some(redis) => redis.get(key, ENTRY_BYTES_MAX).await,
                None => work.cached(key).await.map_err(|failure| failure.to_string()),
            }
        };
        let found = self.bounded(read).await?.and_then(|bytes| self.read(key, &bytes));
        count(if found.is_some() { "hit" } else { "miss" });
        found
    }

    /// Keeps an answer that was accepted.
    pub(crate) async fn keep(&self, work: &Work, key: Hash, completion: &Completion) {
        let entry = Entry { key, at: now(), completion: completion.clone() };
        let bytes = Bytes::from(serde_json::to_vec(&entry).expect("it is plain data"));
        if bytes.len() > ENTRY_BYTES_MAX {
            return count("too-large");
        }
        let written = async {
            match &self.redis {
                Some(redis) => redis.set(key, &bytes, self.age).await,
                None => work.cache(key, bytes).await.map_err(|failure| failure.to_string()),
            }
        };
        if self.bounded(written).await.is_some() {
            count("kept");
        }
    }

    /// What bytes hold, if they are an entry under this key that is young enough.
    fn read(&self, key: Hash, bytes: &[u8]) -> Option<Completion> {
        let entry: Entry = serde_json::from_slice(bytes).ok()?;
        let age = Duration::from_millis(now().saturating_sub(entry.at));
        (entry.key == key && age <= self.age).then_some(entry.completion)
    }

    /// The outcome of a request to the cache within [`PATIENCE`]; `None` if it fails or is left alone.
    async fn bounded<T>(&self, request: impl Future<Output = Result<T, String>>) -> Option<T> {
        if self.health.rests() {
            count("unavailable");
            return None;
        }
        let reason = match timeout(PATIENCE, request).await {
            Ok(Ok(outcome)) => {
                self.health.answers();
                return Some(outcome);
            }
            Ok(Err(reason)) => reason,
            Err(_) => format!("no answer within {PATIENCE:?}"),
        };
        if let Some(redis) = &self.redis {
            redis.close();
        }
        count("unavailable");
        self.health.fails(&reason);
        None
    }
}

impl Health {
    fn rests(&self) -> bool {
        let rests_until = self.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
        rests_until.is_some_and(|until| Instant::now() < until)
    }

    fn answers(&self) {
        let was = self.rests_until.lock().unwrap_or_else(PoisonError::into_inner).take();
        if was.is_some() {
            tracing::info!("the cache of models answers again");
        }
    }

    fn fails(&self, reason: &str) {
        let mut rests_until = self.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
        if rests_until.replace(Instant::now() + PAUSE).is_none() {
            tracing::warn!(reason, "the cache of models does not answer; every call is a miss until it does");
        }
    }
}

fn key(tenant: &str, asked: &Asked<'_>) -> Hash {
    let parts = serde_json::to_vec(&(KEY_VERSION, tenant, asked)).expect("it is plain data");
    Hash::of(&parts)
}

fn count(outcome: &'static str) {
    metrics::counter!(LOOKUPS, "outcome" => outcome).increment(1);
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
