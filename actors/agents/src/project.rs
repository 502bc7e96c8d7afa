//! The projects that are built from a goal: their specification, their parts, and their template.
//!
//! ```text
//! specification ─→ template ─┐
//!       ├─→ backend  ────────┼─→ project
//!       └─→ frontend ────────┘
//! ```
//!
//! A specialist writes files of its own part only. What the template brings, the server, the tests of the contract and
//! how the project is run, is written by no model.

use std::collections::BTreeSet;

use actors_models::{Prompt, Schema};
use actors_sandbox::{Entry, Error, Files};
use actors_workspace::WorkspacePath;
use bus_schemas::text;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checks::{code, secrets};
use crate::code::edits;

/// The most endpoints, pages, and fields of an answer.
pub(crate) const ENDPOINTS_MAX: usize = 16;
pub(crate) const PAGES_MAX: usize = 4;
const FIELDS_MAX: usize = 16;
/// The most bytes of a name, of a text for people, and of a body.
const NAME_BYTES_MAX: usize = 64;
const SUMMARY_BYTES_MAX: usize = 1_024;
const BODY_BYTES_MAX: usize = 4_096;
/// The most files of a part, and the most bytes of one and of all: what a repair can show a model.
pub(crate) const FILES_MAX: usize = 16;
const FILE_BYTES_MAX: usize = 64 * 1024;
const PART_BYTES_MAX: u64 = 128 * 1024;
/// The image that the image of a project begins with where the job names no other.
pub(crate) const BASE_IMAGE: &str = "python:3.11-slim";

/// What a project does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Specification {
    pub(crate) name: String,
    summary: String,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) pages: Vec<Page>,
}

/// An example of a call, and what it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Endpoint {
    method: String,
    path: String,
    summary: String,
    /// JSON, or empty.
    body: String,
    status: u16,
    /// Fields of the answer.
    fields: Vec<String>,
}

/// A page for a browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    path: String,
    title: String,
    summary: String,
}

impl Specification {
    /// The schema of a model's answer. Bounds of lengths are checked afterwards: servers that make a grammar of a
    /// schema refuse large ones.
    pub(crate) fn schema() -> Schema {
        let text = json!({"type": "string"});
        let object = |properties: Value| {
            let names: Vec<&String> = properties.as_object().into_iter().flat_map(|map| map.keys()).collect();
            json!({"type": "object", "required": names, "properties": properties, "additionalProperties": false})
        };
        let endpoint = object(json!({
            "method": {"enum": ["GET", "POST", "PUT", "PATCH", "DELETE"]},
            "path": text, "summary": text, "body": text, "status": {"type": "integer"},
            "fields": {"type": "array", "items": text, "maxItems": FIELDS_MAX},
        }));
        let page = object(json!({"path": text, "title": text, "summary": text}));
        let schema = object(json!({
            "name": text, "summary": text,
            "endpoints": {"type": "array", "items": endpoint, "maxItems": ENDPOINTS_MAX},
            "pages": {"type": "array", "items": page, "maxItems": PAGES_MAX},
        }));
        Schema { name: "specification".into(), schema }
    }

    /// The specification of an answer, or why it is none.
    pub(crate) fn read(answer: &Value) -> Result<Self, String> {
        let wrong = |reason: String| Err(format!("invalid-output: {reason}"));
        let read = Self::deserialize(answer).map_err(|error| format!("invalid-output: {error}"))?;
        // The goal may have held one; what is specified is shown, stored, and tested with.
        if secrets::is_held_in(&answer.to_string()) {
            return Err(format!("{}: a specification holds no secret", code::SECRET_FOUND));
        }
        let Self { name, summary, endpoints, pages } = &read;
        let is_letter = |sign: char| sign.is_ascii_lowercase() || sign.is_ascii_digit() || sign == '-';
        if !name.starts_with(|sign: char| sign.is_ascii_lowercase())
            || name.len() > NAME_BYTES_MAX
            || !name.chars().all(is_letter)
        {
            return wrong("`name` is small letters, digits and hyphens, and begins with a letter".to_owned());
        }
        let titles = pages.iter().flat_map(|page| [&page.title, &page.summary]);
        let texts = endpoints.iter().map(|one| &one.summary).chain(titles).chain([summary]);
        for said in texts {
            if said.is_empty() || said.len() > SUMMARY_BYTES_MAX || !text::is_line(said) {
                return wrong(format!("a title or a summary is no line of 1 to {SUMMARY_BYTES_MAX} bytes"));
            }
        }
        if endpoints.is_empty() && pages.is_empty() {
            return wrong("there is neither an endpoint nor a page".to_owned());
        }
        let paths: BTreeSet<&str> = pages.iter().map(|page| page.path.as_str()).collect();
        let is_page = |path: &&str| path.strip_suffix(".html").is_some_and(|name| is_name(name, ""));
        if paths.len() < pages.len() || !paths.iter().all(is_page) {
            return wrong("the pages are different names such as `index.html`".to_owned());
        }
        if !pages.is_empty() && !paths.contains("index.html") {
            return wrong("the first page is `index.html`".to_owned());
        }
        match endpoints.iter().find_map(Endpoint::wrong) {
            Some(reason) => wrong(reason),
            None => Ok(read),
        }
    }

