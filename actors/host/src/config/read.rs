//! Reads settings one by one, so that each invalid one is reported under its key and the others still count.
//!
//! Every setting has a default, so each can be tried alone, in a table with nothing else.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Config, ConfigError};

/// The environment's prefix; `__` separates sections.
const ENV_PREFIX: &str = "ORRERY__";

/// A setting as it was given.
struct Given {
    /// Its possible values: text in the environment may also be a number.
    meanings: Vec<toml::Value>,
    /// Where it was given: the file or the variable.
    origin: String,
}

/// The settings, the origin of each by key, and the mistakes.
pub(super) fn settings(
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
) -> (Config, BTreeMap<String, String>, Vec<ConfigError>) {
    let (mut given, mut mistakes) = (BTreeMap::new(), Vec::new());
    if let Some(file) = file {
        let name = file.display().to_string();
        match table(file) {
            Ok(table) => leaves(&mut Vec::new(), table, &name, &mut given),
            Err(reason) => mistakes.push(ConfigError::file(format!("`{name}`: {reason}"))),
        }
    }
    for (name, value) in env {
        if let Some(path) = name.strip_prefix(ENV_PREFIX) {
            let path = path.to_ascii_lowercase().split("__").map(str::to_owned).collect();
            given.insert(path, Given { meanings: meanings(&value), origin: name });
        }
    }
    let (mut good, mut origins) = (toml::Table::new(), BTreeMap::new());
    for (path, Given { meanings, origin }) in given {
        let key = path.join(".");
        let tried: Vec<_> = meanings.into_iter().map(|value| alone(&path, value)).collect();
        match tried.iter().position(Result::is_ok) {
            Some(at) => {
                let table = tried.into_iter().nth(at).and_then(Result::ok).unwrap_or_default();
                merge(&mut good, table);
                origins.insert(key, origin);
            }
            None => {
                let reason = tried.into_iter().find_map(Result::err).unwrap_or_default();
                mistakes.push(ConfigError::new(key, format!("{reason} (from {origin})")));
            }
        }
    }
    // Settings do not depend on each other here: what is valid alone is valid together.
    let config = toml::Value::Table(good).try_into().unwrap_or_else(|error: toml::de::Error| {
        mistakes.push(ConfigError::new("configuration", error.message()));
        Config::default()
    });
    (config, origins, mistakes)
}

/// Reads a file as a table, or says what is wrong and on which line.
fn table(file: &Path) -> Result<toml::Table, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        format!("line {}: {}", before.matches('\n').count() + 1, error.message())
    })
}

/// The settings in a table, each under its path. An empty section counts as one, since its name may be
/// unknown.
fn leaves(
    path: &mut Vec<String>,
    table: toml::Table,
    origin: &str,
    given: &mut BTreeMap<Vec<String>, Given>,
) {
    for (name, value) in table {
        path.push(name);
        match value {
            toml::Value::Table(inner) if !inner.is_empty() => leaves(path, inner, origin, given),
            value => {
                given.insert(path.clone(), Given { meanings: vec![value], origin: origin.to_owned() });
            }
        }
        path.pop();
    }
}

/// A variable's text: as TOML, where it parses, and as a string.
fn meanings(text: &str) -> Vec<toml::Value> {
    let table = format!("value = {text}").parse::<toml::Table>();
    let literal = table.ok().filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    literal.into_iter().chain([toml::Value::String(text.to_owned())]).collect()
}

/// A table with only this setting, if it is valid.
fn alone(path: &[String], value: toml::Value) -> Result<toml::Table, String> {
    let (last, sections) = path.split_last().ok_or("the key is empty")?;
    let mut table = toml::Table::from_iter([(last.clone(), value)]);
    for section in sections.iter().rev() {
        table = toml::Table::from_iter([(section.clone(), toml::Value::Table(table))]);
    }
    let read: Result<Config, _> = toml::Value::Table(table.clone()).try_into();
    // For people, numbers have bounds, not types.
    let told = |text: &str| text.replace("a nonzero u16", "a number from 1").replace("u16", "0 to 65535");
    read.map(|_| table).map_err(|error| told(&error.message().trim().replace('\n', " ")))
}

/// Merges one table into another, section by section.
fn merge(into: &mut toml::Table, from: toml::Table) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(toml::Value::Table(there)), toml::Value::Table(more)) => merge(there, more),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}
