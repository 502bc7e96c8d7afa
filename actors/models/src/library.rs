//! The prompts of a process: those that the program ships, and those of the operator, in several versions each.
//!
//! The settings `prompts` say which version is active, and with which template. A task keeps the version that it used
//! first, as a recorded step, so that no prompt changes under work that goes on.

use std::collections::BTreeMap;
use std::path::Path;

use actors_worker::{Failure, Work};
use bus_schemas::settings::{Prompts, is_prompt_name};
use bus_schemas::{Hash, chain};
use serde::{Deserialize, Serialize};

use crate::models::Models;
use crate::prompt::{Prompt, PromptRef, render, wrong};

/// The most files of an operator's folder.
const FILES_MAX: usize = 256;
/// The most bytes of a template.
const TEMPLATE_BYTES_MAX: u64 = 64 * 1024;

/// Where a prompt comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Source {
    /// The program ships it.
    Shipped,
    /// It is in the operator's folder.
    Operator,
}

/// The prompts, by name and version.
#[derive(Debug, Default)]
pub struct Library {
    prompts: BTreeMap<(String, u32), Text>,
}

#[derive(Debug)]
struct Text {
    template: String,
    source: Source,
}

/// A version of a prompt in a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The name.
    pub name: &'a str,
    /// The version.
    pub version: u32,
    /// The template.
    pub template: &'a str,
    /// Where it comes from.
    pub source: Source,
}

impl Listed<'_> {
    /// The hash of the template, by which the settings name it.
    pub fn hash(&self) -> Hash {
        Hash::of(self.template.as_bytes())
    }
}

/// The version that a task uses.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pinned {
    version: u32,
    template: Hash,
}

impl Library {
    /// The prompts that the program ships, and those of a folder: files `NAME.vVERSION.j2`. Every mistake at once, each
    /// as a sentence. A version that the program ships with another text is one.
    pub fn load(shipped: &[Prompt], folder: Option<&Path>) -> Result<Self, Vec<String>> {
        let mut prompts: BTreeMap<(String, u32), Text> = BTreeMap::new();
        for Prompt { name, version, template } in shipped {
            let text = Text { template: (*template).to_owned(), source: Source::Shipped };
            prompts.insert(((*name).to_owned(), *version), text);
        }
        let mut mistakes = Vec::new();
        for (name, version, template) in
            folder.map_or(Ok(Vec::new()), |folder| files(folder, &mut mistakes))?
        {
            match prompts.get(&(name.clone(), version)) {
                Some(known) if known.template != template => mistakes.push(format!(
                    "prompt-changed: the program ships version {version} of `{name}` with another text; give yours another version"
                )),
                Some(_) => {}
                None => {
                    prompts.insert((name, version), Text { template, source: Source::Operator });
                }
            }
        }
        if mistakes.is_empty() { Ok(Self { prompts }) } else { Err(mistakes) }
    }

    /// All versions, by name and version.
    pub fn list(&self) -> impl Iterator<Item = Listed<'_>> {
        self.prompts.iter().map(|((name, version), Text { template, source })| Listed {
            name,
            version: *version,
            template,
            source: *source,
        })
    }

    /// The template of a version. `shipped` is the agent's own.
    fn text<'a>(&'a self, shipped: &'a Prompt, version: u32) -> Result<&'a str, Failure> {
        let own = (version == shipped.version).then_some(shipped.template);
        let known = self.prompts.get(&(shipped.name.to_owned(), version)).map(|text| text.template.as_str());
        own.or(known).ok_or_else(|| {
            let name = shipped.name;
            let message = format!("this process has no version {version} of the prompt `{name}`");
            let hint = format!(
                "put `{name}.v{version}.j2` into the folder of the setting `prompts` of each process with agents, or activate another version"
            );
            Failure::permanent("prompt-missing", message).hint(hint)
        })
    }

    /// The template of a version whose hash is known.
    fn template<'a>(&'a self, shipped: &'a Prompt, pinned: &Pinned) -> Result<&'a str, Failure> {
        let (name, version) = (shipped.name, pinned.version);
        let template = self.text(shipped, version)?;
        if Hash::of(template.as_bytes()) != pinned.template {
            let message = format!("the template of version {version} of the prompt `{name}` was changed");
            let hint =
                "versions are never changed: restore its text, or make another version and activate it";
            return Err(Failure::permanent("prompt-changed", message).hint(hint));
        }
        Ok(template)
    }
}

impl Models {
    /// The text of a prompt with its variables, and how a recorded call names it. It is the active version, or the one
    /// that the task used before; without settings it is the agent's own.
    pub async fn prompt(
        &self,
        work: &Work,
        shipped: &Prompt,
        variables: &impl Serialize,
    ) -> Result<(String, PromptRef), Failure> {
        let instead = self.instead.as_ref().filter(|(name, _)| name == shipped.name);
        let instead = instead.map(|(_, version)| *version);
        let choose = || async {
            if let Some(version) = instead {
                let template = Hash::of(self.library.text(shipped, version)?.as_bytes());
                return Ok(Pinned { version, template });
            }
            let active = work.setting::<Prompts>().await?.active.remove(shipped.name);
            let pinned = match active {
                Some(active) => Pinned { version: active.version, template: active.template },
                None => Pinned { version: shipped.version, template: shipped.hash() },
            };
            // A version that cannot be used is not kept for later attempts.
            self.library.template(shipped, &pinned).map(|_| pinned)
        };
        let pinned = work.step(&format!("prompt/{}", shipped.name), &instead, choose).await?;
        let template = self.library.template(shipped, &pinned)?;
        let rendered = render(shipped.name, pinned.version, template, variables);
        rendered.map_err(|error| Failure::permanent("prompt-invalid", chain(&error)))
    }
}

