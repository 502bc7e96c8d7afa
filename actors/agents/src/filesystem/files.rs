//! Listing, reading, searching and writing files.

use std::path::PathBuf;
use std::sync::Arc;

use actors_worker::{Done, Effect, Failure, Reconciled, Work};
use actors_workspace::{
    Access, ENTRIES_MAX, Error, Existing, Found, Listing, MATCHES_MAX, Query, READ_BYTES_MAX,
    WRITE_BYTES_MAX, WorkspacePath, Written,
};
use bus_schemas::Hash;
use bytes::Bytes;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::failure::{input, of_workspace};
use crate::step::stored;
use crate::workspaces::{Workspaces, within};

/// The effect of a write, and the tool that does it.
pub(super) const WRITE: &str = "write";
const TOOL: &str = "filesystem.write";
/// The artifact of a read.
const CONTENT: &str = "content";
/// Entries of a listing, and matches of a search, when the job asks for no other number.
const ENTRIES: usize = 1_000;
const MATCHES: usize = 200;

/// Which files are listed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListInput {
    /// The absolute path of the workspace.
    workspace: Option<PathBuf>,
    /// The name of a task's tree, instead of a path.
    worktree: Option<String>,
    /// The folder in it; absent for the top.
    path: Option<String>,
    /// The levels of folders that are listed.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    depth: usize,
    /// The most entries.
    #[serde(default = "entries")]
    #[schemars(range(min = 1, max = 10_000))]
    limit: usize,
}

fn hash_or_none(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"})
}
fn one() -> usize {
    1
}
fn entries() -> usize {
    ENTRIES
}
fn matches() -> usize {
    MATCHES
}

/// What was listed; `files.json` has the entries.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Listed {
    /// The number of entries.
    entries: usize,
    /// Whether there are more.
    truncated: bool,
}

/// Which file is read.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadInput {
    /// The absolute path of the workspace.
    workspace: Option<PathBuf>,
    /// The name of a task's tree, instead of a path.
    worktree: Option<String>,
    /// The file.
    path: String,
    /// The first byte of the part that is read. Absent with `bytes`: the whole file, at most 16 MiB.
    from: Option<u64>,
    /// The most bytes of the part.
    #[schemars(range(min = 1, max = 16_777_216))]
    bytes: Option<u64>,
}

/// What was read; the artifact `content` has the bytes.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ReadResult {
    /// The path.
    path: String,
    /// The size of the whole file.
    size: u64,
    /// The hash of the content, or of the part: what a write of the whole file expects.
    hash: Hash,
}

/// What is searched for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchInput {
    /// The absolute path of the workspace.
    workspace: Option<PathBuf>,
    /// The name of a task's tree, instead of a path.
    worktree: Option<String>,
    /// The folder in it; absent for the top.
    path: Option<String>,
    /// The text, found within lines.
    #[schemars(length(min = 1, max = 1024))]
    text: String,
    /// Whether the text is a pattern, in the syntax of the crate `regex`.
    #[serde(default)]
    pattern: bool,
    /// Whether capital and small letters are the same.
    #[serde(default)]
    ignore_case: bool,
    /// The most matches.
    #[serde(default = "matches")]
    #[schemars(range(min = 1, max = 1_000))]
    limit: usize,
}

/// What was found; `matches.json` has the lines.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Searched {
    /// The number of matches.
    matches: usize,
    /// Whether there are more, or more files than are looked at.
    truncated: bool,
    /// Files that were searched.
    files: u64,
    /// Files that were not: no text, larger than 8 MiB, or with more than one name.
    skipped: u64,
}

/// What is written, and over what.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteInput {
    /// The absolute path of the workspace.
    workspace: Option<PathBuf>,
    /// The name of a task's tree, instead of a path.
    worktree: Option<String>,
    /// The file. Folders above it are made.
    path: String,
    /// The hash of what the file holds now; null if there must be none.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schemars(required, schema_with = "hash_or_none")]
    expected: Option<Hash>,
    /// The content, as text.
    text: Option<String>,
    /// The content, as an artifact of an earlier step.
    artifact: Option<Named>,
}

/// An artifact of an earlier step of the plan.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    /// The step.
    step: String,
    /// The name of the artifact.
    name: String,
}

fn optional(path: Option<&str>) -> Result<Option<WorkspacePath>, Error> {
    path.map(WorkspacePath::parse).transpose()
}

