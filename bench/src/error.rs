//! Why a benchmark could not be run to its end.

/// Why a benchmark could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server or the host did not start.
    #[error("starting the installation")]
    Start(#[from] actors_host::StartError),
    /// The bus failed.
    #[error("using NATS")]
    Bus(#[from] bus_client::Error),
    /// An error of a file or a process.
    #[error("{doing}")]
    Io { doing: &'static str, source: std::io::Error },
    /// The bare loop failed.
    #[error("running the bare loop: {0:#}")]
    BareLoop(anyhow::Error),
    /// A caller got no reply, or an unexpected one.
    #[error("{doing}: {reason}")]
    Answer { doing: &'static str, reason: String },
    /// A wait timed out.
    #[error("{what} did not come within {seconds} s")]
    Late { what: &'static str, seconds: u64 },
    /// A package is not what it must be.
    #[error("`{}` {reason}; `make tools` obtains the packages", path.display())]
    Package { path: std::path::PathBuf, reason: String },
    /// The options are invalid.
    #[error("option `{option}`: {reason}")]
    Option { option: &'static str, reason: &'static str },
}

impl Error {
    pub(crate) fn answer(doing: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Answer { doing, reason: reason.to_string() }
    }
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}
