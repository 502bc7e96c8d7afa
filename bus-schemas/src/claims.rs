//! Claims: a worker asks for jobs, with how many it has places for.
//!
//! A claim goes to `<prefix>.claim.<agent>`. It is answered once jobs for it are committed, or after
//! [`WAIT_MS`] with [`Answer::ComeAgain`]. The answer uses the claim up: places that it did not fill are
//! claimed anew.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::ids::{CommandId, Hash, Key};
use crate::jobs::Job;
use crate::wire::is_default;

/// Places in one claim: as many as one message can tell the jobs of.
pub const PLACES_MAX: u32 = 256;
/// Skills in one claim: as many as a card lists.
pub const SKILLS_MAX: usize = 64;
/// Lanes in one claim: as many as a worker serves.
pub const LANES_MAX: usize = 16;
/// How long a claim waits for a job, in milliseconds.
pub const WAIT_MS: u64 = 5_000;

/// What a worker claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The worker: the caller under which it reports.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    pub worker: SmolStr,
    /// Which life of the worker: claims of a smaller number are forgotten with the first one of a larger.
    #[serde(default, skip_serializing_if = "is_default")]
    pub incarnation: u64,
    /// What it can do; some of what the agent's card says.
    #[schemars(length(min = 1, max = 64))]
    pub skills: Vec<SmolStr>,
    /// How many more jobs it can begin now.
    #[schemars(range(min = 1, max = 256))]
    pub places: u32,
    /// Whether it was sent before under this id, and nothing was heard of it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub repeated: bool,
    /// The lanes whose work it does.
    #[serde(default = "default_lanes")]
    #[schemars(length(min = 1, max = 16))]
    pub lanes: Vec<Key>,
}

impl Claim {
    /// Whether both claim the same.
    pub fn is_same(&self, other: &Self) -> bool {
        Self { repeated: other.repeated, ..self.clone() } == *other
    }
}

fn default_lanes() -> Vec<Key> {
    vec![crate::commands::task::default_lane()]
}

/// What comes of a claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Answer {
    /// Jobs, committed for this claim.
    Issued {
        /// The claim's id.
        claim: CommandId,
        /// The jobs: at most as many as it had places.
        jobs: Vec<Issued>,
        /// Whether another message with jobs of this claim follows.
        #[serde(default, skip_serializing_if = "is_default")]
        more: bool,
    },
    /// No job came in time.
    ComeAgain {
        /// The claim's id.
        claim: CommandId,
    },
}

/// A job in the answer to a claim.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Issued {
    /// The job; none where it is large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Box<Job>>,
    /// BLAKE3 of the JSON of a job that lies in the blob store, because it is large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Hash>,
    /// The W3C trace context of the decision that issued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}
