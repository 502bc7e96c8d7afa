//! Images of the sandbox: a file system as an archive, and beside it a manifest of what is in it. The engine gets an
//! image under the hash of its manifest, so an image that is there is the one that was built.

mod build;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio_util::io::ReaderStream;

use crate::engine::Engine;
use crate::error::Error;

pub use self::build::{adopt, build};

/// The label with the hash of an image's manifest.
pub const MANIFEST_LABEL: &str = "orrery.manifest";
/// Characters of the hash that name an image: no two of one machine share them by accident.
const TAG_CHARACTERS: usize = 32;
/// A manifest of hundreds of thousands of files is none of ours.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// What an image can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Python 3 with pytest, ruff, mypy and bandit.
    Python,
    /// Node 24 with its test runner, eslint and TypeScript.
    Node,
}

impl Kind {
    /// Its name: of its files, and of the image.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
        }
    }
}

/// An image that was built: its archive and its manifest in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// What it can run.
    pub kind: Kind,
    /// The hash of its manifest, in hexadecimal.
    pub hash: String,
    archive: PathBuf,
}

/// An image at the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInUse {
    /// What it can run.
    pub kind: Kind,
    /// The hash of its manifest, in hexadecimal.
    pub manifest: String,
    /// Its digest, as the engine gives it.
    pub id: String,
}

impl Image {
    /// Finds an image in the folder where [`build`] or [`adopt`] put it.
    pub fn open(folder: &Path, kind: Kind) -> Result<Self, Error> {
        let archive = folder.join(format!("{}.tar", kind.name()));
        let missing = || Error::ImageMissing { path: archive.display().to_string() };
        let manifest = File::open(archive.with_extension("manifest")).map_err(|_| missing())?;
        let mut text = Vec::new();
        manifest.take(MANIFEST_BYTES_MAX).read_to_end(&mut text).map_err(|_| missing())?;
        if !archive.exists() {
            return Err(missing());
        }
        Ok(Self { kind, hash: blake3::hash(&text).to_hex().to_string(), archive })
    }

    /// The id of the image at the engine, which gets it when it does not have it yet.
    pub(crate) async fn load(&self, engine: &Engine) -> Result<String, Error> {
        let missing = || Error::ImageMissing { path: self.archive.display().to_string() };
        let label = format!("{MANIFEST_LABEL}={}", self.hash);
        // Two keepers do not give the engine the same image twice, in one process or in several: the engine may remove
        // the one that lost its name to the other.
        let archive = File::open(&self.archive).map_err(|_| missing())?;
        let locked = tokio::task::spawn_blocking(move || archive.lock().map(|()| archive)).await;
        let Ok(Ok(_one_at_a_time)) = locked else { return Err(missing()) };
        if let Some(id) = engine.image(&label).await? {
            return Ok(id);
        }
        self.verify().await?;
        let archive = tokio::fs::File::open(&self.archive).await.map_err(|_| missing())?;
        let repository = format!("orrery-sandbox/{}", self.kind.name());
        engine.import(&repository, &self.hash[..TAG_CHARACTERS], &label, ReaderStream::new(archive)).await?;
        engine.image(&label).await?.ok_or_else(missing)
    }

    /// Reads the archive and compares it with the manifest.
    async fn verify(&self) -> Result<(), Error> {
        let (archive, hash) = (self.archive.clone(), self.hash.clone());
        let found = tokio::task::spawn_blocking(move || manifest(File::open(archive)?)).await;
        let same = matches!(found, Ok(Ok(text)) if blake3::hash(text.as_bytes()).to_hex().as_str() == hash);
        if same { Ok(()) } else { Err(Error::ImageDamaged { path: self.archive.display().to_string() }) }
    }
}

/// The manifest of an archive: for each entry its type, mode, the hash of its content or its target, and its path.
fn manifest(archive: impl Read) -> io::Result<String> {
    let mut archive = tar::Archive::new(archive);
    let mut text = String::from("orrery sandbox image 1\n");
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).escape_default().to_string();
        let mode = entry.header().mode()? & 0o7777;
        let (kind, content) = match entry.header().entry_type() {
            tar::EntryType::Regular => {
                let mut hash = blake3::Hasher::new();
                io::copy(&mut entry, &mut hash)?;
                ("file", hash.finalize().to_hex().to_string())
            }
            tar::EntryType::Directory => ("folder", "-".to_owned()),
            other => {
                let target = entry.link_name_bytes().unwrap_or_default();
                let kind = if other.is_symlink() { "link" } else { "same" };
                (kind, String::from_utf8_lossy(&target).escape_default().to_string())
            }
        };
        text.push_str(&format!("{kind} {mode:04o} {content} {path}\n"));
    }
    Ok(text)
}
