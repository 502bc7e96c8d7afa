//! Text from outside, cut to a bound and shown as it is: what is told is kept in states, events and dead
//! letters, and shown to people again and again.

use bus_schemas::commands::task::Failure;
use bus_schemas::text::{one_line, prose};

/// A word for programs, such as the code of a failure.
const CODE_BYTES_MAX: usize = 128;
/// A page of text; what is larger belongs into an artifact.
const WORDS_BYTES_MAX: usize = 4_096;
/// A name: longer than a dead letter's address, which is the longest that the system gives itself.
const BY_BYTES_MAX: usize = 256;

/// What somebody says in words: its beginning, where it is long, with a mark in the place of what hides.
pub(crate) fn words(text: String) -> String {
    let bytes = text.len();
    cut(prose(&text), bytes, WORDS_BYTES_MAX)
}

/// Who says it: on one line.
pub(crate) fn name(text: String) -> String {
    line(text, BY_BYTES_MAX)
}

fn line(text: String, max: usize) -> String {
    let bytes = text.len();
    cut(one_line(&text), bytes, max)
}

/// The text, or its beginning with a mark that says how many bytes it had.
fn cut(mut text: String, bytes: usize, max: usize) -> String {
    if text.len() > max {
        let mark = format!(" … (cut; it had {bytes} bytes)");
        text.truncate(text.floor_char_boundary(max.saturating_sub(mark.len())));
        text.push_str(&mark);
    }
    text
}

/// A failure whose texts are cut.
pub(crate) fn cut_failure(failure: Failure) -> Failure {
    let Failure { class, code, message, hint, dependency } = failure;
    Failure {
        class,
        code: line(code, CODE_BYTES_MAX),
        message: words(message),
        hint: hint.map(words),
        dependency,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_says_so_and_stays_text() {
        assert_eq!(words("short".to_owned()), "short");
        assert_eq!(words("a\u{1b}[2Jb\nc\u{202e}".to_owned()), "a\u{fffd}[2Jb\nc\u{fffd}");
        assert_eq!(name("a\u{9b}b\nc".to_owned()), "a\u{fffd}b c");
        for text in ["x".repeat(200_000), "ü".repeat(100_000), "\u{1}€".repeat(50_000)] {
            let (bytes, text) = (text.len(), words(text));
            assert!((WORDS_BYTES_MAX - 4..=WORDS_BYTES_MAX).contains(&text.len()), "{}", text.len());
            assert!(text.ends_with(&format!(" … (cut; it had {bytes} bytes)")), "{text}");
        }
    }
}
