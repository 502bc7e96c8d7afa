//! What an agent is: it shows a card, and it does one attempt at one task at a time.
//!
//! ```text
//! Job ─→ Work ─→ Agent::run ─→ Done     → complete-job
//!                           ├→ Failed   → fail-job
//!                           ├→ Required → require-input
//!                           └→ panic    → fail-job, class `poison`
//! ```
//!
//! An agent may read clocks, files and the network. It must be ready to be run twice for one task: a worker can die
//! after the work and before the report. What must not be done twice goes through [`Work::effect`].

mod budget;
mod effect;
mod failure;
mod line;
mod step;
mod trace;
mod work;

use std::time::{SystemTime, UNIX_EPOCH};

use bus_schemas::Timestamp;
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::commands::task::Plan;
use bus_schemas::jobs::{Artifact, PastEffect};
use futures::future::BoxFuture;
use serde_json::Value;

pub use self::budget::Meter;
pub use self::effect::{Effect, Reconciled};
pub use self::failure::Failure;
pub use self::work::{ARTIFACT_BYTES_MAX, PROGRESS_PAUSE, Work};

pub(crate) use self::budget::BUDGET_EXCEEDED;
pub(crate) use self::effect::reconcile;
pub(crate) use self::failure::chain;
pub(crate) use self::line::{Line, Verdict};
pub(crate) use self::step::Steps;
pub(crate) use self::trace::{job_span, note_report};

/// Somebody who can do jobs. One agent does many at once, so it keeps nothing between them.
pub trait Agent: Send + Sync + 'static {
    /// What it is called and what it can do. Must say the same at every call.
    fn card(&self) -> AgentCard;

    /// Finds out whether an effect of an earlier attempt was done, of which nobody knows how it ended: asked
    /// before [`Agent::run`], and the attempt goes on only when it is known. An agent that can not tell
    /// leaves it to a person.
    fn reconcile(&self, work: Work, effect: PastEffect) -> BoxFuture<'static, Result<Reconciled, Failure>> {
        let _ = (work, effect);
        Box::pin(async { Ok(Reconciled::Unknown("its agent has no way to ask".to_owned())) })
    }

    /// Does one attempt. When [`Work::canceled`] fires it has a few seconds to return; then it is dropped.
    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>>;
}

/// What came out of an attempt.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Done {
    /// Large results, as kept by [`Work::put_artifact`].
    pub artifacts: Vec<Artifact>,
    /// A small answer.
    pub result: Value,
    /// For an orchestrating agent: the child tasks that do the work.
    pub plan: Option<Plan>,
}

impl Done {
    /// Done, with artifacts and a small answer.
    pub fn with(artifacts: Vec<Artifact>, result: Value) -> Self {
        Self { artifacts, result, plan: None }
    }
}

/// The time of this machine: only for what leaves the process, never for order.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
