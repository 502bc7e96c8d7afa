//! Copies of a package on disk: a repository with the bug committed, and what a patch makes of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::bugs::{Bug, File, Files};
use crate::error::Error;

/// A copy, which is removed when it is dropped.
pub(super) struct Copy {
    folder: TempDir,
}

impl Copy {
    /// A repository with a package, as it is or with a bug.
    pub fn new(files: &Files, bug: Option<&Bug>) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(Error::io("making a folder for a package"))?;
        for (path, file) in files {
            write(folder.path(), path, file)?;
        }
        if let Some(bug) = bug {
            write(folder.path(), &bug.file, &bug.seeded(files)?)?;
        }
        let copy = Self { folder };
        copy.git(&["init", "--quiet"])?;
        // The package's own settings may leave files out.
        copy.git(&["add", "--force", "."])?;
        let name = ["-c", "user.name=Bench", "-c", "user.email=bench@example.org"];
        copy.git(&[&name[..], &["commit", "--quiet", "--message", "As it is"]].concat())?;
        Ok(copy)
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Applies a patch; whether git takes it.
    pub fn apply(&self, patch: &[u8]) -> Result<bool, Error> {
        let path = self.folder.path().join(".git/repair.patch");
        std::fs::write(&path, patch).map_err(Error::io("writing a patch"))?;
        Ok(self.git(&["apply", ".git/repair.patch"]).is_ok())
    }

    /// Takes back whatever of a patch is no change of a module: tests, and all that decides how they run, are those of
    /// the package, and nothing is there beside its files.
    pub fn restore(&self, files: &Files) -> Result<(), Error> {
        let mut found = Vec::new();
        walk(self.folder.path(), self.folder.path(), &mut found)?;
        for (path, is_file) in found {
            if !is_file || !files.contains_key(&path) {
                let removing = Error::io("removing a file that is not in the package");
                std::fs::remove_file(self.folder.path().join(&path)).map_err(removing)?;
            }
        }
        for (path, file) in files {
            if !is_module(path) || !self.folder.path().join(path).is_file() {
                write(self.folder.path(), path, file)?;
            }
        }
        Ok(())
    }

    fn git(&self, arguments: &[&str]) -> Result<(), Error> {
        let mut git = Command::new("git");
        git.current_dir(self.folder.path()).args(arguments).stdin(Stdio::null());
        // What a person has set up is no part of the benchmark.
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        let done = git.output().map_err(Error::io("running git"))?;
        match done.status.success() {
            true => Ok(()),
            false => Err(Error::answer("running git", String::from_utf8_lossy(&done.stderr).trim())),
        }
    }
}

/// Whether a file is a module that a repair may change: neither a test nor what tests are run with.
fn is_module(path: &str) -> bool {
    let is_apart =
        |part: &str| part.starts_with("test") || part.ends_with("_test.py") || part == "conftest.py";
    path.ends_with(".py") && path != "setup.py" && !path.split('/').any(is_apart)
}

fn write(folder: &Path, path: &str, file: &File) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(path);
    let parent = path.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent).map_err(Error::io("making a folder of a package"))?;
    std::fs::write(&path, &file.bytes).map_err(Error::io("writing a file of a package"))?;
    let mode = if file.is_executable { 0o755 } else { 0o644 };
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(&path, permissions).map_err(Error::io("writing a file of a package"))
}

/// The entries below a folder that are no folders, by path, and whether each is a file. Without git's own.
fn walk(root: &Path, folder: &Path, found: &mut Vec<(String, bool)>) -> Result<(), Error> {
    let looking = || Error::io("looking at a copy");
    for entry in std::fs::read_dir(folder).map_err(looking())? {
        let entry = entry.map_err(looking())?;
        let (kind, path): (_, PathBuf) = (entry.file_type().map_err(looking())?, entry.path());
        if path == root.join(".git") {
            continue;
        }
        match kind.is_dir() {
            true => walk(root, &path, found)?,
            false => {
                let below = path.strip_prefix(root).unwrap_or(&path);
                found.push((below.to_string_lossy().into_owned(), kind.is_file()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::bugs;
    use super::*;

    /// The patch between a copy and what `change` makes of it.
    fn patch(change: impl Fn(&Path)) -> (Files, Bug, Vec<u8>) {
        let files = bugs::files(bugs::DEMO, Path::new("")).unwrap();
        let bug = bugs::chosen(&["demo".into()]).unwrap().remove(0);
        let copy = Copy::new(&files, Some(&bug)).unwrap();
        change(copy.path());
        copy.git(&["add", "--all"]).unwrap();
        let mut git = Command::new("git");
        let done = git.current_dir(copy.path()).args(["diff", "--cached", "--binary"]).output().unwrap();
        (files, bug, done.stdout)
    }

    #[test]
    fn of_a_patch_only_changes_of_modules_are_left() {
        let (files, bug, patch) = patch(|folder| {
            std::fs::write(folder.join("temperature.py"), "def to_fahrenheit(c): return 32\n").unwrap();
            std::fs::write(folder.join("test_temperature.py"), "def test_water_freezes(): pass\n").unwrap();
            std::fs::write(folder.join("conftest.py"), "raise SystemExit(0)\n").unwrap();
            std::os::unix::fs::symlink("/etc/passwd", folder.join("sitecustomize.py")).unwrap();
        });
        let copy = Copy::new(&files, Some(&bug)).unwrap();
        assert!(copy.apply(&patch).unwrap());
        assert!(copy.path().join("conftest.py").exists(), "the patch was applied");
        copy.restore(&files).unwrap();
        let mut found = Vec::new();
        walk(copy.path(), copy.path(), &mut found).unwrap();
        found.sort();
        assert_eq!(found, [("temperature.py".to_owned(), true), ("test_temperature.py".to_owned(), true)]);
        let text = |path: &str| std::fs::read(copy.path().join(path)).unwrap();
        assert_eq!(text("test_temperature.py"), files["test_temperature.py"].bytes);
        assert_eq!(text("temperature.py"), b"def to_fahrenheit(c): return 32\n");
    }

    #[test]
    fn a_patch_that_git_refuses_is_said_to_be_one() {
        let (files, bug, _) = patch(|_| {});
        let copy = Copy::new(&files, Some(&bug)).unwrap();
        let outside = b"--- a/../x\n+++ b/../x\n@@ -0,0 +1 @@\n+x\n";
        assert!(!copy.apply(outside).unwrap());
        assert!(!copy.apply(b"no patch").unwrap());
    }
}
