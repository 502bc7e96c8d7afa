//! What a change must pass before it is merged: secrets, syntax and tests, in the sandbox.

use actors_sandbox::Files;
use actors_worker::{Failure, Work};
use bus_schemas::commands::change::{Schedule, Step};
use bus_schemas::jobs::Artifact;
use bytes::Bytes;
use serde_json::json;

use super::{Committed, Tools, name_of, record};
use crate::checks::{self, Outcome, Tool, secrets};
use crate::sandbox::{STEP_MAX, failed};
use crate::step::look;
use crate::tester::{self, PASSED, SOURCE_BYTES_MAX, files_of};

/// The files of the tree, as one archive.
const SOURCES: &str = "sources.tar";

/// Why a change is not merged; none if it may be.
pub(super) async fn refusal(
    work: &Work,
    tools: &Tools,
    asked: &Schedule,
    committed: &Committed,
) -> Result<Option<String>, Failure> {
    let _place = tools.sandboxes.enter(work).await?;
    let files = sources(work, tools, committed).await?;
    // What is deleted is not there to be looked at.
    let changed: Vec<String> = committed
        .plan
        .paths()
        .into_iter()
        .filter(|path| files.iter().any(|(known, _)| known == path))
        .collect();
    let mut edited = Files::new();
    for (path, entry) in files.iter().filter(|(path, _)| changed.iter().any(|known| known == path)) {
        edited.insert(path, entry.clone()).map_err(|error| failed(&error))?;
    }
    // A secret that was there before is as bad in a file that a person has just approved.
    if let Some(found) = secrets::added(&Files::new(), &edited).first() {
        return failed_syntax(work, format!("{}: {}:{}", checks::code::SECRET_FOUND, found.file, found.line))
            .await;
    }
    let (sandboxes, limit) = (&tools.sandboxes, STEP_MAX);
    let inspected =
        checks::run(work, sandboxes, "syntax", &files, &changed, &Tool::INSPECTORS, limit).await?;
    let wrong = inspected.iter().find(|check| check.check == "syntax" && check.outcome == Outcome::Failed);
    if let Some(check) = wrong {
        let first = check.findings.first();
        let what =
            first.map_or(check.reason.clone(), |one| format!("{}:{}: {}", one.file, one.line, one.message));
        return failed_syntax(work, format!("{}: {what}", checks::code::SYNTAX_ERROR)).await;
    }
    record(work, Step::SyntaxPassed).await?;
    record(work, Step::TestsStarted).await?;
    let runners = tester::runners_of(&files);
    let expect = asked.expect.iter().cloned().collect();
    let found = tester::results(work, sandboxes, "tests", &files, &runners, &expect, limit).await?;
    if found.verdict == PASSED {
        record(work, Step::TestsPassed).await?;
        return Ok(None);
    }
    let failing: Vec<&str> = found.failing_names().take(5).collect();
    let names = if failing.is_empty() { found.absent.join(", ") } else { failing.join(", ") };
    let reason = format!("tests-{}: {names}", found.verdict);
    record(work, Step::TestsFailed { reason: reason.clone() }).await?;
    Ok(Some(reason))
}

async fn failed_syntax(work: &Work, reason: String) -> Result<Option<String>, Failure> {
    record(work, Step::SyntaxFailed { reason: reason.clone() }).await?;
    Ok(Some(reason))
}

/// The files of the tree. A later attempt, and a replay, finds what the first one saw.
async fn sources(work: &Work, tools: &Tools, committed: &Committed) -> Result<Files, Failure> {
    let tree = tools.workspaces.trees.get(&name_of(work.job.task.key.as_str())).map(|tree| tree.path);
    let mut read = None;
    let read_them = async || {
        let path = tree.map_err(crate::failure::of_workspace)?;
        let sources = look(work, move |watch| actors_report::sources(&path, SOURCE_BYTES_MAX, watch)).await?;
        let files = files_of(sources).map_err(|error| failed(&error))?;
        let archive = files.to_archive(0).expect("it is written to memory");
        read = Some(files);
        work.put_artifact(SOURCES, "application/x-tar", Bytes::from(archive)).await
    };
    let archive: Artifact = work.step("sources", &json!({"commit": committed.commit}), read_them).await?;
    match read {
        Some(files) => Ok(files),
        None => Files::from_archive(&*work.get_artifact(&archive).await?).map_err(|error| failed(&error)),
    }
}
