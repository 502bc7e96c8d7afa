//! Text from outside, cut to a bound: what is told is kept in states, events and dead letters, and shown to
//! people again and again.

use bus_schemas::commands::task::Failure;

/// A word for programs, such as the code of a failure.
const CODE_BYTES_MAX: usize = 128;
/// A page of text; what is larger belongs into an artifact.
pub(crate) const WORDS_BYTES_MAX: usize = 4_096;
/// A name: longer than a dead letter's address, which is the longest that the system gives itself.
pub(crate) const BY_BYTES_MAX: usize = 256;

/// The text, or its beginning with a mark that says how long it was.
pub(crate) fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let mark = format!(" … (cut; it had {} bytes)", text.len());
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
        code: cut(code, CODE_BYTES_MAX),
        message: cut(message, WORDS_BYTES_MAX),
        hint: hint.map(|hint| cut(hint, WORDS_BYTES_MAX)),
        dependency,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_says_so_and_stays_text() {
        assert_eq!(cut("short".to_owned(), 8), "short");
        for text in ["x".repeat(200_000), "ü".repeat(100_000), "\u{1}€".repeat(50_000)] {
            let (bytes, text) = (text.len(), cut(text, WORDS_BYTES_MAX));
            assert!((WORDS_BYTES_MAX - 4..=WORDS_BYTES_MAX).contains(&text.len()), "{}", text.len());
            assert!(text.ends_with(&format!(" … (cut; it had {bytes} bytes)")), "{text}");
        }
    }
}
