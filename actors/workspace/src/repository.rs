//! What agents may do with a repository.
//!
//! Objects are read and written with a configuration of our own: a new, empty git folder whose objects are those of the
//! repository. So no hook, filter, driver, monitor or program that the repository names can run, whatever is in its
//! configuration. Only refs are read and moved in the repository itself, and moved only from the value that was seen.

mod changes;
mod compose;
mod history;
mod merge;
mod refs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bus_schemas::text::is_line;
use tempfile::TempDir;

pub use self::changes::{DIFF_BYTES_MAX, Diff, FileDiff, Status, StatusEntry};
pub use self::compose::{ChangedFile, Composed, NewFile};
pub use self::history::{Blamed, Commit};
pub use self::merge::Merge;
pub use self::refs::{Branch, Guard};

use crate::git::{failed, guarded, line, output, run};
use crate::roots::{Access, Roots};
use crate::{Error, Stop};

/// The most bytes of a list that git prints: two hundred thousand paths fit.
const LIST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest name of a commit or a branch.
const NAME_BYTES_MAX: usize = 200;

/// Who makes a commit, and when. The same identity and time give the same commit again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
    /// Seconds since 1970.
    pub time: i64,
}

/// A repository with a working tree.
#[derive(Debug)]
pub struct Repository {
    /// The top folder, as a real path.
    top: PathBuf,
    objects: PathBuf,
    index: PathBuf,
    /// An empty git folder: the configuration of every call that reads or writes objects.
    own: TempDir,
    is_shallow: Option<PathBuf>,
}

impl Repository {
    /// Opens the repository whose top folder this is.
    pub fn open(path: &Path, roots: &Roots, access: Access, stop: Stop<'_>) -> Result<Self, Error> {
        // Refuses links below an allowed folder, and what is not allowed.
        roots.open(path, access)?;
        let shown = path.display().to_string();
        let top = fs::canonicalize(path).map_err(|source| Error::io("open", &shown, source))?;
        roots.check(&top, access)?;
        let missing = || Error::NotARepository { path: shown.clone() };
        if top.join(".git").symlink_metadata().is_err() {
            return Err(missing());
        }
        let mut command = guarded(&top);
        command.args(["rev-parse", "--path-format=absolute", "--is-bare-repository", "--git-common-dir"]);
        command.args([
            "--git-path",
            "objects",
            "--git-path",
            "index",
            "--git-path",
            "shallow",
            "--show-object-format",
        ]);
        let said = match run(&mut command, &[], LIST_BYTES_MAX, stop)? {
            done if done.status.success() => String::from_utf8_lossy(&done.stdout).into_owned(),
            done if done.stderr.contains("not a git repository") => return Err(missing()),
            done => return Err(failed(&command, &done.stderr)),
        };
        let lines: Vec<&str> = said.lines().collect();
        let ["false", common, objects, index, shallow, format] = lines[..] else { return Err(missing()) };
        // A `.git` that leads elsewhere must lead to where the operator allows it.
        let common = fs::canonicalize(common).map_err(|source| Error::io("open", common, source))?;
        roots.check(&common, access)?;
        let own = own_folder(format).map_err(|source| Error::io("make a folder for", &shown, source))?;
        let is_shallow = Some(PathBuf::from(shallow)).filter(|path| path.exists());
        Ok(Self { top, objects: objects.into(), index: index.into(), own, is_shallow })
    }

    /// The top folder, as a real path.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// The folder of the objects.
    pub(crate) fn objects(&self) -> &Path {
        &self.objects
    }

    pub(crate) fn shallow(&self) -> Option<&Path> {
        self.is_shallow.as_deref()
    }

    /// `git` in the repository itself: for refs.
    fn itself(&self) -> Command {
        guarded(&self.top)
    }

    /// `git` on the objects of the repository, without its configuration.
    pub(crate) fn isolated(&self) -> Command {
        let mut command = guarded(self.own.path());
        command.env("GIT_DIR", self.own.path()).env("GIT_OBJECT_DIRECTORY", &self.objects);
        if let Some(shallow) = &self.is_shallow {
            command.env("GIT_SHALLOW_FILE", shallow);
        }
        command
    }

    /// The same on the files of a tree with its index.
    pub(crate) fn isolated_in(&self, tree: &Path, index: &Path) -> Command {
        let mut command = guarded(tree);
        command.env("GIT_DIR", self.own.path()).env("GIT_OBJECT_DIRECTORY", &self.objects);
        command.env("GIT_WORK_TREE", tree).env("GIT_INDEX_FILE", index);
        if let Some(shallow) = &self.is_shallow {
            command.env("GIT_SHALLOW_FILE", shallow);
        }
        command
    }

