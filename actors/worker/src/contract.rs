//! The contract of an agent: it has a card, and it runs one attempt at one task at a time.
//!
//! ```text
//! Job ─→ Work ─→ Agent::run ─→ Done     → complete-job
//!                           ├→ Failed   → fail-job
//!                           ├→ Required → require-input
//!                           └→ panic    → fail-job, class `poison`
//! ```
//!
//! An agent may read clocks, files and the network, and draw random numbers, within a [`Work::step`]: then a later
//! attempt, and a replay of the recorded effects, finds what was read. It must tolerate being run twice for one
//! task: a worker can die after the work and before the report. Side effects that must not happen twice go through
//! [`Work::effect`].

mod approval;
mod budget;
mod effect;
mod failure;
mod step;
mod tape;
mod task_client;
mod trace;
mod watch;
mod work;

use std::sync::Arc;

use bus_schemas::Key;
pub use bus_schemas::approvals::canonical;
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::commands::task::Plan;
use bus_schemas::jobs::{Artifact, PastEffect};
use bus_schemas::manifests::Declared;
use futures::future::BoxFuture;
use serde_json::Value;
use smol_str::SmolStr;

pub use self::budget::Meter;
pub use self::effect::{Effect, Reconciled};
pub use self::failure::Failure;
pub use self::tape::{Compared, Recording, Request};
pub use self::watch::Watch;
pub use self::work::{ARTIFACT_BYTES_MAX, PROGRESS_PAUSE, Work};

pub(crate) use self::budget::BUDGET_EXCEEDED;
pub(crate) use self::effect::reconcile;
pub(crate) use self::step::Steps;
pub(crate) use self::tape::{DRIFTED, Tape};
pub(crate) use self::task_client::{TaskClient, Verdict};
pub(crate) use self::trace::{job_span, note_report};

/// An agent. One value runs many jobs at once, so it keeps no state between them.
pub trait Agent: Send + Sync + 'static {
    /// The agent's name, skills and dependencies. Must be the same at every call.
    fn card(&self) -> AgentCard;

    /// Finds out whether an earlier attempt's effect with unknown outcome was done. Called before
    /// [`Agent::run`]; the attempt goes on only when the outcome is known. An agent that cannot find out
    /// leaves the question to a person.
    fn reconcile(&self, work: Work, effect: PastEffect) -> BoxFuture<'static, Result<Reconciled, Failure>> {
        let _ = (work, effect);
        Box::pin(async { Ok(Reconciled::Unknown("its agent has no way to ask".to_owned())) })
    }

    /// Runs one attempt. When [`Work::canceled`] fires it has a few seconds to return; then it is dropped.
    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>>;
}

/// The agents that a process runs.
#[derive(Default)]
pub struct Agents {
    /// Those of its program, each with its capacity: the number of jobs at once.
    pub own: Vec<(Arc<dyn Agent>, usize)>,
    /// What makes those of manifests; without it the process runs none.
    pub declares: Option<Arc<dyn Declares>>,
}

impl From<Vec<(Arc<dyn Agent>, usize)>> for Agents {
    fn from(own: Vec<(Arc<dyn Agent>, usize)>) -> Self {
        Self { own, declares: None }
    }
}

/// Makes agents of manifests.
pub trait Declares: Send + Sync + 'static {
    /// The agent of a manifest; or what this process lacks for it, in words.
    fn agent(&self, declared: &Declared) -> Result<Arc<dyn Agent>, String>;

    /// An agent for attempts whose record has the manifest, as the step [`MANIFEST_STEP`].
    fn recorded(&self, name: &Key, skill: &SmolStr) -> Arc<dyn Agent>;
}

/// The step with which an attempt of a declared agent begins: it records the manifest, so that a task keeps the version
/// that it began with.
pub const MANIFEST_STEP: &str = "manifest";

/// The result of an attempt.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Done {
    /// Large results, stored by [`Work::put_artifact`].
    pub artifacts: Vec<Artifact>,
    /// A small result, as JSON.
    pub result: Value,
    /// For an orchestrating agent: the plan, whose child tasks do the work.
    pub plan: Option<Plan>,
}

impl Done {
    /// A result with artifacts and a small answer.
    pub fn with(artifacts: Vec<Artifact>, result: Value) -> Self {
        Self { artifacts, result, plan: None }
    }
}
