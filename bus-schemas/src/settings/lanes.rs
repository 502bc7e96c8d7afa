//! `lanes`: limits, fairness, order and maintenance windows of lanes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use smol_str::SmolStr;

use super::{Duration, Mistake, NAME, Setting, Unfit, pointer};
use crate::commands::lane;
use crate::ids::Key;
use crate::text::is_name;

/// The most lanes with rules of their own.
const LANES_MAX: usize = 256;
/// The most owners with a weight in one lane.
const WEIGHTS_MAX: usize = 1_000;
/// The largest weight.
const WEIGHT_MAX: u32 = 1_000;
/// The most maintenance windows of one lane.
const WINDOWS_MAX: usize = 16;
/// The longest maintenance window: to close a lane for longer, pause it.
const WINDOW_MAX: Duration = Duration::from_secs(7 * 86_400);
/// The shortest ageing time.
const AGEING_MIN: Duration = Duration::from_secs(1);

/// The rules of all lanes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Lanes {
    /// The rules of every lane that is not in `lanes`.
    pub default: Lane,
    /// Rules by lane. A missing field means no limit, whatever `default` says.
    pub lanes: BTreeMap<SmolStr, Lane>,
}

/// The rules of one lane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Lane {
    /// Most concurrent jobs. Default: no limit.
    #[schemars(range(min = 1))]
    pub concurrent: Option<u32>,
    /// Most jobs begun in a minute of the clock. Default: no limit.
    #[schemars(range(min = 1))]
    pub per_minute: Option<u32>,
    /// Most jobs begun in a day, in UTC. Default: no limit.
    #[schemars(range(min = 1))]
    pub per_day: Option<u32>,
    /// Fairness weights by owner, 1 to 1,000: twice the weight gets twice the jobs. Default: 1 for every
    /// owner.
    pub weights: BTreeMap<SmolStr, u32>,
    /// The order in which jobs begin: `host` (by priority, fairness and age within each host) or `strict`
    /// (across the whole lane, which costs a round trip per job). Default: `host`.
    pub order: lane::Order,
    /// Waiting time after which work rises by one priority, at least `1s`. Default: no ageing.
    pub ageing: Option<Duration>,
    /// Maintenance windows, in which no job begins.
    pub maintenance: Vec<MaintenanceWindow>,
    /// Whether no job begins at all. Default: false.
    pub paused: bool,
}

/// A maintenance window, in which no job begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceWindow {
    /// When it begins: a cron expression of five or six fields, in UTC.
    pub cron: String,
    /// Its length, at most 7 days.
    pub duration: Duration,
}

impl Lanes {
    /// The rules of a lane.
    pub fn lane(&self, lane: &str) -> &Lane {
        self.lanes.get(lane).unwrap_or(&self.default)
    }
    /// A document in which a merge patch (RFC 7396) changes the rules of one lane: fields in the patch are
    /// replaced, and those that are null have their defaults again. A lane without rules of its own starts
    /// from those of `default`. The result is not checked.
    pub fn patched(document: &Value, lane: &str, patch: &Value) -> Value {
        let mut document = document.clone();
        let own = document.pointer(&pointer("/lanes", lane)).or_else(|| document.get("default"));
        let mut rules = own.cloned().unwrap_or_else(|| json!({}));
        merge(&mut rules, patch);
        if let Value::Object(fields) = &mut document
            && let Value::Object(lanes) = fields.entry("lanes").or_insert_with(|| Map::new().into())
        {
            lanes.insert(lane.to_owned(), rules);
        }
        document
    }
    /// All cron expressions, each with its place.
    pub fn crons(&self) -> impl Iterator<Item = (String, &str)> {
        self.places().flat_map(|(place, lane)| {
            let windows = lane.maintenance.iter().enumerate();
            windows.map(move |(index, window)| {
                (format!("{place}/maintenance/{index}/cron"), window.cron.as_str())
            })
        })
    }
    fn places(&self) -> impl Iterator<Item = (String, &Lane)> {
        let named = self.lanes.iter().map(|(name, lane)| (pointer("/lanes", name), lane));
        std::iter::once(("/default".to_owned(), &self.default)).chain(named)
    }
}

impl Lane {
    /// The limits in the lane's own form. `paused` is not among them: for a lane it is a hold.
    pub fn limits(&self) -> lane::Limits {
        let window = |window: &MaintenanceWindow| lane::Window {
            cron: window.cron.clone(),
            duration_ms: window.duration.as_ms(),
        };
        lane::Limits {
            concurrent: self.concurrent,
            per_minute: self.per_minute,
            per_day: self.per_day,
            ageing_ms: self.ageing.map(Duration::as_ms),
            order: self.order,
            weights: self.weights.clone(),
            windows: self.maintenance.iter().map(window).collect(),
        }
    }

    fn mistakes(&self, place: &str) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let mut told = |at: String, reason: String| mistakes.push(Mistake::new(at, reason));
        let weights = pointer(place, "weights");
        if self.weights.len() > WEIGHTS_MAX {
            let count = self.weights.len();
            told(weights.clone(), format!("has {count} entries; at most {WEIGHTS_MAX} are taken"));
        }
        for (owner, weight) in &self.weights {
            if !is_name(owner) {
                told(pointer(&weights, owner), format!("names no owner: {NAME}"));
            }
            if !(1..=WEIGHT_MAX).contains(weight) {
                told(pointer(&weights, owner), format!("is {weight}, and must be 1 to {WEIGHT_MAX}"));
            }
        }
        if let Some(ageing) = self.ageing.filter(|ageing| *ageing < AGEING_MIN) {
            told(pointer(place, "ageing"), format!("is {ageing}, and must be at least {AGEING_MIN}"));
        }
        let windows = pointer(place, "maintenance");
        if self.maintenance.len() > WINDOWS_MAX {
            let count = self.maintenance.len();
            told(windows.clone(), format!("has {count} entries; at most {WINDOWS_MAX} are taken"));
        }
        for (index, window) in self.maintenance.iter().enumerate() {
            let duration = window.duration;
            if duration == Duration::default() || duration > WINDOW_MAX {
                told(
                    format!("{windows}/{index}/duration"),
                    format!("is {duration}, and must be 1ms to {WINDOW_MAX}"),
                );
            }
        }
        mistakes
    }
}

/// Applies a merge patch, by the algorithm of RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Map::new().into();
    }
    let Value::Object(fields) = target else { return };
    for (name, change) in changes {
        match change {
            Value::Null => drop(fields.remove(name)),
            change => merge(fields.entry(name.as_str()).or_insert(Value::Null), change),
        }
    }
}

impl Setting for Lanes {
    const NAME: &'static str = "lanes";

    fn mistakes(&self, _: &Unfit) -> Vec<Mistake> {
        let mut mistakes: Vec<Mistake> =
            self.places().flat_map(|(place, lane)| lane.mistakes(&place)).collect();
        if self.lanes.len() > LANES_MAX {
            let count = self.lanes.len();
            mistakes
                .push(Mistake::new("/lanes", format!("has {count} entries; at most {LANES_MAX} are taken")));
        }
        for name in self.lanes.keys() {
            if let Err(error) = Key::parse(name) {
                mistakes.push(Mistake::new(pointer("/lanes", name), format!("names no lane: {error}")));
            }
        }
        mistakes
    }
}