pub(super) async fn list(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Done, Failure> {
    let ListInput { workspace, worktree, path, depth, limit } = input(&work.job)?;
    let listing: Listing = within(work, workspaces, move |workspaces, stop| {
        let folder = workspaces.open(workspace.as_deref(), worktree.as_deref(), Access::Read)?;
        folder.list(optional(path.as_deref())?.as_ref(), depth, limit.min(ENTRIES_MAX), stop)
    })
    .await?;
    let listed = Listed { entries: listing.entries.len(), truncated: listing.truncated };
    stored(work, "files.json", &listing, &listed).await
}

pub(super) async fn read(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Done, Failure> {
    let ReadInput { workspace, worktree, path, from, bytes } = input(&work.job)?;
    let (path, read) = within(work, workspaces, move |workspaces, _| {
        let folder = workspaces.open(workspace.as_deref(), worktree.as_deref(), Access::Read)?;
        let path = WorkspacePath::parse(&path)?;
        let read = match (from, bytes) {
            (None, None) => folder.read_whole(&path, READ_BYTES_MAX)?,
            (from, bytes) => folder.read(&path, from.unwrap_or(0), bytes.unwrap_or(READ_BYTES_MAX))?,
        };
        Ok((path, read))
    })
    .await?;
    let result = ReadResult { path: path.to_string(), size: read.size, hash: read.hash() };
    let is_text = std::str::from_utf8(&read.bytes).is_ok();
    let media_type = if is_text { "text/plain; charset=utf-8" } else { "application/octet-stream" };
    let content = work.put_artifact(CONTENT, media_type, Bytes::from(read.bytes)).await?;
    Ok(Done::with(vec![content], json!(result)))
}

pub(super) async fn search(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Done, Failure> {
    let SearchInput { workspace, worktree, path, text, pattern, ignore_case, limit } = input(&work.job)?;
    let found: Found = within(work, workspaces, move |workspaces, stop| {
        let query = Query::new(&text, pattern, ignore_case, limit.min(MATCHES_MAX))?;
        let folder = workspaces.open(workspace.as_deref(), worktree.as_deref(), Access::Read)?;
        folder.search(optional(path.as_deref())?.as_ref(), &query, stop)
    })
    .await?;
    let Found { truncated, files, skipped, .. } = found;
    let searched = Searched { matches: found.matches.len(), truncated, files, skipped };
    stored(work, "matches.json", &found, &searched).await
}

/// The content that a job is to write.
async fn content(work: &Work, asked: &WriteInput) -> Result<Bytes, Failure> {
    let too_large = |bytes: u64| {
        let what = format!("the content of {bytes} bytes");
        of_workspace(Error::TooLarge { what, limit: format!("{WRITE_BYTES_MAX} bytes") })
    };
    match (&asked.text, &asked.artifact) {
        (Some(text), None) => Ok(Bytes::from(text.clone())),
        (None, Some(Named { step, name })) => {
            let artifact = work.input(step, name).ok_or_else(|| {
                let message = format!("step `{step}` has left no artifact `{name}`");
                Failure::permanent("artifact-missing", message)
                    .hint("let this step come after that one in the plan")
            })?;
            if artifact.bytes > WRITE_BYTES_MAX {
                return Err(too_large(artifact.bytes));
            }
            work.get_artifact(artifact).await
        }
        _ => Err(Failure::permanent("invalid-input", "give either `text` or `artifact`")
            .hint("`orrery agents show filesystem` prints the schema of the input")),
    }
}

fn effect(asked: &WriteInput, hash: Hash) -> Effect {
    let WriteInput { workspace, worktree, path, expected, .. } = asked;
    let arguments = json!({"workspace": workspace, "worktree": worktree, "path": path, "expected": expected, "hash": hash});
    Effect::new(WRITE).tool(TOOL, arguments).detail(format!("write `{path}`"))
}

fn expected(asked: &WriteInput) -> Existing {
    asked.expected.map_or(Existing::Absent, Existing::Content)
}

pub(super) async fn write(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Done, Failure> {
    let rules = workspaces.writing()?;
    let asked: WriteInput = input(&work.job)?;
    let content = content(work, &asked).await?;
    let path = WorkspacePath::parse(&asked.path);
    path.and_then(|path| rules.check(&path, content.len())).map_err(of_workspace)?;
    let effect = effect(&asked, Hash::of(&content));
    let written: Written = work
        .effect(effect, |key| {
            within(work, workspaces, move |workspaces, _| {
                let folder =
                    workspaces.open(asked.workspace.as_deref(), asked.worktree.as_deref(), Access::Write)?;
                folder.write(&WorkspacePath::parse(&asked.path)?, &content, expected(&asked), &key)
            })
        })
        .await?;
    Ok(Done::with(Vec::new(), json!(written)))
}

/// Finds out whether a write was done.
pub(super) async fn settle(work: &Work, workspaces: &Arc<Workspaces>) -> Result<Reconciled, Failure> {
    let asked: WriteInput = input(&work.job)?;
    let content = content(work, &asked).await?;
    let hash = Hash::of(&content);
    let key = effect(&asked, hash).key(&work.job);
    let path = asked.path.clone();
    let settled = within(work, workspaces, move |workspaces, _| {
        let folder = workspaces.open(asked.workspace.as_deref(), asked.worktree.as_deref(), Access::Write)?;
        folder.settle(&WorkspacePath::parse(&asked.path)?, hash, expected(&asked), &key)
    })
    .await?;
    Ok(match settled {
        Some(true) => Reconciled::Done(json!(Written { path, hash, bytes: content.len() as u64 })),
        Some(false) => Reconciled::NotDone,
        None => Reconciled::Unknown(format!("`{path}` holds neither the former nor the new content")),
    })
}
