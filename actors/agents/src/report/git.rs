//! The only place that runs the `git` program.
//!
//! A repository is untrusted: its own configuration could name programs to run, servers to call or another format
//! to print. Every invocation therefore starts from an empty environment and overrides what matters.
//! It must never write to the repository and never reach the network.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::{Error, Watch, files};

/// An error message longer than this is not read by anybody.
const STDERR_BYTES_MAX: u64 = 4 * 1024;

/// One read of git's output, and how many may wait: git is the slower side, so a short queue never empties it.
const CHUNK_BYTES: usize = 64 * 1024;
const CHUNKS_WAITING_MAX: usize = 4;

/// A field of git's output is a line of numbers and a path, or a person's name; more than this is not one.
const FIELD_BYTES_MAX: usize = 1024 * 1024;

/// How soon a canceled caller is noticed while git is thinking and prints nothing.
const CANCEL_EVERY: Duration = Duration::from_millis(50);
/// How soon it is looked at first whether a command has ended.
const LOOK_FIRST: Duration = Duration::from_millis(1);

/// What a repository's own configuration must not decide. `safe.directory` lets agents read a folder that another
/// user owns, which is safe because nothing below can run a program that the repository names.
const OVERRIDES: &[&str] = &[
    "safe.directory=*",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.pager=cat",
    "protocol.allow=never",
    "log.showRoot=true",
    "log.showSignature=false",
    "log.follow=false",
    "diff.relative=false",
    "diff.ignoreSubmodules=none",
    "mailmap.file=",
    "color.ui=false",
];

/// A running `git` that is killed when this is dropped.
pub(super) struct Git {
    command: &'static str,
    child: Child,
    stdout: Option<ChildStdout>,
    /// A file and not a pipe, so that a talkative git cannot block on nobody reading it.
    stderr: File,
}

