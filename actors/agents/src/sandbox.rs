//! The sandbox of this process, whose keeper is started or found when the first job needs it, and what runs in it on
//! behalf of a job.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use actors_sandbox::{
    Error, Files, Finished, ImageInUse, Keeper, Kind, Reason, Run, Sandbox, Source, Trial, limits,
};
use actors_worker::{Failure, Work};
use bus_schemas::jobs::FailureClass;
use bus_schemas::{chain, text};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

/// Jobs that use the sandbox at once; more wait. Each may have several programs in it, of which the sandbox runs as
/// many as it has places.
pub const AGENTS_MAX: usize = 3;
/// How long a program of a job may run when the job says nothing, and the most that it may say.
pub const STEP_MAX: Duration = limits::WALL_CLOCK;
/// The most bytes of a file of advisories: those of all Python packages take some tens of megabytes.
const ADVISORIES_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// The most bytes of output that are streamed.
const STREAMED_BYTES_MAX: usize = 256 * 1024;
/// The bytes of the end of an output that are kept.
const TAIL_BYTES_MAX: usize = 4_096;

/// The limits of a job that runs programs, as its report shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Jobs at once.
    pub agents: usize,
    /// Seconds of a program.
    pub step_seconds: u64,
    /// Bytes of memory of a program.
    pub memory_bytes: u64,
    /// Bytes of its workspace, which count as memory.
    pub workspace_bytes: u64,
}

impl Limits {
    /// The limits of programs that may run so long.
    pub fn of(step: Duration) -> Self {
        Self {
            agents: AGENTS_MAX,
            step_seconds: step.as_secs(),
            memory_bytes: limits::MEMORY_BYTES_MAX,
            workspace_bytes: limits::WORKSPACE_BYTES_MAX,
        }
    }
}

/// The sandbox that agents share. Without a configuration, work that needs one fails as `no-sandbox`.
pub struct Sandboxes {
    keeper: Option<Keeper>,
    advisories: Option<PathBuf>,
    connected: OnceCell<Sandbox>,
    places: Semaphore,
}

impl Default for Sandboxes {
    fn default() -> Self {
        Self {
            keeper: None,
            advisories: None,
            connected: OnceCell::new(),
            places: Semaphore::new(AGENTS_MAX),
        }
    }
}

impl fmt::Debug for Sandboxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sandboxes {:?}", self.keeper)
    }
}

/// A program that ran.
pub(crate) struct Ran {
    pub(crate) finished: Finished,
    /// The beginning of its standard output.
    pub(crate) stdout: Vec<u8>,
    /// The end of all its output.
    pub(crate) tail: String,
}

impl Sandboxes {
    /// Whether there is one.
    pub(crate) fn is_there(&self) -> bool {
        self.keeper.is_some()
    }

    /// The sandbox of a keeper.
    pub fn new(keeper: impl Into<Keeper>) -> Self {
        Self { keeper: Some(keeper.into()), ..Self::default() }
    }

    /// Whether there is one, as far as the settings say.
    pub(crate) fn is_configured(&self) -> bool {
        self.keeper.is_some()
    }

    /// With a file of advisories about packages, in the format of OSV.
    #[must_use]
    pub fn advisories_of(self, path: Option<PathBuf>) -> Self {
        Self { advisories: path, ..self }
    }

    /// Builds an image of files on trial.
    pub(crate) async fn build(&self, work: &Work, files: &Files) -> Result<Trial, Failure> {
        let canceled = work.canceled();
        let sandbox = self.get().await?;
        tokio::select! {
            biased;
            () = canceled.cancelled() => Err(Failure::canceled()),
            built = sandbox.build(files) => built.map_err(|error| failed(&error)),
        }
    }

    /// The file of advisories; none if none is given.
    pub(crate) async fn advisories(&self) -> Result<Option<Vec<u8>>, Failure> {
        let Some(path) = &self.advisories else { return Ok(None) };
        let unreadable = |reason: String| {
            let message = format!("the advisories at `{}` cannot be read: {reason}", path.display());
            Failure::permanent("advisories-unreadable", message).hint(
                "name a file of OSV in the setting `sandbox.advisories`; docs/guides/use-the-sandbox.md",
            )
        };
        let file = tokio::fs::File::open(path).await.map_err(|error| unreadable(error.to_string()))?;
        let mut bytes = Vec::new();
        let read = file.take(ADVISORIES_BYTES_MAX + 1).read_to_end(&mut bytes).await;
        read.map_err(|error| unreadable(error.to_string()))?;
        match bytes.len() as u64 {
            ..=ADVISORIES_BYTES_MAX => Ok(Some(bytes)),
            _ => Err(unreadable(format!("the file has more than {ADVISORIES_BYTES_MAX} bytes"))),
        }
    }

