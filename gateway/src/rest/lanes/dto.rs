//! Lanes as clients write and see them.

use std::collections::BTreeMap;

use bus_schemas::commands::broker::{Limits, Order, Window};
use bus_schemas::views::lane::{Block, Lane, LaneAgent};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::rest::silent::SilentView;

/// How the rules of a lane change.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeLane {
    /// A merge patch (RFC 7396) of `concurrent`, `per_minute`, `per_day`, `weights`, `ageing`,
    /// `maintenance` and `paused`, as in the settings `lanes`; null takes a bound away.
    #[schema(value_type = Object)]
    pub rules: Map<String, Value>,
    /// Why.
    pub reason: String,
    /// Who. Default: `rest`.
    pub by: Option<String>,
}

/// Why no job shall begin.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseLane {
    /// Why: somebody will ask.
    pub reason: String,
    /// Who. Default: `rest`.
    pub by: Option<String>,
}

/// How it goes on.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeLane {
    /// Why. Default: `resumed`.
    pub reason: Option<String>,
    /// Who. Default: `rest`.
    pub by: Option<String>,
    /// Jobs that may begin in the first minute: twice as many in each minute after it, and so many again
    /// after a failure.
    #[schema(minimum = 1)]
    pub per_minute: Option<u32>,
}

/// All lanes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LaneList {
    /// By name.
    pub lanes: Vec<LaneView>,
    /// Those that did not answer.
    #[serde(default)]
    pub silent: Vec<SilentView>,
}

/// A lane.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Lane)]
pub struct LaneView {
    /// Its name.
    pub id: String,
    /// How many attempts wait.
    pub waiting: u64,
    /// Milliseconds since 1970: since when the oldest of them waits.
    pub oldest: Option<u64>,
    /// How many attempts run.
    pub running: u64,
    /// Its rules.
    pub limits: LimitsView,
    /// The version of the settings `lanes` that they are of; 0 for the defaults, null when it was not told
    /// yet.
    pub version: Option<u64>,
    /// Which version of which settings it runs, by name: `lanes` since it was told, `limits` and `retry`;
    /// 0 for the defaults.
    #[serde(default)]
    pub settings: BTreeMap<String, u64>,
    /// Jobs begun in this minute.
    pub begun_in_minute: u32,
    /// Jobs begun on this day, in UTC.
    pub begun_in_day: u32,
    /// What limits it right now.
    pub blocks: Vec<BlockView>,
    /// How many holds there are of single task trees, such as a halt or a budget that is used up.
    #[serde(default)]
    pub trees_held: u64,
    /// Who serves it.
    pub agents: Vec<LaneAgentView>,
    /// Whether it gives leave to each attempt, because something bounds it as a whole.
    #[serde(default)]
    pub governed: bool,
    /// The partitions in which it has queues.
    #[serde(default)]
    pub partitions: Vec<u16>,
    /// Its queues that did not answer: what waits and runs there is missing here.
    #[serde(default)]
    pub silent: Vec<SilentView>,
}

/// The rules of a lane. What is null is not bounded.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = LaneLimits)]
pub struct LimitsView {
    /// Jobs at once.
    pub concurrent: Option<u32>,
    /// Jobs begun in a minute of the clock.
    pub per_minute: Option<u32>,
    /// Jobs begun in a day, in UTC.
    pub per_day: Option<u32>,
    /// What waits for so long, in milliseconds, is one priority higher.
    pub ageing_ms: Option<u64>,
    /// In which order jobs begin: `host` or `strict`.
    #[serde(default)]
    pub order: String,
    /// How many jobs an owner gets when others get one. 1 for who is not named.
    pub weights: BTreeMap<String, u32>,
    /// Times in which no job begins.
    pub windows: Vec<WindowView>,
}

/// A maintenance window.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = LaneWindow)]
pub struct WindowView {
    /// When it begins: a cron expression in UTC.
    pub cron: String,
    /// How long it lasts, in milliseconds.
    pub duration_ms: u64,
}

/// Why something waits.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = LaneBlock)]
pub struct BlockView {
    /// What limits: `held`, `easing`, `concurrent`, `per-minute`, `per-day`, `window`, `no-agent`, `busy`
    /// or `order`.
    pub what: String,
    /// In a sentence.
    pub reason: String,
    /// Who holds, where somebody does.
    pub cause: Option<String>,
    /// Milliseconds since 1970: when it ends by itself.
    pub until: Option<u64>,
}

/// An agent of a lane.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = LaneAgent)]
pub struct LaneAgentView {
    /// The agent.
    pub agent: String,
    /// Jobs at once.
    pub capacity: u32,
    /// Jobs of this lane that it has.
    pub running: u32,
    /// Jobs that it may get now.
    pub free: u32,
}

impl From<Lane> for LaneView {
    fn from(lane: Lane) -> Self {
        Self {
            id: lane.id.to_string(),
            waiting: lane.waiting,
            oldest: lane.oldest.map(|oldest| oldest.0),
            running: lane.running,
            limits: lane.limits.into(),
            version: lane.version,
            settings: lane.settings.into_iter().map(|(name, version)| (name.to_string(), version)).collect(),
            begun_in_minute: lane.begun_in_minute,
            begun_in_day: lane.begun_in_day,
            blocks: lane.blocks.into_iter().map(Into::into).collect(),
            trees_held: lane.trees_held,
            agents: lane.agents.into_iter().map(Into::into).collect(),
            governed: lane.governed,
            partitions: lane.partitions.into_iter().map(|partition| partition.0).collect(),
            silent: lane.silent.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Limits> for LimitsView {
    fn from(limits: Limits) -> Self {
        let window = |Window { cron, duration_ms }: Window| WindowView { cron, duration_ms };
        Self {
            concurrent: limits.concurrent,
            per_minute: limits.per_minute,
            per_day: limits.per_day,
            ageing_ms: limits.ageing_ms,
            order: order(limits.order).to_owned(),
            weights: limits.weights.into_iter().map(|(owner, weight)| (owner.to_string(), weight)).collect(),
            windows: limits.windows.into_iter().map(window).collect(),
        }
    }
}

fn order(order: Order) -> &'static str {
    match order {
        Order::Host => "host",
        Order::Strict => "strict",
    }
}

impl From<Block> for BlockView {
    fn from(Block { what, reason, cause, until }: Block) -> Self {
        let what: &'static str = what.into();
        let (cause, until) = (cause.map(|cause| cause.to_string()), until.map(|until| until.0));
        Self { what: what.to_owned(), reason, cause, until }
    }
}

impl From<LaneAgent> for LaneAgentView {
    fn from(LaneAgent { agent, capacity, running, free, .. }: LaneAgent) -> Self {
        Self { agent: agent.to_string(), capacity, running, free }
    }
}
