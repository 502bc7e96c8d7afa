//! The manifest of a run: by which inputs, prompts, settings, models and images its outputs came about, each by its
//! hash, so that somebody else can check it.

use std::collections::BTreeMap;

use actors_models::{Library, ModelSettings, Models, PromptRef};
use actors_sandbox::{Entry, Files, ImageInUse};
use actors_worker::{Failure, Work};
use bus_schemas::Hash;
use bus_schemas::jobs::Artifact;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::sandbox::{Limits, Sandboxes};
use crate::tester;

/// The artifact.
pub const MANIFEST: &str = "manifest.json";
/// The version of the format.
const VERSION: u32 = 1;
/// The most bytes of a manifest: each of its files takes some hundred.
pub const MANIFEST_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// A manifest. Hashes are of BLAKE3.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the format: 1.
    pub manifest: u32,
    /// The version of the program.
    pub orrery: String,
    /// The task, the attempt, and what was done.
    pub task: String,
    /// The number of the attempt.
    pub attempt: u32,
    /// The skill.
    pub skill: String,
    /// What went in.
    pub inputs: Inputs,
    /// What it was done by.
    pub settings: Settings,
    /// The prompts, in the order of the calls.
    pub prompts: Vec<PromptRef>,
    /// The models that answered, in the order of the calls.
    pub models: Vec<ModelUsed>,
    /// The images that programs ran in.
    pub images: Vec<ImageUsed>,
    /// The artifacts.
    pub outputs: Vec<Output>,
}

/// What went into a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// The hash of the goal and the input of the job.
    pub job: Hash,
    /// The hash of all files: their paths, contents and rights.
    pub tree: Hash,
    /// The hash of the content of each file.
    pub files: BTreeMap<String, Hash>,
}

/// What a run was done by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The hash of the rest.
    pub version: Hash,
    /// The models that could be asked.
    pub models: Vec<ModelSettings>,
    /// The limits of programs.
    pub limits: Limits,
}

/// A model that answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelUsed {
    /// The name of the provider.
    pub provider: String,
    /// The model, as the provider names it.
    pub model: String,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageUsed {
    /// `python` or `node`.
    pub image: String,
    /// The hash of its manifest.
    pub manifest: String,
    /// Its digest at the engine, which differs between engines.
    pub digest: String,
}

/// An artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// The hash of its content.
    pub hash: Hash,
    /// Its size.
    pub bytes: u64,
}

/// A difference between a manifest and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What it is: a word.
    pub finding: &'static str,
    /// The file, the prompt, the image or the artifact.
    pub place: String,
    /// The difference.
    pub detail: String,
}

/// What a run used and made, beside its inputs.
pub(crate) struct Used<'a> {
    pub(crate) limits: Limits,
    pub(crate) prompts: Vec<PromptRef>,
    pub(crate) models: Vec<ModelUsed>,
    pub(crate) outputs: &'a [Artifact],
}

/// Stores the manifest of a job.
pub(crate) async fn leave(
    work: &Work,
    models: &Models,
    sandboxes: &Sandboxes,
    files: &Files,
    used: Used<'_>,
) -> Result<Artifact, Failure> {
    let Used { limits, prompts, models: answered, outputs } = used;
    // Recorded: another process may have other models and images.
    let surroundings = async || {
        let image = |image: ImageInUse| ImageUsed {
            image: image.kind.name().to_owned(),
            manifest: image.manifest,
            digest: image.id,
        };
        Ok((models.settings(), sandboxes.images().await?.into_iter().map(image).collect()))
    };
    let (settings, images): (Vec<ModelSettings>, Vec<ImageUsed>) =
        work.step("surroundings", &json!({}), surroundings).await?;
    let version = hash_of(&json!({"models": settings, "limits": limits}));
    let output = |one: &Artifact| Output { name: one.name.to_string(), hash: one.hash, bytes: one.bytes };
    let manifest = Manifest {
        manifest: VERSION,
        orrery: env!("CARGO_PKG_VERSION").to_owned(),
        task: work.job.task.key.to_string(),
        attempt: work.job.attempt,
        skill: work.job.skill.to_string(),
        inputs: Inputs {
            job: hash_of(&json!({"goal": work.job.goal, "input": work.job.input})),
            tree: tester::digest(files),
            files: hashes(files),
        },
        settings: Settings { version, models: settings, limits },
        prompts,
        models: answered,
        images,
        outputs: outputs.iter().map(output).collect(),
    };
    let bytes = serde_json::to_vec_pretty(&manifest).expect("it is plain data");
    work.put_artifact(MANIFEST, "application/json", bytes.into()).await
}

fn hash_of(value: &serde_json::Value) -> Hash {
    Hash::of(value.to_string().as_bytes())
}

fn hashes(files: &Files) -> BTreeMap<String, Hash> {
    let content = |entry: &Entry| match entry {
        Entry::File { bytes, .. } => Hash::of(bytes),
        Entry::Link { target } => Hash::of(target.as_bytes()),
    };
    files.iter().map(|(path, entry)| (path.to_owned(), content(entry))).collect()
}

