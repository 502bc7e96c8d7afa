//! The inventory: files, bytes and lines by language, and the largest files.
//!
//! The files are those of `git ls-files`; binary files are counted but not read beyond their start.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Cursor, Read};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::files::{Entry, Tree};
use super::languages::{self, Comments, Language, Purpose};
use super::text::{self, Encoding};
use super::top::Top;
use super::{Error, Watch};

/// Files in the list of the largest: a reader looks at the first handful.
pub const LARGEST_FILES: usize = 25;

/// Bytes of a text file whose lines are counted: larger ones are data dumps, and would hold up everything
/// else.
const COUNTED_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Bytes of a line that are kept to tell code from comment, so that a one-line gigabyte needs no memory.
const LINE_KEPT_BYTES: usize = 4 * 1024;

/// Figures of a repository's files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inventory {
    pub total: Tally,
    /// Most lines first. Their sum, with `binary` and `uncounted`, is `total`.
    pub languages: Vec<LanguageTally>,
    pub binary: FileTally,
    /// Text files that are too large to count lines in, or unreadable.
    pub uncounted: FileTally,
    pub largest: Vec<LargestFile>,
    pub skipped: SkippedEntries,
}

/// Files, bytes and lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tally {
    pub files: u64,
    pub bytes: u64,
    pub lines: Lines,
}

