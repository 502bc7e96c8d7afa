//! Where an answer stands: lines of a file, or a quote of a page. Each citation is looked up before the answer counts.

use std::path::PathBuf;
use std::sync::Arc;

use actors_models::ToolError;
use actors_web::normal;
use actors_worker::{Failure, Work};
use actors_workspace::{Access, READ_BYTES_MAX, WorkspacePath};
use bus_schemas::text;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::lines;
use crate::checks::secrets;
use crate::web::Surfer;
use crate::workspaces::{Workspaces, within};

/// How often an answer is sent back. A model that is told twice what is wrong and does not mend it will not.
const SENT_BACK_MAX: u32 = 2;
/// The most lines of a citation whose text is kept.
const CITED_LINES_MAX: u64 = 40;

/// What the model ends with.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    /// A few sentences.
    #[schemars(length(min = 1, max = 16_384))]
    answer: String,
    /// Whether what you saw answers the question.
    #[serde(default = "yes")]
    found: bool,
    /// Where it stands.
    #[schemars(length(max = 32))]
    citations: Vec<Citation>,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Citation {
    Lines(Lines),
    Quote(Quote),
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Lines {
    /// The file.
    path: String,
    /// The first line, from 1 on.
    #[schemars(range(min = 1))]
    first: u64,
    /// The last line.
    #[schemars(range(min = 1))]
    last: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Quote {
    /// A page that was fetched.
    #[schemars(length(min = 1, max = 2_048))]
    url: String,
    /// What it says, word for word.
    #[schemars(length(min = 1, max = 1_024))]
    quote: String,
}

/// An answer whose citations were looked up.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Checked {
    pub(super) answer: String,
    pub(super) found: bool,
    pub(super) citations: Vec<Cited>,
    pub(super) refused: Vec<Refused>,
}

/// A citation that is there; lines with their text.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cited {
    #[serde(flatten)]
    place: Citation,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    text: Vec<String>,
}

/// A citation that is not there.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Refused {
    citation: Citation,
    why: String,
}

/// Looks citations up. Cheap to clone.
#[derive(Clone)]
pub(super) struct Checker {
    pub(super) work: Work,
    pub(super) workspaces: Arc<Workspaces>,
    pub(super) repo: Option<PathBuf>,
    pub(super) surfer: Surfer,
}

impl Checker {
    /// The answer with its citations, or what the model is told of them.
    pub(super) async fn check(self, sent_back: u32, arguments: Value) -> Result<Value, ToolError> {
        let unfit = |error| ToolError::Refused(format!("the answer cannot be read: {error}"));
        let Answer { answer, found, citations } = serde_json::from_value(arguments).map_err(unfit)?;
        let (mut cited, mut refused) = (Vec::new(), Vec::new());
        for citation in citations {
            match self.look(&citation).await? {
                Ok(there) => cited.push(there),
                Err(why) => refused.push(Refused { citation, why }),
            }
        }
        let is_uncited = found && cited.is_empty();
        if sent_back < SENT_BACK_MAX && (is_uncited || !refused.is_empty()) {
            let wanted = "answer again: cite what you saw word for word, or set `found` to false";
            return Err(ToolError::Refused(json!({"refused": refused, "wanted": wanted}).to_string()));
        }
        Ok(json!(Checked { answer, found, citations: cited, refused }))
    }

    async fn look(&self, citation: &Citation) -> Result<Result<Cited, String>, Failure> {
        match citation {
            Citation::Lines(place) => self.lines(place.clone()).await,
            Citation::Quote(Quote { url, quote }) => {
                let page = match normal(url) {
                    Some(url) => self.surfer.page(&url).await?,
                    None => None,
                };
                Ok(match page {
                    None => Err("this page was not fetched".to_owned()),
                    Some(page) if !page.contains(quote) => Err("the page does not say this".to_owned()),
                    Some(_) => Ok(Cited { place: citation.clone(), text: Vec::new() }),
                })
            }
        }
    }

    async fn lines(&self, place: Lines) -> Result<Result<Cited, String>, Failure> {
        let Some(repo) = self.repo.clone() else { return Ok(Err("there is no repository".to_owned())) };
        within(&self.work, &self.workspaces, move |workspaces, _| {
            let folder = workspaces.open(Some(&repo), None, Access::Read)?;
            let read =
                WorkspacePath::parse(&place.path).and_then(|path| folder.read_whole(&path, READ_BYTES_MAX));
            let Ok(read) = read else { return Ok(Err("there is no such file".to_owned())) };
            let Ok(whole) = std::str::from_utf8(&read.bytes) else {
                return Ok(Err("the file is no text".to_owned()));
            };
            let last = whole.lines().count() as u64;
            if place.first == 0 || place.first > place.last || place.last > last {
                return Ok(Err(format!("the file has {last} lines")));
            }
            let count = (place.last - place.first + 1).min(CITED_LINES_MAX);
            let shown = lines(whole, place.first, count);
            let text = shown.into_iter().map(|line| secrets::hidden(&line).into_owned()).collect();
            Ok(Ok(Cited { place: Citation::Lines(place), text }))
        })
        .await
    }
}

impl Checked {
    /// Without secrets, and without what hides in a text.
    pub(super) fn shown(mut self, bytes_max: usize) -> Self {
        self.answer = text::cut(&text::prose(&secrets::hidden(&self.answer)), bytes_max);
        self
    }
}
