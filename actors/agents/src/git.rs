//! `git`: who changed what and when. Skill `history`.

use std::path::Path;

use actors_report::Watch;
use actors_worker::{Agent, Done, Failure, Work};
use bus_schemas::Key;
use bus_schemas::commands::agent::AgentCard;
use futures::future::BoxFuture;
use serde_json::json;

use crate::card::{card, skill, unknown_skill};
use crate::step::analyse;

const NAME: &str = "git";
/// The program that reads the history: the key of its breaker.
const TOOL: &str = "tool.git";

/// Reads the history and never changes it.
#[derive(Debug)]
pub struct Git;

impl Agent for Git {
    fn card(&self) -> AgentCard {
        let skills = vec![skill(
            "history",
            "History",
            "counts commits by week, contributors, churn and the bus factor of every folder",
            &["git", "commits", "contributors", "churn"],
        )];
        let dependencies = vec![Key::parse(TOOL).expect("a constant")];
        AgentCard { dependencies, ..card(NAME, "reads the history of a git repository", skills) }
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        Box::pin(async move {
            match work.job.skill.as_str() {
                "history" => {
                    let summary = |found: &actors_report::History| {
                        json!({
                            "commits": found.commits,
                            "contributors": found.contributors_total,
                            "weeks": found.weeks.len(),
                            "head": found.head,
                            "truncated": found.truncated,
                        })
                    };
                    let read = || {
                        let now = i64::try_from(bus_client::now().0 / 1_000).unwrap_or(i64::MAX);
                        let history =
                            move |repo: &Path, watch: &Watch| actors_report::history(repo, now, watch);
                        analyse(&work, "history", history, summary)
                    };
                    work.breakers().call(TOOL, read).await
                }
                other => Err(unknown_skill(NAME, other)),
            }
        })
    }
}
