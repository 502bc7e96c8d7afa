//! `sweep_after`: a duration with its unit, or `0` for never.

use std::time::Duration;

use bus_schemas::settings;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// Ten minutes: longer than a takeover, a default backoff or the wait in a busy lane usually take.
const DEFAULT: settings::Duration = settings::Duration::from_secs(600);
/// With a shorter time, work on its way would be taken for lost.
const MIN: settings::Duration = settings::Duration::from_secs(1);

/// How long a task may stand still before the sweeper looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SweepAfter(pub settings::Duration);

impl SweepAfter {
    /// The duration; `None` for never.
    pub fn duration(self) -> Option<Duration> {
        (self.0.as_ms() > 0).then(|| Duration::from_millis(self.0.as_ms()))
    }
    /// Whether it is neither never nor long enough.
    pub(super) fn is_too_short(self) -> bool {
        self.0.as_ms() > 0 && self.0 < MIN
    }
}

impl Default for SweepAfter {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

/// A number without a unit is refused, except 0.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a duration such as `10m`, or `0` for never")]
enum Written {
    Number(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for SweepAfter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Number(0) => Ok(Self(settings::Duration::default())),
            Written::Number(number) => Err(D::Error::custom(format_args!(
                "`{number}` has no unit: write `{number}s` or `{number}m`"
            ))),
            Written::Text(text) => {
                let read = text.parse().map_err(|wrong| D::Error::custom(format_args!("`{text}` {wrong}")));
                read.map(Self)
            }
        }
    }
}
