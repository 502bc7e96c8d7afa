//! Repositories: what is read and written, and that nothing of a hostile one runs.

mod hostile;
mod merges;
mod reads;
mod trees;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use actors_workspace::{Access, Error, Identity, Repository, Roots, Worktrees};
use tempfile::TempDir;

/// Nobody stops the work.
pub fn go_on() -> bool {
    false
}

/// A repository with two commits, and the installation's data.
pub struct Stage {
    home: TempDir,
}

impl Stage {
    pub fn plain() -> Self {
        Self::with(&[])
    }

    /// One that is made with these arguments of `git init`.
    pub fn with(arguments: &[&str]) -> Self {
        let stage = Self { home: tempfile::tempdir().expect("a folder") };
        for folder in ["repo", "data"] {
            fs::create_dir(stage.home.path().join(folder)).expect("a folder");
        }
        stage.git(&[&["init", "-q", "-b", "main"], arguments].concat());
        stage.file("a.txt", "one\ntwo\n");
        stage.file("src/lib.py", "x = 1\n");
        stage.commit("first");
        stage.file("a.txt", "one\n2\n");
        stage.commit("second");
        stage
    }
    pub fn repo(&self) -> PathBuf {
        self.home.path().join("repo")
    }
    pub fn file(&self, name: &str, text: &str) {
        let path = self.repo().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.repo(), arguments)
    }
    pub fn commit(&self, message: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
    }
    pub fn roots(&self) -> Roots {
        Roots::new(&[self.repo()], &self.home.path().join("data")).expect("roots")
    }
    pub fn open(&self) -> Repository {
        Repository::open(&self.repo(), &self.roots(), Access::Write, &go_on).expect("a repository")
    }
    pub fn trees(&self) -> Worktrees {
        Worktrees::new(&self.home.path().join("data"))
    }
    /// Every file of the repository and of its git folder, except logs and objects.
    pub fn snapshot(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        read(&self.repo(), &mut files);
        files.sort();
        files
    }
}

fn read(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.ends_with(".git/objects") || path.ends_with(".git/logs") {
            continue;
        }
        if path.is_dir() {
            read(&path, files);
        } else {
            let bytes = fs::read(&path).expect("a file");
            files.push((path, bytes));
        }
    }
}

/// The real program, as a person calls it.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
    let done =
        Command::new("git").current_dir(folder).args(identity).args(arguments).output().expect("git runs");
    assert!(done.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
}

pub fn by() -> Identity {
    Identity { name: "Orrery".into(), email: "orrery@localhost".into(), time: 1_700_000_000 }
}

pub fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    result.expect_err("it is refused").code()
}
