//! `research`: findings in the code and its documentation. Skills `hotspots` and `docs`; `investigate`, which needs a model.

use std::path::Path;
use std::sync::Arc;

use actors_models::Models;
use actors_report::Watch;
use actors_worker::{Agent, Done, Failure, Work};
use bus_schemas::commands::agent::AgentCard;
use futures::future::BoxFuture;
use serde_json::json;

use crate::card::{card, typed, unknown_skill};
use crate::investigate::{InvestigateInput, Investigated, investigate};
use crate::repository::RepositoryInput;
use crate::step::{Counts, analyse};
use crate::workspaces::Workspaces;

const NAME: &str = "research";

/// Parses and searches; quotes word for word. Only the skill `investigate` asks a model.
#[derive(Debug)]
pub struct Research {
    models: Arc<Models>,
    workspaces: Arc<Workspaces>,
}

impl Research {
    /// An agent with these models, for these workspaces.
    pub fn new(models: Arc<Models>, workspaces: Arc<Workspaces>) -> Self {
        Self { models, workspaces }
    }
}

impl Agent for Research {
    fn card(&self) -> AgentCard {
        let skills = vec![
            typed::<RepositoryInput, Counts>(
                "hotspots",
                "Hot spots",
                "finds notes such as TODO and FIXME, and long functions by their syntax trees",
                &["todo", "fixme", "functions", "syntax"],
            ),
            typed::<RepositoryInput, Counts>(
                "docs",
                "Documentation",
                "searches the documentation and quotes the passages that answer, with file and lines",
                &["documentation", "search", "citations"],
            ),
            typed::<InvestigateInput, Investigated>(
                "investigate",
                "Investigate",
                "answers a question about a repository, with the lines that show it; needs a model",
                &["question", "citations", "model"],
            ),
        ];
        card(NAME, "searches code and documentation, and answers questions about a repository", skills)
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let (models, workspaces) = (Arc::clone(&self.models), Arc::clone(&self.workspaces));
        Box::pin(async move {
            match work.job.skill.as_str() {
                "investigate" => investigate(&work, &models, &workspaces).await,
                "hotspots" => {
                    analyse(&work, "hotspots", actors_report::hotspots, |found| {
                        json!({
                            "notes": found.notes_total,
                            "long_functions": found.long_functions_total,
                            "languages": found.languages.len(),
                            "unparsed": found.unparsed.total,
                        })
                    })
                    .await
                }
                "docs" => {
                    let goal = work.job.goal.clone();
                    let search = move |repo: &Path, watch: &Watch| actors_report::docs(repo, &goal, watch);
                    analyse(&work, "docs", search, |found| {
                        json!({
                            "documents": found.documents,
                            "sections": found.sections,
                            "answered": found.answers.iter().filter(|answer| !answer.passages.is_empty()).count(),
                        })
                    })
                    .await
                }
                other => Err(unknown_skill(NAME, other)),
            }
        })
    }
}