    /// The tests that must run at the end, by name: those of the template.
    pub(crate) fn tests(&self) -> BTreeSet<String> {
        let of = |kind: &'static str, count: usize| {
            (1..=count).map(move |number| format!("backend.test_contract::test_{kind}[{number}]"))
        };
        let python = of("endpoint", self.endpoints.len()).chain(of("page", self.pages.len()));
        let node = NODE_TESTS.iter().filter(|_| !self.pages.is_empty()).map(|name| (*name).to_owned());
        let health = "backend.test_contract::test_health".to_owned();
        python.chain(node).chain([health]).collect()
    }
}

impl Endpoint {
    fn wrong(&self) -> Option<String> {
        let Self { method, path, body, status, fields, .. } = self;
        let (names, query) = path.split_once('?').unwrap_or((path, ""));
        let below = names.strip_prefix("/api/").unwrap_or_default();
        if !below.split('/').all(|name| is_name(name, "_.~")) || path.len() > SUMMARY_BYTES_MAX {
            return Some(format!("`{}` is no path below `/api/`", text::one_line(path)));
        }
        if !query.is_empty() && !is_name(query, "_.~=&%+") {
            return Some(format!("`{}` has no plain query", text::one_line(path)));
        }
        let is_json = body.is_empty() || serde_json::from_str::<Value>(body).is_ok();
        if !is_json || body.len() > BODY_BYTES_MAX {
            return Some(format!("the body of `{method} {path}` is neither empty nor JSON"));
        }
        if !(200..=599).contains(status) {
            return Some(format!("the status of `{method} {path}` is not 200 to 599"));
        }
        let is_field =
            |name: &String| !name.is_empty() && name.len() <= NAME_BYTES_MAX && text::is_line(name);
        (!fields.iter().all(is_field)).then(|| format!("a field of `{method} {path}` has no plain name"))
    }
}

/// Whether a text is one or more of letters, digits, hyphens and these signs, and no `.` or `..`.
fn is_name(text: &str, signs: &str) -> bool {
    let is_sign = |sign: char| sign.is_ascii_alphanumeric() || sign == '-' || signs.contains(sign);
    !text.is_empty() && text.chars().all(is_sign) && text != "." && text != ".."
}

/// A part of a project, which one specialist writes.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its name, and that of its agent, its step and its folder.
    pub(crate) name: &'static str,
    pub(crate) skill: &'static str,
    pub(crate) prompt: Prompt,
    /// The endings of its files.
    endings: &'static [&'static str],
}

pub(crate) const BACKEND: Part = Part {
    name: "backend",
    skill: "generate-backend",
    prompt: Prompt {
        name: "generate-backend",
        version: 1,
        template: include_str!("prompts/generate-backend.v1.j2"),
    },
    endings: &["py", "json"],
};
pub(crate) const FRONTEND: Part = Part {
    name: "frontend",
    skill: "generate-frontend",
    prompt: Prompt {
        name: "generate-frontend",
        version: 1,
        template: include_str!("prompts/generate-frontend.v1.j2"),
    },
    endings: &["html", "css", "js", "mjs", "svg", "json"],
};

/// A file that a model wrote.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Written {
    /// The path in the project.
    path: String,
    /// The content.
    text: String,
}

impl Part {
    /// The schema of a model's answer.
    pub(crate) fn schema(&self) -> Schema {
        let text = json!({"type": "string"});
        let file = json!({
            "type": "object",
            "properties": {"path": text, "text": text},
            "required": ["path", "text"],
            "additionalProperties": false,
        });
        let schema = json!({
            "type": "object",
            "properties": {"files": {"type": "array", "minItems": 1, "maxItems": FILES_MAX, "items": file}},
            "required": ["files"],
            "additionalProperties": false,
        });
        Schema { name: self.name.to_owned(), schema }
    }

    /// The files that a specification wants of it by name; none if it wants no such part.
    pub(crate) fn wanted(&self, specification: &Specification) -> Vec<String> {
        let pages = || specification.pages.iter().map(|page| format!("frontend/{}", page.path)).collect();
        let app = || specification.endpoints.iter().take(1).map(|_| "backend/app.py".to_owned()).collect();
        if self.name == BACKEND.name { app() } else { pages() }
    }

