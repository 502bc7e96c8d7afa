//! A run: what a caller asks for, what it sees of it, and how it ends.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::Error;
use crate::files::{Files, ReadBack};
use crate::image::Kind;
use crate::limits;

/// One program to run in a container of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub(crate) kind: Kind,
    pub(crate) command: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
    /// They follow when there is a place.
    #[serde(skip)]
    pub(crate) files: Files,
    pub(crate) wall_clock: Duration,
    pub(crate) memory: u64,
    pub(crate) workspace: u64,
    pub(crate) read_back: Option<u64>,
}

impl Run {
    /// A program and its arguments, with every limit at its default. No shell reads them.
    pub fn new<T: Into<String>>(kind: Kind, command: impl IntoIterator<Item = T>) -> Self {
        Self {
            kind,
            command: command.into_iter().map(Into::into).collect(),
            variables: Vec::new(),
            files: Files::new(),
            wall_clock: limits::WALL_CLOCK,
            memory: limits::MEMORY_BYTES_MAX,
            workspace: limits::WORKSPACE_BYTES_MAX,
            read_back: None,
        }
    }

    /// Adds a variable.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Puts files into the workspace before the program starts.
    pub fn files(mut self, files: Files) -> Self {
        self.files = files;
        self
    }

    /// Kills the program after this time.
    pub fn wall_clock(mut self, limit: Duration) -> Self {
        self.wall_clock = limit;
        self
    }

    /// Bytes of memory. With another value than the default no warm container fits.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// Bytes of workspace. With another value than the default no warm container fits.
    pub fn workspace(mut self, bytes: u64) -> Self {
        self.workspace = bytes;
        self
    }

    /// Reads the workspace back when the program has ended, at most so many bytes.
    pub fn read_back(mut self, bytes_max: u64) -> Self {
        self.read_back = Some(bytes_max);
        self
    }

    /// Whether every part is within its limit.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let within = |what: &str, value: u64, min: u64, max: u64| {
            let wrong = || Error::invalid(format!("{what} must be from {min} to {max}, not {value}"));
            if (min..=max).contains(&value) { Ok(()) } else { Err(wrong()) }
        };
        let bytes =
            |texts: &mut dyn Iterator<Item = &String>| texts.map(|text| text.len() + 1).sum::<usize>() as u64;
        within("the number of arguments", self.command.len() as u64, 1, limits::ARGUMENTS_MAX as u64)?;
        let arguments = bytes(&mut self.command.iter());
        within("the bytes of arguments", arguments, 2, limits::ARGUMENT_BYTES_MAX as u64)?;
        within("the number of variables", self.variables.len() as u64, 0, limits::VARIABLES_MAX as u64)?;
        let variables = bytes(&mut self.variables.iter().flat_map(|(name, value)| [name, value]));
        within("the bytes of variables", variables, 0, limits::VARIABLE_BYTES_MAX as u64)?;
        let texts = self.command.iter().chain(self.variables.iter().map(|(_, value)| value));
        if self.command[0].is_empty() || texts.into_iter().any(|text| text.contains('\0')) {
            return Err(Error::invalid("the program has no name, or a text holds a zero byte"));
        }
        if let Some((name, _)) = self.variables.iter().find(|(name, _)| !is_variable(name)) {
            return Err(Error::invalid(format!("`{}` is not the name of a variable", name.escape_default())));
        }
        let wall_clock = u64::try_from(self.wall_clock.as_millis()).unwrap_or(u64::MAX);
        within("milliseconds", wall_clock, 1, limits::WALL_CLOCK_MAX.as_millis() as u64)?;
        within("memory", self.memory, limits::MEMORY_BYTES_MIN, limits::MEMORY_BYTES_MAX)?;
        within("workspace", self.workspace, limits::WORKSPACE_BYTES_MIN, limits::WORKSPACE_BYTES_MAX)?;
        within("the bytes of files in pages", self.files.bytes_in_pages(), 0, self.workspace)?;
        within("the bytes to read back", self.read_back.unwrap_or(0), 0, limits::FILES_BYTES_MAX)
    }
}

fn is_variable(name: &str) -> bool {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(sign) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// Where output was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Its number, from 0 without a gap.
    pub number: u64,
    /// Where it was written.
    pub source: Source,
    /// At most [`limits::CHUNK_BYTES_MAX`].
    #[serde(skip)]
    pub bytes: Bytes,
    /// Whether output was thrown away behind it. Then it is the last one.
    pub truncated: bool,
}

/// Why a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The program ended, with this code; 128 and the number of the signal when a signal ended it.
    Exited(i64),
    /// The program was killed at its wall-clock limit.
    TimedOut,
    /// The program failed, and the kernel had killed one of its processes for memory.
    OutOfMemory,
    /// The program failed, and the workspace has no room left.
    WorkspaceFull,
    /// The caller canceled the run. Nothing of it is left running.
    Canceled,
}

/// The codes of ends by a limit, which `docs/errors` explains.
pub mod code {
    /// [`super::Reason::TimedOut`].
    pub const STEP_TIMEOUT: &str = "step-timeout";
    /// [`super::Reason::OutOfMemory`].
    pub const OUT_OF_MEMORY: &str = "out-of-memory";
    /// [`super::Reason::WorkspaceFull`].
    pub const WORKSPACE_TOO_LARGE: &str = "workspace-too-large";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit {code}"),
            Self::TimedOut => f.write_str(code::STEP_TIMEOUT),
            Self::OutOfMemory => f.write_str(code::OUT_OF_MEMORY),
            Self::WorkspaceFull => f.write_str(code::WORKSPACE_TOO_LARGE),
            Self::Canceled => f.write_str("canceled"),
        }
    }
}

/// The end of a run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Finished {
    /// Why it is over.
    pub reason: Reason,
    /// Bytes that the program wrote, those thrown away included.
    pub output_bytes: u64,
    /// Whether output was thrown away.
    pub truncated: bool,
    /// From the start of the program to its end.
    pub elapsed: Duration,
    /// The workspace, where it was asked for and the program ended by itself.
    pub workspace: Option<Result<ReadBack, Error>>,
}

impl Finished {
    /// The end of a run that never began.
    pub(crate) fn canceled() -> Self {
        let (output_bytes, truncated, elapsed, workspace) = Default::default();
        Self { reason: Reason::Canceled, output_bytes, truncated, elapsed, workspace }
    }
}

/// A run in progress. Dropping it cancels it.
#[derive(Debug)]
pub struct Running {
    pub(crate) chunks: mpsc::Receiver<Chunk>,
    pub(crate) cancel: CancellationToken,
    pub(crate) guard: DropGuard,
    pub(crate) task: JoinHandle<Result<Finished, Error>>,
}

impl Running {
    /// The next output, or none when the run is over. While nobody asks, the program waits.
    pub async fn next(&mut self) -> Option<Chunk> {
        self.chunks.recv().await
    }

    /// Kills the program.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// What cancels the run, for somebody else to hold.
    pub fn token(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Waits for the end. Output that was not asked for is thrown away.
    pub async fn finish(mut self) -> Result<Finished, Error> {
        while self.chunks.recv().await.is_some() {}
        let finished = self.task.await;
        drop(self.guard);
        finished.unwrap_or_else(|error| Err(Error::failed("run a program", &error)))
    }
}
