//! The skill `assemble`: template and parts become a project, which is tested, repaired in bounded rounds, and checked.
//!
//! ```text
//! template, parts ─→ the guard ─→ the rounds of `repair` ─→ checks, trial image ─→ project
//! ```
//!
//! A project leaves only when its tests pass and no finding of high severity is in it.

use std::sync::Arc;

use actors_models::Models;
use actors_sandbox::{Entry, Files};
use actors_worker::{Done, Effect, Failure, Work};
use actors_workspace::{Error, Existing, WorkspacePath};
use bus_schemas::Hash;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::guard::{Guard, Judged};
use super::rounds::{self, Begin, Ended, Round};
use crate::asking::Answered;
use crate::checks::{self, Check, Outcome};
use crate::manifest::{self, Used};
use crate::orchestrator::{BuildInput, Specified};
use crate::project::{self, BACKEND, FRONTEND, Specification};
use crate::sandbox::{Limits, Sandboxes, failed};
use crate::specialist::Generation;
use crate::step::finding;
use crate::tester::{self, Results, pipeline};
use crate::workspaces::{Workspaces, within};

/// The effect of writing a project into a folder, and the tool that does it.
pub(super) const WRITE: &str = "write";
const TOOL: &str = "filesystem.write";
/// The artifacts.
const PROJECT: &str = "project.tar";
const REPORT: &str = "build.json";

/// What a build came to.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Built {
    /// `built` or `not-built`.
    verdict: &'static str,
    /// The name of the project.
    name: String,
    /// Rounds of edits.
    rounds: usize,
    /// The last run of the tests.
    tests: Value,
    /// Checks that passed.
    passed: Vec<String>,
    /// Checks that failed.
    failed: Vec<String>,
    /// Checks that did not run, each with the reason.
    absent: Value,
    /// What the project imports and the image does not have.
    #[serde(rename = "dependency-not-in-image", skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
}

/// What the artifact says.
#[derive(Serialize)]
struct Report<'a> {
    verdict: &'static str,
    specification: &'a Specification,
    /// What the models answered before, by step.
    answers: Value,
    /// The tests that failed at the beginning.
    failing_before: &'a [String],
    rounds: &'a [Round],
    checks: Vec<Check>,
    tests: &'a Results,
}

