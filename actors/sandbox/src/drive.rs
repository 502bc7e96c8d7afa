//! The way of one run through a container, from its files to its end.

use std::io::{self, Read};
use std::time::Instant;

use bollard::container::LogOutput;
use futures::future::OptionFuture;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, Output, within};
use crate::error::Error;
use crate::files::{self, ReadBack};
use crate::limits;
use crate::pool::Container;
use crate::run::{Chunk, Finished, Reason, Run, Source};

/// The folder that the engine packs.
const PACKED: &str = "workspace";

/// Asks for free blocks and for kills, of either version of control groups. Engines tell of kills in their own ways.
const PROBE: [&str; 3] = [
    "/bin/sh",
    "-c",
    "stat -f -c 'free %f' /workspace; cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; true",
];
/// Pieces of its answer, which has some lines.
const PROBE_PARTS_MAX: usize = 16;

/// What became of the output.
#[derive(Debug, Default)]
struct Counts {
    chunks: u64,
    bytes: u64,
    truncated: bool,
}

/// Where output goes.
pub(crate) struct Outlet {
    chunks: mpsc::Sender<Chunk>,
    counts: Counts,
}

impl Outlet {
    pub fn new(chunks: mpsc::Sender<Chunk>) -> Self {
        Self { chunks, counts: Counts::default() }
    }

    /// Passes output on, in pieces. Waits while the caller has enough of them.
    async fn pass(&mut self, output: LogOutput) {
        let source = if matches!(output, LogOutput::StdErr { .. }) { Source::Stderr } else { Source::Stdout };
        let mut bytes = output.into_bytes();
        let room = limits::OUTPUT_BYTES_MAX.saturating_sub(self.counts.bytes);
        self.counts.bytes += bytes.len() as u64;
        if self.counts.truncated {
            return;
        }
        let fits = bytes.len() as u64 <= room;
        bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        self.counts.truncated = !fits;
        loop {
            let piece = bytes.split_to(bytes.len().min(limits::CHUNK_BYTES_MAX));
            let truncated = self.counts.truncated && bytes.is_empty();
            if !piece.is_empty() || truncated {
                let chunk = Chunk { number: self.counts.chunks, source, bytes: piece, truncated };
                self.counts.chunks += 1;
                // Nobody listens: the run is being canceled.
                let _ = self.chunks.send(chunk).await;
            }
            if bytes.is_empty() {
                return;
            }
        }
    }
}

/// A program that was started.
pub(crate) struct Program {
    id: String,
    output: Output,
    started: Instant,
}

/// Fills the workspace and starts the program.
pub(crate) async fn start(engine: &Engine, container: &Container, run: &Run) -> Result<Program, Error> {
    let uid = container.slot.uid();
    if !run.files.is_empty() {
        let packed = run.files.to_archive(uid);
        let packed = packed.map_err(|source| Error::failed("pack the files", &source))?;
        engine.put(&container.id, packed).await?;
    }
    let variables = run.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let started = Instant::now();
    let (id, output) = engine.execute(&container.id, uid, run.command.clone(), variables).await?;
    Ok(Program { id, output, started })
}

/// Passes the output on until the program ends, is canceled or has used up its time, and leaves nothing running.
pub(crate) async fn follow(
    engine: &Engine,
    container: &Container,
    run: &Run,
    program: Program,
    mut outlet: Outlet,
    cancel: &CancellationToken,
) -> Result<Finished, Error> {
    let Program { id, mut output, started } = program;
    let sink = &mut outlet;
    // Owns the output: the engine does not end a container while somebody holds its output and does not read.
    let pumped = async move {
        while let Some(output) = output.next().await {
            sink.pass(output.map_err(Error::engine("pass on output"))?).await;
        }
        engine.exit_code(&id).await
    };
    let mut workspace = None;
    let interrupted = async {
        tokio::select! {
            () = cancel.cancelled() => Reason::Canceled,
            () = tokio::time::sleep(run.wall_clock) => Reason::TimedOut,
        }
    };
    let exited = tokio::select! {
        reason = interrupted => Err(reason),
        code = pumped => Ok(code?),
    };
    let elapsed = started.elapsed();
    let reason = match exited {
        Err(reason) => engine.kill(&container.id).await.map(|_| reason)?,
        Ok(code) => {
            let code = code.ok_or(Error::SandboxEnded)?;
            let looked = async {
                let used = if code == 0 { Used::default() } else { used(engine, container).await };
                let read = run.read_back.map(|bytes_max| {
                    let read = read_back(engine, container, bytes_max);
                    within(limits::READ_BACK_TIMEOUT, "read the workspace", read)
                });
                (used, OptionFuture::from(read).await)
            };
            let used = tokio::select! {
                () = cancel.cancelled() => Used::default(),
                (used, read) = looked => {
                    workspace = read;
                    used
                }
            };
            // What the program left behind must not outlive it.
            let ended = engine.kill(&container.id).await?;
            match code {
                _ if cancel.is_cancelled() => Reason::Canceled,
                0 => Reason::Exited(0),
                _ if ended.out_of_memory || used.memory => Reason::OutOfMemory,
                _ if used.workspace => Reason::WorkspaceFull,
                code => Reason::Exited(code),
            }
        }
    };
    let Counts { bytes, truncated, .. } = outlet.counts;
    Ok(Finished { reason, output_bytes: bytes, truncated, elapsed, workspace })
}

/// What a failed program has used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Used {
    /// The kernel killed a process for memory.
    memory: bool,
    /// The workspace has no block left.
    workspace: bool,
}

/// Asks in the container, with programs of its read-only image. Not known counts as no.
async fn used(engine: &Engine, container: &Container) -> Used {
    let ask = async {
        let command = PROBE.map(str::to_owned).to_vec();
        let (_, output) = engine.execute(&container.id, container.slot.uid(), command, Vec::new()).await?;
        let said: Vec<LogOutput> =
            output.take(PROBE_PARTS_MAX).try_collect().await.map_err(Error::engine("ask for room"))?;
        Ok(said.iter().flat_map(|part| part.as_ref()).copied().collect::<Vec<u8>>())
    };
    let said = within(limits::PROBE_TIMEOUT, "ask for room", ask).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let number = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.trim().parse::<u64>().ok())
    };
    Used { memory: number("oom_kill").is_some_and(|kills| kills > 0), workspace: number("free") == Some(0) }
}

/// Reads the workspace while nothing in the container can move.
async fn read_back(engine: &Engine, container: &Container, bytes_max: u64) -> Result<ReadBack, Error> {
    engine.freeze(&container.id).await.map_err(|_| Error::SandboxEnded)?;
    let packed = engine.get(&container.id).map_err(io::Error::other);
    let reader = SyncIoBridge::new(StreamReader::new(Box::pin(packed)));
    let read = move || files::read(reader.take(bytes_max + limits::ARCHIVE_BYTES_EXTRA), PACKED, bytes_max);
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|error| Err(Error::failed("read the workspace", &error)))
}
