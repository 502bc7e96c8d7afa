//! The key that signs ledgers: a file of the data directory, which no agent can open and no backup holds.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bus_schemas::Hash;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};

use super::Error;

/// The name of the file: 64 hexadecimal digits, the seed of RFC 8032.
const FILE: &str = "ledger.key";
/// The beginning of what is signed, so that the signature serves for nothing else.
const DOMAIN: &str = "orrery-ledger-1:";
/// The permissions of a group and of others.
const WIDER: u32 = 0o077;

/// The key of an installation's operator.
#[derive(Debug)]
pub struct SigningKey {
    pair: Ed25519KeyPair,
    /// Where it is kept.
    pub path: PathBuf,
}

impl SigningKey {
    /// Opens the key, and makes one on first use. One that others can read is refused.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let path = data_dir.join(FILE);
        let unusable = |reason: String| Error::Key { path: path.display().to_string(), reason };
        let failed = |error: std::io::Error| unusable(error.to_string());
        let found = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make(data_dir, &path).map_err(failed)?;
                fs::symlink_metadata(&path)
            }
            found => found,
        };
        let found = found.map_err(failed)?;
        if !found.is_file() {
            return Err(unusable("a key is a plain file".to_owned()));
        }
        let mode = found.permissions().mode() & 0o777;
        if mode & WIDER != 0 {
            return Err(unusable(format!(
                "its mode is {mode:o}, and others than its owner have a part in it"
            )));
        }
        let text = fs::read_to_string(&path).map_err(failed)?;
        let seed = Hash::from_hex(text.trim())
            .ok_or_else(|| unusable("a key has 64 hexadecimal digits".to_owned()))?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed.0).expect("a seed has 32 bytes");
        Ok(Self { pair, path })
    }

    /// The public key, in hexadecimal digits.
    pub fn public(&self) -> String {
        hex(self.pair.public_key().as_ref())
    }

    /// Signs the hash of the last line; the signature in hexadecimal digits.
    pub(super) fn sign(&self, hash: &str) -> String {
        hex(self.pair.sign(format!("{DOMAIN}{hash}").as_bytes()).as_ref())
    }
}

/// Makes a key, whole or not at all; one that another process made meanwhile stays.
fn make(data_dir: &Path, path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(data_dir)?;
    let mut seed = [0; 32];
    SystemRandom::new()
        .fill(&mut seed)
        .map_err(|_| std::io::Error::other("the system gives no random bytes"))?;
    let half = path.with_extension(format!("key.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&half)?;
    let linked = writeln!(file, "{}", Hash(seed).to_hex())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&half, path));
    fs::remove_file(&half)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