impl Manifest {
    /// Reads a manifest, or says why it is none.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match read.manifest {
            VERSION => Ok(read),
            other => Err(format!("the manifest has the version {other}, and this program knows {VERSION}")),
        }
    }

    /// What is not as it says by itself: its settings, and its prompts as a library has them.
    pub fn differences(&self, library: &Library) -> Vec<Difference> {
        let mut found = Vec::new();
        let Settings { version, models, limits } = &self.settings;
        if hash_of(&json!({"models": models, "limits": limits})) != *version {
            let detail = "the settings do not have the hash that is their version".to_owned();
            found.push(Difference { finding: "settings-differ", place: "settings".to_owned(), detail });
        }
        for prompt in &self.prompts {
            let mut known = library.list();
            let known = known.find(|one| one.name == prompt.name && one.version == prompt.version);
            let detail = match known {
                None => "this program has no such version of the prompt".to_owned(),
                Some(known) if known.hash() != prompt.template => {
                    format!("the template that this program has is {}", known.hash().to_hex())
                }
                Some(_) => continue,
            };
            let place = format!("{} {}", prompt.name, prompt.version);
            let difference = Difference { finding: "prompt-differs", place, detail };
            if !found.contains(&difference) {
                found.push(difference);
            }
        }
        found
    }

    /// How files differ from the inputs.
    pub fn differences_of(&self, files: &Files) -> Vec<Difference> {
        let difference = |finding, place: &str, detail: &str| Difference {
            finding,
            place: place.to_owned(),
            detail: detail.to_owned(),
        };
        let now = hashes(files);
        let mut found = Vec::new();
        for (path, hash) in &self.inputs.files {
            match now.get(path) {
                None => found.push(difference("input-missing", path, "the file is not there")),
                Some(other) if other != hash => {
                    found.push(difference("input-differs", path, "the file has another content"));
                }
                Some(_) => {}
            }
        }
        for path in now.keys().filter(|path| !self.inputs.files.contains_key(*path)) {
            found.push(difference("input-added", path, "the file was not there"));
        }
        if found.is_empty() && tester::digest(files) != self.inputs.tree {
            found.push(difference(
                "input-differs",
                "",
                "the files have other rights, or the hash of all is wrong",
            ));
        }
        found
    }
}

/// The files of a repository, as a run would copy them.
pub fn files_of(repo: &std::path::Path) -> Result<Files, String> {
    let watch = actors_report::Watch::new(|_, _, _| {}, || false);
    let sources = actors_report::sources(repo, tester::SOURCE_BYTES_MAX, &watch);
    tester::files_of(sources.map_err(|error| bus_schemas::chain(&error))?).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(all: &[(&str, &str)]) -> Files {
        let mut files = Files::new();
        for (path, text) in all {
            files.insert(path, Entry::file(text.as_bytes().to_vec())).unwrap();
        }
        files
    }

    fn manifest(files: &Files) -> Manifest {
        let limits = Limits::of(crate::sandbox::STEP_MAX);
        let (_, prompt) = crate::code::PROMPT.render(&json!({})).unwrap();
        Manifest {
            manifest: VERSION,
            orrery: "0".into(),
            task: "t".into(),
            attempt: 1,
            skill: "repair".into(),
            inputs: Inputs { job: Hash::of(b""), tree: tester::digest(files), files: hashes(files) },
            settings: Settings {
                version: hash_of(&json!({"models": [], "limits": limits})),
                models: vec![],
                limits,
            },
            prompts: vec![prompt],
            models: vec![],
            images: vec![],
            outputs: vec![],
        }
    }

    fn library() -> Library {
        Library::load(&crate::catalog::prompts(), None).unwrap()
    }

    fn words(found: &[Difference]) -> Vec<(&str, &str)> {
        found.iter().map(|one| (one.finding, one.place.as_str())).collect()
    }

    #[test]
    fn a_manifest_is_read_back_and_agrees_with_itself() {
        let before = files(&[("a.py", "1"), ("b.py", "2")]);
        let whole = manifest(&before);
        let read = Manifest::read(&serde_json::to_vec(&whole).unwrap()).unwrap();
        assert_eq!(read, whole);
        assert_eq!((read.differences(&library()), read.differences_of(&before)), (vec![], vec![]));
        let changed = files(&[("a.py", "3"), ("c.py", "2")]);
        assert_eq!(
            words(&read.differences_of(&changed)),
            [("input-differs", "a.py"), ("input-missing", "b.py"), ("input-added", "c.py")]
        );
        let mut executable = Files::new();
        executable.insert("a.py", Entry::File { bytes: "1".into(), executable: true }).unwrap();
        executable.insert("b.py", Entry::file("2")).unwrap();
        assert_eq!(words(&read.differences_of(&executable)), [("input-differs", "")]);
    }

    #[test]
    fn what_was_changed_in_a_manifest_is_found() {
        let mut changed = manifest(&files(&[]));
        changed.prompts[0].template = Hash::of(b"another");
        changed.settings.limits.agents = 4;
        assert_eq!(
            words(&changed.differences(&library())),
            [("settings-differ", "settings"), ("prompt-differs", "repair 1")]
        );
        changed.prompts[0].version = 99;
        assert_eq!(words(&changed.differences(&library()))[1], ("prompt-differs", "repair 99"));
        changed.manifest = 2;
        let text = serde_json::to_vec(&changed).unwrap();
        assert!(Manifest::read(&text).unwrap_err().contains("version 2"));
        assert!(Manifest::read(b"{}").is_err() && Manifest::read(b"").is_err());
    }
}
