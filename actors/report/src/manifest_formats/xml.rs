//! Maven's `pom.xml`, as far as it can be read without fetching parents.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};

use super::tables::line_at;
use crate::manifests::{Dependency, Kind, Problem, Reading};

/// Deeper nesting is not a project description and would only cost memory.
const DEPTH_MAX: usize = 64;

/// How often a property may refer to another one, and how long the result may be: properties that refer to
/// each other would never end.
const RESOLVED_TIMES_MAX: usize = 16;
const RESOLVED_BYTES_MAX: usize = 1024;

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
    /// The project's own values, and as `parent.…` those of its parent.
    own: BTreeMap<String, String>,
    properties: BTreeMap<String, String>,
    dependencies: Vec<Draft>,
    /// The versions and scopes of dependencies that state none.
    managed: Vec<Draft>,
}

pub(super) fn pom(_path: &str, text: &str) -> Result<Reading, Problem> {
    let mut reader = Reader::from_str(text);
    let mut path: Vec<String> = Vec::new();
    // The text of every open element, without comments and inner elements.
    let mut texts: Vec<String> = Vec::new();
    let mut project = Project::default();
    let mut seen_root = false;
    loop {
        let at = reader.buffer_position() as usize;
        let problem = |reason: String| Problem { line: Some(line_at(text, at)), text: reason };
        let event = reader.read_event().map_err(|error| problem(error.to_string()))?;
        let mut add = |text: &str| texts.last_mut().map_or((), |open: &mut String| open.push_str(text));
        match event {
            Event::Start(tag) => {
                path.push(String::from_utf8_lossy(tag.local_name().as_ref()).into_owned());
                texts.push(String::new());
                seen_root |= path == ["project"];
                if path.len() > DEPTH_MAX {
                    return Err(problem("elements are nested too deeply".to_owned()));
                }
                project.begin(&path);
            }
            Event::End(_) => {
                project.text(&path, texts.pop().unwrap_or_default().trim());
                path.pop();
            }
            Event::Text(content) => add(&String::from_utf8_lossy(&content)),
            Event::CData(content) => add(&String::from_utf8_lossy(&content)),
            Event::GeneralRef(reference) => add(&referenced(&reference)),
            Event::Eof if !path.is_empty() => {
                return Err(problem(format!("`{}` is not closed", path.join("/"))));
            }
            Event::Eof if !seen_root => return Err(problem("there is no `project` element".to_owned())),
            Event::Eof => return Ok(project.finish()),
            _ => {}
        }
    }
}

/// The text of a reference such as `&amp;` or `&#46;`; one that only a document type could explain stays as
/// it is.
fn referenced(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character.into();
    }
    let name = String::from_utf8_lossy(reference);
    resolve_xml_entity(&name).map_or_else(|| format!("&{name};"), str::to_owned)
}

impl Project {
    fn begin(&mut self, path: &[String]) {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        match names.as_slice() {
            ["project", "dependencies", "dependency"] => self.dependencies.push(Draft::default()),
            ["project", "dependencyManagement", "dependencies", "dependency"] => {
                self.managed.push(Draft::default());
            }
            _ => {}
        }
    }

    fn text(&mut self, path: &[String], text: &str) {
        if text.is_empty() {
            return;
        }
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let (drafts, key) = match names.as_slice() {
            ["project", "parent", key @ ("groupId" | "artifactId" | "version")] => {
                self.own.insert(format!("parent.{key}"), text.to_owned());
                return;
            }
            ["project", key @ ("groupId" | "artifactId" | "version")] => {
                self.own.insert((*key).to_owned(), text.to_owned());
                return;
            }
            ["project", "properties", key] => {
                self.properties.insert((*key).to_owned(), text.to_owned());
                return;
            }
            ["project", "dependencies", "dependency", key] => (&mut self.dependencies, *key),
            ["project", "dependencyManagement", "dependencies", "dependency", key] => {
                (&mut self.managed, *key)
            }
            _ => return,
        };
        let Some(draft) = drafts.last_mut() else { return };
        match key {
            "groupId" => text.clone_into(&mut draft.group),
            "artifactId" => text.clone_into(&mut draft.artifact),
            "version" => text.clone_into(&mut draft.version),
            "scope" => text.clone_into(&mut draft.scope),
            _ => {}
        }
    }

