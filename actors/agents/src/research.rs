//! `research`: findings in the code and its documentation. Skills `hotspots` and `docs`.

use std::path::Path;

use actors_report::Watch;
use actors_worker::{Agent, Done, Failure, Work};
use bus_schemas::commands::agent::AgentCard;
use futures::future::BoxFuture;
use serde_json::json;

use crate::card::{card, skill, unknown_skill};
use crate::step::analyse;

const NAME: &str = "research";

/// Parses and searches; quotes word for word.
#[derive(Debug)]
pub struct Research;

impl Agent for Research {
    fn card(&self) -> AgentCard {
        let skills = vec![
            skill(
                "hotspots",
                "Hot spots",
                "finds notes such as TODO and FIXME, and long functions by their syntax trees",
                &["todo", "fixme", "functions", "syntax"],
            ),
            skill(
                "docs",
                "Documentation",
                "searches the documentation and quotes the passages that answer, with file and lines",
                &["documentation", "search", "citations"],
            ),
        ];
        card(NAME, "searches code and documentation", skills)
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        Box::pin(async move {
            match work.job.skill.as_str() {
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