/// The specification, what the models answered, and the files of the parts.
struct Parts {
    specification: Specification,
    answers: Vec<(&'static str, Vec<Answered>)>,
    files: Files,
}

pub(super) async fn assemble(
    work: &Work,
    models: &Models,
    sandboxes: &Sandboxes,
    workspaces: &Arc<Workspaces>,
) -> Result<Done, Failure> {
    let input = BuildInput::of(work)?;
    let limit = tester::step_limit(input.step_seconds)?;
    let _place = sandboxes.enter(work).await?;
    let parts = parts(work, &input.base_image).await?;
    let none = Files::new();
    let guard = Guard { work, sandboxes, original: &none, limit };
    // The parts of a plan that somebody made by hand may come from anywhere.
    if let Some(reason) = guard.refusal(0, &parts.files).await? {
        return Err(refused(&reason));
    }
    let begin = Begin {
        guard,
        files: parts.files.clone(),
        runners: tester::runners_of(&parts.files),
        expected: parts.specification.tests(),
        rounds: input.rounds,
        is_fixed: project::is_fixed,
    };
    let ended = rounds::run(begin, models).await?;
    let (checks, is_built) = checked(&ended).await?;
    let done = report(models, &parts, &ended, checks, is_built).await?;
    if is_built {
        written(work, workspaces, &input, &ended.best.files).await?;
    }
    Ok(done)
}

/// Reads the parts, and adds the template.
async fn parts(work: &Work, base: &str) -> Result<Parts, Failure> {
    let Specified { specification, answers } = finding(work, "specify").await?;
    let mut files = project::template(&specification, base).map_err(|error| failed(&error))?;
    let mut answered = vec![("specify", answers)];
    for part in [&BACKEND, &FRONTEND] {
        let generation: Generation = finding(work, part.name).await?;
        files = project::added(files, &generation.files).map_err(|reason| refused(&reason))?;
        answered.push((part.name, generation.answers));
    }
    Ok(Parts { specification, answers: answered, files })
}

fn refused(reason: &str) -> Failure {
    Failure::permanent("generation-refused", format!("the parts make no project: {reason}"))
        .hint("let the agents backend and frontend write the parts")
}

/// Every check of the best files, and whether they are a project.
async fn checked(ended: &Ended<'_>) -> Result<(Vec<Check>, bool), Failure> {
    let Ended { guard, best, .. } = ended;
    let Guard { work, sandboxes, limit, .. } = *guard;
    let mut found = pipeline::looks(work, sandboxes, &best.files, limit).await?;
    let image = checks::image(work, sandboxes, &best.files).await?;
    let is_built = best.is_good() && image.outcome != Outcome::Failed;
    let Judged { checks, .. } = &best.judged;
    found.extend(checks.iter().cloned());
    found.push(image);
    let reason = match best.is_good() {
        true => "the project has no files for it",
        false => "the tests do not pass, or what they test is refused",
    };
    Ok((pipeline::whole(found, &best.tests, reason), is_built))
}

async fn report(
    models: &Models,
    parts: &Parts,
    ended: &Ended<'_>,
    checks: Vec<Check>,
    is_built: bool,
) -> Result<Done, Failure> {
    let Ended { guard, failing_before, best, rounds } = ended;
    let (work, verdict) = (guard.work, if is_built { "built" } else { "not-built" });
    let specification = &parts.specification;
    let [passed, failed] =
        [Outcome::Passed, Outcome::Failed].map(|outcome| pipeline::names(&checks, outcome));
    let result = Built {
        verdict,
        name: specification.name.clone(),
        rounds: rounds.len(),
        tests: best.tests.summary(),
        passed,
        failed,
        absent: json!(pipeline::absent(&checks)),
        missing: best.tests.analysis.missing_dependencies.clone(),
    };
    let answers: Value = parts.answers.iter().map(|(step, all)| ((*step).to_owned(), json!(all))).collect();
    let tests = &best.tests;
    let whole = Report { verdict, specification, answers, failing_before, rounds, checks, tests };
    let mut artifacts = vec![tester::report(work, REPORT, &whole).await?];
    // What is not finished is in no artifact that looks like it.
    if is_built {
        let archive = best.files.to_archive(0).expect("it is written to memory");
        artifacts.push(work.put_artifact(PROJECT, "application/x-tar", Bytes::from(archive)).await?);
    }
    let answered = || parts.answers.iter().flat_map(|(_, answers)| answers);
    let used = Used {
        limits: Limits::of(guard.limit),
        prompts: answered()
            .flat_map(|one| &one.prompts)
            .chain(rounds.iter().flat_map(|one| &one.prompts))
            .cloned()
            .collect(),
        models: answered()
            .filter_map(|one| one.by.clone())
            .chain(rounds.iter().filter_map(Round::answered))
            .collect(),
        outputs: &artifacts,
    };
    let manifest = manifest::leave(work, models, guard.sandboxes, &parts.files, used).await?;
    artifacts.push(manifest);
    work.output(&format!("{verdict} after {} rounds\n", rounds.len())).await;
    Ok(Done::with(artifacts, json!(result)))
}

/// Writes the project into the folder that was asked for.
async fn written(
    work: &Work,
    workspaces: &Arc<Workspaces>,
    input: &BuildInput,
    files: &Files,
) -> Result<(), Failure> {
    let Some(folder) = &input.folder else { return Ok(()) };
    let arguments = json!({"folder": folder, "files": tester::digest(files)});
    let effect = Effect::new(WRITE)
        .tool(TOOL, arguments)
        .detail(format!("write a project into `{}`", folder.display()));
    let (input, files) = (input.clone(), files.clone());
    let () = work
        .effect(effect, |key| within(work, workspaces, move |all, _| write(all, &input, &files, &key)))
        .await?;
    work.output(&format!("written into `{}`\n", folder.display())).await;
    Ok(())
}

/// Writes each file that is not there yet. One with another content ends it before anything is written.
fn write(workspaces: &Workspaces, input: &BuildInput, files: &Files, key: &str) -> Result<(), Error> {
    let Some((folder, name)) = input.target(workspaces)? else { return Ok(()) };
    let mut missing: Vec<(WorkspacePath, &Bytes)> = Vec::new();
    for (path, entry) in files.iter() {
        let Entry::File { bytes, .. } = entry else { continue };
        let path = WorkspacePath::parse(&format!("{name}/{path}"))?;
        match folder.existing(&path)? {
            Existing::Absent => missing.push((path, bytes)),
            Existing::Content(hash) if hash == Hash::of(bytes) => {}
            found @ Existing::Content(_) => {
                let (path, found) = (path.as_str().to_owned(), format!("{found:?}"));
                return Err(Error::Changed { path, wanted: "absent".to_owned(), found });
            }
        }
    }
    missing.iter().try_for_each(|(path, bytes)| folder.write(path, bytes, Existing::Absent, key).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_written_once_and_over_nothing() {
        let home = tempfile::tempdir().unwrap();
        let data = tempfile::tempdir().unwrap();
        let workspaces = Workspaces::new(&[home.path().to_owned()], data.path()).unwrap();
        let at = |folder: &str| BuildInput { folder: Some(folder.into()), ..BuildInput::default() };
        let folder = home.path().join("notes");
        let input = at(folder.to_str().unwrap());
        let mut files = Files::new();
        files.insert("backend/app.py", Entry::file("1")).unwrap();
        files.insert("zzz.txt", Entry::file("2")).unwrap();
        write(&workspaces, &input, &files, "k").unwrap();
        assert_eq!(std::fs::read(folder.join("backend/app.py")).unwrap(), b"1");
        std::fs::remove_file(folder.join("backend/app.py")).unwrap();
        write(&workspaces, &input, &files, "k").expect("what was interrupted is ended");
        assert_eq!(std::fs::read(folder.join("backend/app.py")).unwrap(), b"1");

        std::fs::remove_file(folder.join("backend/app.py")).unwrap();
        std::fs::write(folder.join("zzz.txt"), "mine").unwrap();
        assert!(matches!(write(&workspaces, &input, &files, "k"), Err(Error::Changed { .. })));
        assert!(!folder.join("backend/app.py").exists(), "nothing else was written either");
        assert_eq!(std::fs::read(folder.join("zzz.txt")).unwrap(), b"mine");
        for outside in ["/etc/notes", "notes", "/", &format!("{}/../x", home.path().display())] {
            assert!(write(&workspaces, &at(outside), &files, "k").is_err(), "{outside}");
        }
    }
}