    /// Cancels every run, and ends the keeper.
    pub async fn close(&self) {
        if let Some(sandbox) = self.connected.get() {
            sandbox.clone().close().await;
        }
    }

    /// The sandbox. An engine that is not there is looked for again by the next job.
    pub(crate) async fn get(&self) -> Result<&Sandbox, Failure> {
        let Some(keeper) = &self.keeper else {
            let message = "this work runs programs, and the process has no sandbox to run them in";
            return Err(Failure::permanent("no-sandbox", message)
                .hint("name the folder of the images in the setting `sandbox.images`; docs/guides/use-the-sandbox.md"));
        };
        let connect = || async { Sandbox::connect(keeper.clone()).await };
        self.connected.get_or_try_init(connect).await.map_err(|error| failed(&error))
    }

    /// Whether there is an image of a kind.
    pub(crate) async fn serves(&self, kind: Kind) -> Result<bool, Failure> {
        Ok(self.images().await?.iter().any(|image| image.kind == kind))
    }

    /// The images that programs of this process run in.
    pub(crate) async fn images(&self) -> Result<Vec<ImageInUse>, Failure> {
        self.get().await?.images().await.map_err(|error| failed(&error))
    }

    /// Waits until fewer than [`AGENTS_MAX`] jobs use the sandbox.
    pub(crate) async fn enter(&self, work: &Work) -> Result<SemaphorePermit<'_>, Failure> {
        if self.places.available_permits() == 0 {
            work.output(&format!("waits: {AGENTS_MAX} agents at once use the sandbox\n")).await;
        }
        let canceled = work.canceled();
        tokio::select! {
            biased;
            () = canceled.cancelled() => Err(Failure::canceled()),
            place = self.places.acquire() => place.map_err(|_| Failure::canceled()),
        }
    }

    /// Runs a program on behalf of a job, and ends it when the job does. At most `kept_max` bytes of its standard
    /// output are kept; the rest is read and thrown away.
    pub(crate) async fn run(
        &self,
        work: &Work,
        run: Run,
        kept_max: usize,
        is_streamed: bool,
    ) -> Result<Ran, Failure> {
        let mut running = self.get().await?.run(run).map_err(|error| failed(&error))?;
        let canceled = work.canceled();
        let (mut stdout, mut tail, mut streamed) = (Vec::new(), String::new(), 0);
        loop {
            let chunk = tokio::select! {
                biased;
                () = canceled.cancelled() => {
                    running.cancel();
                    // Nothing of the run is left when this returns.
                    let _ = running.finish().await;
                    return Err(Failure::canceled());
                }
                chunk = running.next() => chunk,
            };
            let Some(chunk) = chunk else { break };
            if chunk.source == Source::Stdout {
                let room = kept_max.saturating_sub(stdout.len()).min(chunk.bytes.len());
                stdout.extend_from_slice(&chunk.bytes[..room]);
            }
            let said = text::prose(&String::from_utf8_lossy(&chunk.bytes));
            if is_streamed && streamed < STREAMED_BYTES_MAX {
                work.output(&said).await;
            }
            streamed += said.len();
            tail.push_str(&said);
            if tail.len() > 2 * TAIL_BYTES_MAX {
                tail.drain(..tail.ceil_char_boundary(tail.len() - TAIL_BYTES_MAX));
            }
        }
        tail.drain(..tail.ceil_char_boundary(tail.len().saturating_sub(TAIL_BYTES_MAX)));
        let finished = running.finish().await.map_err(|error| failed(&error))?;
        Ok(Ran { finished, stdout, tail })
    }
}

/// How a program ended, in a word. One that was canceled ends its job.
pub(crate) fn ended(reason: Reason) -> Result<String, Failure> {
    if reason == Reason::Canceled { Err(Failure::canceled()) } else { Ok(reason.to_string()) }
}

/// The failure of an attempt whose sandbox failed. What the engine could not do may work later.
pub(crate) fn failed(error: &Error) -> Failure {
    let class = if error.may_pass() { FailureClass::Transient } else { FailureClass::Permanent };
    Failure::new(class, error.code(), chain(error)).hint(error.hint())
}
