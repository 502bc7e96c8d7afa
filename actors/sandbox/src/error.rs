//! What may go wrong in the sandbox itself. A program that fails is no error: see [`crate::Reason`].

use std::error::Error as StdError;

type Source = Box<dyn StdError + Send + Sync>;

/// Why the sandbox did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No engine answers.
    #[error("no container engine answers at `{socket}`")]
    EngineMissing {
        /// Where it was looked for.
        socket: String,
        /// What the attempt ended with.
        #[source]
        source: Option<Source>,
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
        doing: &'static str,
        /// Its answer.
        #[source]
        source: Source,
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
        step: &'static str,
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
        why: &'static str,
    },
    /// The container ended before its workspace was read: its program may have ended it.
    #[error("the container ended before its workspace was read")]
    SandboxEnded,
}

impl Error {
    pub(crate) fn engine(
        doing: &'static str,
    ) -> impl Fn(bollard::errors::Error) -> Self + Copy + Send + 'static {
        move |source| Self::EngineFailed { doing, source: Box::new(source) }
    }

    pub(crate) fn invalid(why: impl Into<String>) -> Self {
        Self::InvalidRun { why: why.into() }
    }

    /// The code, which `docs/errors` explains.
    pub fn code(&self) -> &'static str {
        match self {
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

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
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
