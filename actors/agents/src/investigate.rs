//! The skill `investigate` of the agent `research`: a model answers a question with tools that read a repository, the
//! web, or both.
//!
//! ```text
//! goal ─→ turns of a model ─→ list, read, search, log, blame; web-search, fetch ─→ answer with citations
//!              ▲                                                                          │
//!              └────────────── what is not there, at most twice ◀── each citation looked up ─┴─→ the end
//! ```
//!
//! Every call is a recorded step, and nothing is written. What the tools show has no secrets in the forms of their
//! issuers. Citations are the program's: one that is not there in the end is left out and named.

mod citations;

use std::path::PathBuf;
use std::sync::Arc;

use actors_models::{Conversation, Ended, Message, Models, Prompt, Tool, ToolError};
use actors_web::{Error as WebError, Web};
use actors_worker::{Done, Failure, Work};
use actors_workspace::{Access, Error, Query, READ_BYTES_MAX, Read, Repository, Stop, WorkspacePath};
use bus_schemas::manifests::ReadingTool;
use bus_schemas::{chain, text};
use futures::future::{BoxFuture, FutureExt};
use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::citations::{Answer, Checked, Checker};
use crate::checks::secrets;
use crate::failure::{input, of_web, of_workspace};
use crate::step::stored;
use crate::web::{FetchCall, SearchCall, Surfer};
use crate::workspaces::Workspaces;

/// All of the tools.
const TOOLS: [ReadingTool; 5] =
    [ReadingTool::List, ReadingTool::Read, ReadingTool::Search, ReadingTool::Log, ReadingTool::Blame];
/// The artifact.
const ANSWER: &str = "answer.json";
/// Turns of the model when the job names no other number, and the most.
const TURNS: u32 = 24;
const TURNS_MAX: u32 = 100;
/// The most entries, matches, commits and lines that one call shows: a model reads all of them in each later turn.
const ENTRIES_MAX: usize = 500;
const MATCHES_MAX: usize = 100;
const COMMITS_MAX: usize = 50;
const LINES_MAX: u64 = 400;
/// The most bytes of a line that is shown.
const LINE_BYTES_MAX: usize = 512;
/// The most bytes of an answer, and of the part of it that is the task's result.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
const RESULT_BYTES_MAX: usize = 2 * 1024;

pub(crate) const PROMPT: Prompt =
    Prompt { name: "investigate", version: 2, template: include_str!("prompts/investigate.v2.j2") };

/// What is looked into; the goal of the task is the question.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InvestigateInput {
    /// The absolute path of a repository's top folder; absent for a question that the web answers.
    repo: Option<PathBuf>,
    /// Whether the web may be searched and fetched from, as far as the operator allows it.
    #[serde(default)]
    web: bool,
    /// The most turns of the model.
    #[serde(default = "turns")]
    #[schemars(range(min = 1, max = 100))]
    turns: u32,
}

fn turns() -> u32 {
    TURNS
}

