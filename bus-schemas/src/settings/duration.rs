//! Durations in settings: text with a unit.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The format name in the JSON Schema.
pub(super) const FORMAT: &str = "duration-with-unit";
/// The units with their milliseconds, largest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A duration: a whole number with a unit, `ms`, `s`, `m`, `h` or `d`, such as `"30s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(u64);

impl Duration {
    /// A duration in milliseconds.
    pub const fn from_ms(milliseconds: u64) -> Self {
        Self(milliseconds)
    }
    /// A duration in seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }
    /// The number of milliseconds.
    pub const fn as_ms(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let fits = |(_, length): &&(&str, u64)| self.0.is_multiple_of(*length);
        let (unit, length) = UNITS.iter().find(fits).unwrap_or(&UNITS[4]);
        write!(f, "{}{unit}", self.0 / length)
    }
}

impl FromStr for Duration {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str =
            "is no duration: a whole number with a unit, such as `500ms`, `30s`, `15m`, `6h` or `1d`";
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit = UNITS.iter().find(|(unit, _)| *unit == &text[digits.len()..]);
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let (Some((_, length)), true) = (unit, plain) else { return Err(WRONG) };
        let number: u64 = digits.parse().map_err(|_| "is too long a duration")?;
        number.checked_mul(*length).map(Self).ok_or("is too long a duration")
    }
}

impl Serialize for Duration {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(|wrong| serde::de::Error::custom(format_args!("`{text}` {wrong}")))
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": FORMAT,
            "pattern": "^[0-9]+(ms|s|m|h|d)$",
            "description": "A whole number with a unit, such as `500ms`, `30s`, `15m`, `6h` or `1d`",
        })
    }
}
