//! What may go wrong in the sandbox itself. A program that fails is no error: see [`crate::Reason`].

use std::borrow::Cow;
use std::error::Error as StdError;

use serde::{Deserialize, Serialize};

/// What an error came from, as text: errors of the engine's client and of the system do not go from one process to
/// another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{0}")]
pub struct Cause(String);

impl Cause {
    /// The error with everything that it came from.
    pub(crate) fn of(error: &dyn StdError) -> Self {
        let (mut said, mut below) = (error.to_string(), error.source());
        while let Some(error) = below {
            said = format!("{said}: {error}");
            below = error.source();
        }
        Self(said)
    }
}

/// Why the sandbox did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Error {
    /// The keeper could not be started or reached.
    #[error("the keeper of the sandbox does not answer: {why}")]
    KeeperMissing {
        /// What was seen of it.
        why: String,
    },
    /// The keeper ended during a call.
    #[error("the keeper of the sandbox ended during the run")]
    KeeperLost,
    /// No engine answers.
    #[error("no container engine answers at `{socket}`")]
    EngineMissing {
        /// Where it was looked for.
        socket: String,
        /// What the attempt ended with.
        #[source]
        source: Option<Cause>,
    },
    /// An engine answers, and cannot enforce all limits.
    #[error("the container engine cannot enforce: {missing}")]
    EngineUnfit {
        /// What it lacks.
        missing: String,
    },
    /// The engine refused a call or broke off.
    #[error("the container engine failed to {doing}")]
    EngineFailed {
        /// The operation.
        doing: Cow<'static, str>,
        /// Its answer.
        #[source]
        source: Cause,
    },
    /// The files of an image are not there.
    #[error("there is no sandbox image at `{path}`")]
    ImageMissing {
        /// Where it was looked for.
        path: String,
    },
    /// The files of an image do not fit each other.
    #[error("the sandbox image at `{path}` is not what its manifest says")]
    ImageDamaged {
        /// The archive.
        path: String,
    },
    /// An image could not be made.
    #[error("the sandbox image could not be built: {step}: {reason}")]
    ImageBuildFailed {
        /// What was done.
        step: Cow<'static, str>,
        /// What it said.
        reason: String,
    },
    /// A run or the configuration of the sandbox asks for what is not allowed.
    #[error("the run is not valid: {why}")]
    InvalidRun {
        /// What is wrong.
        why: String,
    },
    /// More files or bytes than the limit.
    #[error("the files are more than {bytes_max} bytes or {files_max} files")]
    WorkspaceTooLarge {
        /// The limit of bytes.
        bytes_max: u64,
        /// The limit of files.
        files_max: usize,
    },
    /// A path or a link that could lead out of the workspace.
    #[error("the path `{path}` is not safe: {why}")]
    WorkspaceUnsafe {
        /// The path, without characters that a terminal obeys.
        path: String,
        /// What is wrong with it.
        why: Cow<'static, str>,
    },
    /// The container ended before its workspace was read: its program may have ended it.
    #[error("the container ended before its workspace was read")]
    SandboxEnded,
}

impl Error {
    pub(crate) fn engine(
        doing: &'static str,
    ) -> impl Fn(bollard::errors::Error) -> Self + Copy + Send + 'static {
        move |source| Self::failed(doing, &source)
    }

    pub(crate) fn failed(doing: &'static str, source: &dyn StdError) -> Self {
        Self::EngineFailed { doing: doing.into(), source: Cause::of(source) }
    }

    pub(crate) fn invalid(why: impl Into<String>) -> Self {
        Self::InvalidRun { why: why.into() }
    }

    /// The code, which `docs/errors` explains.
    pub fn code(&self) -> &'static str {
        match self {
            Self::KeeperMissing { .. } => "keeper-missing",
            Self::KeeperLost => "keeper-lost",
            Self::EngineMissing { .. } => "engine-missing",
            Self::EngineUnfit { .. } => "engine-unfit",
            Self::EngineFailed { .. } => "engine-failed",
            Self::ImageMissing { .. } => "image-missing",
            Self::ImageDamaged { .. } => "image-damaged",
            Self::ImageBuildFailed { .. } => "image-build-failed",
            Self::InvalidRun { .. } => "invalid-run",
            Self::WorkspaceTooLarge { .. } => "workspace-too-large",
            Self::WorkspaceUnsafe { .. } => "workspace-unsafe",
            Self::SandboxEnded => "sandbox-ended",
        }
    }

    /// Whether the same may work later: the engine or the keeper was away.
    pub fn may_pass(&self) -> bool {
        let is_keeper = matches!(self, Self::KeeperMissing { .. } | Self::KeeperLost);
        is_keeper
            || matches!(self, Self::EngineMissing { .. } | Self::EngineFailed { .. } | Self::SandboxEnded)
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::KeeperMissing { .. } => {
                "its log says why; where `sandbox.keeper` names its socket, start `orrery sandbox serve` there"
            }
            Self::KeeperLost => "run again: a new keeper is started, and removes what the old one left",
            Self::EngineMissing { .. } => {
                "start Docker or podman on this machine and name its Unix socket; nothing runs outside a sandbox"
            }
            Self::EngineUnfit { .. } => {
                "use an engine with these features; swap limits may need `swapaccount=1` for the kernel"
            }
            Self::EngineFailed { .. } => "look into the engine's log, then try again",
            Self::ImageMissing { .. } => "run `make tools`, which builds the images",
            Self::ImageDamaged { .. } => "delete the archive and its manifest, then run `make tools`",
            Self::ImageBuildFailed { .. } => {
                "run as root with `mmdebstrap`, Python 3 with pip and the network, then try again"
            }
            Self::InvalidRun { .. } => "correct the run; `limits` names each bound",
            Self::WorkspaceTooLarge { .. } => "pass fewer files, or have the program delete what it made",
            Self::WorkspaceUnsafe { .. } => {
                "use paths below the workspace without `..`, and links that stay inside it"
            }
            Self::SandboxEnded => "run again; a program that ends its own container loses its files",
        }
    }
}