    /// A commit by its id, its branch, or any other name that git knows it by.
    pub fn commit_id(&self, name: &str, stop: Stop<'_>) -> Result<String, Error> {
        self.object(name, "commit", stop)
    }

    fn object(&self, name: &str, kind: &'static str, stop: Stop<'_>) -> Result<String, Error> {
        let is_plain = |letter: char| letter.is_alphanumeric() || "._/@{}^~-+#".contains(letter);
        if name.is_empty()
            || name.len() > NAME_BYTES_MAX
            || name.starts_with('-')
            || !name.chars().all(is_plain)
        {
            return Err(Error::invalid(
                format!("the name `{}`", bus_schemas::text::one_line(name)),
                "no commit can have it",
            ));
        }
        let mut command = self.itself();
        command.args(["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{name}^{{{kind}}}")]);
        match line(&mut command, stop) {
            Ok(id) => Ok(id),
            Err(Error::GitFailed { .. }) => Err(Error::RefMissing { what: kind, name: name.to_owned() }),
            Err(other) => Err(other),
        }
    }

    /// Whether the first commit is the second, or before it.
    pub fn contains(&self, later: &str, earlier: &str, stop: Stop<'_>) -> Result<bool, Error> {
        let mut command = self.isolated();
        command.args(["merge-base", "--is-ancestor", earlier, later]);
        let done = run(&mut command, &[], LIST_BYTES_MAX, stop)?;
        match done.status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(failed(&command, &done.stderr)),
        }
    }

    /// Writes a commit: an object that no ref leads to yet.
    pub fn write_commit(
        &self,
        tree: &str,
        parents: &[&str],
        message: &str,
        by: &Identity,
        stop: Stop<'_>,
    ) -> Result<String, Error> {
        let mut command = self.isolated();
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), &by.name).env(format!("GIT_{role}_EMAIL"), &by.email);
            command.env(format!("GIT_{role}_DATE"), format!("@{} +0000", by.time));
        }
        command.arg("commit-tree").arg(tree);
        for parent in parents {
            command.args(["-p", parent]);
        }
        let id = output(&mut command, message.as_bytes(), LIST_BYTES_MAX, stop)?;
        Ok(String::from_utf8_lossy(&id).trim().to_owned())
    }
}

/// An empty git folder with a configuration of our own.
fn own_folder(format: &str) -> std::io::Result<TempDir> {
    let own = tempfile::Builder::new().prefix("orrery-git-").tempdir()?;
    fs::create_dir(own.path().join("refs"))?;
    fs::create_dir(own.path().join("objects"))?;
    fs::write(own.path().join("HEAD"), "ref: refs/heads/none\n")?;
    let config = match format {
        "sha1" => "[core]\nrepositoryformatversion = 0\nbare = false\n".to_owned(),
        other => format!(
            "[core]\nrepositoryformatversion = 1\nbare = false\n[extensions]\nobjectformat = {other}\n"
        ),
    };
    fs::write(own.path().join("config"), config)?;
    Ok(own)
}

/// Checks a message of a commit.
pub(crate) fn check_message(message: &str) -> Result<(), Error> {
    let is_good = !message.trim().is_empty() && message.len() <= 16 * 1024 && !message.contains('\0');
    is_good.then_some(()).ok_or_else(|| Error::invalid("the message", "1 to 16384 bytes of text are allowed"))
}

/// The fields of an output that ends each with a zero byte.
fn fields(output: &[u8]) -> impl Iterator<Item = String> {
    let output = output.strip_suffix(&[0]).unwrap_or(output);
    let parts = if output.is_empty() { None } else { Some(output.split(|byte| *byte == 0)) };
    parts.into_iter().flatten().map(|part| String::from_utf8_lossy(part).into_owned())
}

/// A few of many names, for a message.
fn some(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(5).map(|name| bus_schemas::text::one_line(name)).collect();
    let more = names.len().saturating_sub(shown.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", shown.join(", "))
}

/// Whether a text can be the name of a branch here: stricter than git is.
fn is_branch_name(name: &str) -> bool {
    let is_plain = |letter: char| letter.is_alphanumeric() || "._/-+#@".contains(letter);
    let is_part = |part: &str| {
        !part.is_empty() && !part.starts_with(['.', '-']) && !part.ends_with('.') && !part.ends_with(".lock")
    };
    name.len() <= NAME_BYTES_MAX
        && is_line(name)
        && name.chars().all(is_plain)
        && name.split('/').all(is_part)
        && !name.contains("..")
        && name != "@"
        && name != "HEAD"
}
