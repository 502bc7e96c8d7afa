//! The folders that the operator allows, and how a workspace is opened below one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::folder::{Folder, Identity};
use crate::{Error, WorkspacePath};

/// What a workspace is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To list, read and search.
    Read,
    /// To write too.
    Write,
}

/// The allowed folders. By default none: then any git working copy may be read, as for a report, and nothing is
/// written.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// The operator's folders, as real paths.
    allowed: Vec<PathBuf>,
    /// The folder of the trees that tasks have made: each is a workspace.
    own: Option<PathBuf>,
    /// The folder of the installation's own data, which is no part of any workspace.
    data: Option<PathBuf>,
}

impl Roots {
    /// Opens the operator's folders; `data` is the installation's own folder.
    pub fn new(allowed: &[PathBuf], data: &Path) -> Result<Self, Error> {
        let allow = |path: &PathBuf| {
            let shown = path.display().to_string();
            if !path.is_absolute() {
                return Err(Error::NotAllowed { path: shown, why: "is not an absolute path" });
            }
            let real = fs::canonicalize(path).map_err(|source| Error::io("open", &shown, source))?;
            if !real.is_dir() {
                return Err(Error::NotAFolder { path: shown });
            }
            if real.parent().is_none() {
                return Err(Error::NotAllowed { path: shown, why: "is the whole machine" });
            }
            Ok(real)
        };
        let allowed = allowed.iter().map(allow).collect::<Result<_, _>>()?;
        let data = real(data);
        Ok(Self { allowed, own: Some(data.join(crate::worktree::FOLDER)), data: Some(data) })
    }

    /// The installation's own folder, which may be made after this.
    fn closed(&self) -> Option<Identity> {
        let found = self.data.as_ref().and_then(|data| fs::metadata(data).ok())?;
        Some((found.dev(), found.ino()))
    }

    /// Opens a workspace: an allowed folder, or one below it. Below an allowed folder no symbolic link is followed.
    pub fn open(&self, path: &Path, access: Access) -> Result<Folder, Error> {
        let shown = path.display().to_string();
        if !path.is_absolute() {
            return Err(Error::NotAllowed { path: shown, why: "is not an absolute path" });
        }
        let below = |root: &&PathBuf| path.strip_prefix(root).is_ok();
        if let Some(root) = self.own.iter().chain(&self.allowed).find(below) {
            let rest = path.strip_prefix(root).expect("it was found by this");
            let folder = Folder::open(root, self.closed())?;
            if rest.as_os_str().is_empty() {
                return Ok(folder);
            }
            let rest =
                rest.to_str().ok_or(Error::PathRefused { path: shown, why: "the path is not UTF-8" })?;
            return folder.descend(&WorkspacePath::parse(rest)?);
        }
        match access {
            Access::Read if self.allowed.is_empty() => read_only(path, self.closed()),
            Access::Read => Err(Error::NotAllowed { path: shown, why: "is not below an allowed folder" }),
            Access::Write => Err(Error::NotAllowed { path: shown, why: "may not be written to" }),
        }
    }

    /// Whether a real path may be used: it is an allowed folder or below one. Without allowed folders anything may be
    /// read.
    pub(crate) fn check(&self, real: &Path, access: Access) -> Result<(), Error> {
        let below = |root: &PathBuf| real.starts_with(root);
        if self.own.iter().chain(&self.allowed).any(below) {
            return Ok(());
        }
        match access {
            Access::Read if self.allowed.is_empty() => Ok(()),
            Access::Read | Access::Write => Err(Error::NotAllowed {
                path: real.display().to_string(),
                why: "is not below an allowed folder",
            }),
        }
    }
}

/// Any git working copy, without a setting: what a report reads.
fn read_only(path: &Path, data: Option<Identity>) -> Result<Folder, Error> {
    let shown = || path.display().to_string();
    let real = fs::canonicalize(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::PathMissing { path: shown() },
        _ => Error::io("open", shown(), source),
    })?;
    if real.join(".git").symlink_metadata().is_err() {
        return Err(Error::NotARepository { path: shown() });
    }
    Folder::open(&real, data)
}

/// The real path of a folder that may not be there yet.
pub(crate) fn real(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let above = |path: &Path| Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    absolute.canonicalize().ok().or_else(|| above(&absolute)).unwrap_or(absolute)
}
