//! Maven's `pom.xml`, as far as it can be read without fetching parents.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::tables::line_at;
use crate::report::manifests::{Dependency, Kind, Problem, Reading};

/// Deeper nesting is not a project description and would only cost memory.
const DEPTH_MAX: usize = 64;

/// The dependency being read.
#[derive(Default)]
struct Draft {
    group: String,
    artifact: String,
    version: String,
    scope: String,
}

#[derive(Default)]
struct Project {
    own: BTreeMap<String, String>,
    parent_version: Option<String>,
    properties: BTreeMap<String, String>,
    dependencies: Vec<Draft>,
}

pub(super) fn pom(_path: &str, text: &str) -> Result<Reading, Problem> {
    let mut reader = Reader::from_str(text);
    let mut path: Vec<String> = Vec::new();
    let mut project = Project::default();
    let mut seen_root = false;
    loop {
        let at = reader.buffer_position() as usize;
        let problem = |reason: String| Problem { line: Some(line_at(text, at)), text: reason };
        match reader.read_event().map_err(|error| problem(error.to_string()))? {
            Event::Start(tag) => {
                path.push(String::from_utf8_lossy(tag.local_name().as_ref()).into_owned());
                seen_root |= path == ["project"];
                if path.len() > DEPTH_MAX {
                    return Err(problem("elements are nested too deeply".to_owned()));
                }
                if is_dependency(&path) {
                    project.dependencies.push(Draft::default());
                }
            }
            Event::End(_) => {
                path.pop();
            }
            Event::Text(content) => {
                project.text(&path, String::from_utf8_lossy(&content).trim());
            }
            Event::Eof if !path.is_empty() => {
                return Err(problem(format!("`{}` is not closed", path.join("/"))));
            }
            Event::Eof if !seen_root => return Err(problem("there is no `project` element".to_owned())),
            Event::Eof => return Ok(project.finish()),
            _ => {}
        }
    }
}

fn is_dependency(path: &[String]) -> bool {
    path == ["project", "dependencies", "dependency"]
}

impl Project {
    fn text(&mut self, path: &[String], text: &str) {
        if text.is_empty() {
            return;
        }
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        match names.as_slice() {
            ["project", "parent", "version"] => self.parent_version = Some(text.to_owned()),
            ["project", key @ ("groupId" | "artifactId" | "version")] => {
                self.own.insert((*key).to_owned(), text.to_owned());
            }
            ["project", "properties", key] => {
                self.properties.insert((*key).to_owned(), text.to_owned());
            }
            ["project", "dependencies", "dependency", key] => {
                let Some(draft) = self.dependencies.last_mut() else { return };
                match *key {
                    "groupId" => text.clone_into(&mut draft.group),
                    "artifactId" => text.clone_into(&mut draft.artifact),
                    "version" => text.clone_into(&mut draft.version),
                    "scope" => text.clone_into(&mut draft.scope),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn finish(self) -> Reading {
        let version = self.own.get("version").cloned().or(self.parent_version.clone());
        let resolve = |text: &str| match text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
            Some("project.version") => version.clone().unwrap_or_else(|| text.to_owned()),
            Some(key) => self.properties.get(key).cloned().unwrap_or_else(|| text.to_owned()),
            None => text.to_owned(),
        };
        let dependencies = self.dependencies.iter().map(|draft| {
            let kind = if draft.scope == "test" { Kind::Dev } else { Kind::Normal };
            let name = format!("{}:{}", resolve(&draft.group), draft.artifact);
            let inherited = draft.version.is_empty();
            Dependency { inherited, ..Dependency::new(kind, name, resolve(&draft.version)) }
        });
        let dependencies = dependencies.collect();
        Reading {
            name: self.own.get("artifactId").cloned(),
            version: version.as_deref().map(resolve),
            dependencies,
            ..Reading::default()
        }
    }
}
