//! `filesystem`: the files of a workspace. Skills `inventory` and `manifests` for a report; `list-files`, `read-file`,
//! `search-files` and `write-file` for work.
//!
//! A write is an effect: `expected` is what the file must hold before, so a repeat, or a write of somebody else in
//! between, is refused. After a crash the content says whether the write was done.

mod files;

use std::sync::Arc;

use actors_worker::{Agent, Done, Failure, Reconciled, Work};
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::jobs::PastEffect;
use futures::future::BoxFuture;
use serde_json::json;

use crate::card::{card, typed, unknown_skill};
use crate::repository::RepositoryInput;
use crate::step::{Counts, analyse, reading};
use crate::workspaces::Workspaces;

const NAME: &str = "filesystem";

/// Reads files, and writes them where the operator allows it.
#[derive(Debug)]
pub struct Filesystem {
    workspaces: Arc<Workspaces>,
}

impl Filesystem {
    /// An agent for these workspaces.
    pub fn new(workspaces: Arc<Workspaces>) -> Self {
        Self { workspaces }
    }
}

impl Agent for Filesystem {
    fn card(&self) -> AgentCard {
        let mut skills = vec![
            typed::<RepositoryInput, Counts>(
                "inventory",
                "Inventory",
                "counts files, bytes and lines by language and names the largest files",
                &["files", "languages", "lines"],
            ),
            typed::<RepositoryInput, Counts>(
                "manifests",
                "Manifests",
                "finds the manifests of package managers and reads the dependencies they declare",
                &["dependencies", "packages"],
            ),
            typed::<files::ListInput, files::Listed>(
                "list-files",
                "List files",
                "lists the files and folders of a workspace",
                &["files", "list"],
            ),
            typed::<files::ReadInput, files::ReadResult>(
                "read-file",
                "Read a file",
                "reads a plain file of a workspace, or a part of it",
                &["files", "read"],
            ),
            typed::<files::SearchInput, files::Searched>(
                "search-files",
                "Search files",
                "finds a text or a pattern in the files of a workspace",
                &["files", "search"],
            ),
        ];
        if self.workspaces.rules().is_some() {
            skills.push(typed::<files::WriteInput, actors_workspace::Written>(
                "write-file",
                "Write a file",
                "writes a file of a workspace, if it holds what is expected",
                &["files", "write"],
            ));
        }
        card(NAME, "reads, searches and writes the files of a workspace", skills)
    }

    fn reconcile(&self, work: Work, effect: PastEffect) -> BoxFuture<'static, Result<Reconciled, Failure>> {
        let workspaces = Arc::clone(&self.workspaces);
        Box::pin(async move {
            match effect.effect.as_str() {
                files::WRITE => files::settle(&work, &workspaces).await,
                other => Ok(Reconciled::Unknown(format!("the agent has no effect `{other}`"))),
            }
        })
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let workspaces = Arc::clone(&self.workspaces);
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
                "list-files" => reading(&work, || files::list(&work, &workspaces)).await,
                "read-file" => reading(&work, || files::read(&work, &workspaces)).await,
                "search-files" => reading(&work, || files::search(&work, &workspaces)).await,
                "write-file" => files::write(&work, &workspaces).await,
                other => Err(unknown_skill(NAME, other)),
            }
        })
    }
}
