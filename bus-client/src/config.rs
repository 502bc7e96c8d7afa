//! The configuration of the connection to NATS, and of its durability.

use std::fmt;
use std::num::NonZeroU16;
use std::path::PathBuf;

use bus_schemas::subjects::DEFAULT_PREFIX;
use bus_schemas::topology::PARTITIONS_DEFAULT;
use serde::{Deserialize, Serialize};

use crate::access;

/// How durable an acknowledged write is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// One server that syncs every write before it acknowledges (`sync_interval: always`).
    #[default]
    Durable,
    /// Three servers, three replicas, each syncing.
    Replicated,
    /// The server's default: a power cut may lose the last two minutes.
    Fast,
}

impl Profile {
    /// The value in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Replicated => "replicated",
            Self::Fast => "fast",
        }
    }
    /// The server's `sync_interval` under this profile.
    pub fn fsync(self) -> &'static str {
        match self {
            Self::Durable | Self::Replicated => "always",
            Self::Fast => "2m",
        }
    }
    /// Replicas of every stream.
    pub fn replicas(self) -> usize {
        if self == Self::Replicated { 3 } else { 1 }
    }
}

impl std::str::FromStr for Profile {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "durable" => Ok(Self::Durable),
            "replicated" => Ok(Self::Replicated),
            "fast" => Ok(Self::Fast),
            _ => Err("a profile is `durable`, `replicated` or `fast`"),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Settings of the connection to NATS.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsConfig {
    /// `nats://host:port`, several separated by commas; without it, the embedded server. Default: none.
    pub url: Option<String>,
    /// `http://host:port` of each server's monitoring, separated by commas, for the durability
    /// check. Default: port 8222 of the hosts in `url`.
    pub monitor_url: Option<String>,
    /// The user name for the server, with `password_file`; `url` may contain it instead. Default: none.
    pub user: Option<String>,
    /// A file whose first line is the user's password. Default: none.
    pub password_file: Option<PathBuf>,
    /// A file whose first line is a token. Default: none.
    pub token_file: Option<PathBuf>,
    /// A credentials file, with a JWT and its key. Default: none.
    pub credentials_file: Option<PathBuf>,
    /// The durability of acknowledged writes. Default: `durable`.
    pub profile: Profile,
    /// The first token of every subject. Default: `orrery`.
    pub subject_prefix: String,
    /// Partitions of a new installation; fixed once it exists. Default: 8.
    pub partitions: NonZeroU16,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            url: None,
            monitor_url: None,
            user: None,
            password_file: None,
            token_file: None,
            credentials_file: None,
            profile: Profile::Durable,
            subject_prefix: DEFAULT_PREFIX.to_owned(),
            partitions: NonZeroU16::new(PARTITIONS_DEFAULT).expect("eight is not zero"),
        }
    }
}

impl fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsConfig")
            .field("url", &self.url.as_deref().map(redacted_url))
            .field("monitor_url", &self.monitor_url.as_deref().map(redacted_url))
            .field("user", &self.user)
            .field("password_file", &self.password_file)
            .field("token_file", &self.token_file)
            .field("credentials_file", &self.credentials_file)
            .field("profile", &self.profile)
            .field("subject_prefix", &self.subject_prefix)
            .field("partitions", &self.partitions)
            .finish()
    }
}

impl NatsConfig {
    /// Mistakes in the access settings, each with its key.
    pub fn access_mistakes(&self) -> Vec<(&'static str, String)> {
        access::mistakes(self)
    }
}

/// URLs, separated by commas, without what may be secret: the text before `@`, the path and the query.
pub fn redacted_url(urls: &str) -> String {
    let hide = |url: &str| {
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None => (String::new(), url),
        };
        let rest = match rest.rsplit_once('@') {
            Some((_, host)) => format!("***@{host}"),
            None => rest.to_owned(),
        };
        let (host, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        scheme + host + if behind.len() > 1 { "/***" } else { behind }
    };
    urls.split(',').map(hide).collect::<Vec<_>>().join(",")
}