impl Git {
    /// Starts `git <arguments>` in `repo`; the first argument names the command in errors.
    pub(super) fn start(repo: &Path, arguments: &[&'static str]) -> Result<Self, Error> {
        let mut command = Command::new("git");
        command.env_clear();
        // PATH is how the program is found; everything else in the environment could change its answer.
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        if let Some(parent) = repo.parent() {
            // Without this git would answer for a repository that merely contains the folder.
            command.env("GIT_CEILING_DIRECTORIES", parent);
        }
        for (name, value) in [
            ("LC_ALL", "C"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_NO_LAZY_FETCH", "1"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("GIT_TERMINAL_PROMPT", "0"),
        ] {
            command.env(name, value);
        }
        for setting in OVERRIDES {
            command.args(["-c", setting]);
        }
        command.args(["--no-pager", "-C"]).arg(repo).args(arguments);
        let stderr = tempfile::tempfile().map_err(|source| Error::GitMissing { source })?;
        let stderr_copy = stderr.try_clone().map_err(|source| Error::GitMissing { source })?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr_copy);
        let mut child = command.spawn().map_err(|source| Error::GitMissing { source })?;
        let stdout = child.stdout.take();
        Ok(Self { command: arguments.first().copied().unwrap_or_default(), child, stdout, stderr })
    }

    /// Hands every NUL-terminated field of the output to `visit` until that breaks, then waits for the end.
    pub(super) fn each_field(
        mut self,
        watch: &Watch,
        mut visit: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let chunks = self.read_in_background();
        let mut field = Vec::new();
        while let Some(chunk) = self.next_chunk(&chunks, watch)? {
            for piece in chunk.split_inclusive(|byte| *byte == 0) {
                field.extend_from_slice(piece.strip_suffix(&[0]).unwrap_or(piece));
                if field.len() > FIELD_BYTES_MAX {
                    return Err(self.failed("a field of its output is too long"));
                }
                if piece.ends_with(&[0]) {
                    if visit(&field).is_break() {
                        return Ok(());
                    }
                    field.clear();
                }
            }
        }
        self.finish(watch)
    }

    /// More of the output; none behind its end.
    fn next_chunk(
        &self,
        chunks: &Receiver<io::Result<Vec<u8>>>,
        watch: &Watch,
    ) -> Result<Option<Vec<u8>>, Error> {
        loop {
            watch.check()?;
            match chunks.recv_timeout(CANCEL_EVERY) {
                Ok(chunk) => return chunk.map(Some).map_err(|error| self.failed(&error.to_string())),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }

    /// Reads the output on a thread that ends with the output, at the latest when the child is killed.
    fn read_in_background(&mut self) -> Receiver<io::Result<Vec<u8>>> {
        let (sender, receiver) = sync_channel(CHUNKS_WAITING_MAX);
        if let Some(stdout) = self.stdout.take() {
            thread::spawn(move || forward(stdout, &sender));
        }
        receiver
    }

    /// Waits for the end and turns a failure into an error with git's own words.
    fn finish(mut self, watch: &Watch) -> Result<(), Error> {
        let mut pause = LOOK_FIRST;
        let status = loop {
            match self.child.try_wait().map_err(|source| self.failed(&source.to_string()))? {
                Some(status) => break status,
                // One that has said everything ends within moments, unless it hangs.
                None => {
                    watch.check()?;
                    thread::sleep(pause);
                    pause = (2 * pause).min(CANCEL_EVERY);
                }
            }
        };
        if status.success() {
            return Ok(());
        }
        let mut detail = Vec::new();
        // An unreadable message leaves the failure without its reason, which is still the failure.
        let _ = self.stderr.rewind();
        let _ = (&self.stderr).take(STDERR_BYTES_MAX).read_to_end(&mut detail);
        Err(self.failed(String::from_utf8_lossy(&detail).trim()))
    }

    /// An output that could not be read, as an error of this command.
    pub(super) fn failed(&self, detail: &str) -> Error {
        let detail = detail.strip_prefix("fatal: ").unwrap_or(detail);
        Error::GitFailed { command: self.command.to_owned(), detail: detail.to_owned() }
    }
}

impl Drop for Git {
    fn drop(&mut self) {
        // Both fail only when the child has ended and been waited for, which is what they are for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(mut stdout: ChildStdout, sender: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let message = match stdout.read(&mut chunk) {
            Ok(0) => return,
            Ok(read) => {
                chunk.truncate(read);
                Ok(chunk)
            }
            Err(error) => Err(error),
        };
        // The receiver is gone once the caller was canceled or has seen enough.
        let failed = message.is_err();
        if sender.send(message).is_err() || failed {
            return;
        }
    }
}

/// The output of a command that prints one line.
pub(super) fn line(repo: &Path, arguments: &[&'static str], watch: &Watch) -> Result<String, Error> {
    let mut git = Git::start(repo, arguments)?;
    let chunks = git.read_in_background();
    let mut output = Vec::new();
    while let Some(chunk) = git.next_chunk(&chunks, watch)? {
        output.extend(chunk);
        if output.len() > FIELD_BYTES_MAX {
            return Err(git.failed("its output is too long"));
        }
    }
    git.finish(watch)?;
    Ok(String::from_utf8_lossy(&output).trim_end().to_owned())
}

/// Checks that a report can be made of `path`: a readable folder, the top of a git repository, with a commit.
/// Returns the full hash of the commit that is checked out.
pub(super) fn head(path: &Path, watch: &Watch) -> Result<String, Error> {
    watch.check()?;
    let real = files::check_folder(path)?;
    let shown = || path.display().to_string();
    if real.join(".git").symlink_metadata().is_err() {
        return Err(Error::NotARepository { path: shown() });
    }
    line(&real, &["rev-parse", "--git-dir"], watch).map_err(|error| match error {
        Error::GitFailed { .. } => Error::NotARepository { path: shown() },
        other => other,
    })?;
    line(&real, &["rev-parse", "--verify", "--quiet", "HEAD"], watch).map_err(|error| match error {
        Error::GitFailed { .. } => Error::WithoutCommits { path: shown() },
        other => other,
    })?;
    // A branch that names a commit which is not there is damage and not an empty repository.
    line(&real, &["rev-parse", "--verify", "HEAD^{commit}"], watch)
}
