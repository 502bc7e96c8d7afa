//! `reviewer`: checks the findings of other steps against each other, composes the report, and judges work by
//! acceptance rules. Skills `review`, `report` and `judge`.

use std::path::Path;
use std::sync::Arc;

use actors_models::Models;
use actors_report::{Inputs, Meta, Review, Watch};
use actors_worker::{Agent, Done, Failure, Work};
use bus_schemas::commands::agent::AgentCard;
use bytes::Bytes;
use futures::future::BoxFuture;
use serde_json::json;

use crate::card::{card, typed, unknown_skill};
use crate::judge::{self, judge};
use crate::repository::{self, RepositoryInput};
use crate::step::{Counts, analyse, finding, look};

const NAME: &str = "reviewer";
/// The final artifact for terminals and editors.
const MARKDOWN: &str = "report.md";
/// The final artifact for browsers.
const HTML: &str = "report.html";

/// Looks every finding up again before it trusts it.
#[derive(Debug)]
pub struct Reviewer {
    models: Arc<Models>,
}

impl Reviewer {
    /// A reviewer; only the skill `judge` asks a model.
    pub fn new(models: Arc<Models>) -> Self {
        Self { models }
    }
}

impl Agent for Reviewer {
    fn card(&self) -> AgentCard {
        let skills = vec![
            typed::<RepositoryInput, Counts>(
                "review",
                "Review",
                "checks that totals agree and that every cited line exists",
                &["review", "checks"],
            ),
            typed::<RepositoryInput, Counts>(
                "report",
                "Report",
                "composes one Markdown text and one self-contained HTML page",
                &["report", "markdown", "html"],
            ),
            typed::<judge::Input, Counts>(
                "judge",
                "Judge",
                "says of each acceptance rule whether a text or the artifacts of other steps meet it; needs a model",
                &["judge", "acceptance", "model"],
            ),
        ];
        card(NAME, "checks the findings of others and composes the report", skills)
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let models = Arc::clone(&self.models);
        Box::pin(async move {
            match work.job.skill.as_str() {
                "review" => review(&work).await,
                "report" => compose(&work).await,
                "judge" => judge(&work, &models).await,
                other => Err(unknown_skill(NAME, other)),
            }
        })
    }
}

/// The findings of the five steps before.
async fn findings(work: &Work) -> Result<Inputs, Failure> {
    Ok(Inputs {
        inventory: finding(work, "inventory").await?,
        history: finding(work, "history").await?,
        manifests: finding(work, "manifests").await?,
        hotspots: finding(work, "hotspots").await?,
        docs: finding(work, "docs").await?,
    })
}

async fn review(work: &Work) -> Result<Done, Failure> {
    let inputs = findings(work).await?;
    let check = move |repo: &Path, watch: &Watch| actors_report::review(repo, &inputs, watch);
    analyse(work, "review", check, |found: &Review| {
        let failed: Vec<_> =
            found.checks.iter().filter(|check| !check.passed).map(|check| &check.name).collect();
        json!({ "checks": found.checks.len(), "passed": found.passed, "failed": failed })
    })
    .await
}

async fn compose(work: &Work) -> Result<Done, Failure> {
    let repo = repository::required(&work.job)?;
    let inputs = findings(work).await?;
    let review: Review = finding(work, "review").await?;
    let name =
        repo.file_name().map_or_else(|| repo.display().to_string(), |name| name.to_string_lossy().into());
    let meta = Meta {
        title: format!("Repository report: {name}"),
        goal: work.job.goal.clone(),
        repo: repo.display().to_string(),
        generated_at: work.step("now", &(), async || Ok(bus_client::now().to_rfc3339())).await?,
        commit: inputs.history.head.clone(),
    };
    let result = json!({
        "files": inputs.inventory.total.files,
        "lines": inputs.inventory.total.lines.total,
        "commits": inputs.history.commits,
        "checks_passed": review.passed,
        "checks_failed": review.failed,
    });
    let composed = look(work, move |_| actors_report::compose(&inputs, &review, &meta)).await?;
    let markdown =
        work.put_artifact(MARKDOWN, "text/markdown; charset=utf-8", Bytes::from(composed.markdown)).await?;
    let html = work.put_artifact(HTML, "text/html; charset=utf-8", Bytes::from(composed.html)).await?;
    Ok(Done::with(vec![markdown, html], result))
}
