//! One step of the report: analyse on a thread of its own, keep the finding as JSON, answer with a few counts.

use std::path::Path;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::repository;
use crate::contract::{Done, Failure, Work};
use crate::report::{self, Watch};

/// The media type of artifacts between steps.
const JSON: &str = "application/json";

/// The artifact of a step, which is called like the step.
pub(super) fn file_name(step: &str) -> String {
    format!("{step}.json")
}

/// Analyses the job's repository and keeps what was found as `<step>.json`; `summary` is the small answer.
pub(super) async fn analyse<T: Serialize + 'static>(
    work: &Work,
    step: &str,
    analysis: impl FnOnce(&Path, &Watch) -> Result<T, report::Error> + Send + 'static,
    summary: fn(&T) -> Value,
) -> Result<Done, Failure> {
    let repo = repository::required(&work.job)?;
    let (json, result) = work
        .blocking(move |watch| {
            let found = analysis(&repo, watch)?;
            // Written here, because a large finding takes its time.
            let json =
                serde_json::to_vec(&found).expect("findings have string keys and are written to memory");
            Ok::<_, report::Error>((json, summary(&found)))
        })
        .await?;
    let artifact = work.put_artifact(&file_name(step), JSON, Bytes::from(json)).await?;
    Ok(Done::with(vec![artifact], result))
}

/// Reads what the step `step` found.
pub(super) async fn finding<T: DeserializeOwned>(work: &Work, step: &str) -> Result<T, Failure> {
    let name = file_name(step);
    let artifact = work.input(step, &name).ok_or_else(|| {
        Failure::permanent("artifact-missing", format!("step `{step}` has left no artifact `{name}`"))
            .hint(format!("let this step come after step `{step}` in the plan"))
    })?;
    work.get_json(artifact).await
}
