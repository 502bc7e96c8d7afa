//! The configuration of a process: defaults, then a TOML file, then `ORRERY__SECTION__KEY`.
//!
//! All of it is read and checked before any socket opens. `docs/configuration.md` is the page for
//! people; a test holds it against the type.

mod read;
mod secrets;
mod sweep;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use bus_client::{NatsConfig, Profile};
use bus_schemas::Key;
use bus_schemas::settings::Duration;
use serde::{Deserialize, Serialize};

pub use self::sweep::SweepAfter;

/// The bounds of `cache.age`: the installation's bucket keeps nothing for longer.
const CACHE_AGES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);

/// The bounds of `web.cache_age`.
const WEB_AGES: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// The bounds of `code_write.answer_within`, and the most names in `code_write.approvers`: those of an approval.
const ANSWER_TIMES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(7 * 86_400);
const APPROVERS_MAX: usize = 16;

/// The settings of a process.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The directory of all files of this installation. Default: `.orrery`.
    pub data_dir: PathBuf,
    /// The NATS connection.
    pub nats: NatsConfig,
    /// The `nats-server` program for the embedded server. Default: found on the PATH or in `.tools`.
    pub nats_server: Option<PathBuf>,
    /// The embedded server's port; 0 picks a free one. Default: 0.
    pub nats_port: u16,
    /// The address to serve HTTP on; port 0 picks a free one. Default: 127.0.0.1:8080.
    pub http: SocketAddr,
    /// The address to serve `/metrics` and `/health` on beside or without a gateway; port 0 picks a free one.
    /// Default: only at the gateway.
    pub metrics: Option<SocketAddr>,
    /// The OTLP endpoint for traces, over HTTP, such as `http://127.0.0.1:4318`. Default: none.
    pub otlp_endpoint: Option<String>,
    /// This host's name in leases and records; unique among the hosts of an installation.
    /// Default: made from the data directory.
    pub host_name: Option<String>,
    /// Whether this process runs the shipped agents. Default: true.
    pub agents: bool,
    /// The lanes that these agents serve, separated by commas. Default: `default`.
    pub agent_lanes: String,
    /// The file that names the models of these agents. Default: none.
    pub models: Option<PathBuf>,
    /// The folder of the operator's own prompts for these agents. Default: none.
    pub prompts: Option<PathBuf>,
    /// Where answers of models are kept.
    pub cache: CacheConfig,
    /// What looks for instructions in the texts that these agents read.
    pub defence: DefenceConfig,
    /// Where these agents run programs that nobody has to trust.
    pub sandbox: SandboxConfig,
    /// Where these agents may write.
    pub workspace: WorkspaceConfig,
    /// What these agents may read of the web.
    pub web: WebConfig,
    /// Whether these agents may change files of repositories, when a person has approved it.
    pub code_write: CodeWriteConfig,
    /// Whether this process runs partitions. Default: true.
    pub host: bool,
    /// How long a task may stand still before the sweeper looks at it, at least `1s`; `0` for never. Default:
    /// `10m`.
    pub sweep_after: SweepAfter,
    /// What happens to dead letters.
    pub dead_letters: DeadLetters,
    /// Whether secrets may be placeholders such as `changeme`. Default: false.
    pub development: bool,
    /// Whether experiments may disturb this process: `true` for under `fast`, a profile's name for under that
    /// profile, or `false`. Default: false.
    pub chaos: Chaos,
}

/// The profile under which experiments are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "`true`, `false`, or the profile under which experiments are allowed")]
pub enum Chaos {
    /// `true`: under the profile `fast`; `false`: never.
    Switch(bool),
    /// Under this profile: a profile for real data must be named.
    Under(Profile),
}

impl Chaos {
    /// Whether experiments are allowed under a profile.
    pub fn allows(self, profile: Profile) -> bool {
        match self {
            Self::Switch(allowed) => allowed && profile == Profile::Fast,
            Self::Under(named) => named == profile,
        }
    }
}

impl Default for Chaos {
    fn default() -> Self {
        Self::Switch(false)
    }
}

/// What happens to dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeadLetters {
    /// The URL to which each dead letter is posted as JSON: `https://host/path` or `http://host/path`.
    /// Default: none.
    pub webhook: Option<String>,
}

/// Where answers of models are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// The URL of Redis, `redis` or `rediss`. Default: none, and answers are kept in the installation's NATS.
    pub redis_url: Option<String>,
    /// A file whose first line is that URL, so that its password is in no other place. Default: none.
    pub redis_url_file: Option<PathBuf>,
    /// How old an answer may be, `1s` to `30d`. Default: `1d`.
    pub age: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { redis_url: None, redis_url_file: None, age: Duration::from_secs(86_400) }
    }
}

/// Where agents run programs that nobody has to trust.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxConfig {
    /// The folder of the images that `make tools` builds. Default: none, and nothing runs.
    pub images: Option<PathBuf>,
    /// The Unix socket of a keeper that `orrery sandbox serve` runs elsewhere. Default: none, and the process starts a
    /// keeper of its own when there are images.
    pub keeper: Option<PathBuf>,
    /// The Unix socket of the container engine. Default: where Docker and podman usually listen.
    pub socket: Option<String>,
    /// The name of an image at the engine, on which images of projects are built on trial. Default: none, and no image
    /// is built.
    pub base_image: Option<String>,
    /// The file of advisories about Python packages, in OSV's format. Default: none, and dependencies are not audited.
    pub advisories: Option<PathBuf>,
}

