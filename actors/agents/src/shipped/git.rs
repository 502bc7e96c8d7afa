//! `git`: who changed what and when. Skill `history`.

use bus_schemas::commands::agent::AgentCard;
use futures::future::BoxFuture;
use serde_json::json;

use super::card::{card, skill, unknown_skill};
use super::step::analyse;
use crate::contract::{Agent, Done, Failure, Work};
use crate::report;

const NAME: &str = "git";

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
        card(NAME, "reads the history of a git repository", skills)
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        Box::pin(async move {
            match work.job.skill.as_str() {
                "history" => {
                    analyse(&work, "history", report::history, |found| {
                        json!({
                            "commits": found.commits,
                            "contributors": found.contributors_total,
                            "weeks": found.weeks.len(),
                            "head": found.head,
                            "truncated": found.truncated,
                        })
                    })
                    .await
                }
                other => Err(unknown_skill(NAME, other)),
            }
        })
    }
}
