//! `limits`: what a host holds in memory and logs, and what a task tree may use when nobody says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, Mistake, Setting, Unfit};

/// The longest log filter in bytes.
const FILTER_BYTES_MAX: usize = 1_024;
/// The words for how much is logged.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The limits of every host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Commands that wait in one partition before callers are told `busy`, 16 to 1,000,000.
    /// Default: 8,192.
    #[schemars(range(min = 16, max = 1_000_000))]
    pub inbox_queue: u32,
    /// Live entities that one partition keeps in memory, 16 to 10,000,000. Default: 8,192.
    #[schemars(range(min = 16, max = 10_000_000))]
    pub cache_entities: u32,
    /// What is logged, as `target=level` or `level`, with commas between: `warn,actors_runtime=debug`. The
    /// environment's `ORRERY_LOG` wins over it. Default: what the process was started with.
    pub log_filter: Option<String>,
    /// What a task tree may use when its submission does not say. Default: no bound.
    pub budget: Budget,
}

/// What a task tree may use. What is left out is not bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Tokens of models, in both directions.
    #[schemars(range(min = 1))]
    pub tokens: Option<u64>,
    /// Money, in millionths of the currency in which the prices are given.
    #[schemars(range(min = 1))]
    pub money_micros: Option<u64>,
    /// Calls of tools.
    #[schemars(range(min = 1))]
    pub tool_calls: Option<u64>,
    /// Time from its submission to its end, at least `1s`.
    pub wall_clock: Option<Duration>,
    /// Jobs, those of its children with them.
    #[schemars(range(min = 1))]
    pub jobs: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { inbox_queue: 8_192, cache_entities: 8_192, log_filter: None, budget: Budget::default() }
    }
}

/// Why a text is no log filter; none when it is one.
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
        if let Some(time) = self.budget.wall_clock.filter(|time| *time < Duration::from_secs(1)) {
            mistakes.push(Mistake::new("/budget/wall_clock", format!("is {time}, and must be at least 1s")));
        }
        mistakes
    }
}
