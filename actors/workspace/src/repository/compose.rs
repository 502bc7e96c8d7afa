//! A change of a few files, made of objects: no tree of files and no ref is touched.

use bus_schemas::Hash;
use serde::{Deserialize, Serialize};

use super::{LIST_BYTES_MAX, Repository, fields};
use crate::git::{failed, line, output, run};
use crate::write::WRITE_BYTES_MAX;
use crate::{Error, Stop, WorkspacePath};

/// A file with its new content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// The path.
    pub path: WorkspacePath,
    /// The content; `None` to delete the file.
    pub content: Option<Vec<u8>>,
}

/// A file before and after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedFile {
    /// The path.
    pub path: String,
    /// The hash of the content before; null for a new file.
    pub before: Option<Hash>,
    /// The hash of the content after; null for a deleted file.
    pub after: Option<Hash>,
}

/// A change that is made of objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Composed {
    /// The commit that it is based on.
    pub base: String,
    /// The tree that it leads to.
    pub tree: String,
    /// The files.
    pub files: Vec<ChangedFile>,
}

impl Repository {
    /// Writes the tree that a commit's tree becomes with these files.
    pub fn compose(&self, base: &str, files: &[NewFile], stop: Stop<'_>) -> Result<Composed, Error> {
        let folder = tempfile::tempdir().map_err(|source| Error::io("look at", "a folder", source))?;
        let index = folder.path().join("index");
        let git = || {
            let mut command = self.isolated();
            command.env("GIT_INDEX_FILE", &index);
            command
        };
        output(git().args(["read-tree", base]), &[], LIST_BYTES_MAX, stop)?;
        let mut changed = Vec::new();
        for NewFile { path, content } in files {
            if content.as_ref().is_some_and(|content| content.len() as u64 > WRITE_BYTES_MAX) {
                let what = format!("the content for `{path}`");
                return Err(Error::TooLarge { what, limit: format!("{WRITE_BYTES_MAX} bytes") });
            }
            let mode = self.mode_of(base, path, stop)?;
            let before = match mode {
                Some(_) => Some(self.hash_at(base, path, stop)?),
                None => None,
            };
            let Some(content) = content else {
                if before.is_none() {
                    return Err(Error::PathMissing { path: path.to_string() });
                }
                let mut remove = git();
                remove.args(["update-index", "--force-remove", "--", path.as_str()]);
                output(&mut remove, &[], LIST_BYTES_MAX, stop)?;
                changed.push(ChangedFile { path: path.to_string(), before, after: None });
                continue;
            };
            let mut write = git();
            write.args(["hash-object", "-w", "--stdin", "--no-filters"]);
            let id = output(&mut write, content, LIST_BYTES_MAX, stop)?;
            let id = String::from_utf8_lossy(&id).trim().to_owned();
            let entry = format!("{},{id},{path}", mode.as_deref().unwrap_or("100644"));
            output(git().args(["update-index", "--add", "--cacheinfo", &entry]), &[], LIST_BYTES_MAX, stop)?;
            changed.push(ChangedFile { path: path.to_string(), before, after: Some(Hash::of(content)) });
        }
        let tree = line(git().arg("write-tree"), stop)?;
        Ok(Composed { base: base.to_owned(), tree, files: changed })
    }

    /// Whether each file is in a commit as it was before a change.
    pub fn is_as_before(&self, commit: &str, files: &[ChangedFile], stop: Stop<'_>) -> Result<bool, Error> {
        for file in files {
            let path = WorkspacePath::parse(&file.path)?;
            let found = match self.mode_of(commit, &path, stop)? {
                Some(_) => Some(self.hash_at(commit, &path, stop)?),
                None => None,
            };
            if found != file.before {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The mode of a plain file; `None` if there is nothing. Whatever else is there, or above it, is refused.
    fn mode_of(&self, commit: &str, path: &WorkspacePath, stop: Stop<'_>) -> Result<Option<String>, Error> {
        let (folder, _) = path.split();
        if let Some(folder) = folder
            && let Some(found) = self.entry(commit, &folder, stop)?
            && found != "040000"
        {
            return Err(Error::NotAFolder { path: folder.to_string() });
        }
        match self.entry(commit, path, stop)? {
            None => Ok(None),
            Some(mode) if mode == "100644" || mode == "100755" => Ok(Some(mode)),
            Some(_) => {
                Err(Error::NotAFile { path: path.to_string(), what: "a folder, a link or a submodule" })
            }
        }
    }

    /// The mode of what a commit has at a path.
    fn entry(&self, commit: &str, path: &WorkspacePath, stop: Stop<'_>) -> Result<Option<String>, Error> {
        let mut command = self.isolated();
        command.args(["ls-tree", "-z", commit, "--", path.as_str()]);
        let said = output(&mut command, &[], LIST_BYTES_MAX, stop)?;
        Ok(fields(&said).next().and_then(|entry| entry.split(' ').next().map(str::to_owned)))
    }

    fn hash_at(&self, commit: &str, path: &WorkspacePath, stop: Stop<'_>) -> Result<Hash, Error> {
        let mut command = self.isolated();
        command.args(["cat-file", "blob", &format!("{commit}:{path}")]);
        let limit = usize::try_from(WRITE_BYTES_MAX).unwrap_or(usize::MAX);
        Ok(Hash::of(&output(&mut command, &[], limit, stop)?))
    }

    /// Removes a branch, if it is at this commit still. One that is not there is removed.
    pub fn drop_branch(&self, name: &str, at: &str, stop: Stop<'_>) -> Result<(), Error> {
        let Some(found) = self.branch(name, stop)? else { return Ok(()) };
        if found.commit != at {
            return Err(Error::RefMoved {
                branch: name.to_owned(),
                wanted: at.to_owned(),
                found: found.commit,
            });
        }
        self.check_free(&found)?;
        let mut command = self.itself();
        command.args(crate::git::guarded_hooks(&self.top, stop)?);
        command.args(["update-ref", "--no-deref", "-d", &format!("refs/heads/{name}"), at]);
        let done = run(&mut command, &[], LIST_BYTES_MAX, stop)?;
        if done.status.success() { Ok(()) } else { Err(failed(&command, &done.stderr)) }
    }
}
