//! Text from outside: bounded before it goes into headers, records and events, and shown to people without
//! characters that move the cursor, change the writing direction, or hide.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

/// The replacement for a character that is not shown.
const HIDDEN: char = '\u{fffd}';

/// The end of a text that was cut.
const MARK: &str = "…";

/// The longest name of an owner or a skill in bytes: both become keys of the lane's queues.
pub const NAME_BYTES_MAX: usize = 64;

/// A text of at most `bytes_max` bytes: a longer one is cut between two characters and ends with a mark.
pub fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub(MARK.len()));
    [&text[..end], MARK].concat()
}

/// Whether a name or a word is empty, or shows something and has no hidden character.
pub fn is_line(text: &str) -> bool {
    is_visible(text, |_| false)
}

/// Whether a text can be the name of an owner or a skill.
pub fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && is_line(text)
}

/// Whether a text is empty, or shows something and has no hidden character except line breaks and tabs.
pub fn is_prose(text: &str) -> bool {
    is_visible(text, is_break)
}

/// A text as one line: breaks and tabs become blanks, hidden characters a mark.
pub fn one_line(text: &str) -> String {
    visible(text, |_| ' ')
}

/// A text with its lines and tabs; other hidden characters become a mark.
pub fn prose(text: &str) -> String {
    visible(text, |letter| if letter == '\r' { ' ' } else { letter })
}

fn is_break(letter: char) -> bool {
    matches!(letter, '\n' | '\r' | '\t')
}

fn is_visible(text: &str, allowed: fn(char) -> bool) -> bool {
    let mut reader = Reader::default();
    let is_good = text.chars().all(|letter| allowed(letter) && reader.blank() || !reader.hides(letter));
    is_good && (reader.shows || text.is_empty())
}

fn visible(text: &str, of_break: fn(char) -> char) -> String {
    let mut reader = Reader::default();
    let shown = |letter| match letter {
        letter if is_break(letter) && reader.blank() => of_break(letter),
        letter if reader.hides(letter) => HIDDEN,
        letter => letter,
    };
    text.chars().map(shown).collect()
}

/// Sorted ranges of characters, the first and the last of each.
type Ranges = Vec<(char, char)>;

/// Characters that show nothing, or change what is around them: control characters, those that change the
/// writing direction or break lines, fillers, and those whose meaning is private.
static HIDING: LazyLock<Ranges> =
    LazyLock::new(|| ranges(r"[\p{Default_Ignorable_Code_Point}\p{Cf}\p{Co}\p{Cc}\p{Zl}\p{Zp}]"));
/// Marks on the character before them.
static MARKS: LazyLock<Ranges> = LazyLock::new(|| ranges(r"[\p{M}]"));
/// Blanks, and the empty braille pattern.
static BLANKS: LazyLock<Ranges> = LazyLock::new(|| ranges(r"[\p{White_Space}\x{2800}]"));

/// The most marks on one character: more than any script needs, and too few to cover the lines above.
const MARKS_MAX: u8 = 8;

/// The ranges of a class of characters, by the tables of `regex-syntax`.
fn ranges(class: &str) -> Ranges {
    let parsed = regex_syntax::parse(class).expect("a constant that is a class").into_kind();
    let HirKind::Class(Class::Unicode(class)) = parsed else { unreachable!("a class of characters") };
    class.iter().map(|range| (range.start(), range.end())).collect()
}

fn is_in(ranges: &Ranges, letter: char) -> bool {
    let index = ranges.partition_point(|(_, last)| *last < letter);
    ranges.get(index).is_some_and(|(first, _)| *first <= letter)
}

/// What came before a character of a text.
#[derive(Debug, Default)]
struct Reader {
    before: Before,
    /// Marks since the last character that is none.
    marks: u8,
    /// Whether anything was visible.
    shows: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing, or a blank.
    #[default]
    Blank,
    /// A visible character.
    Shown,
    /// A variation selector after a visible character.
    Selected,
    /// A joiner after a visible character.
    Joined,
}

impl Reader {
    /// Reads the next character; whether it hides. A hidden one counts as the mark that is shown instead.
    fn hides(&mut self, letter: char) -> bool {
        match letter {
            ' ' => !self.blank(),
            '!'..='~' => self.show(false),
            '\u{200c}' | '\u{200d}' if matches!(self.before, Before::Shown | Before::Selected) => {
                self.before = Before::Joined;
                false
            }
            '\u{fe0e}' | '\u{fe0f}' if self.before == Before::Shown && self.marks == 0 => {
                self.before = Before::Selected;
                false
            }
            letter if is_in(&HIDING, letter) => self.show(true),
            letter if is_in(&MARKS, letter) => {
                self.marks += 1;
                if self.before != Before::Blank {
                    self.before = Before::Shown;
                }
                self.marks > MARKS_MAX && self.show(true)
            }
            letter if is_in(&BLANKS, letter) => !self.blank(),
            _ => self.show(false),
        }
    }
    fn show(&mut self, is_hidden: bool) -> bool {
        (self.before, self.marks, self.shows) = (Before::Shown, 0, true);
        is_hidden
    }
    /// Reads a blank; always `true`.
    fn blank(&mut self) -> bool {
        (self.before, self.marks) = (Before::Blank, 0);
        true
    }
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
        // Letters of every script, combining marks and joiners are text.
        for text in ["Ünï çødé", "日本語", "שלום", "مرحبا", "می\u{200c}خواهم", "👩\u{200d}🚀", "e\u{301}"]
        {
            assert!(is_line(text), "{text}");
            assert_eq!((one_line(text).as_str(), prose(text).as_str()), (text, text));
        }
    }

    #[test]
    fn what_shows_nothing_or_covers_other_lines_is_no_text() {
        let stacked = |count| format!("e{}", "\u{301}".repeat(count));
        for text in
            ["a\u{3164}b", "a\u{115f}", "a\u{34f}b", "a\u{fe00}", "a\u{180b}", "a\u{e0100}", "a\u{1d173}"]
                .into_iter()
                .chain([
                    "a\u{e000}",
                    "a\u{100000}",
                    "a\u{600}1",
                    "\u{200d}a",
                    "a \u{200d}b",
                    "a\u{200d}\u{200d}b",
                ])
                .chain([
                    "\u{fe0f}",
                    "a\u{fe0f}\u{fe0f}",
                    "a\u{200d}\u{fe0f}",
                    " ",
                    "\u{3164}",
                    "\u{2800}",
                    "\u{3000}",
                ])
                .chain(["\u{301}", stacked(9).as_str(), stacked(30).as_str()])
        {
            assert!(!is_line(text) && !is_prose(text), "{text:?}");
        }
        assert!(!is_prose("\n\t") && is_prose("") && is_line(""));
        for text in [
            "❤\u{fe0f}\u{200d}🔥",
            "1\u{fe0f}\u{20e3}",
            "क्\u{200d}ष",
            "a\u{2800}b",
            "a\u{3000}b",
            &stacked(8),
        ] {
            assert!(is_line(text), "{text:?}");
        }
        // What was made visible stays as it is.
        let made = one_line(&format!("{}\u{3164}\u{200d}\u{200d}x\u{fe00}", stacked(30)));
        assert!(is_line(&made) && one_line(&made) == made, "{made:?}");
        assert!(made.contains(HIDDEN) && !made.contains('\u{3164}'), "{made:?}");
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
