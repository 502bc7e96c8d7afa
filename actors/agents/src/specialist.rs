//! `backend` and `frontend`: each writes its part of a project. Skills `generate-backend`, `generate-frontend`.
//!
//! ```text
//! specification ─→ a model ─→ files ─→ below the own folder? ─→ the guard ─→ the part
//!                     ▲                        │ no               │ no
//!                     └────────────────────────┴──────────────────┘
//! ```
//!
//! A specialist runs nothing and writes nothing: its part is an artifact. What is refused is told to the model, in
//! bounded rounds.

use std::sync::Arc;

use actors_models::Models;
use actors_sandbox::Files;
use actors_worker::{Agent, Done, Failure, Work};
use bus_schemas::commands::agent::AgentCard;
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::asking::{Answered, Asking};
use crate::card::{Nothing, card, typed, unknown_skill};
use crate::code::guard::Guard;
use crate::orchestrator::Specified;
use crate::project::{self, FILES_MAX, Part, Written};
use crate::sandbox::{STEP_MAX, Sandboxes};
use crate::step::{file_name, finding, stored};

/// Writes a part.
pub struct Specialist {
    part: &'static Part,
    models: Arc<Models>,
    sandboxes: Arc<Sandboxes>,
}

impl Specialist {
    /// A specialist for the backend.
    pub fn backend(models: Arc<Models>, sandboxes: Arc<Sandboxes>) -> Self {
        Self { part: &project::BACKEND, models, sandboxes }
    }

    /// A specialist for the frontend.
    pub fn frontend(models: Arc<Models>, sandboxes: Arc<Sandboxes>) -> Self {
        Self { part: &project::FRONTEND, models, sandboxes }
    }
}

impl Agent for Specialist {
    fn card(&self) -> AgentCard {
        let Part { name, skill, .. } = *self.part;
        let (title, does) = (
            format!("Generate the {name}"),
            format!("writes the files of the {name} of a specified project; needs a model"),
        );
        let skills =
            vec![typed::<Option<Nothing>, Generated>(skill, &title, &does, &["project", name, "model"])];
        card(name, &format!("writes the {name} of a project"), skills)
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let (models, sandboxes) = (Arc::clone(&self.models), Arc::clone(&self.sandboxes));
        let part = self.part;
        Box::pin(async move {
            if work.job.skill != part.skill {
                return Err(unknown_skill(part.name, &work.job.skill));
            }
            generate(&work, part, &models, &sandboxes).await
        })
    }
}

/// What a specialist leaves as `<part>.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Generation {
    pub(crate) files: Vec<Written>,
    pub(crate) answers: Vec<Answered>,
}

/// The part in numbers; its files are in the artifact.
#[derive(Debug, Serialize, JsonSchema)]
struct Generated {
    /// Files of the part; none if the specification has no such part.
    files: usize,
    /// Answers that were asked for.
    answers: usize,
}

async fn generate(work: &Work, part: &Part, models: &Models, sandboxes: &Sandboxes) -> Result<Done, Failure> {
    let Specified { specification, .. } = finding(work, "specify").await?;
    let wanted = part.wanted(&specification);
    let mut generation = Generation { files: Vec::new(), answers: Vec::new() };
    if wanted.is_empty() {
        work.output(&format!("the specification has no {}\n", part.name)).await;
    } else {
        let lines = vec![json!({"goal": work.job.goal}), json!({"specification": specification})];
        let variables = json!({"files_max": FILES_MAX});
        let mut asking = Asking::new(work, models, &part.prompt, &variables, part.schema(), lines).await?;
        let none = Files::new();
        let guard = Guard { work, sandboxes, original: &none, limit: STEP_MAX };
        generation.files = loop {
            let answer = asking.next().await?;
            match checked(part, &answer, &wanted, &guard, asking.round()).await? {
                Ok(files) => break files,
                Err(reason) => asking.refuse(reason).await,
            }
        };
        generation.answers = asking.answers;
        work.output(&format!("{}: {} files\n", part.name, generation.files.len())).await;
    }
    let result = Generated { files: generation.files.len(), answers: generation.answers.len() };
    stored(work, &file_name(part.name), &generation, &result).await
}

/// The files of an answer that pass every check which runs nothing of them, or why they do not.
async fn checked(
    part: &Part,
    answer: &Value,
    wanted: &[String],
    guard: &Guard<'_>,
    round: usize,
) -> Result<Result<Vec<Written>, String>, Failure> {
    let written = match part.read(answer, wanted) {
        Ok(written) => written,
        Err(reason) => return Ok(Err(reason)),
    };
    let files = match project::added(Files::new(), &written) {
        Ok(files) => files,
        Err(reason) => return Ok(Err(reason)),
    };
    let _place = guard.sandboxes.enter(guard.work).await?;
    Ok(guard.refusal(round, &files).await?.map_or(Ok(written), Err))
}
