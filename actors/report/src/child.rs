//! Child processes that are used through their pipes: `git`, and the parser of source files.
//!
//! A caller never waits for a program longer than it wants the answer, and the program is killed when its
//! value is dropped.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{Error, Watch};

/// Bytes of one read of a program's output, and the number of reads that may queue: the program is the slower
/// side, so a short queue never runs empty.
const CHUNK_BYTES: usize = 64 * 1024;
const CHUNKS_WAITING_MAX: usize = 4;

/// How soon a cancellation is noticed while the program prints nothing.
const CANCEL_EVERY: Duration = Duration::from_millis(50);
/// The first pause between checks whether a program has ended.
const LOOK_FIRST: Duration = Duration::from_millis(1);

/// Timeout of a request, after which the program hangs: its limit of processor time ends it long before.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// A running program.
pub(super) struct Spoken {
    child: Child,
    /// Requests to the program, if it takes any.
    requests: Option<SyncSender<Vec<u8>>>,
    chunks: Receiver<io::Result<Vec<u8>>>,
    /// Output that was read and not yet consumed.
    rest: Vec<u8>,
    answer_by: Option<Instant>,
}

impl Spoken {
    /// Starts `command`; it takes requests when its standard input is a pipe.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let requests = child.stdin.take().map(|stdin| {
            let (sender, receiver) = sync_channel(1);
            thread::spawn(move || deliver(stdin, &receiver));
            sender
        });
        let (sender, chunks) = sync_channel(CHUNKS_WAITING_MAX);
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || forward(stdout, &sender));
        }
        Ok(Self { child, requests, chunks, rest: Vec::new(), answer_by: None })
    }

    /// Sends a request, whose answer must be taken before the next one is sent.
    pub(super) fn send(&mut self, request: Vec<u8>) {
        self.answer_by = Some(Instant::now() + ANSWER_WITHIN);
        if let Some(requests) = &self.requests {
            // A program that has ended is noticed by its missing answer.
            let _ = requests.send(request);
        }
    }

    /// More output; `None` at its end, or when the answer to a request is overdue.
    pub(super) fn chunk(&self, watch: &Watch) -> Result<Option<io::Result<Vec<u8>>>, Error> {
        loop {
            watch.check()?;
            if self.answer_by.is_some_and(|by| Instant::now() > by) {
                return Ok(None);
            }
            match self.chunks.recv_timeout(CANCEL_EVERY) {
                Ok(chunk) => return Ok(Some(chunk)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }

    /// The next line of an answer; `None` when the program has ended or the line is longer than `bytes_max`.
    pub(super) fn line(&mut self, bytes_max: usize, watch: &Watch) -> Result<Option<Vec<u8>>, Error> {
        let mut looked_at = 0;
        loop {
            if let Some(end) = self.rest[looked_at..].iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.rest.drain(..=looked_at + end).collect();
                line.pop();
                return Ok(Some(line));
            }
            looked_at = self.rest.len();
            if looked_at > bytes_max {
                return Ok(None);
            }
            let Some(Ok(chunk)) = self.chunk(watch)? else { return Ok(None) };
            self.rest.extend(chunk);
        }
    }

    /// The next `length` bytes of an answer, of which the first `kept_max` are kept; `None` when the program
    /// has ended.
    pub(super) fn bytes(
        &mut self,
        length: u64,
        kept_max: u64,
        watch: &Watch,
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut kept = Vec::new();
        let (mut missing, mut wanted) = (length, kept_max.min(length));
        loop {
            let here = self.rest.len().min(usize::try_from(missing).unwrap_or(usize::MAX));
            let keep = here.min(usize::try_from(wanted).unwrap_or(usize::MAX));
            kept.extend_from_slice(&self.rest[..keep]);
            self.rest.drain(..here);
            missing -= here as u64;
            wanted -= keep as u64;
            if missing == 0 {
                return Ok(Some(kept));
            }
            let Some(Ok(chunk)) = self.chunk(watch)? else { return Ok(None) };
            self.rest = chunk;
        }
    }

    /// Waits until the program has ended.
    pub(super) fn wait(&mut self, watch: &Watch) -> Result<io::Result<ExitStatus>, Error> {
        self.requests = None;
        let mut pause = LOOK_FIRST;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(Ok(status)),
                Err(error) => return Ok(Err(error)),
                // A program that has printed everything ends within moments, unless it hangs.
                Ok(None) => {
                    watch.check()?;
                    thread::sleep(pause);
                    pause = (2 * pause).min(CANCEL_EVERY);
                }
            }
        }
    }
}

impl Drop for Spoken {
    fn drop(&mut self) {
        // Both fail only when the child has ended and been waited for, which is their purpose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes requests to the program; ends when the program or its user is gone.
fn deliver(mut stdin: ChildStdin, requests: &Receiver<Vec<u8>>) {
    while let Ok(request) = requests.recv() {
        if stdin.write_all(&request).is_err() {
            return;
        }
    }
}

/// Reads the output; ends with the output, at the latest when the program is killed.
fn forward(mut stdout: ChildStdout, sender: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let message = match stdout.read(&mut chunk) {
            Ok(0) => return,
            Ok(read) => {
                chunk.truncate(read);
                Ok(chunk)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        // The receiver is gone when the caller was canceled or has seen enough.
        let failed = message.is_err();
        if sender.send(message).is_err() || failed {
            return;
        }
    }
}