/// The name, the version and the template of each file.
fn files(folder: &Path, mistakes: &mut Vec<String>) -> Result<Vec<(String, u32, String)>, Vec<String>> {
    let unreadable =
        |path: &Path, error: std::io::Error| format!("`{}` cannot be read: {error}", path.display());
    let listed = std::fs::read_dir(folder).map_err(|error| vec![unreadable(folder, error)])?;
    let mut found = Vec::new();
    for (number, entry) in listed.enumerate() {
        let path = entry.map_err(|error| vec![unreadable(folder, error)])?.path();
        if number == FILES_MAX {
            mistakes.push(format!("`{}` has more than {FILES_MAX} files", folder.display()));
            break;
        }
        let Some((name, version)) = named(&path) else {
            mistakes
                .push(format!("`{}` is not named `NAME.vVERSION.j2`, as in `judge.v2.j2`", path.display()));
            continue;
        };
        match read(&path) {
            Ok(template) => match wrong(&template) {
                None => found.push((name, version, template)),
                Some(reason) => mistakes.push(format!("`{}` is no template: {reason}", path.display())),
            },
            Err(error) => mistakes.push(unreadable(&path, error)),
        }
    }
    // The order of a folder is nobody's choice.
    mistakes.sort();
    Ok(found)
}

/// The name and the version in the name of a file.
fn named(path: &Path) -> Option<(String, u32)> {
    let (name, version) = path.file_name()?.to_str()?.strip_suffix(".j2")?.rsplit_once(".v")?;
    let is_number = version.bytes().all(|byte| byte.is_ascii_digit()) && !version.starts_with('0');
    let version = version.parse().ok().filter(|_| is_number)?;
    is_prompt_name(name).then(|| (name.to_owned(), version))
}

fn read(path: &Path) -> std::io::Result<String> {
    let bytes = std::fs::metadata(path)?.len();
    if bytes > TEMPLATE_BYTES_MAX {
        let reason = format!("the file has {bytes} bytes, and at most {TEMPLATE_BYTES_MAX} are taken");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, reason));
    }
    std::fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: Prompt = Prompt { name: "judge", version: 1, template: "Rules: {{ rules }}" };

    fn load(files: &[(&str, &str)]) -> Result<Library, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Library::load(&[SHIPPED], Some(folder.path()))
    }

    fn pinned(version: u32, template: &str) -> Pinned {
        Pinned { version, template: Hash::of(template.as_bytes()) }
    }

    #[test]
    fn an_operator_adds_versions() {
        let library =
            load(&[("judge.v2.j2", "Be strict."), ("judge.v1.j2", SHIPPED.template), ("own.v7.j2", "x")]);
        let library = library.unwrap();
        let listed: Vec<_> = library.list().map(|one| (one.name, one.version, one.source)).collect();
        let (shipped, operator) = (Source::Shipped, Source::Operator);
        assert_eq!(listed, [("judge", 1, shipped), ("judge", 2, operator), ("own", 7, operator)]);
        assert_eq!(library.template(&SHIPPED, &pinned(2, "Be strict.")).unwrap(), "Be strict.");
        assert_eq!(library.template(&SHIPPED, &pinned(1, SHIPPED.template)).unwrap(), SHIPPED.template);
        let code = |pinned| match library.template(&SHIPPED, &pinned).unwrap_err() {
            Failure::Failed(failure) => failure.code,
            Failure::InputRequired { .. } => panic!("no question"),
        };
        assert_eq!(code(pinned(2, "Be lax.")), "prompt-changed");
        assert_eq!(code(pinned(3, "Be strict.")), "prompt-missing");
        let without = Library::default();
        assert_eq!(without.template(&SHIPPED, &pinned(1, SHIPPED.template)).unwrap(), SHIPPED.template);
    }

    #[test]
    fn mistakes_in_the_folder_are_named() {
        let long = "x".repeat(65_537);
        for (name, text, part) in [
            ("judge.v1.j2", "Be lax.", "prompt-changed"),
            ("judge.j2", "x", "judge.v2.j2"),
            ("judge.v0.j2", "x", "judge.v2.j2"),
            ("judge.v01.j2", "x", "judge.v2.j2"),
            ("judge.v+2.j2", "x", "judge.v2.j2"),
            ("a b.v1.j2", "x", "judge.v2.j2"),
            ("notes.txt", "x", "judge.v2.j2"),
            ("judge.v2.j2", "{% for %}", "is no template"),
            ("judge.v2.j2", &long, "65537 bytes"),
        ] {
            let mistakes = load(&[(name, text)]).unwrap_err();
            assert!(mistakes.len() == 1 && mistakes[0].contains(part), "{name}: {mistakes:?}");
        }
        assert!(
            Library::load(&[], Some(Path::new("/no/such/folder"))).unwrap_err()[0].contains("cannot be read")
        );
    }
}