    fn finish(mut self) -> Reading {
        // A project inherits from its parent what it does not state.
        for key in ["groupId", "version"] {
            if let Some(parents) = self.own.get(&format!("parent.{key}")).cloned() {
                self.own.entry(key.to_owned()).or_insert(parents);
            }
        }
        let managed: BTreeMap<(String, String), &Draft> = self
            .managed
            .iter()
            .map(|draft| ((self.resolve(&draft.group), self.resolve(&draft.artifact)), draft))
            .collect();
        let dependencies = self.dependencies.iter().map(|draft| {
            let name = (self.resolve(&draft.group), self.resolve(&draft.artifact));
            let or_managed = |own: &str, of: fn(&Draft) -> &str| match own {
                "" => managed.get(&name).map_or(String::new(), |managed| self.resolve(of(managed))),
                own => self.resolve(own),
            };
            let version = or_managed(&draft.version, |managed| &managed.version);
            let scope = or_managed(&draft.scope, |managed| &managed.scope);
            let kind = if scope == "test" { Kind::Dev } else { Kind::Normal };
            let inherited = version.is_empty();
            Dependency { inherited, ..Dependency::new(kind, format!("{}:{}", name.0, name.1), version) }
        });
        let own = |key: &str| self.own.get(key).map(|text| self.resolve(text));
        Reading {
            name: own("artifactId"),
            version: own("version"),
            dependencies: dependencies.collect(),
            ..Reading::default()
        }
    }

    /// Replaces a text's properties by their values; an unknown one stays as it is.
    fn resolve(&self, text: &str) -> String {
        let mut resolved = text.to_owned();
        let mut from = 0;
        for _ in 0..RESOLVED_TIMES_MAX {
            let Some(start) = resolved[from..].find("${").map(|at| from + at) else { break };
            let Some(end) = resolved[start..].find('}').map(|at| start + at) else { break };
            match self.property(&resolved[start + 2..end]) {
                Some(value) if resolved.len() + value.len() <= RESOLVED_BYTES_MAX => {
                    resolved = format!("{}{value}{}", &resolved[..start], &resolved[end + 1..]);
                    from = start;
                }
                _ => from = end,
            }
        }
        resolved
    }

    fn property(&self, key: &str) -> Option<&String> {
        let own = key.strip_prefix("project.").or_else(|| key.strip_prefix("pom."));
        own.and_then(|key| self.own.get(key))
            .or_else(|| self.properties.get(key))
            .or_else(|| self.own.get(key))
    }
}

#[cfg(test)]
mod tests {
    use super::pom;
    use crate::manifests::Kind;

    fn versions(version: &str) -> Vec<(String, String)> {
        let text = format!(
            "<?xml version=\"1.0\"?><!DOCTYPE project><project><groupId>g</groupId><version>7</version>\n\
             <properties><a>1</a><b>${{a}}.2</b><loop>${{loop}}</loop><x>${{x}}${{x}}</x></properties>\n\
             <dependencies><dependency><groupId>${{project.groupId}}</groupId><artifactId>n</artifactId>\n\
             <version>{version}</version><exclusions><exclusion><groupId>no</groupId></exclusion></exclusions>\n\
             </dependency></dependencies></project>"
        );
        let found = pom("pom.xml", &text).unwrap().dependencies.into_iter();
        found.map(|one| (one.name, one.requirement)).collect()
    }

    #[test]
    fn the_text_of_an_element_is_all_of_it() {
        for (version, expected) in [
            ("1.<!-- x -->2", "1.2"),
            ("\n  1.2\n", "1.2"),
            ("<![CDATA[1.2]]>", "1.2"),
            ("1<![CDATA[.]]><?pi x?>2", "1.2"),
            ("1&#46;&#x32;", "1.2"),
            ("[1,2&#41;&amp;&lt;&gt;&quot;&apos;", "[1,2)&<>\"'"),
            ("&unknown;", "&unknown;"),
            ("${b}", "1.2"),
            ("v${a}.${a}-${project.version}-${none}", "v1.1-7-${none}"),
            ("${loop}", "${loop}"),
            ("", "*"),
            ("<!-- x -->", "*"),
        ] {
            assert_eq!(versions(version), [("g:n".to_owned(), expected.to_owned())], "{version}");
        }
        assert!(versions("${x}")[0].1.len() <= 1024);
        assert!(pom("pom.xml", "<project><a>&#x110000;</a><b>&</b></project>").is_err());
    }

    #[test]
    fn what_is_managed_holds_where_a_dependency_is_silent() {
        let text = "<project><parent><groupId>p</groupId><version>3</version></parent><dependencyManagement>\
                    <dependencies><dependency><groupId>p</groupId><artifactId>a</artifactId><version>1</version>\
                    <scope>test</scope></dependency></dependencies></dependencyManagement><dependencies>\
                    <dependency><groupId>${project.groupId}</groupId><artifactId>a</artifactId></dependency>\
                    <dependency><groupId>p</groupId><artifactId>b</artifactId></dependency></dependencies></project>";
        let reading = pom("pom.xml", text).unwrap();
        let found = reading
            .dependencies
            .iter()
            .map(|one| (one.name.as_str(), one.requirement.as_str(), one.kind, one.inherited));
        let expected = [("p:a", "1", Kind::Dev, false), ("p:b", "*", Kind::Normal, true)];
        assert_eq!((found.collect::<Vec<_>>(), reading.version.as_deref()), (expected.to_vec(), Some("3")));
    }
}
