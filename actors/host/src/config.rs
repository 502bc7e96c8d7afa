//! The configuration of a process: defaults, then a TOML file, then `ORRERY__SECTION__KEY`.
//!
//! All of it is read and checked before any socket opens.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use bus_client::NatsConfig;
use serde::{Deserialize, Serialize};

/// The environment's prefix; `__` separates sections.
const ENV_PREFIX: &str = "ORRERY__";

/// Settings of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where everything of this installation that is a file lies. Default: `.orrery`.
    pub data_dir: PathBuf,
    /// The NATS to use.
    pub nats: NatsConfig,
    /// The `nats-server` program for the embedded server. Default: found on the PATH or in `.tools`.
    pub nats_server: Option<PathBuf>,
    /// The embedded server's port; 0 picks a free one. Default: 0.
    pub nats_port: u16,
    /// Where HTTP is served; port 0 picks a free one. Default: 127.0.0.1:8080.
    pub http: SocketAddr,
    /// Where traces go, OTLP over HTTP, such as `http://127.0.0.1:4318`. Default: nowhere.
    pub otlp_endpoint: Option<String>,
    /// This host's name in leases and records; unique among the hosts of an installation.
    /// Default: made from the data directory.
    pub host_name: Option<String>,
    /// Whether this process runs the shipped agents. Default: true.
    pub agents: bool,
    /// Whether this process runs partitions. Default: true.
    pub host: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from(".orrery"),
            nats: NatsConfig::default(),
            nats_server: None,
            nats_port: 0,
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            otlp_endpoint: None,
            host_name: None,
            agents: true,
            host: true,
        }
    }
}

/// A mistake in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting `{setting}`: {reason}")]
pub struct ConfigError {
    /// Which setting, or the file.
    pub setting: String,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub hint: String,
}

impl ConfigError {
    fn new(setting: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        let hint = "`orrery config show` prints every setting with its value".to_owned();
        Self { setting: setting.into(), reason: reason.to_string(), hint }
    }
}

impl Config {
    /// Reads a file, if one is given, and the environment.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Vec<ConfigError>> {
        let one = |error| vec![error];
        let mut table = toml::Table::new();
        if let Some(file) = file {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(file).map_err(|error| one(ConfigError::new(&name, error)))?;
            table = text
                .parse()
                .map_err(|error: toml::de::Error| one(ConfigError::new(&name, error.message())))?;
        }
        for (name, value) in env {
            if let Some(path) = name.strip_prefix(ENV_PREFIX) {
                set(&mut table, &path.to_ascii_lowercase(), &value)
                    .map_err(|error| one(ConfigError::new(&name, error)))?;
            }
        }
        let config: Self = toml::Value::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| one(ConfigError::new("configuration", error.message())))?;
        let mistakes = config.mistakes();
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    /// What serde can not check, all of it at once.
    pub fn mistakes(&self) -> Vec<ConfigError> {
        let mut mistakes = Vec::new();
        if let Err(error) = bus_schemas::subjects::Subjects::new(&self.nats.subject_prefix) {
            mistakes.push(ConfigError::new("nats.subject_prefix", error));
        }
        if self.nats.partitions.get() > bus_schemas::topology::PARTITIONS_MAX {
            let most = bus_schemas::topology::PARTITIONS_MAX;
            mistakes.push(ConfigError::new("nats.partitions", format!("at most {most}")));
        }
        if self.nats.url.is_none() && self.nats.profile == bus_client::Profile::Replicated {
            let reason = "the embedded server is a single one; `replicated` needs `nats.url` of a cluster";
            mistakes.push(ConfigError::new("nats.profile", reason));
        }
        if let Some(name) = &self.host_name
            && let Err(error) = bus_schemas::Key::parse(name)
        {
            mistakes.push(ConfigError::new("host_name", error));
        }
        mistakes
    }

    /// The settings for people: credentials in URLs are hidden.
    pub fn redacted(&self) -> serde_json::Value {
        let mut shown = self.clone();
        shown.nats.url = shown.nats.url.map(|url| redact(&url));
        shown.otlp_endpoint = shown.otlp_endpoint.map(|url| redact(&url));
        serde_json::to_value(shown).unwrap_or_default()
    }
}

/// Hides what stands before `@` in a URL.
fn redact(url: &str) -> String {
    let hide = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        _ => url.to_owned(),
    };
    url.split(',').map(hide).collect::<Vec<_>>().join(",")
}

/// Sets `a__b` in nested tables; numbers and booleans are recognised.
fn set(table: &mut toml::Table, path: &str, value: &str) -> Result<(), String> {
    let Some((section, rest)) = path.split_once("__") else {
        let literal = value.parse::<i64>().map(toml::Value::Integer);
        let literal = literal.or_else(|_| value.parse::<bool>().map(toml::Value::Boolean));
        table.insert(path.to_owned(), literal.unwrap_or_else(|_| toml::Value::String(value.to_owned())));
        return Ok(());
    };
    let inner = table.entry(section.to_owned()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    match inner {
        toml::Value::Table(inner) => set(inner, rest, value),
        _ => Err(format!("`{section}` is not a section")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> std::vec::IntoIter<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<Vec<_>>()
            .into_iter()
    }

    #[test]
    fn the_environment_wins_over_the_file_and_unknown_settings_are_errors() {
        let dir = std::env::temp_dir().join(format!("orrery-config-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("orrery.toml");
        std::fs::write(&file, "nats_port = 4333\n[nats]\nprofile = \"fast\"\n").unwrap();
        let config =
            Config::load(Some(&file), env(&[("ORRERY__NATS_PORT", "4444"), ("OTHER", "x")])).unwrap();
        assert_eq!((config.nats_port, config.nats.profile), (4444, bus_client::Profile::Fast));
        let unknown = Config::load(None, env(&[("ORRERY__NATS__COLOUR", "red")])).unwrap_err();
        assert!(unknown[0].reason.contains("colour"), "{unknown:?}");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn every_mistake_is_listed_and_secrets_are_not_shown() {
        let mistakes = Config::load(
            None,
            env(&[("ORRERY__NATS__SUBJECT_PREFIX", "a.b"), ("ORRERY__NATS__PARTITIONS", "500")]),
        )
        .unwrap_err();
        assert_eq!(mistakes.len(), 2, "{mistakes:?}");
        let config =
            Config::load(None, env(&[("ORRERY__NATS__URL", "nats://user:hunter2@host:4222")])).unwrap();
        assert!(!config.redacted().to_string().contains("hunter2"));
    }
}
