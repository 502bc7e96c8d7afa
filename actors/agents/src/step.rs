//! One step of the report: analyses on its own thread, stores the finding as JSON, and returns a few counts.

use std::collections::BTreeMap;
use std::path::Path;

use actors_report::{Error, Watch};
use actors_worker::{Done, Failure, Work};
use bus_schemas::jobs::Artifact;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{failure, repository};

/// The media type of artifacts between steps.
const JSON: &str = "application/json";

/// The name of a step's artifact: the step's name with `.json`.
pub(crate) fn file_name(step: &str) -> String {
    format!("{step}.json")
}

/// Runs a part of the report on its own thread. Its progress is the job's, and it ends when the job does.
pub(crate) async fn look<T: Send + 'static>(
    work: &Work,
    part: impl FnOnce(&Watch) -> Result<T, Error> + Send + 'static,
) -> Result<T, Failure> {
    work.blocking(move |job| {
        let asked = job.clone();
        let progress = move |done, total, note: &str| job.progress(done, total, note);
        part(&Watch::new(progress, move || asked.is_canceled())).map_err(failure::of)
    })
    .await
}

/// Analyses the job's repository, as a step, and stores the finding as `<step>.json`; `summary` is the small result.
pub(crate) async fn analyse<T: Serialize + 'static>(
    work: &Work,
    step: &str,
    analysis: impl FnOnce(&Path, &Watch) -> Result<T, Error> + Send + 'static,
    summary: fn(&T) -> Value,
) -> Result<Done, Failure> {
    let repo = repository::required(&work.job)?;
    let input = json!({"repo": &repo, "goal": &work.job.goal, "inputs": &work.job.inputs});
    let (artifact, result): (Artifact, Value) = work
        .step(step, &input, async || {
            let (json, result) = look(work, move |watch| {
                let found = analysis(&repo, watch)?;
                // Serialized here, because a large finding takes time.
                let json =
                    serde_json::to_vec(&found).expect("findings have string keys and are written to memory");
                Ok((json, summary(&found)))
            })
            .await?;
            Ok((work.put_artifact(&file_name(step), JSON, Bytes::from(json)).await?, result))
        })
        .await?;
    Ok(Done::with(vec![artifact], result))
}

/// Runs a skill that only reads, as a step: a later attempt, and a replay, finds what was read.
pub(crate) async fn reading<F>(work: &Work, read: impl FnOnce() -> F) -> Result<Done, Failure>
where
    F: Future<Output = Result<Done, Failure>>,
{
    let call = async || read().await.map(|done| (done.artifacts, done.result));
    let (artifacts, result): (Vec<Artifact>, Value) =
        work.step(&work.job.skill, &work.job.input, call).await?;
    Ok(Done::with(artifacts, result))
}

/// Stores what was found as JSON; the small result goes with the task.
pub(crate) async fn stored<T: Serialize, R: Serialize>(
    work: &Work,
    name: &str,
    found: &T,
    result: &R,
) -> Result<Done, Failure> {
    let json = serde_json::to_vec(found).expect("findings have string keys and are written to memory");
    let artifact = work.put_artifact(name, JSON, Bytes::from(json)).await?;
    Ok(Done::with(vec![artifact], json!(result)))
}

/// The counts of a finding by name; the artifact has the rest.
#[derive(Debug, JsonSchema)]
#[schemars(transparent)]
pub(crate) struct Counts(#[allow(dead_code, reason = "the schema of a result")] BTreeMap<String, Value>);

/// Reads the finding of the step `step`.
pub(crate) async fn finding<T: DeserializeOwned>(work: &Work, step: &str) -> Result<T, Failure> {
    let name = file_name(step);
    let artifact = work.input(step, &name).ok_or_else(|| {
        Failure::permanent("artifact-missing", format!("step `{step}` has left no artifact `{name}`"))
            .hint(format!("let this step come after step `{step}` in the plan"))
    })?;
    work.get_json(artifact).await
}