/// The end of it; `answer.json` has all of the answer, the citations, and those that were left out with the reason.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Investigated {
    /// The answer, at most 2 KiB of it.
    answer: String,
    /// Whether the model found an answer.
    found: bool,
    /// Citations that are there; an answer without any is the model's word alone.
    citations: usize,
    /// Citations that are not, and were left out.
    refused: usize,
    /// Turns of the model.
    turns: u32,
    /// Calls of tools.
    tool_calls: u32,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct List {
    /// The folder; absent for the top.
    path: Option<String>,
    /// The levels of folders.
    #[schemars(range(min = 1, max = 16))]
    depth: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Lines {
    /// The file.
    path: String,
    /// The first line, from 1 on.
    #[schemars(range(min = 1))]
    first: Option<u64>,
    /// The most lines.
    #[schemars(range(min = 1, max = 400))]
    count: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Search {
    /// The text, found within lines.
    #[schemars(length(min = 1, max = 1024))]
    text: String,
    /// Whether the text is a regular expression.
    pattern: Option<bool>,
    /// The folder; absent for the top.
    path: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Log {
    /// Only commits that changed this file or folder.
    path: Option<String>,
    /// The most commits.
    #[schemars(range(min = 1, max = 50))]
    count: Option<usize>,
}

pub(crate) async fn investigate(
    work: &Work,
    models: &Models,
    workspaces: &Arc<Workspaces>,
    web: &Arc<Web>,
) -> Result<Done, Failure> {
    let InvestigateInput { repo, web: wants_web, turns } = input(&work.job)?;
    // Recorded: a later attempt, and a replay, has the same tools.
    let allowed = async || Ok(web.allows());
    let (searches, fetches) =
        if wants_web { work.step("web-allowed", &(), allowed).await? } else { (false, false) };
    if wants_web && !searches && !fetches {
        return Err(of_web(&WebError::Off { what: "the web" }));
    }
    if repo.is_none() && !wants_web {
        let message = "the input has neither `repo` nor `web`: there is nothing to look into";
        return Err(Failure::permanent("invalid-input", message).hint("give one of them, or both"));
    }
    let variables = json!({"repo": repo.is_some(), "search": searches, "fetch": fetches});
    let (instructions, prompt) = models.prompt(work, &PROMPT, &variables).await?;
    let question = json!({"question": work.job.goal}).to_string();
    let opening = vec![Message::system(instructions), Message::user(question)];
    let mut conversation = Conversation::new("investigate", opening, vec![prompt.clone()]);
    if let Some(repo) = &repo {
        let (workspaces, repo) = (Arc::clone(workspaces), repo.clone());
        conversation = Looker { workspaces, repo, canceled: work.canceled() }.given_to(conversation, &TOOLS);
    }
    // These reach outside of the task by words and URLs that no person named: the surfer says which it allows.
    let surfer = Surfer::new(web, work);
    surfer.recall().await?;
    if searches {
        let tool = tool::<SearchCall>("web-search", "finds pages of the web");
        conversation = conversation.reads(tool, asking(surfer.clone(), Surfer::search));
    }
    if fetches {
        let tool = tool::<FetchCall>("fetch", "shows a page of the web as text");
        conversation = conversation.reads(tool, asking(surfer.clone(), Surfer::fetch));
    }
    let checker = Checker { work: work.clone(), workspaces: Arc::clone(workspaces), repo, surfer };
    let conversation = conversation
        .closes_when(tool::<Answer>("answer", "ends with the answer"), move |sent_back, answer| {
            checker.clone().check(sent_back, answer)
        })
        .turns(turns.min(TURNS_MAX));
    let Ended { value, turns, tool_calls, usage, .. } = conversation.run(work, models).await?;
    let checked: Checked = serde_json::from_value(value).map_err(|error| {
        Failure::permanent("invalid-output", format!("the answer was checked and cannot be read: {error}"))
            .hint("`orrery explain invalid-output` says more")
    })?;
    let Checked { answer, found, citations, refused } = checked.shown(ANSWER_BYTES_MAX);
    let whole = json!({"question": work.job.goal, "answer": answer, "found": found, "citations": citations,
                       "refused": refused, "prompts": [prompt], "usage": usage});
    let answer = text::cut(&answer, RESULT_BYTES_MAX);
    let (citations, refused) = (citations.len(), refused.len());
    let result = Investigated { answer, found, citations, refused, turns, tool_calls };
    stored(work, ANSWER, &whole, &result).await
}

/// The handler of a tool of the web.
fn asking<T, F>(
    surfer: Surfer,
    ask: fn(Surfer, T) -> F,
) -> impl Fn(Value) -> BoxFuture<'static, Result<Value, ToolError>> + Send + Sync + 'static
where
    T: DeserializeOwned + Send + 'static,
    F: Future<Output = Result<Value, ToolError>> + Send + 'static,
{
    move |arguments| {
        let surfer = surfer.clone();
        async move { ask(surfer, read_arguments(arguments)?).await }.boxed()
    }
}

fn read_arguments<T: DeserializeOwned>(arguments: Value) -> Result<T, ToolError> {
    serde_json::from_value(arguments)
        .map_err(|error| ToolError::Refused(format!("the arguments do not fit: {error}")))
}

fn tool<T: JsonSchema>(name: &str, description: &str) -> Tool {
    let parameters = schema_for!(T).to_value();
    Tool { name: name.to_owned(), description: description.to_owned(), parameters }
}

/// What every tool needs.
#[derive(Clone)]
pub(crate) struct Looker {
    pub(crate) workspaces: Arc<Workspaces>,
    pub(crate) repo: PathBuf,
    pub(crate) canceled: CancellationToken,
}

impl Looker {
    /// The conversation with these tools.
    pub(crate) fn given_to(self, conversation: Conversation, tools: &[ReadingTool]) -> Conversation {
        tools.iter().fold(conversation, |conversation, each| {
            let (name, looker) = (<&str>::from(each), self.clone());
            match each {
                ReadingTool::List => {
                    conversation.reads(tool::<List>(name, "lists files and folders"), looker.does(list))
                }
                ReadingTool::Read => {
                    conversation.reads(tool::<Lines>(name, "shows lines of a file"), looker.does(read))
                }
                ReadingTool::Search => {
                    conversation.reads(tool::<Search>(name, "finds a text in the files"), looker.does(search))
                }
                ReadingTool::Log => {
                    conversation.reads(tool::<Log>(name, "shows commits, the newest first"), looker.does(log))
                }
                ReadingTool::Blame => conversation
                    .reads(tool::<Lines>(name, "shows who wrote lines of a file"), looker.does(blame)),
            }
        })
    }

    /// The handler of a tool: looks on a thread of its own, and shows what it found without secrets.
    fn does<T: DeserializeOwned + Send + 'static>(
        self,
        look: fn(&Self, T, Stop<'_>) -> Result<Value, Error>,
    ) -> impl Fn(Value) -> BoxFuture<'static, Result<Value, ToolError>> + Send + Sync + 'static {
        move |arguments| {
            let looker = self.clone();
            async move {
                let arguments = read_arguments(arguments)?;
                let looked = tokio::task::spawn_blocking(move || {
                    let stop = || looker.canceled.is_cancelled();
                    let mut found = look(&looker, arguments, &stop)?;
                    secrets::hide(&mut found);
                    Ok(found)
                });
                match looked.await {
                    Ok(Ok(found)) => Ok(found),
                    Ok(Err(error @ (Error::Canceled | Error::Io { .. }))) => Err(of_workspace(error).into()),
                    Ok(Err(error)) => Err(ToolError::Refused(chain(&error))),
                    Err(error) => Err(Failure::transient("worker-stopping", error.to_string()).into()),
                }
            }
            .boxed()
        }
    }

    fn read(&self, path: &WorkspacePath) -> Result<Read, Error> {
        self.workspaces.open(Some(&self.repo), None, Access::Read)?.read_whole(path, READ_BYTES_MAX)
    }

    fn repository(&self, stop: Stop<'_>) -> Result<(Repository, String), Error> {
        let repository = self.workspaces.repository(&self.repo, Access::Read, stop)?;
        let head = repository.commit_id("HEAD", stop)?;
        Ok((repository, head))
    }
}

fn optional(path: Option<&str>) -> Result<Option<WorkspacePath>, Error> {
    path.filter(|path| !matches!(*path, "" | "." | "/")).map(WorkspacePath::parse).transpose()
}

fn list(looker: &Looker, asked: List, stop: Stop<'_>) -> Result<Value, Error> {
    let folder = looker.workspaces.open(Some(&looker.repo), None, Access::Read)?;
    let path = optional(asked.path.as_deref())?;
    Ok(json!(folder.list(path.as_ref(), asked.depth.unwrap_or(2), ENTRIES_MAX, stop)?))
}

fn read(looker: &Looker, asked: Lines, _: Stop<'_>) -> Result<Value, Error> {
    let path = WorkspacePath::parse(&asked.path)?;
    let read = looker.read(&path)?;
    let Ok(whole) = std::str::from_utf8(&read.bytes) else {
        return Ok(json!({"error": "the file is no text"}));
    };
    let first = asked.first.unwrap_or(1);
    let count = asked.count.unwrap_or(LINES_MAX).min(LINES_MAX);
    let shown = lines(whole, first, count);
    Ok(json!({"path": path.as_str(), "first": first, "lines": shown, "lines_of_file": whole.lines().count()}))
}

/// Lines of a text from a number on, each cut.
fn lines(text: &str, first: u64, count: u64) -> Vec<String> {
    let [skip, count] =
        [first.saturating_sub(1), count].map(|number| usize::try_from(number).unwrap_or(usize::MAX));
    text.lines().skip(skip).take(count).map(|line| text::cut(line, LINE_BYTES_MAX)).collect()
}

fn search(looker: &Looker, asked: Search, stop: Stop<'_>) -> Result<Value, Error> {
    let query = Query::new(&asked.text, asked.pattern.unwrap_or(false), false, MATCHES_MAX)?;
    let folder = looker.workspaces.open(Some(&looker.repo), None, Access::Read)?;
    Ok(json!(folder.search(optional(asked.path.as_deref())?.as_ref(), &query, stop)?))
}

fn log(looker: &Looker, asked: Log, stop: Stop<'_>) -> Result<Value, Error> {
    let (repository, head) = looker.repository(stop)?;
    let path = optional(asked.path.as_deref())?;
    let count = asked.count.unwrap_or(COMMITS_MAX).min(COMMITS_MAX);
    Ok(json!(repository.log(&head, path.as_ref(), count, stop)?))
}

fn blame(looker: &Looker, asked: Lines, stop: Stop<'_>) -> Result<Value, Error> {
    let path = WorkspacePath::parse(&asked.path)?;
    let (repository, head) = looker.repository(stop)?;
    let count = asked.count.unwrap_or(LINES_MAX).min(LINES_MAX);
    Ok(json!(repository.blame(&head, &path, asked.first.unwrap_or(1), count, stop)?))
}
