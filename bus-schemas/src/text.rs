//! Text from outside: bounded before it travels in headers, records and events, and shown to people without
//! what would move the cursor, turn the direction of writing, or hide.

/// What stands in the place of a character that is not shown.
const HIDDEN: char = '\u{fffd}';

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

/// Whether a character shows nothing and changes what is around it: control characters, those that turn the
/// direction of writing or break lines, and those that only hide.
pub fn is_hidden(letter: char) -> bool {
    let hides = matches!(letter, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}');
    letter.is_control() || hides
}

/// Whether a name or a word shows all that it holds.
pub fn is_line(text: &str) -> bool {
    !text.contains(is_hidden)
}

/// Whether a text in words shows all that it holds; it may have lines and tabs.
pub fn is_prose(text: &str) -> bool {
    !text.contains(|letter| is_hidden(letter) && !matches!(letter, '\n' | '\r' | '\t'))
}

/// A text as one line: a blank for each break and tab, a mark for each hidden character.
pub fn one_line(text: &str) -> String {
    let shown = |letter| match letter {
        '\n' | '\r' | '\t' => ' ',
        letter if is_hidden(letter) => HIDDEN,
        letter => letter,
    };
    text.chars().map(shown).collect()
}

/// A text with its lines and tabs, and a mark for each other hidden character.
pub fn prose(text: &str) -> String {
    let shown = |letter| match letter {
        '\n' | '\t' => letter,
        '\r' => ' ',
        letter if is_hidden(letter) => HIDDEN,
        letter => letter,
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_moves_no_cursor_and_turns_no_text() {
        let odd =
            "\u{1b}[2J\u{1b}]0;x\u{7}a\u{9b}b\u{202e}c\u{200b}d\u{feff}e\u{e0041}f\u{2028}g\r\nh\ti\u{7f}";
        let line = "\u{fffd}[2J\u{fffd}]0;x\u{fffd}a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}f\u{fffd}g  h i\u{fffd}";
        assert_eq!(one_line(odd), line);
        assert_eq!(prose(odd), line.replace("  h i", " \nh\ti"));
        assert!(is_line(line) && !is_line(odd) && !is_prose(odd) && !is_line("a\nb") && is_prose("a\r\n\tb"));
        // Letters of every script, marks, and what joins them, are text.
        for text in ["Ünï çødé", "日本語", "שלום", "مرحبا", "می\u{200c}خواهم", "👩\u{200d}🚀", "e\u{301}"]
        {
            assert!(is_line(text), "{text}");
            assert_eq!((one_line(text).as_str(), prose(text).as_str()), (text, text));
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_marked() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "lo…");
        assert_eq!(cut("ääää", 7), "ää…");
        assert_eq!(cut("ääää", 6), "ä…");
        assert!(cut(&"A".repeat(70_000), 1_024).len() <= 1_024);
    }
}
