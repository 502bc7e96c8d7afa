//! The repository that a job is about.

use std::path::{Path, PathBuf};

use actors_worker::Failure;
use bus_schemas::jobs::Job;
use schemars::JsonSchema;
use serde_json::Value;

/// The field of a job's input that holds the path.
pub(crate) const FIELD: &str = "repo";

/// The input of a skill that reads a repository.
#[derive(Debug, JsonSchema)]
pub(crate) struct RepositoryInput {
    /// The absolute path of its top folder.
    #[allow(dead_code, reason = "the schema of an input")]
    repo: PathBuf,
}

/// The path in the job's input; `None` when the input has none.
pub(crate) fn given(job: &Job) -> Result<Option<PathBuf>, Failure> {
    let path = match job.input.get(FIELD) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(path)) => path,
        Some(other) => return Err(invalid(&format!("`input.{FIELD}` must be a path, found `{other}`"))),
    };
    if path.is_empty() || path.contains('\0') {
        return Err(invalid(&format!("`input.{FIELD}` is no path: {path:?}")));
    }
    if !Path::new(path).is_absolute() {
        return Err(invalid(&format!("`input.{FIELD}` must be an absolute path, found `{path}`")));
    }
    Ok(Some(PathBuf::from(path)))
}

/// The path in the job's input.
pub(crate) fn required(job: &Job) -> Result<PathBuf, Failure> {
    given(job)?.ok_or_else(|| invalid(&format!("`input.{FIELD}` is missing")))
}

fn invalid(message: &str) -> Failure {
    Failure::permanent("invalid-input", message)
        .hint(r#"give the repository as `{"repo": "/absolute/path"}`; the agents need not share your working folder"#)
}

#[cfg(test)]
pub(crate) mod tests {
    use bus_schemas::{CommandId, EntityAddress, Key, Kind};
    use serde_json::json;

    use super::*;

    /// A job with this goal and input.
    pub(crate) fn job(goal: &str, input: Value) -> Job {
        let key = Key::parse("t1").expect("a key");
        Job {
            id: "t1/1".into(),
            task: EntityAddress::new(Kind::from_static("task"), key.clone()),
            attempt: 1,
            token: "token".into(),
            agent: key,
            skill: "plan".into(),
            lane: Key::parse("default").expect("a key"),
            goal: goal.into(),
            input,
            inputs: Vec::new(),
            answers: Vec::new(),
            deadline: None,
            lease_ms: 30_000,
            effects: Vec::new(),
            steps: 0,
            metered: false,
            correlation: CommandId::from_text("c"),
        }
    }

    #[test]
    fn only_an_absolute_path_is_taken() {
        assert_eq!(given(&job("x", json!({"repo": "/a b/c"}))), Ok(Some(PathBuf::from("/a b/c"))));
        assert_eq!(given(&job("x", json!({}))), Ok(None));
        assert_eq!(given(&job("x", Value::Null)), Ok(None));
        assert_eq!(given(&job("x", json!("/a"))), Ok(None));
        for bad in [json!(1), json!(""), json!("a/b"), json!("~/a"), json!("/a\0b"), json!(["/a"])] {
            let failure = given(&job("x", json!({ "repo": bad }))).expect_err("no path");
            assert!(matches!(failure, Failure::Failed(failure) if failure.code == "invalid-input"));
        }
    }
}
