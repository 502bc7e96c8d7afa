//! Projects: what a build may be asked for, and the skill `specify`, which says what a project is to do.

use std::path::PathBuf;

use actors_models::{Models, Prompt};
use actors_worker::{Done, Failure, Work};
use actors_workspace::{Access, Folder, WorkspacePath};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::asking::{Answered, Asking};
use crate::code::ROUNDS;
use crate::project::{BASE_IMAGE, ENDPOINTS_MAX, PAGES_MAX, Specification};
use crate::step::stored;
use crate::workspaces::Workspaces;

pub(crate) const PROMPT: Prompt =
    Prompt { name: "specify", version: 1, template: include_str!("../prompts/specify.v1.j2") };

/// What a build may be asked for beside the goal.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct BuildInput {
    /// The absolute path of a folder below one of `workspace.roots`, into which the project is written. No file there
    /// is written over.
    pub(crate) folder: Option<PathBuf>,
    /// The most rounds of edits.
    #[serde(default = "rounds")]
    #[schemars(range(min = 1, max = 10))]
    pub(crate) rounds: u32,
    /// The most seconds of a program.
    #[schemars(range(min = 1, max = 300))]
    pub(crate) step_seconds: Option<u64>,
    /// The image that the project's image begins with.
    #[serde(default = "base_image")]
    #[schemars(length(max = 255), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._/:@-]*$"))]
    pub(crate) base_image: String,
}

impl Default for BuildInput {
    fn default() -> Self {
        Self { folder: None, rounds: ROUNDS, step_seconds: None, base_image: base_image() }
    }
}

fn base_image() -> String {
    BASE_IMAGE.to_owned()
}

fn rounds() -> u32 {
    ROUNDS
}

impl BuildInput {
    /// The input of a job; without one nothing is asked for.
    pub(crate) fn of(work: &Work) -> Result<Self, Failure> {
        let read: Result<Option<Self>, _> = Option::deserialize(&work.job.input);
        read.map(Option::unwrap_or_default).map_err(|error| {
            Failure::permanent(
                "invalid-input",
                format!("the input of `{}` is wrong: {error}", work.job.skill),
            )
            .hint("docs/agents/orchestrator.md has an example")
        })
    }

    /// Opens the folder above the one that the project is written into, and names that.
    pub(crate) fn target(
        &self,
        workspaces: &Workspaces,
    ) -> Result<Option<(Folder, WorkspacePath)>, actors_workspace::Error> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let above = folder.parent().unwrap_or(folder);
        let opened = workspaces.open(Some(above), None, Access::Write)?;
        Ok(Some((opened, WorkspacePath::parse(name)?)))
    }
}

/// What the step `specify` leaves as `specify.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Specified {
    pub(crate) specification: Specification,
    pub(crate) answers: Vec<Answered>,
}

/// The specification in numbers; the artifact has the rest.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Sum {
    /// The name of the project.
    name: String,
    /// Its endpoints.
    endpoints: usize,
    /// Its pages.
    pages: usize,
}

/// Makes a specification of the goal.
pub(super) async fn specify(work: &Work, models: &Models) -> Result<Done, Failure> {
    let variables = json!({"endpoints_max": ENDPOINTS_MAX, "pages_max": PAGES_MAX});
    let lines = vec![json!({"goal": work.job.goal})];
    let mut asking = Asking::new(work, models, &PROMPT, &variables, Specification::schema(), lines).await?;
    let specification = loop {
        let answer = asking.next().await?;
        match Specification::read(&answer) {
            Ok(specification) => break specification,
            Err(reason) => asking.refuse(reason).await,
        }
    };
    let Specification { name, endpoints, pages, .. } = &specification;
    let sum = Sum { name: name.clone(), endpoints: endpoints.len(), pages: pages.len() };
    work.output(&format!("specified `{name}`: {} endpoints, {} pages\n", sum.endpoints, sum.pages)).await;
    let specified = Specified { specification, answers: asking.answers };
    stored(work, "specify.json", &specified, &sum).await
}
