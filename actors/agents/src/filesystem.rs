//! `filesystem`: the files of the working copy. Skills `inventory` and `manifests`.

use actors_worker::{Agent, Done, Failure, Work};
use bus_schemas::commands::agent::AgentCard;
use futures::future::BoxFuture;
use serde_json::json;

use crate::card::{card, skill, unknown_skill};
use crate::step::analyse;

const NAME: &str = "filesystem";

/// Reads files and never writes one.
#[derive(Debug)]
pub struct Filesystem;

impl Agent for Filesystem {
    fn card(&self) -> AgentCard {
        let skills = vec![
            skill(
                "inventory",
                "Inventory",
                "counts files, bytes and lines by language and names the largest files",
                &["files", "languages", "lines"],
            ),
            skill(
                "manifests",
                "Manifests",
                "finds the manifests of package managers and reads the dependencies they declare",
                &["dependencies", "packages"],
            ),
        ];
        card(NAME, "reads the files of a repository", skills)
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        Box::pin(async move {
            match work.job.skill.as_str() {
                "inventory" => {
                    analyse(&work, "inventory", actors_report::inventory, |found| {
                        json!({
                            "files": found.total.files,
                            "bytes": found.total.bytes,
                            "lines": found.total.lines.total,
                            "languages": found.languages.len(),
                        })
                    })
                    .await
                }
                "manifests" => {
                    analyse(&work, "manifests", actors_report::manifests, |found| {
                        json!({
                            "manifests": found.manifests.len(),
                            "dependencies": found.dependencies_total,
                            "findings": found.findings.len(),
                        })
                    })
                    .await
                }
                other => Err(unknown_skill(NAME, other)),
            }
        })
    }
}
