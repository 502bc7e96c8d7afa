//! The one way to call the program `git`.
//!
//! A repository is untrusted: its own configuration could name programs to run, servers to call or another format
//! to print. Every call therefore starts from an empty environment and overrides what matters.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Error, Stop};

/// Bytes of an error message: nobody reads a longer one.
const STDERR_BYTES_MAX: u64 = 4 * 1024;
/// How soon a stop is noticed while the program prints nothing.
const STOP_EVERY: Duration = Duration::from_millis(50);
/// How long a call may take: the longest is a diff of a large tree.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of one read of the output.
const CHUNK_BYTES: usize = 64 * 1024;

/// Settings that a repository's own configuration must not choose. `safe.directory` lets agents read a folder
/// of another user, which is safe because nothing below can run a program that the repository names.
const OVERRIDES: &[&str] = &[
    "safe.directory=*",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.pager=cat",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "commit.gpgSign=false",
    "credential.helper=",
    "gc.auto=0",
    "maintenance.auto=false",
    "protocol.allow=never",
    "submodule.recurse=false",
    "log.showRoot=true",
    "log.showSignature=false",
    "log.follow=false",
    "diff.relative=false",
    "diff.ignoreSubmodules=none",
    "mailmap.file=",
    "color.ui=false",
];

/// The environment of every call; nothing else but the PATH is in it.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("LC_ALL", "C"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_TERMINAL_PROMPT", "0"),
];

/// `git` in a folder, without its arguments.
pub fn guarded(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command.env_clear();
    // PATH is needed to find the program; everything else in the environment could change its answer.
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    if let Some(parent) = folder.parent() {
        // Without this, git would answer for a repository that merely contains the folder.
        command.env("GIT_CEILING_DIRECTORIES", parent);
    }
    command.envs(ENVIRONMENT.iter().copied());
    for setting in OVERRIDES {
        command.args(["-c", setting]);
    }
    command.args(["--no-pager", "-C"]).arg(folder);
    command
}

/// What a call printed.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// Runs a call to its end with this input. It is killed when the result is no longer wanted, when it takes too long,
/// and when it prints more than `bytes_max`.
pub(crate) fn run(
    command: &mut Command,
    input: &[u8],
    bytes_max: usize,
    stop: Stop<'_>,
) -> Result<Output, Error> {
    let missing = |source| Error::GitMissing { source };
    let mut stderr = tempfile::tempfile().map_err(missing)?;
    // A file and not a pipe, so that a talkative git cannot block on an unread pipe.
    command.stderr(stderr.try_clone().map_err(missing)?).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(missing)?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let gathered = thread::scope(|scope| {
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        let (sender, receiver) = sync_channel::<io::Result<Vec<u8>>>(1);
        scope.spawn(move || {
            let Some(mut stdout) = stdout else { return };
            loop {
                let mut chunk = vec![0; CHUNK_BYTES];
                let read = stdout.read(&mut chunk).map(|read| {
                    chunk.truncate(read);
                    chunk
                });
                let is_end = read.as_ref().is_ok_and(Vec::is_empty);
                let is_last = is_end || read.is_err();
                // Nobody listens any more to a call that was given up.
                if is_end || sender.send(read).is_err() || is_last {
                    return;
                }
            }
        });
        let ends = Instant::now() + TIMEOUT;
        let mut output = Vec::new();
        let gathered = loop {
            if stop() {
                break Err(Error::Canceled);
            }
            if Instant::now() > ends {
                break Err(failed(command, "the call takes longer than two minutes"));
            }
            match receiver.recv_timeout(STOP_EVERY) {
                Ok(Ok(chunk)) => output.extend(chunk),
                Ok(Err(error)) => break Err(failed(command, &error.to_string())),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break Ok(()),
            }
            if output.len() > bytes_max {
                let what = format!("the output of `git {}`", name(command));
                break Err(Error::TooLarge { what, limit: format!("{bytes_max} bytes") });
            }
        };
        if gathered.is_err() {
            // Fails only when the child has ended, which is its purpose.
            let _ = child.kill();
        }
        drop(receiver);
        let status = child.wait().map_err(missing);
        gathered.and(status).map(|status| (status, output))
    });
    let (status, stdout) = gathered?;
    Ok(Output { status, stdout, stderr: said(&mut stderr) })
}

/// The output of a call that must succeed.
pub(crate) fn output(
    command: &mut Command,
    input: &[u8],
    bytes_max: usize,
    stop: Stop<'_>,
) -> Result<Vec<u8>, Error> {
    let done = run(command, input, bytes_max, stop)?;
    if done.status.success() { Ok(done.stdout) } else { Err(failed(command, &done.stderr)) }
}

/// The one line that a call prints.
pub(crate) fn line(command: &mut Command, stop: Stop<'_>) -> Result<String, Error> {
    let output = output(command, &[], CHUNK_BYTES, stop)?;
    Ok(String::from_utf8_lossy(&output).trim_end_matches('\n').to_owned())
}

/// The error of a call.
pub(crate) fn failed(command: &Command, detail: &str) -> Error {
    let detail = detail.trim();
    let detail = detail.strip_prefix("fatal: ").or_else(|| detail.strip_prefix("error: ")).unwrap_or(detail);
    Error::GitFailed { command: name(command), detail: detail.to_owned() }
}

/// The name of the command of git: the first argument after the folder.
fn name(command: &Command) -> String {
    let mut arguments = command.get_args().skip_while(|argument| *argument != "-C").skip(2);
    arguments.next().unwrap_or_default().to_string_lossy().into_owned()
}

fn said(stderr: &mut File) -> String {
    let mut said = Vec::new();
    // An unreadable message leaves the failure without its reason, but still a failure.
    let _ = stderr.rewind();
    let _ = stderr.take(STDERR_BYTES_MAX).read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

/// Arguments that switch off every hook that a repository has by configuration.
pub(crate) fn guarded_hooks(folder: &Path, stop: Stop<'_>) -> Result<Vec<String>, Error> {
    let mut command = guarded(folder);
    command.args(["config", "--null", "--name-only", "--get-regexp", r"^hook\."]);
    let done = run(&mut command, &[], CHUNK_BYTES, stop)?;
    let keys = done.stdout.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let off = keys.filter_map(|key| {
        let (name, _) = key.rsplit_once('.')?;
        Some(["-c".to_owned(), format!("{name}.enabled=false")])
    });
    Ok(off.flatten().collect())
}
