//! `limits`: memory and log limits of hosts, and the default budget of task trees.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, Mistake, Setting, Unfit};

/// The longest log filter in bytes.
const FILTER_BYTES_MAX: usize = 1_024;
/// The longest wall clock budget: far more than any task needs, and an end that a date can write.
const WALL_CLOCK_MAX: Duration = Duration::from_secs(36_500 * 86_400);
/// The log levels.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The limits of every host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most commands that wait in one partition; further callers are refused as `busy`. 16 to 1,000,000.
    /// Default: 8,192.
    #[schemars(range(min = 16, max = 1_000_000))]
    pub inbox_queue: u32,
    /// Most live entities in the memory of one partition, 16 to 10,000,000. Default: 8,192.
    #[schemars(range(min = 16, max = 10_000_000))]
    pub cache_entities: u32,
    /// The log filter: `target=level` or `level`, separated by commas, such as `warn,actors_runtime=debug`.
    /// The environment variable `ORRERY_LOG` takes precedence. Default: the filter that the process was
    /// started with.
    pub log_filter: Option<String>,
    /// The budget of a task tree whose submission sets none. Default: no limit.
    pub budget: Budget,
}

/// The budget of a task tree. A missing field means no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Model tokens, in both directions.
    #[schemars(range(min = 1))]
    #[serde(deserialize_with = "crate::wire::int64")]
    pub tokens: Option<u64>,
    /// Money, in millionths of the currency of the prices.
    #[schemars(range(min = 1))]
    #[serde(deserialize_with = "crate::wire::int64")]
    pub money_micros: Option<u64>,
    /// Tool calls.
    #[schemars(range(min = 1))]
    #[serde(deserialize_with = "crate::wire::int64")]
    pub tool_calls: Option<u64>,
    /// Time from submission to end, at least `1s`; in settings at most `36500d`.
    pub wall_clock: Option<Duration>,
    /// Jobs, including those of its children.
    #[schemars(range(min = 1))]
    #[serde(deserialize_with = "crate::wire::int64")]
    pub jobs: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { inbox_queue: 8_192, cache_entities: 8_192, log_filter: None, budget: Budget::default() }
    }
}

/// Why a text is no log filter; `None` if it is one.
fn wrong_filter(filter: &str) -> Option<String> {
    if filter.len() > FILTER_BYTES_MAX {
        return Some(format!("has {} bytes; at most {FILTER_BYTES_MAX} are taken", filter.len()));
    }
    let target = |text: &str| {
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == ':';
        !text.is_empty() && text.chars().all(letters)
    };
    let directive = |text: &str| match text.split_once('=') {
        Some((name, level)) => target(name) && LEVELS.contains(&level),
        None => LEVELS.contains(&text),
    };
    let wrong = filter.split(',').map(str::trim).find(|text| !directive(text))?;
    Some(format!("holds `{wrong}`: neither `level` nor `target=level` with a level of {}", LEVELS.join(", ")))
}

impl Setting for Limits {
    const NAME: &'static str = "limits";

    fn mistakes(&self, _: &Unfit) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        if let Some(reason) = self.log_filter.as_deref().and_then(wrong_filter) {
            mistakes.push(Mistake::new("/log_filter", reason));
        }
        let bounds = Duration::from_secs(1)..=WALL_CLOCK_MAX;
        if let Some(time) = self.budget.wall_clock.filter(|time| !bounds.contains(time)) {
            let reason = format!("is {time}, and must be 1s to {WALL_CLOCK_MAX}");
            mistakes.push(Mistake::new("/budget/wall_clock", reason));
        }
        mistakes
    }
}
