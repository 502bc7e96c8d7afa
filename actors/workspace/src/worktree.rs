//! The trees that tasks work in: one folder for each, in the installation's data, with a git folder of its own that
//! borrows the objects of the repository. What a tree may change is declared when it is made; two open trees of one
//! repository never declare the same path.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::git::{guarded, line, output};
use crate::repository::check_message;
use crate::roots::{Access, Roots, real};
use crate::{Error, Identity, Repository, Stop, WorkspacePath};

/// The folder of all trees in the installation's data.
pub(crate) const FOLDER: &str = "worktrees";
/// The longest name of a tree.
const NAME_BYTES_MAX: usize = 64;
/// The most trees of an installation, and the most paths that one declares.
const TREES_MAX: usize = 1_000;
const DECLARED_MAX: usize = 100;
/// The most bytes of what git prints about a tree.
const LIST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The mode of a submodule in a tree.
const SUBMODULE: &str = "160000";

/// The paths that a tree may change: files, and folders with all that is in them. None means every path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct WriteSet(Vec<String>);

impl WriteSet {
    /// Checks the declared paths.
    pub fn parse(paths: &[String]) -> Result<Self, Error> {
        if paths.len() > DECLARED_MAX {
            return Err(Error::invalid("the write set", format!("at most {DECLARED_MAX} paths are allowed")));
        }
        let checked = paths.iter().map(|path| WorkspacePath::parse(path.strip_suffix('/').unwrap_or(path)));
        let mut paths =
            checked.map(|path| path.map(|path| path.as_str().to_owned())).collect::<Result<Vec<_>, _>>()?;
        paths.sort();
        Ok(Self(paths))
    }

    /// Whether a path may be changed.
    pub fn has(&self, path: &WorkspacePath) -> bool {
        self.0.is_empty() || self.0.iter().any(|declared| is_within(path.as_str(), declared))
    }

    /// A path that both may change; the top folder where one may change everything.
    fn common(&self, other: &Self) -> Option<String> {
        match (self.0.first(), other.0.first()) {
            (None, path) | (path, None) => Some(path.cloned().unwrap_or_else(|| ".".to_owned())),
            _ => self.0.iter().find_map(|mine| {
                let inner =
                    other.0.iter().find(|theirs| is_within(theirs, mine) || is_within(mine, theirs))?;
                Some(if inner.len() > mine.len() { inner.clone() } else { mine.clone() })
            }),
        }
    }
}

fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What a tree was made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Declared {
    /// The top folder of the repository.
    pub repo: PathBuf,
    /// The branch that its commits go to.
    pub branch: String,
    /// The commit that it began with.
    pub base: String,
    /// The paths that it may change.
    pub writes: WriteSet,
}

/// A tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Worktree {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// What it was made for.
    #[serde(flatten)]
    pub declared: Declared,
}

/// All trees of an installation.
#[derive(Debug, Clone, Default)]
pub struct Worktrees {
    folder: Option<PathBuf>,
}

impl Worktrees {
    /// The trees in the installation's own folder.
    pub fn new(data: &Path) -> Self {
        Self { folder: Some(real(data).join(FOLDER)) }
    }

    fn folder(&self) -> Result<&Path, Error> {
        let missing = || Error::NotAllowed { path: "a worktree".to_owned(), why: "needs a data directory" };
        self.folder.as_deref().ok_or_else(missing)
    }

    /// The tree of this name; `None` if it is not there, or not finished.
    pub fn find(&self, name: &str) -> Result<Option<Worktree>, Error> {
        let path = self.path(name)?;
        let Some(declared) = self.declared(name)? else { return Ok(None) };
        Ok(path.is_dir().then(|| Worktree { name: name.to_owned(), path, declared }))
    }

    /// The tree of this name, which must be there.
    pub fn get(&self, name: &str) -> Result<Worktree, Error> {
        self.find(name)?.ok_or_else(|| Error::WorktreeMissing { name: name.to_owned() })
    }

    /// Whether nothing is left of a tree.
    pub fn is_gone(&self, name: &str) -> Result<bool, Error> {
        Ok(self.declared(name)?.is_none() && !self.path(name)?.exists())
    }

