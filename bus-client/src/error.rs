//! Errors between this process and NATS, each with a hint.

use async_nats::jetstream::{self, ErrorCode};

/// Connecting, checking, or a management call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No server answers.
    #[error("connecting to NATS at `{url}`: {reason}")]
    Connect { url: String, reason: String },
    /// The server denies access.
    #[error("the NATS server at `{url}` refuses these credentials, or requires some")]
    Denied { url: String },
    /// The server's JetStream is off.
    #[error("the NATS server at `{url}` has no JetStream")]
    NoJetStream { url: String },
    /// The server is too old.
    #[error("the NATS server is version {found}, and {needed} or later is needed")]
    TooOld { found: String, needed: &'static str },
    /// The server's message limit is too small.
    #[error("the NATS server takes messages of {found} bytes, and {needed} are needed (`max_payload`)")]
    SmallPayload { found: usize, needed: usize },
    /// The server acknowledges writes before it syncs them.
    #[error("profile `{profile}` needs `sync_interval: always`, and the server at `{monitor}` syncs {found}")]
    LazySync { profile: &'static str, monitor: String, found: String },
    /// The server's settings cannot be read.
    #[error("reading the server's settings at `{monitor}/jsz`: {reason}")]
    Monitor { monitor: String, reason: String },
    /// A program with another data format created the installation.
    #[error("this installation has data of format {found}, and this program reads format {wanted}")]
    Format { found: u16, wanted: u16 },
    /// The installation has other fixed settings.
    #[error("this installation has {what} {found}, and the configuration says {wanted}")]
    Installation { what: &'static str, found: String, wanted: String },
    /// The server stores handed-over commands where no partition reads them.
    #[error("the server stores `{subject}` in `{found}`, and its partition reads `{wanted}`")]
    Mapping { subject: String, wanted: String, found: String },
    /// A setting is invalid.
    #[error("setting `{name}`: {reason}")]
    Setting { name: &'static str, reason: String },
    /// A call to JetStream failed.
    #[error("{doing}: {reason}")]
    Call { doing: String, reason: String },
    /// JetStream refused a call for a lasting reason.
    #[error("{doing}: {reason}")]
    Refused { doing: String, reason: String },
    /// A message of the event stream is not an event.
    #[error("reading the event at {sequence} on `{subject}`: {reason}")]
    Event { sequence: u64, subject: String, reason: String },
    /// A blob is missing or does not match its hash.
    #[error("blob {hash}: {reason}")]
    Blob { hash: String, reason: String },
}

impl Error {
    pub(crate) fn call(doing: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Call { doing: doing.into(), reason: reason.to_string() }
    }
    /// An error answer of JetStream. It is temporary if the servers cannot do it yet (500 and above, or too
    /// few servers); otherwise it is lasting.
    pub(crate) fn answered(doing: impl Into<String>, answer: &jetstream::Error) -> Self {
        let passes = answer.code() >= 500 || answer.error_code() == ErrorCode::CLUSTER_NO_PEERS;
        let (doing, reason) = (doing.into(), answer.to_string());
        if passes { Self::Call { doing, reason } } else { Self::Refused { doing, reason } }
    }
    /// Whether it may pass by itself: no server answers yet, or the servers have no leader. A long-running
    /// process waits for that, however long it takes.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Call { .. })
    }
    /// A stable code with an entry in `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "nats-unreachable",
            Self::Denied { .. } => "nats-denied",
            Self::NoJetStream { .. } => "nats-without-jetstream",
            Self::TooOld { .. } => "nats-too-old",
            Self::SmallPayload { .. } => "nats-small-payload",
            Self::LazySync { .. } => "nats-lazy-sync",
            Self::Monitor { .. } => "nats-unchecked",
            Self::Format { found, wanted } if found < wanted => "format-too-old",
            Self::Format { .. } => "format-too-new",
            Self::Installation { .. } => "installation-mismatch",
            Self::Mapping { .. } => "mapping-missing",
            Self::Setting { .. } => "bad-setting",
            Self::Call { .. } | Self::Refused { .. } => "nats-call-failed",
            Self::Event { .. } => "event-unreadable",
            Self::Blob { .. } => "blob-missing",
        }
    }
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Connect { .. } => {
                "start the server, or correct `nats.url`; without it the embedded server is used"
            }
            Self::Denied { .. } => {
                "correct the user and password, or the token, in `nats.url`, or name `nats.user` with `nats.password_file`, `nats.token_file` or `nats.credentials_file`"
            }
            Self::NoJetStream { .. } => {
                "add `jetstream { store_dir: …, sync_interval: always }` to the server's configuration"
            }
            Self::TooOld { .. } => "install nats-server 2.15.1 (`scripts/nats-server.sh` obtains it)",
            Self::SmallPayload { .. } => {
                "set `max_payload: 8MB` on the server, as `nats.conf` does; its default of 1 MiB is enough as well"
            }
            Self::LazySync { .. } => {
                "set `jetstream { sync_interval: always }` on the server, or ask for `profile = \"fast\"` and accept that a power cut loses acknowledged work"
            }
            Self::Monitor { .. } => {
                "open the server's monitoring port (`http: 127.0.0.1:8222`) and set `nats.monitor_url`, or ask for `profile = \"fast\"`"
            }
            Self::Format { found, wanted } if found < wanted => {
                "begin with a new data directory, or another `subject_prefix`; the program that made this one still reads it"
            }
            Self::Format { .. } => "use a newer version of the program",
            Self::Installation { .. } => "use the installation's own setting, or another `subject_prefix`",
            Self::Mapping { .. } => {
                "write the `mappings` of `nats.conf` into the server's configuration, with the installation's number of partitions"
            }
            Self::Setting { .. } => "correct the setting; `orrery config check` shows all of them",
            Self::Call { .. } | Self::Refused { .. } => {
                "`orrery doctor` shows the state of the server and of every stream"
            }
            Self::Event { .. } => {
                "`orrery verify --all` finds what else is damaged; `orrery rebuild events` writes the stream again from the log"
            }
            Self::Blob { .. } => "`orrery verify --all` finds what else is missing",
        }
    }
}
