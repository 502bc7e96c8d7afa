//! The files of the repository, and how findings are told.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ignore::WalkBuilder;

/// A text file below the repository's root.
#[derive(Debug)]
pub struct File {
    /// Its path from the root, with `/`.
    pub path: String,
    /// What is in it.
    pub text: String,
}

impl File {
    /// A file that is not there: what a rule is shown to prove that it finds something.
    pub fn specimen(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }
    /// Whether the name ends so, as in `rs`.
    pub fn is(&self, extension: &str) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, found)| found == extension)
    }
    /// Its lines with their numbers, from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
    /// The number of the line at a byte offset, from 1.
    pub fn line_at(&self, offset: usize) -> usize {
        self.text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1
    }
    /// Whether it is Rust that runs only in tests: the harness, test binaries, `tests.rs` of a module.
    pub fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the root is above this crate")
}

/// Every text file that is, or could be, under version control: what `.gitignore` names is left out.
pub fn all() -> &'static [File] {
    static FILES: OnceLock<Vec<File>> = OnceLock::new();
    FILES.get_or_init(|| {
        let root = root();
        let walk = WalkBuilder::new(&root)
            .hidden(false)
            .parents(false)
            .ignore(false)
            .git_global(false)
            .git_exclude(false)
            .require_git(false)
            .filter_entry(|entry| entry.file_name() != ".git")
            .build();
        let mut files: Vec<File> = walk
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()))
            .filter_map(|entry| read(&root, entry.path()))
            .collect();
        files.sort_by(|one, other| one.path.cmp(&other.path));
        files
    })
}

/// None when it is not text, or went away while we looked.
fn read(root: &Path, path: &Path) -> Option<File> {
    let text = String::from_utf8(std::fs::read(path).ok()?).ok()?;
    let below = path.strip_prefix(root).expect("the walk began at the root");
    Some(File { path: below.to_string_lossy().replace('\\', "/"), text })
}

/// The files with an extension.
pub fn with(extension: &str) -> impl Iterator<Item = &'static File> {
    all().iter().filter(move |file| file.is(extension))
}

/// The file at a path from the root.
pub fn at(path: &str) -> &'static File {
    all().iter().find(|file| file.path == path).unwrap_or_else(|| panic!("`{path}` is not in the repository"))
}

/// Whether a file or a folder is there.
pub fn exists(path: &str) -> bool {
    root().join(path).exists()
}

/// What breaks a rule. All of it is told at once.
#[derive(Debug, Default)]
pub struct Findings {
    told: BTreeSet<(String, usize, String)>,
}

impl Findings {
    /// Notes what is wrong at a line, and what to do. Line 0 means the file as a whole.
    pub fn add(&mut self, path: &str, line: usize, wrong: impl AsRef<str>, fix: impl AsRef<str>) {
        self.told.insert((path.into(), line, format!("{}: {}", wrong.as_ref(), fix.as_ref())));
    }
    /// How many.
    pub fn count(&self) -> usize {
        self.told.len()
    }
    /// Fails with all of them.
    #[track_caller]
    pub fn assert_none(self) {
        let lines = self.told.iter().map(|(path, line, text)| match line {
            0 => format!("  {path}: {text}"),
            _ => format!("  {path}:{line}: {text}"),
        });
        let lines: Vec<String> = lines.collect();
        assert!(lines.is_empty(), "{} findings\n{}", lines.len(), lines.join("\n"));
    }
}

/// Whether a word stands at this offset, not as part of a longer name.
pub fn is_word_at(text: &str, offset: usize, word: &str) -> bool {
    let part_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = text.as_bytes();
    let before = offset.checked_sub(1).and_then(|before| bytes.get(before));
    !before.is_some_and(part_of_name) && !bytes.get(offset + word.len()).is_some_and(part_of_name)
}

#[test]
fn the_walk_sees_sources_and_leaves_out_what_is_built() {
    for path in ["Cargo.toml", ".gitignore", "tests/tidy/files.rs", "docs/architecture.md"] {
        assert_eq!(at(path).path, path);
    }
    let built = ["target/", ".tools/", ".git/"];
    let seen = all().iter().find(|file| built.iter().any(|folder| file.path.starts_with(folder)));
    assert!(seen.is_none(), "{:?}", seen.map(|file| &file.path));
}
