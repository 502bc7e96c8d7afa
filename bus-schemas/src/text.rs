//! Text from outside, bounded before it travels in headers, records and events.

/// What a text ends with from which something was cut.
const MARK: &str = "…";

/// A text of at most `bytes_max` bytes: one that is longer is cut between two characters, and ends with a
/// mark that says so.
pub fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub(MARK.len()));
    [&text[..end], MARK].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_marked() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "lo…");
        assert_eq!(cut("ääää", 7), "ää…");
        assert_eq!(cut("ääää", 6), "ä…");
        assert!(cut(&"A".repeat(70_000), 1_024).len() <= 1_024);
    }
}