    /// The files of an answer, or why it does not count: a code to count by, and a sentence.
    pub(crate) fn read(&self, answer: &Value, wanted: &[String]) -> Result<Vec<Written>, String> {
        let written: Vec<Written> = serde_json::from_value(answer["files"].clone())
            .map_err(|error| format!("invalid-output: {error}"))?;
        let files = added(Files::new(), &written)?;
        for (path, _) in files.iter() {
            let below = path.strip_prefix(self.name).is_some_and(|rest| rest.starts_with('/'));
            let ending = path.rsplit_once('.').map(|(_, ending)| ending).unwrap_or_default();
            if !below || !self.endings.contains(&ending) {
                let endings = self.endings.join("`, `.");
                return Err(format!(
                    "path-refused: `{path}` is not below `{}/` with one of the endings `.{endings}`",
                    self.name
                ));
            }
            if is_fixed(path) {
                return Err(format!(
                    "path-refused: `{path}` comes from the template, or decides how tests run"
                ));
            }
        }
        if written.len() > FILES_MAX || files.bytes() > PART_BYTES_MAX {
            return Err(format!(
                "part-too-large: at most {FILES_MAX} files of together {PART_BYTES_MAX} bytes"
            ));
        }
        match wanted.iter().find(|path| files.get(path).is_none()) {
            Some(path) => Err(format!("file-missing: there is no `{path}`")),
            None => Ok(written),
        }
    }
}

/// Files with those that a model wrote, or why these are refused.
pub(crate) fn added(mut files: Files, written: &[Written]) -> Result<Files, String> {
    for Written { path, text } in written {
        WorkspacePath::parse(path).map_err(|error| format!("path-refused: {error}"))?;
        if text.len() > FILE_BYTES_MAX || text.contains('\0') {
            return Err(format!("part-too-large: `{path}` is no text of at most {FILE_BYTES_MAX} bytes"));
        }
        let entry = Entry::file(text.clone().into_bytes());
        files.insert(path, entry).map_err(|error| format!("path-refused: `{path}`: {error}"))?;
    }
    Ok(files)
}

/// The names of the template's tests for Node.
const NODE_TESTS: [&str; 2] = ["a page names files of the project alone", "a page holds no program itself"];
/// Files of the template as they are, and whether they are for pages.
const PLAIN: [(&str, &str, bool); 6] = [
    ("compose.yaml", include_str!("templates/compose.yaml"), false),
    (".env.example", include_str!("templates/env.example"), false),
    ("backend/server.py", include_str!("templates/backend/server.py"), false),
    ("backend/test_contract.py", include_str!("templates/backend/test_contract.py"), false),
    ("frontend/contract.test.mjs", include_str!("templates/frontend/contract.test.mjs"), true),
    ("frontend/package.json", include_str!("templates/frontend/package.json"), true),
];
/// Files of the template with variables.
const RENDERED: [(&str, &str); 2] = [
    ("Dockerfile", include_str!("templates/Dockerfile.j2")),
    ("README.md", include_str!("templates/README.md.j2")),
];
/// What the specification says, for the tests of the template.
const CONTRACT: &str = "backend/contract.json";

/// Whether a file comes from the template or decides how tests run: no model writes or edits it. The tests of a
/// specialist are its own.
pub(crate) fn is_fixed(path: &str) -> bool {
    let plain = PLAIN.iter().map(|(path, ..)| *path);
    let mut known = plain.chain(RENDERED.map(|(path, _)| path)).chain([CONTRACT]);
    known.any(|known| known == path) || edits::decides(path)
}

/// The files of the template for a specification.
pub(crate) fn template(specification: &Specification, base: &str) -> Result<Files, Error> {
    let mut files = Files::new();
    let has_pages = !specification.pages.is_empty();
    for (path, text, is_for_pages) in PLAIN {
        if has_pages || !is_for_pages {
            files.insert(path, Entry::file(text))?;
        }
    }
    let mut variables = json!(specification);
    variables["base"] = base.into();
    for (path, template) in RENDERED {
        let rendered = Prompt { name: path, version: 1, template }.render(&variables);
        let (text, _) = rendered.expect("the templates name fields of the specification only");
        files.insert(path, Entry::file(text.trim_end().to_owned() + "\n"))?;
    }
    let contract = serde_json::to_vec_pretty(specification).expect("it is plain data");
    files.insert(CONTRACT, Entry::file(contract))?;
    Ok(files)
}

#[cfg(test)]
mod tests;