/// Where agents may write.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkspaceConfig {
    /// The folders, as absolute paths, below which agents may read, write and use git repositories. Default: none;
    /// then they read any git working copy, and write nothing.
    pub roots: Vec<PathBuf>,
}

/// What looks for instructions in texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DefenceConfig {
    /// Whether goals and what tools answer are looked at. Default: true; without it no goal is refused as
    /// `goal-hostile`, and tools reach no more than with it.
    pub detector: bool,
}

impl Default for DefenceConfig {
    fn default() -> Self {
        Self { detector: true }
    }
}

/// What agents may read of the web.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebConfig {
    /// The address of a SearXNG instance that answers in JSON. Default: none, and there is no search.
    pub search_url: Option<String>,
    /// Whether pages are fetched. Default: false.
    pub fetch: bool,
    /// Hosts beside the public internet that pages may be fetched from: `host`, or `host:port`. Default: none.
    pub allowed_hosts: Vec<String>,
    /// How old an answer from the cache may be, `1s` to `1d`. Default: `15m`.
    pub cache_age: Duration,
}

impl Default for WebConfig {
    fn default() -> Self {
        let cache_age = Duration::from_secs(900);
        Self { search_url: None, fetch: false, allowed_hosts: Vec::new(), cache_age }
    }
}

/// Changes of files that people approve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CodeWriteConfig {
    /// Whether agents write at all. Default: false; then no agent offers a skill that writes, and hosts refuse such work.
    pub enabled: bool,
    /// The files and folders of a repository that may be changed. Default: none, which means all.
    pub allowed: Vec<String>,
    /// The files and folders that may not. Default: none.
    pub forbidden: Vec<String>,
    /// The agents' own files and folders, which they change without asking a person. Default: none.
    pub own: Vec<String>,
    /// The most bytes of a file. Default: 262,144.
    pub file_bytes_max: u64,
    /// The callers who may approve. Default: none, which means anybody but the agent.
    pub approvers: Vec<String>,
    /// How long a request waits for a person, `1s` to `7d`. Default: `1d`.
    pub answer_within: Duration,
}

impl Default for CodeWriteConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            allowed: Vec::new(),
            forbidden: Vec::new(),
            own: Vec::new(),
            file_bytes_max: 262_144,
            approvers: Vec::new(),
            answer_within: Duration::from_secs(86_400),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from(".orrery"),
            nats: NatsConfig::default(),
            nats_server: None,
            nats_port: 0,
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            metrics: None,
            otlp_endpoint: None,
            host_name: None,
            agents: true,
            agent_lanes: "default".to_owned(),
            models: None,
            prompts: None,
            cache: CacheConfig::default(),
            defence: DefenceConfig::default(),
            sandbox: SandboxConfig::default(),
            workspace: WorkspaceConfig::default(),
            web: WebConfig::default(),
            code_write: CodeWriteConfig::default(),
            host: true,
            sweep_after: SweepAfter::default(),
            dead_letters: DeadLetters::default(),
            development: false,
            chaos: Chaos::default(),
        }
    }
}

/// A mistake in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting `{setting}`: {reason}")]
pub struct ConfigError {
    /// The setting's key; `--config` when the file itself is the mistake.
    pub setting: String,
    /// The mistake.
    pub reason: String,
    /// The next step.
    pub hint: String,
}

impl ConfigError {
    /// The mistake is the file as a whole.
    fn file(reason: impl fmt::Display) -> Self {
        let hint = "correct the file, or name another one with `--config` or `ORRERY_CONFIG`; docs/configuration.md has an example";
        Self { hint: hint.to_owned(), ..Self::new("--config", reason) }
    }
    fn new(setting: impl Into<String>, reason: impl fmt::Display) -> Self {
        let hint = "`orrery config show` prints every setting; docs/configuration.md says what each can be";
        Self { setting: setting.into(), reason: reason.to_string(), hint: hint.to_owned() }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config {}", self.redacted())
    }
}

