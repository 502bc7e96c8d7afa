//! `orrery manifest verify`: whether the manifest of a run and what it speaks of agree.

use std::io::Read;
use std::path::{Path, PathBuf};

use actors_agents::manifest::{Difference, MANIFEST, MANIFEST_BYTES_MAX, Manifest, files_of};
use actors_host::Config;
use actors_sandbox::{Image, Kind};
use bus_schemas::{Hash, Key};
use schemars::JsonSchema;
use serde::Serialize;

use super::config::refused;
use super::tasks::{download, one_line};
use crate::client::{self, Client};
use crate::failure::{Failure, exit};
use crate::output::{Output, Show};

/// The action on manifests.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Check that artifacts, prompts, images and inputs are those that a manifest names
    Verify {
        /// The file of a manifest, beside which its artifacts lie, or the id of the task that left one
        #[arg(value_name = "FILE|TASK")]
        which: String,
        /// The repository that the run was about: its files are compared with the inputs
        #[arg(long, value_name = "DIR")]
        repo: Option<PathBuf>,
    },
}

/// A difference between a manifest and what is there.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Finding {
    /// What it is: `artifact-missing`, `artifact-differs`, `prompt-differs`, `settings-differ`, `image-missing`,
    /// `image-differs`, `input-missing`, `input-differs` or `input-added`.
    pub finding: &'static str,
    /// The artifact, the prompt, the image or the file.
    pub place: String,
    /// The difference.
    pub detail: String,
}

impl From<Difference> for Finding {
    fn from(Difference { finding, place, detail }: Difference) -> Self {
        Self { finding, place, detail }
    }
}

impl Show for Finding {
    fn text(&self) -> String {
        format!("{}  {}  {}", self.finding, one_line(&self.place), one_line(&self.detail))
    }
}

/// What was checked.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Verified {
    /// The task that left the manifest.
    pub task: String,
    /// Artifacts that were checked.
    pub artifacts: usize,
    /// Prompts that were checked.
    pub prompts: usize,
    /// Images that were checked.
    pub images: usize,
    /// Files that were compared.
    pub inputs: usize,
    /// What was not checked, and what is needed for it.
    pub unchecked: Vec<String>,
    /// The number of findings.
    pub findings: usize,
}

impl Show for Verified {
    fn text(&self) -> String {
        let Self { task, artifacts, prompts, images, inputs, unchecked, findings } = self;
        let verdict = match findings {
            0 => "everything agrees".to_owned(),
            many => format!("{many} findings"),
        };
        let mut text = format!(
            "manifest of {}: {artifacts} artifacts, {prompts} prompts, {images} images, {inputs} inputs: {verdict}",
            one_line(task)
        );
        unchecked.iter().for_each(|each| text.push_str(&format!("\nnot checked: {each}")));
        text
    }
}

/// Where a manifest's artifacts are.
enum Place {
    /// In a folder.
    Folder(PathBuf),
    /// At the task, asked of a gateway.
    Task(Client, Key),
}

/// Verifies, and fails when something differs.
pub async fn run(config: &Config, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let Verb::Verify { which, repo } = arguments.verb;
    let (manifest, place) = found(config, &which).await?;
    let mut findings = artifacts(&manifest, &place).await?;
    let library = crate::tools::library(config).map_err(|mistakes| refused(&mistakes))?;
    findings.extend(manifest.differences(&library).into_iter().map(Finding::from));
    let (mut unchecked, mut images, mut inputs) = (Vec::new(), 0, 0);
    match &config.sandbox.images {
        Some(folder) => {
            images = manifest.images.len();
            findings
                .extend(manifest.images.iter().filter_map(|used| image(folder, &used.image, &used.manifest)));
        }
        None => unchecked.push("images: name their folder in the setting `sandbox.images`".to_owned()),
    }
    match &repo {
        Some(repo) => {
            let files = files_of(repo).map_err(|reason| {
                Failure::new("repository-unreadable", reason)
                    .next("name the folder of a git repository with `--repo`")
                    .exit(exit::NOT_FOUND)
            })?;
            inputs = manifest.inputs.files.len();
            findings.extend(manifest.differences_of(&files).into_iter().map(Finding::from));
        }
        None => unchecked.push("inputs: name the repository with `--repo`".to_owned()),
    }
    findings.iter().for_each(|finding| output.show(finding));
    output.show(&Verified {
        task: manifest.task.clone(),
        artifacts: manifest.outputs.len(),
        prompts: manifest.prompts.len(),
        images,
        inputs,
        unchecked,
        findings: findings.len(),
    });
    match findings.len() {
        0 => Ok(()),
        many => Err(Failure::new("manifest-differs", format!("{many} findings"))
            .next("each finding names what differs; a run with other inputs has another manifest")),
    }
}