/// Lines by kind; the three kinds sum to `total`. Comments are recognised by how lines begin, so approximately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lines {
    pub total: u64,
    pub code: u64,
    pub comment: u64,
    pub blank: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileTally {
    pub files: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LanguageTally {
    pub language: String,
    pub purpose: Purpose,
    pub tally: Tally,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LargestFile {
    pub path: String,
    pub bytes: u64,
}

/// Entries that were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SkippedEntries {
    pub symlinks: u64,
    #[serde(default)]
    pub submodules: u64,
    /// Files that are counted although their contents are missing, as in a partial clone.
    #[serde(default)]
    pub absent: u64,
}

/// Counts every file of the repository `repo`.
pub fn inventory(repo: &Path, watch: &Watch) -> Result<Inventory, Error> {
    let mut count = Count::default();
    let mut largest = Top::new(LARGEST_FILES);
    let mut tree = Tree::read(repo, watch)?;
    tree.each("counting files", |tree, entry| {
        count.add(tree, &entry, watch)?;
        largest.push(entry.bytes, entry.name);
        Ok(())
    })?;
    let mut languages: Vec<_> = count.languages.into_values().collect();
    languages.sort_by(|a, b| {
        (b.tally.lines.total, b.tally.bytes, &a.language).cmp(&(
            a.tally.lines.total,
            a.tally.bytes,
            &b.language,
        ))
    });
    Ok(Inventory {
        total: count.total,
        languages,
        binary: count.binary,
        uncounted: count.uncounted,
        largest: largest.into_sorted().into_iter().map(|(bytes, path)| LargestFile { path, bytes }).collect(),
        skipped: SkippedEntries {
            symlinks: tree.skipped.symlinks,
            submodules: tree.skipped.submodules,
            absent: tree.skipped.absent,
        },
    })
}

#[derive(Default)]
struct Count {
    total: Tally,
    languages: BTreeMap<&'static str, LanguageTally>,
    binary: FileTally,
    uncounted: FileTally,
}

/// The findings of reading one file.
enum Reading {
    Binary,
    Uncounted,
    Text(&'static Language, Lines),
}

impl Count {
    fn add(&mut self, tree: &mut Tree<'_>, entry: &Entry, watch: &Watch) -> Result<(), Error> {
        self.total.files += 1;
        self.total.bytes += entry.bytes;
        let reading = match tree.open(entry, COUNTED_BYTES_MAX)? {
            Some(reader) => read(reader, entry, watch).unwrap_or(Reading::Uncounted),
            None => Reading::Uncounted,
        };
        // A canceled caller surfaces as a file that could not be read.
        watch.check()?;
        match reading {
            Reading::Binary => self.binary.add(entry.bytes),
            Reading::Uncounted => self.uncounted.add(entry.bytes),
            Reading::Text(language, lines) => {
                self.total.lines.add(lines);
                let row = self.languages.entry(language.name).or_insert_with(|| LanguageTally {
                    language: language.name.to_owned(),
                    purpose: language.purpose,
                    tally: Tally::default(),
                });
                row.tally.files += 1;
                row.tally.bytes += entry.bytes;
                row.tally.lines.add(lines);
            }
        }
        Ok(())
    }
}

impl FileTally {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

impl Lines {
    fn add(&mut self, other: Self) {
        self.total += other.total;
        self.code += other.code;
        self.comment += other.comment;
        self.blank += other.blank;
    }
}

fn read(mut reader: Box<dyn BufRead>, entry: &Entry, watch: &Watch) -> io::Result<Reading> {
    let (encoding, mark) = text::encoding(reader.fill_buf()?);
    if encoding != Encoding::Utf8 && entry.bytes <= COUNTED_BYTES_MAX {
        let mut bytes = Vec::new();
        reader.take(COUNTED_BYTES_MAX).read_to_end(&mut bytes)?;
        let Some(text) = text::decode(bytes) else { return Ok(Reading::Binary) };
        reader = Box::new(Cursor::new(text.into_bytes()));
    } else {
        reader.consume(mark);
    }
    let start = reader.fill_buf()?;
    if text::is_binary(start) {
        return Ok(Reading::Binary);
    }
    if entry.bytes > COUNTED_BYTES_MAX {
        return Ok(Reading::Uncounted);
    }
    let first_line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let language = languages::detect(&entry.name, &String::from_utf8_lossy(first_line));
    Ok(Reading::Text(language, count_lines(&mut reader, language.comments, watch)?))
}

/// Counts lines chunk by chunk; a canceled caller surfaces as an error, which `Count::add` turns into `Canceled`.
fn count_lines(reader: &mut impl BufRead, comments: Comments, watch: &Watch) -> io::Result<Lines> {
    let mut lines = Lines::default();
    let mut in_block = false;
    let mut kept = Vec::new();
    let mut pending = false;
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        let taken = chunk.len();
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_KEPT_BYTES.saturating_sub(kept.len()).min(piece.len());
            kept.extend_from_slice(&piece[..room]);
            pending = piece.last() != Some(&b'\n');
            if !pending {
                lines.count(&kept, comments, &mut in_block);
                kept.clear();
            }
        }
        reader.consume(taken);
        if watch.is_canceled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    if pending {
        lines.count(&kept, comments, &mut in_block);
    }
    Ok(lines)
}

impl Lines {
    fn count(&mut self, line: &[u8], comments: Comments, in_block: &mut bool) {
        self.total += 1;
        let text = String::from_utf8_lossy(line);
        let text = text.trim();
        if text.is_empty() {
            self.blank += 1;
        } else if is_comment(text, comments, in_block) {
            self.comment += 1;
        } else {
            self.code += 1;
        }
    }
}

fn is_comment(text: &str, comments: Comments, in_block: &mut bool) -> bool {
    if *in_block {
        *in_block = !comments.block.is_some_and(|(_, close)| text.contains(close));
        return true;
    }
    if let Some((open, close)) = comments.block
        && let Some(rest) = text.strip_prefix(open)
    {
        *in_block = !rest.contains(close);
        return *in_block || rest.ends_with(close);
    }
    comments.line.iter().any(|prefix| text.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::{Lines, count_lines};
    use crate::Watch;
    use crate::languages::detect;

    #[test]
    fn blank_comment_and_code_lines_are_told_apart() {
        let text = "// one\n\n/* two\nstill two\n*/ \nfn main() {} // code\n/* a */ let b;\n\tx";
        let lines = count_lines(&mut text.as_bytes(), detect("a.rs", "").comments, &Watch::silent()).unwrap();
        assert_eq!(lines, Lines { total: 8, code: 3, comment: 4, blank: 1 });
    }
}