impl Config {
    /// Reads a file, if one is given, and the environment. Reports every mistake.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Vec<ConfigError>> {
        let (config, mistakes) = Self::read(file, env);
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    /// Reads everything that is valid: an invalid setting keeps its default, and is among the mistakes under
    /// its key.
    pub fn read(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> (Self, Vec<ConfigError>) {
        let (config, origins, mut mistakes) = read::settings(file, env);
        for mut mistake in config.mistakes() {
            if let Some(origin) = origins.get(&mistake.setting) {
                mistake.reason = format!("{} (from {origin})", mistake.reason);
            }
            mistakes.push(mistake);
        }
        (config, mistakes)
    }

    /// The mistakes that serde cannot find, all at once.
    pub fn mistakes(&self) -> Vec<ConfigError> {
        let mut mistakes = Vec::new();
        let mut told = |setting: &str, reason: &dyn fmt::Display| {
            mistakes.push(ConfigError::new(setting, reason));
        };
        if self.data_dir.as_os_str().is_empty() {
            told("data_dir", &"is empty");
        }
        let prefix = &self.nats.subject_prefix;
        if bus_schemas::subjects::Subjects::new(prefix).is_err() {
            told("nats.subject_prefix", &format!("`{prefix}` is not 1 to 32 small letters, digits or `-`"));
        }
        if self.nats.partitions.get() > bus_schemas::topology::PARTITIONS_MAX {
            told("nats.partitions", &format!("at most {}", bus_schemas::topology::PARTITIONS_MAX));
        }
        if self.nats.url.is_none() && self.nats.profile == Profile::Replicated {
            let reason = "the embedded server is a single one; `replicated` needs `nats.url` of a cluster";
            told("nats.profile", &reason);
        }
        for (setting, reason) in self.nats.access_mistakes() {
            told(setting, &reason);
        }
        if let Some(name) = &self.host_name
            && bus_schemas::Key::parse(name).is_err()
        {
            let wanted = "1 to 160 letters, digits, `-`, `_` and single dots between them";
            told("host_name", &format!("`{name}` is not {wanted}"));
        }
        if let Err(reason) = self.lanes() {
            told("agent_lanes", &reason);
        }
        if self.sweep_after.is_too_short() {
            told("sweep_after", &"must be at least 1s, or 0 for never");
        }
        for (setting, given, bounds) in [
            ("cache.age", self.cache.age, CACHE_AGES),
            ("web.cache_age", self.web.cache_age, WEB_AGES),
            ("code_write.answer_within", self.code_write.answer_within, ANSWER_TIMES),
        ] {
            if !bounds.contains(&given) {
                let (least, most) = (bounds.start(), bounds.end());
                told(setting, &format!("is {given}, and must be {least} to {most}"));
            }
        }
        if self.code_write.approvers.len() > APPROVERS_MAX {
            told("code_write.approvers", &format!("has more than {APPROVERS_MAX} names"));
        }
        if self.cache.redis_url.is_some() && self.cache.redis_url_file.is_some() {
            told("cache.redis_url_file", &"is set beside `cache.redis_url`: one of them is enough");
        }
        for (setting, urls, schemes) in [
            ("nats.url", &self.nats.url, &["nats", "tls", "ws", "wss"][..]),
            ("nats.monitor_url", &self.nats.monitor_url, &["http", "https"]),
            ("otlp_endpoint", &self.otlp_endpoint, &["http", "https"]),
            ("cache.redis_url", &self.cache.redis_url, &["redis", "rediss"]),
            ("web.search_url", &self.web.search_url, &["http", "https"]),
        ] {
            if let Some(reason) = urls.as_deref().and_then(|urls| wrong_url(urls, schemes)) {
                told(setting, &reason);
            }
        }
        if let Some(Err(error)) = self.dead_letters.webhook.as_deref().map(crate::webhook::check) {
            told("dead_letters.webhook", &error);
        }
        if !self.development {
            mistakes.extend(secrets::placeholders(&self.plain()));
        }
        mistakes
    }

    /// The lanes that the agents of this process serve, or why the setting is invalid.
    pub fn lanes(&self) -> Result<Vec<Key>, String> {
        let names: Vec<&str> = self.agent_lanes.split(',').map(str::trim).collect();
        let lane = |name: &&str| {
            Key::parse(name)
                .map_err(|error| format!("`{name}` is no lane: {error}; lanes have commas between"))
        };
        names.iter().map(lane).collect()
    }

    /// The settings for output: secrets, and credentials in URLs, are hidden. An unset setting is null.
    pub fn redacted(&self) -> serde_json::Value {
        let mut shown = self.plain();
        secrets::hide(&mut shown);
        shown
    }

    /// The secrets among the settings, so that other output can leave them out.
    pub fn secrets(&self) -> Vec<String> {
        secrets::found(&self.plain())
    }

    fn plain(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("settings are text, numbers and flags")
    }
}

/// Why a list of URLs cannot be used; `None` when it can.
fn wrong_url(urls: &str, schemes: &[&str]) -> Option<String> {
    let wrong = |url: &str| {
        let wanted = || format!("`{}` is not `{}://host:port`", bus_client::redacted_url(url), schemes[0]);
        (!is_url_of(url, schemes)).then(wanted)
    };
    urls.split(',').map(str::trim).find_map(wrong)
}

/// Whether a URL has one of the schemes, a host, and a port after a `:`. NATS URLs may have no scheme, as is
/// usual with NATS.
fn is_url_of(url: &str, schemes: &[&str]) -> bool {
    let rest = match url.split_once("://") {
        Some((scheme, rest)) if schemes.contains(&scheme) => rest,
        None if schemes.contains(&"nats") => url,
        _ => return false,
    };
    let address = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let address = address.rsplit('@').next().unwrap_or_default();
    match address.rsplit_once(':') {
        // The colons of an IPv6 address are in brackets.
        Some((host, port)) if !port.ends_with(']') => {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        }
        _ => !address.is_empty(),
    }
}
