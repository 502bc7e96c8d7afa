//! What the report reads by the `git` program, called as [`actors_workspace::git`] says: it never writes to the
//! repository and never reaches the network.

use std::fs::File;
use std::io::{Read, Seek};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Stdio;

use super::child::Spoken;
use super::{Error, Watch, files};

/// Bytes of an error message: nobody reads a longer one.
const STDERR_BYTES_MAX: u64 = 4 * 1024;

/// Bytes of a field of git's output: a line of numbers and a path, or a person's name.
const FIELD_BYTES_MAX: usize = 1024 * 1024;

/// A running `git` that is killed when this is dropped.
pub(super) struct Git {
    command: &'static str,
    spoken: Spoken,
    /// A file and not a pipe, so that a talkative git cannot block on an unread pipe.
    stderr: File,
}

impl Git {
    /// Starts `git <arguments>` in `repo`; the first argument names the command in errors.
    pub(super) fn start(repo: &Path, arguments: &[&'static str], input: Stdio) -> Result<Self, Error> {
        let mut command = actors_workspace::git::guarded(repo);
        command.args(arguments);
        let stderr = tempfile::tempfile().map_err(|source| Error::GitMissing { source })?;
        let stderr_copy = stderr.try_clone().map_err(|source| Error::GitMissing { source })?;
        command.stdin(input).stderr(stderr_copy);
        let spoken = Spoken::start(&mut command).map_err(|source| Error::GitMissing { source })?;
        Ok(Self { command: arguments.first().copied().unwrap_or_default(), spoken, stderr })
    }

    /// Passes every NUL-terminated field of the output to `visit` until that breaks, then waits for the end.
    pub(super) fn each_field(
        self,
        watch: &Watch,
        mut visit: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let mut field = Vec::new();
        while let Some(chunk) = self.next_chunk(watch)? {
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

    /// More output; `None` at its end.
    fn next_chunk(&self, watch: &Watch) -> Result<Option<Vec<u8>>, Error> {
        self.spoken.chunk(watch)?.transpose().map_err(|error| self.failed(&error.to_string()))
    }

    /// Waits for the end and turns a failure into an error with git's own words.
    fn finish(mut self, watch: &Watch) -> Result<(), Error> {
        let status = self.spoken.wait(watch)?.map_err(|source| self.failed(&source.to_string()))?;
        if status.success() {
            return Ok(());
        }
        let mut detail = Vec::new();
        // An unreadable message leaves the failure without its reason, but still a failure.
        let _ = self.stderr.rewind();
        let _ = (&self.stderr).take(STDERR_BYTES_MAX).read_to_end(&mut detail);
        Err(self.failed(String::from_utf8_lossy(&detail).trim()))
    }

    /// The error of this command for output that could not be read.
    pub(super) fn failed(&self, detail: &str) -> Error {
        let detail = detail.strip_prefix("fatal: ").unwrap_or(detail);
        Error::GitFailed { command: self.command.to_owned(), detail: detail.to_owned() }
    }
}

/// Reads objects of a repository by their ids.
pub(super) struct Objects(Git);

impl Objects {
    /// Returns sizes, or also contents where `with_contents`.
    pub(super) fn start(repo: &Path, with_contents: bool) -> Result<Self, Error> {
        let batch = if with_contents { "--batch" } else { "--batch-check" };
        Git::start(repo, &["cat-file", batch], Stdio::piped()).map(Self)
    }

    /// The size of an object; `None` when it is missing, as in a partial clone.
    pub(super) fn size(&mut self, id: &str, watch: &Watch) -> Result<Option<u64>, Error> {
        self.0.spoken.send(format!("{id}\n").into_bytes());
        let answer = self.0.spoken.line(FIELD_BYTES_MAX, watch)?;
        let answer = answer.ok_or_else(|| self.0.failed("git ended before it answered"))?;
        let answer = String::from_utf8_lossy(&answer);
        Ok(answer.rsplit(' ').next().and_then(|size| size.parse().ok()))
    }

    /// The first `bytes_max` bytes of an object; `None` when it is missing. Needs `with_contents`.
    pub(super) fn start_of(
        &mut self,
        id: &str,
        bytes_max: u64,
        watch: &Watch,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some(size) = self.size(id, watch)? else { return Ok(None) };
        // A line feed follows the contents.
        let content = self.0.spoken.bytes(size.saturating_add(1), bytes_max.min(size), watch)?;
        content.map(Some).ok_or_else(|| self.0.failed("git ended within an object"))
    }
}

/// The output of a command that prints one line.
pub(super) fn line(repo: &Path, arguments: &[&'static str], watch: &Watch) -> Result<String, Error> {
    let git = Git::start(repo, arguments, Stdio::null())?;
    let mut output = Vec::new();
    while let Some(chunk) = git.next_chunk(watch)? {
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
    check_top(&real, path, watch)?;
    line(&real, &["rev-parse", "--verify", "--quiet", "HEAD"], watch).map_err(|error| match error {
        Error::GitFailed { .. } => Error::WithoutCommits { path: shown() },
        other => other,
    })?;
    // A branch that names a missing commit is damage, and not an empty repository.
    line(&real, &["rev-parse", "--verify", "HEAD^{commit}"], watch)
}

/// Checks that `real` is the top folder of a repository with a working tree; otherwise returns the reason.
pub(super) fn check_top(real: &Path, path: &Path, watch: &Watch) -> Result<(), Error> {
    let path = path.display().to_string();
    let at_top = has_git(real);
    match is_bare(real, watch)? {
        Some(false) if at_top => return Ok(()),
        Some(true) => return Err(Error::Bare { path }),
        Some(false) | None => {}
    }
    for top in real.ancestors().skip(1).filter(|above| !at_top && has_git(above)) {
        if is_bare(top, watch)?.is_some() {
            return Err(Error::BelowTheTop { path, top: top.display().to_string() });
        }
    }
    Err(Error::NotARepository { path })
}

fn has_git(folder: &Path) -> bool {
    folder.join(".git").symlink_metadata().is_ok()
}

/// Whether the repository at exactly this folder has no working tree; `None` where there is no repository.
fn is_bare(folder: &Path, watch: &Watch) -> Result<Option<bool>, Error> {
    match line(folder, &["rev-parse", "--is-bare-repository"], watch) {
        Ok(said) => Ok(Some(said == "true")),
        Err(Error::GitFailed { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// Whether a repository is a partial clone, whose missing objects could be fetched.
pub(super) fn is_partial(repo: &Path, watch: &Watch) -> Result<bool, Error> {
    let promised = r"^(extensions\.partialclone|remote\..*\.promisor)$";
    match line(repo, &["config", "--get-regexp", promised], watch) {
        Ok(found) => Ok(!found.is_empty()),
        Err(Error::GitFailed { .. }) => Ok(false),
        Err(other) => Err(other),
    }
}