    /// All trees of a repository, also those that are being made.
    pub fn of(&self, repo: &Path) -> Result<Vec<Worktree>, Error> {
        let folder = self.folder()?;
        let failed = |source| Error::io("list", folder.display().to_string(), source);
        let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for entry in entries {
            let file = entry.map_err(failed)?.file_name();
            let Some(name) = file.to_str().and_then(|file| file.strip_suffix(".json")) else { continue };
            let Some(declared) = self.declared(name)? else { continue };
            if declared.repo == repo {
                all.push(Worktree { name: name.to_owned(), path: self.path(name)?, declared });
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    fn path(&self, name: &str) -> Result<PathBuf, Error> {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        let is_good = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.chars().all(is_plain)
            && !name.starts_with(['.', '-'])
            && !name.ends_with(".json");
        if !is_good {
            let name = bus_schemas::text::one_line(name);
            let why = format!("1 to {NAME_BYTES_MAX} letters, digits, `.`, `_` and `-` are allowed");
            return Err(Error::invalid(format!("the name `{name}` of a worktree"), why));
        }
        Ok(self.folder()?.join(name))
    }

    fn record(&self, name: &str) -> Result<PathBuf, Error> {
        self.path(name)?;
        Ok(self.folder()?.join(format!("{name}.json")))
    }

    fn declared(&self, name: &str) -> Result<Option<Declared>, Error> {
        let record = self.record(name)?;
        match fs::read(&record) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                Error::io("read", record.display().to_string(), std::io::Error::other(error))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::io("read", record.display().to_string(), source)),
        }
    }

    /// Makes a tree at the commit `declared.base`, and its branch if there is none. A repeat finds what was made.
    pub fn make(
        &self,
        repository: &Repository,
        name: &str,
        declared: &Declared,
        stop: Stop<'_>,
    ) -> Result<Worktree, Error> {
        let path = self.path(name)?;
        self.declare(name, declared)?;
        let made = self.made(repository, &path, declared, stop);
        if made.is_err() && !path.is_dir() {
            // What was not made frees its paths; where that fails, its removal by name does.
            let _ = fs::remove_file(self.record(name)?);
        }
        made?;
        Ok(Worktree { name: name.to_owned(), path, declared: declared.clone() })
    }

    fn made(
        &self,
        repository: &Repository,
        path: &Path,
        declared: &Declared,
        stop: Stop<'_>,
    ) -> Result<(), Error> {
        let branch = repository.branch(&declared.branch, stop)?;
        match &branch {
            Some(branch) if branch.commit != declared.base => {
                let (wanted, found) = (declared.base.clone(), branch.commit.clone());
                return Err(Error::RefMoved { branch: branch.name.clone(), wanted, found });
            }
            Some(_) => {}
            None => {
                repository.move_branch(&declared.branch, &declared.base, None, "orrery: worktree", stop)?
            }
        }
        if path.is_dir() { Ok(()) } else { self.fill(repository, path, declared, stop) }
    }

    /// Records what a tree is for, unless another one declares the same path. One process decides at a time.
    fn declare(&self, name: &str, declared: &Declared) -> Result<(), Error> {
        let folder = self.folder()?;
        let shown = folder.display().to_string();
        let failed = |source| Error::io("write", &shown, source);
        fs::create_dir_all(folder).map_err(failed)?;
        let lock = File::create(folder.join(".lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        if let Some(found) = self.declared(name)? {
            if found == *declared {
                return Ok(());
            }
            let what = format!("`{}` on the branch `{}`", found.repo.display(), found.branch);
            return Err(Error::WorktreeTaken { name: name.to_owned(), what });
        }
        let others = self.of(&declared.repo)?;
        if others.len() >= TREES_MAX {
            return Err(Error::TooLarge {
                what: "the number of worktrees".to_owned(),
                limit: TREES_MAX.to_string(),
            });
        }
        for other in others {
            if let Some(path) = declared.writes.common(&other.declared.writes) {
                return Err(Error::WriteSetOverlap { path, other: other.name });
            }
        }
        let bytes = serde_json::to_vec(declared).expect("paths and names are text");
        let new = folder.join(format!(".{name}.new"));
        let written = fs::write(&new, bytes)
            .and_then(|()| fs::rename(&new, self.record(name).map_err(std::io::Error::other)?));
        written.map_err(failed)
    }

    /// Makes the folder under another name first: what has its name is whole.
    fn fill(
        &self,
        repository: &Repository,
        path: &Path,
        declared: &Declared,
        stop: Stop<'_>,
    ) -> Result<(), Error> {
        let shown = path.display().to_string();
        let failed = |source| Error::io("make", &shown, source);
        let new = tempfile::Builder::new().prefix(".new-").tempdir_in(self.folder()?).map_err(failed)?;
        let at = new.path();
        let format = if declared.base.len() == 40 { "sha1" } else { "sha256" };
        let mut init = guarded(at);
        init.args(["init", "--quiet", "--template=", &format!("--object-format={format}")]);
        init.arg(format!("--initial-branch={}", declared.branch));
        output(&mut init, &[], LIST_BYTES_MAX, stop)?;
        let git = at.join(".git");
        let objects = format!("{}\n", repository.objects().display());
        fs::create_dir_all(git.join("objects/info")).map_err(failed)?;
        fs::write(git.join("objects/info/alternates"), objects).map_err(failed)?;
        if let Some(shallow) = repository.shallow() {
            fs::copy(shallow, git.join("shallow")).map_err(failed)?;
        }
        for arguments in [&["update-ref", "HEAD", &declared.base][..], &["read-tree", "-m", "-u", "HEAD"]] {
            output(guarded(at).args(arguments), &[], LIST_BYTES_MAX, stop)?;
        }
        fs::rename(new.path(), path).map_err(failed)
    }

    /// Writes what a tree has changed as a commit on its branch's commit, which must be the one that the tree has. No
    /// ref moves. `None`: nothing has changed.
    pub fn write_commit(
        &self,
        repository: &Repository,
        worktree: &Worktree,
        message: &str,
        by: &Identity,
        stop: Stop<'_>,
    ) -> Result<Option<(String, String, Vec<String>)>, Error> {
        check_message(message)?;
        let branch = &worktree.declared.branch;
        let (parent, mine) = (repository.tip(branch, stop)?, head(&worktree.path, stop)?);
        if parent != mine {
            return Err(Error::RefMoved { branch: branch.clone(), wanted: mine, found: parent });
        }
        let shown = worktree.path.display().to_string();
        let folder = tempfile::tempdir().map_err(|source| Error::io("look at", &shown, source))?;
        let index = folder.path().join("index");
        let call = |arguments: &[&str]| {
            let mut command = repository.isolated_in(&worktree.path, &index);
            command.args(arguments);
            output(&mut command, &[], LIST_BYTES_MAX, stop)
        };
        call(&["read-tree", &parent])?;
        call(&["add", "--all", "--", "."])?;
        let tree = String::from_utf8_lossy(&call(&["write-tree"])?).trim().to_owned();
        let changed = repository.changed_paths(&parent, &tree, stop)?;
        if changed.is_empty() {
            return Ok(None);
        }
        check_paths(worktree, &changed)?;
        let modes = call(&["diff-tree", "-r", "-z", "--no-renames", &parent, &tree])?;
        let is_link = |field: &[u8]| {
            field.starts_with(b":") && field.split(|byte| *byte == b' ').nth(1) == Some(SUBMODULE.as_bytes())
        };
        if modes.split(|byte| *byte == 0).any(is_link) {
            return Err(Error::invalid(
                "the worktree",
                "a folder in it is a repository: a commit would not have its files",
            ));
        }
        let commit = repository.write_commit(&tree, &[&parent], message, by, stop)?;
        Ok(Some((commit, parent, changed)))
    }

    /// Tells a tree that its branch has moved to the commit that was made of it. Its files stay as they are.
    pub fn advance(&self, worktree: &Worktree, commit: &str, stop: Stop<'_>) -> Result<(), Error> {
        if head(&worktree.path, stop)? != commit {
            output(guarded(&worktree.path).args(["update-ref", "HEAD", commit]), &[], LIST_BYTES_MAX, stop)?;
        }
        output(guarded(&worktree.path).args(["read-tree", "HEAD"]), &[], LIST_BYTES_MAX, stop)?;
        Ok(())
    }

    /// Removes a tree, and frees the paths that it declared. Its branch stays. Changes that no commit has are kept
    /// unless they are to be discarded.
    pub fn remove(&self, name: &str, roots: &Roots, discard: bool, stop: Stop<'_>) -> Result<bool, Error> {
        let path = self.path(name)?;
        if path.is_dir() && !discard {
            let status = Repository::open(&path, roots, Access::Write, stop)?.status(stop)?;
            if !status.entries.is_empty() {
                let changed: Vec<_> = status.entries.iter().map(|entry| entry.path.clone()).collect();
                return Err(Error::TreeDirty {
                    path: path.display().to_string(),
                    changes: changed.join(", "),
                });
            }
        }
        let gone = |removed: std::io::Result<()>| match removed {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::io("remove", path.display().to_string(), source)),
        };
        let folder = gone(fs::remove_dir_all(&path))?;
        Ok(gone(fs::remove_file(self.record(name)?))? || folder)
    }
}

/// Checks changed paths against what a tree declares.
pub(crate) fn check_paths(worktree: &Worktree, changed: &[String]) -> Result<(), Error> {
    for path in changed {
        if !worktree.declared.writes.has(&WorkspacePath::parse(path)?) {
            return Err(Error::OutsideWriteSet { path: path.clone(), worktree: worktree.name.clone() });
        }
    }
    Ok(())
}

impl Worktree {
    /// Checks paths that are to be merged against what the tree declares.
    pub fn check(&self, changed: &[String]) -> Result<(), Error> {
        check_paths(self, changed)
    }
}

fn head(tree: &Path, stop: Stop<'_>) -> Result<String, Error> {
    line(guarded(tree).args(["rev-parse", "--verify", "HEAD"]), stop)
}
