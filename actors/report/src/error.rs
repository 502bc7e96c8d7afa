//! The ways an analysis can fail, each with a stable code and the next step for the user.

use std::io;

/// Why an analysis failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is nothing at `{path}`")]
    PathMissing { path: String },
    #[error("`{path}` is not a folder")]
    NotAFolder { path: String },
    #[error("`{path}` is not a git repository")]
    NotARepository { path: String },
    #[error("`{path}` lies below the top folder of a git repository: `{top}`")]
    BelowTheTop { path: String, top: String },
    #[error("`{path}` is a bare git repository: it has no working tree")]
    Bare { path: String },
    #[error("could not read `{path}`")]
    RepositoryUnreadable { path: String, source: io::Error },
    #[error("the git repository at `{path}` has no commits")]
    WithoutCommits { path: String },
    #[error("the caller canceled the analysis")]
    Canceled,
    #[error("could not start the `git` program")]
    GitMissing { source: io::Error },
    #[error("`git {command}` failed: {detail}")]
    GitFailed { command: String, detail: String },
    #[error("the repository has more than {limit} {what}")]
    TooLarge { what: &'static str, limit: u64 },
    #[error("could not build the documentation index")]
    Index { source: Box<dyn std::error::Error + Send + Sync> },
    #[error("could not start the parser of source files")]
    Parser { source: io::Error },
    #[error("could not render the {what}")]
    Render { what: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
}

impl Error {
    /// A stable code, for programs and for documentation.
    pub fn code(&self) -> &'static str {
        match self {
            Self::PathMissing { .. } => "path-missing",
            Self::NotAFolder { .. } => "not-a-folder",
            Self::NotARepository { .. } => "not-a-repository",
            Self::BelowTheTop { .. } => "below-the-top",
            Self::Bare { .. } => "bare-repository",
            Self::RepositoryUnreadable { .. } => "repository-unreadable",
            Self::WithoutCommits { .. } => "repository-without-commits",
            Self::Canceled => "canceled",
            Self::GitMissing { .. } => "git-missing",
            Self::GitFailed { .. } => "git-failed",
            Self::TooLarge { .. } => "too-large",
            Self::Index { .. } => "index-failed",
            Self::Parser { .. } => "parser-failed",
            Self::Render { .. } => "render-failed",
        }
    }

    /// The next step for the user.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::PathMissing { .. } => {
                "check the spelling, and that the folder is on the machine that runs the agents"
            }
            Self::NotAFolder { .. } => "give the folder that holds the repository, not a file inside it",
            Self::NotARepository { .. } => {
                "give the top folder of a git working copy, the one that contains `.git`, or run `git init` there"
            }
            Self::BelowTheTop { .. } => "give the top folder that the message names",
            Self::Bare { .. } => "clone it with `git clone`, and give the folder of the clone",
            Self::RepositoryUnreadable { .. } => {
                "give the user that runs the agents read access to the folder"
            }
            Self::WithoutCommits { .. } => "make a first commit, then ask again",
            Self::Canceled => "ask again when you want the report",
            Self::GitMissing { .. } => "install git on the machine that runs the agents, and check its PATH",
            Self::GitFailed { .. } => {
                "run `git fsck` in the repository and repair what it names, then ask again"
            }
            Self::TooLarge { .. } => {
                "take generated or vendored files out of the repository, or report on a smaller one"
            }
            Self::Index { .. } => {
                "check that there is free memory on the machine that runs the agents, then ask again"
            }
            Self::Parser { .. } => {
                "check that `/bin/sh` is there on the machine that runs the agents, and that 256 MiB are free"
            }
            Self::Render { .. } => {
                "this is a fault in the report itself: please file an issue with the message"
            }
        }
    }
}
