//! Downloads of artifacts.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bus_schemas::commands::task::Query::Describe;
use bus_schemas::jobs::Artifact;
use gateway_api::code;
use gateway_api::tasks::OneArtifact;

use super::ask::Call;
use super::extract::{Path, Query, key};
use super::problem::Problem;
use super::tasks::find;

/// A page that an agent made may be displayed, but run nothing: it has our origin.
const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox");
/// The media type of an artifact that has none.
const UNKNOWN_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// How long the owner of a task is asked for an artifact that the read model does not show.
const OWNER_PATIENCE: Duration = Duration::from_secs(2);

/// Downloads an artifact.
pub async fn download(
    call: Call,
    Path((id, name)): Path<(String, String)>,
    Query(query): Query<OneArtifact>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = key(&id)?;
    let (mut task, step) = (find(&call, &id).await?, query.step.as_deref());
    if choose(&task.artifacts, &name, step).is_err() {
        // The read model may not show yet what the task has told its caller already.
        if let Ok(told) = call.query(&id, &Describe, OWNER_PATIENCE).await {
            task = told;
        }
    }
    let artifact = choose(&task.artifacts, &name, step)?;
    let tag = format!("\"{}\"", artifact.hash);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    if known.flat_map(|value| value.split(',')).any(|known| {
        let known = known.trim();
        known == "*" || known.trim_start_matches("W/") == tag
    }) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let bytes = call.bus.get_blob(artifact.hash).await?;
    let media_type = HeaderValue::from_str(&artifact.media_type).unwrap_or(UNKNOWN_TYPE);
    let mut response = bytes.into_response();
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_TYPE, media_type);
    answer.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    for (header, text) in [(header::ETAG, tag), (header::CONTENT_DISPOSITION, disposition(&artifact.name))] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            answer.insert(header, value);
        }
    }
    Ok(response)
}

fn choose<'a>(artifacts: &'a [Artifact], name: &str, step: Option<&str>) -> Result<&'a Artifact, Problem> {
    let named = artifacts.iter().filter(|artifact| artifact.name == name);
    let mut found = named.filter(|artifact| step.is_none_or(|step| artifact.step == step));
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => {
            let of = step.map(|step| format!(" of step `{step}`")).unwrap_or_default();
            Err(Problem::new(code::ARTIFACT_NOT_FOUND, format!("the task has no artifact `{name}`{of}"))
                .hint("the task's `artifacts` lists what there is"))
        }
        (Some(_), Some(_)) => {
            Err(Problem::new(code::ARTIFACT_AMBIGUOUS, format!("several steps made an artifact `{name}`"))
                .hint("name the step with `?step=`"))
        }
    }
}

/// RFC 6266: the name in ASCII for old clients, and as it is for all others.
fn disposition(name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "._- ".contains(c) { c } else { '_' }).collect();
    let exact: String = name
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect();
    format!("inline; filename=\"{plain}\"; filename*=UTF-8''{exact}")
}

#[cfg(test)]
mod tests {
    use bus_schemas::Hash;

    use super::*;

    fn artifact(name: &str, step: &str) -> Artifact {
        let (name, step) = (name.into(), step.into());
        Artifact { name, media_type: "text/plain".into(), hash: Hash::of(b""), bytes: 0, step }
    }

    #[test]
    fn the_step_decides_between_artifacts_of_one_name() {
        let all = [artifact("a.md", "one"), artifact("a.md", "two"), artifact("b.md", "two")];
        assert_eq!(choose(&all, "b.md", None).unwrap().step, "two");
        assert_eq!(choose(&all, "a.md", Some("one")).unwrap().step, "one");
        assert_eq!(choose(&all, "a.md", None).unwrap_err().code, "artifact-ambiguous");
        assert_eq!(choose(&all, "c.md", None).unwrap_err().code, "artifact-not-found");
    }

    #[test]
    fn a_name_can_not_break_out_of_its_header() {
        assert_eq!(
            disposition("a\"; b\r\né.md"),
            "inline; filename=\"a__ b___.md\"; filename*=UTF-8''a%22%3B%20b%0D%0A%C3%A9.md"
        );
    }
}
