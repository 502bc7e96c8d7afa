//! A secret that shows itself to nobody.

use std::fmt;
use std::path::Path;

/// The most bytes of a secret.
const BYTES_MAX: usize = 4_096;

/// A key of a provider. `Debug` shows none of it, and it has no `Display` and cannot be serialized.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

/// Why a secret cannot be used. Names where it was looked for, and nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("reading the key in `{path}`: {source}")]
    File { path: String, source: std::io::Error },
    /// The environment variable is not set.
    #[error("the environment variable `{0}` is not set")]
    Variable(String),
    /// Not one line of visible characters.
    #[error(
        "the key in `{0}` is empty, longer than {BYTES_MAX} bytes, or has characters that no header takes"
    )]
    Shape(String),
}

impl Secret {
    /// The text of a file, without the line break at its end.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let path_text = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| SecretError::File { path: path_text.clone(), source })?;
        Self::new(&text, path_text)
    }

    /// The text of an environment variable.
    pub fn from_variable(name: &str) -> Result<Self, SecretError> {
        let text = std::env::var(name).map_err(|_| SecretError::Variable(name.to_owned()))?;
        Self::new(&text, name.to_owned())
    }

    fn new(text: &str, place: String) -> Result<Self, SecretError> {
        let text = text.trim();
        let is_good =
            !text.is_empty() && text.len() <= BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_good { Ok(Self(text.to_owned())) } else { Err(SecretError::Shape(place)) }
    }

    /// The secret, for the header of a request only.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// A text without the secret: servers repeat what they were sent.
    pub(crate) fn hide_in(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(&self.0, "[key]") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_line_and_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "sk-hunter2\n").unwrap();
        let secret = Secret::from_file(&path).unwrap();
        assert_eq!(secret.reveal(), "sk-hunter2");
        assert_eq!(format!("{secret:?}"), "Secret");
        assert_eq!(secret.hide_in("your key sk-hunter2 is wrong"), "your key [key] is wrong");
        for wrong in ["", "\n", "two words", "one\ntwo", "\u{1}", &"x".repeat(BYTES_MAX + 1)] {
            std::fs::write(&path, wrong).unwrap();
            let error = Secret::from_file(&path).unwrap_err();
            assert!(matches!(error, SecretError::Shape(_)), "{wrong:?}");
        }
        assert!(matches!(Secret::from_file(&folder.path().join("none")), Err(SecretError::File { .. })));
        assert!(matches!(Secret::from_variable("ORRERY_NO_SUCH_KEY"), Err(SecretError::Variable(_))));
    }
}