/// The manifest, with the place of its artifacts.
async fn found(config: &Config, which: &str) -> Result<(Manifest, Place), Failure> {
    let path = Path::new(which);
    let (bytes, place) = if path.is_file() {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        (bounded(path).map_err(|reason| invalid(which, &reason))?, Place::Folder(folder))
    } else {
        let (client, id) = (Client::connect(config)?, client::id(which)?);
        (download(&client, &id, MANIFEST, None).await?, Place::Task(client, id))
    };
    let manifest = Manifest::read(&bytes).map_err(|reason| invalid(which, &reason))?;
    Ok((manifest, place))
}

fn invalid(which: &str, reason: &str) -> Failure {
    Failure::new(
        "manifest-invalid",
        format!("`{which}` has no manifest that this program can read: {reason}"),
    )
    .next("name the file `manifest.json` of a run, or the id of its task")
    .exit(exit::DATA)
}

fn bounded(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(MANIFEST_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match bytes.len() as u64 {
        ..=MANIFEST_BYTES_MAX => Ok(bytes),
        _ => Err(format!("the file has more than {MANIFEST_BYTES_MAX} bytes")),
    }
}

/// The artifacts that are not there, or have another content.
async fn artifacts(manifest: &Manifest, place: &Place) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for artifact in &manifest.outputs {
        let hash = match place {
            // A name is the name of a file here: it must not lead elsewhere.
            Place::Folder(_) if artifact.name.contains('/') || artifact.name == ".." => None,
            Place::Folder(folder) => hash_of_file(&folder.join(&artifact.name)),
            Place::Task(client, id) => match download(client, id, &artifact.name, None).await {
                Ok(bytes) => Some(Hash::of(&bytes)),
                Err(failure) if failure.exit == exit::NOT_FOUND => None,
                Err(failure) => return Err(failure),
            },
        };
        let (finding, detail) = match hash {
            None => ("artifact-missing", "the artifact is not there".to_owned()),
            Some(hash) if hash != artifact.hash => {
                ("artifact-differs", format!("the hash is {}", hash.to_hex()))
            }
            Some(_) => continue,
        };
        findings.push(Finding { finding, place: artifact.name.clone(), detail });
    }
    Ok(findings)
}

fn hash_of_file(path: &Path) -> Option<Hash> {
    let bytes = std::fs::read(path).ok()?;
    Some(Hash::of(&bytes))
}

/// How the image in the folder differs from the one that was used.
fn image(folder: &Path, name: &str, manifest: &str) -> Option<Finding> {
    let kind = [Kind::Python, Kind::Node].into_iter().find(|kind| kind.name() == name);
    let (finding, detail) = match kind.map(|kind| Image::open(folder, kind)) {
        Some(Ok(image)) if image.hash == manifest => return None,
        Some(Ok(image)) => ("image-differs", format!("the manifest of the image here is {}", image.hash)),
        Some(Err(_)) | None => ("image-missing", format!("there is no such image in `{}`", folder.display())),
    };
    Some(Finding { finding, place: name.to_owned(), detail })
}
