//! Texts from outside, cut to a limit and with hidden characters replaced: they are kept in states, events
//! and dead letters, and shown to people repeatedly.

use bus_schemas::commands::task::Failure;
use bus_schemas::text::{cut, one_line, prose};

/// The longest code in bytes, such as that of a failure.
const CODE_BYTES_MAX: usize = 128;
/// The longest text in bytes: a page; larger texts belong into an artifact.
const WORDS_BYTES_MAX: usize = 4_096;

/// A text for people: cut if it is long, with a mark in place of each hidden character.
pub(crate) fn words(text: String) -> String {
    cut(&prose(&text), WORDS_BYTES_MAX)
}

/// A code for programs.
pub(crate) fn code(text: String) -> String {
    cut(&one_line(&text), CODE_BYTES_MAX)
}

/// A failure whose texts are cut.
pub(crate) fn cut_failure(failure: Failure) -> Failure {
    Failure {
        code: code(failure.code),
        message: words(failure.message),
        hint: failure.hint.map(words),
        ..failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_says_so_and_stays_text() {
        assert_eq!(words("short".to_owned()), "short");
        assert_eq!(words("a\u{1b}[2Jb\nc\u{202e}".to_owned()), "a\u{fffd}[2Jb\nc\u{fffd}");
        assert_eq!(code("a\u{9b}b\nc".to_owned()), "a\u{fffd}b c");
        for text in ["x".repeat(200_000), "ü".repeat(100_000), "\u{1}€".repeat(50_000)] {
            let text = words(text);
            assert!((WORDS_BYTES_MAX - 4..=WORDS_BYTES_MAX).contains(&text.len()), "{}", text.len());
            assert!(text.ends_with('…'), "{text}");
        }
    }
}
