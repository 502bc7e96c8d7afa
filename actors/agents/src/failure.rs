//! The task failures that failed analyses lead to.

use actors_report::Error;
use actors_worker::Failure;
use bus_schemas::chain;
use bus_schemas::jobs::{FailureClass, Job};
use serde::de::DeserializeOwned;

/// The failure of an attempt whose analysis failed.
pub(crate) fn of(error: Error) -> Failure {
    let class = match &error {
        Error::Canceled => FailureClass::Canceled,
        // A lack of memory passes by itself; a repository that git cannot read does not.
        Error::Index { .. } => FailureClass::Transient,
        _ => FailureClass::Permanent,
    };
    Failure::new(class, error.code(), chain(&error)).hint(error.hint())
}

/// The failure of an attempt whose work in a workspace failed.
pub(crate) fn of_workspace(error: actors_workspace::Error) -> Failure {
    use actors_workspace::Error;
    let class = match &error {
        Error::Canceled => FailureClass::Canceled,
        // Space, rights and locks change by themselves; what was asked for does not.
        Error::Io { .. } => FailureClass::Transient,
        _ => FailureClass::Permanent,
    };
    Failure::new(class, error.code(), chain(&error)).hint(error.hint())
}

/// The failure of an attempt whose search or fetch failed.
pub(crate) fn of_web(error: &actors_web::Error) -> Failure {
    use actors_web::Error;
    let class = if error.may_pass() { FailureClass::Transient } else { FailureClass::Permanent };
    let message = match error {
        Error::RateLimited { retry_after: Some(pause), .. } => {
            format!("{error}; it asks to wait {} s", pause.as_secs())
        }
        error => error.to_string(),
    };
    Failure::new(class, error.code(), message).hint(error.hint())
}

/// The input of a job, which its schema has let through.
pub(crate) fn input<T: DeserializeOwned>(job: &Job) -> Result<T, Failure> {
    T::deserialize(&job.input).map_err(|error| {
        Failure::permanent("invalid-input", format!("the input of `{}` is wrong: {error}", job.skill))
            .hint(format!("`orrery agents show {}` prints the schema of the input", job.agent))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_analysis_error_keeps_its_code_its_cause_and_its_hint() {
        let source = std::io::Error::other("no permission");
        let error = Error::RepositoryUnreadable { path: "/secret".into(), source };
        let Failure::Failed(failure) = of(error) else { panic!("an error is no question") };
        assert_eq!(failure.class, FailureClass::Permanent);
        assert_eq!(failure.code, "repository-unreadable");
        assert_eq!(failure.message, "could not read `/secret`: no permission");
        assert!(failure.hint.is_some());
    }
}
