//! Commits, and who wrote which line.

use serde::Serialize;

use super::changes::literal;
use super::{LIST_BYTES_MAX, Repository, fields};
use crate::git::output;
use crate::{Error, Stop, WorkspacePath};

/// A commit of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Commit {
    /// The id.
    pub id: String,
    /// The ids of its parents.
    pub parents: Vec<String>,
    /// The name of the author.
    pub author: String,
    /// The address of the author.
    pub email: String,
    /// When it was written, as in RFC 3339.
    pub time: String,
    /// The first line of the message.
    pub subject: String,
}

/// A line with its last change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blamed {
    /// The line, from 1 on.
    pub line: u64,
    /// The commit that wrote it.
    pub commit: String,
    /// The name of the author.
    pub author: String,
    /// When, in seconds since 1970.
    pub time: i64,
    /// The text.
    pub text: String,
}

impl Repository {
    /// The history of a commit, the newest first, or of the commits in it that changed a path.
    pub fn log(
        &self,
        commit: &str,
        path: Option<&WorkspacePath>,
        count: usize,
        stop: Stop<'_>,
    ) -> Result<Vec<Commit>, Error> {
        let mut command = self.isolated();
        command.args(["log", "-z", "--no-color", "--format=tformat:%H%x00%P%x00%an%x00%ae%x00%aI%x00%s"]);
        command.arg(format!("--max-count={count}")).arg(commit).arg("--").args(path.map(literal));
        let all: Vec<String> = fields(&output(&mut command, &[], LIST_BYTES_MAX, stop)?).collect();
        let commit = |six: &[String]| Commit {
            id: six[0].clone(),
            parents: six[1].split_whitespace().map(str::to_owned).collect(),
            author: six[2].clone(),
            email: six[3].clone(),
            time: six[4].clone(),
            subject: six[5].clone(),
        };
        Ok(all.chunks_exact(6).map(commit).collect())
    }

    /// Who wrote the lines of a file, from `first` on at most `count`.
    pub fn blame(
        &self,
        commit: &str,
        path: &WorkspacePath,
        first: u64,
        count: u64,
        stop: Stop<'_>,
    ) -> Result<Vec<Blamed>, Error> {
        let mut command = self.isolated();
        command.args([
            "blame",
            "--line-porcelain",
            &format!("-L{first},+{count}"),
            commit,
            "--",
            path.as_str(),
        ]);
        let said = output(&mut command, &[], LIST_BYTES_MAX, stop).map_err(|error| match error {
            Error::GitFailed { detail, .. } if detail.contains("no such path") => {
                Error::PathMissing { path: path.as_str().to_owned() }
            }
            Error::GitFailed { detail, .. } if detail.contains("lines") => {
                Error::invalid("the range of lines", detail)
            }
            other => other,
        })?;
        let (mut lines, mut commit, mut author, mut time) = (Vec::new(), String::new(), String::new(), 0);
        for line in String::from_utf8_lossy(&said).lines() {
            if let Some(text) = line.strip_prefix('\t') {
                let (commit, author, text) = (commit.clone(), author.clone(), text.to_owned());
                lines.push(Blamed { line: first + lines.len() as u64, commit, author, time, text });
            } else if let Some(name) = line.strip_prefix("author ") {
                name.clone_into(&mut author);
            } else if let Some(at) = line.strip_prefix("author-time ") {
                time = at.parse().unwrap_or(0);
            } else if let Some((id, rest)) = line.split_once(' ')
                && id.len() >= 40
                && rest.starts_with(|letter: char| letter.is_ascii_digit())
            {
                id.clone_into(&mut commit);
            }
        }
        Ok(lines)
    }
}
