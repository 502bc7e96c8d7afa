//! Claims: a worker asks for jobs, and says how many it has places for.
//!
//! A claim goes to `<prefix>.claim.<agent>`. It is answered when jobs for it are committed, or after
//! [`WAIT_MS`] with [`Answer::ComeAgain`]. The answer uses the claim up: the worker claims places that it did
//! not fill again.
//!
//! The token that every command about a job must carry is made by the worker. The claim has its hash, and nobody sends
//! it to the worker, so whoever hears the answer, or reads a large job, cannot report in the worker's place.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::ids::{CommandId, Hash, Key};
use crate::jobs::Job;
use crate::wire::is_default;

/// The most places in one claim: their jobs fit into one answer.
pub const PLACES_MAX: u32 = 256;
/// The most skills in one claim: as many as an agent's card lists.
pub const SKILLS_MAX: usize = 64;
/// The most lanes in one claim: as many as a worker serves.
pub const LANES_MAX: usize = 16;
/// How long a claim waits for jobs, in milliseconds.
pub const WAIT_MS: u64 = 5_000;

/// A worker's claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The worker: the caller name of its reports.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    pub worker: SmolStr,
    /// The worker's incarnation: the first claim with a larger number drops those with a smaller one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub incarnation: u64,
    /// The worker's skills, out of those on the agent's card.
    #[schemars(length(min = 1, max = 64))]
    pub skills: Vec<SmolStr>,
    /// The SHA-256 hash of the token of its jobs: a secret of the worker, made for this claim.
    pub token: Hash,
    /// How many more jobs it can begin now.
    #[schemars(range(min = 1, max = 256))]
    pub places: u32,
    /// Whether it was sent before under this id and not answered.
    #[serde(default, skip_serializing_if = "is_default")]
    pub repeated: bool,
    /// The lanes whose work it does.
    #[serde(default = "default_lanes")]
    #[schemars(length(min = 1, max = 16))]
    pub lanes: Vec<Key>,
}

impl Claim {
    /// Whether two claims are equal, apart from `repeated`.
    pub fn is_same(&self, other: &Self) -> bool {
        Self { repeated: other.repeated, ..self.clone() } == *other
    }
}

fn default_lanes() -> Vec<Key> {
    vec![crate::commands::task::default_lane()]
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Answer {
    /// Jobs, committed for this claim.
    Issued {
        /// The claim's id.
        claim: CommandId,
        /// The jobs: at most as many as the claim has places.
        jobs: Vec<Issued>,
        /// Whether another message with jobs of this claim follows.
        #[serde(default, skip_serializing_if = "is_default")]
        more: bool,
    },
    /// No job came in time: claim again.
    ComeAgain {
        /// The claim's id.
        claim: CommandId,
    },
}

/// A job in the answer to a claim.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Issued {
    /// The job; `None` if it is in the blob store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Box<Job>>,
    /// The BLAKE3 hash of the job's JSON in the blob store, if the job is large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Hash>,
    /// The W3C trace context of the decision that issued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}
