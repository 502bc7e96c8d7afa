//! `research`: findings in code, its documentation and the web. Skills `hotspots` and `docs`; `web-search` and `fetch`,
//! where the operator allows them; `investigate`, which needs a model.

use std::path::Path;
use std::sync::Arc;

use actors_models::Models;
use actors_report::Watch;
use actors_web::Web;
use actors_worker::{Agent, Done, Failure, Work};
use bus_schemas::commands::agent::AgentCard;
use futures::future::BoxFuture;
use serde_json::json;

use crate::card::{card, typed, unknown_skill};
use crate::investigate::{InvestigateInput, Investigated, investigate};
use crate::repository::RepositoryInput;
use crate::step::{Counts, analyse};
use crate::web::{FetchInput, Fetched, SearchInput, WebSearched, fetch, search};
use crate::workspaces::Workspaces;

const NAME: &str = "research";

/// Parses, searches and fetches; quotes word for word. Only the skill `investigate` asks a model.
#[derive(Debug)]
pub struct Research {
    models: Arc<Models>,
    workspaces: Arc<Workspaces>,
    web: Arc<Web>,
}

impl Research {
    /// An agent with these models, for these workspaces, and with this much of the web.
    pub fn new(models: Arc<Models>, workspaces: Arc<Workspaces>, web: Arc<Web>) -> Self {
        Self { models, workspaces, web }
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
                "answers a question by a repository, the web or both, with the quotes that show it; needs a model",
                &["question", "citations", "model", "web"],
            ),
            typed::<SearchInput, WebSearched>(
                "web-search",
                "Web search",
                "searches the web, where the operator allows it",
                &["search", "web"],
            ),
            typed::<FetchInput, Fetched>(
                "fetch",
                "Fetch",
                "reads a page of the web as text, where the operator allows it",
                &["page", "text", "web"],
            ),
        ];
        card(NAME, "searches code, documentation and the web, and answers questions", skills)
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let (models, workspaces) = (Arc::clone(&self.models), Arc::clone(&self.workspaces));
        let web = Arc::clone(&self.web);
        Box::pin(async move {
            match work.job.skill.as_str() {
                "investigate" => investigate(&work, &models, &workspaces, &web).await,
                "web-search" => search(&work, &web).await,
                "fetch" => fetch(&work, &web).await,
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
