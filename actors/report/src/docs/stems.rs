//! Word stems for comparisons: words without their endings, so that `building` finds `build`.

/// Stop words: too frequent, or too much about the asking itself.
const STOP_WORDS: &str = "a about all an and any are as at be been but by can could describe did do does explain \
    file find for from get give had has have here how i in into is it its let list look make may me more much my no \
    not of on or our out overview please project repo report repository say says should show so some summarise \
    summarize summary tell than that the their them then there these they this those to up us was we were what when \
    where which who whose why will with work works would you your code codebase";

/// The shortest stem that still identifies its word.
const STEM_CHARS_MIN: usize = 3;

/// Endings, longest first; each is removed once.
const ENDINGS: [&str; 9] = ["ations", "ation", "ings", "ing", "ers", "ed", "es", "s", "e"];

/// The stem of a word, in lower case. Both sides of a comparison are stemmed, so it need not be a word.
pub(super) fn stem(word: &str) -> String {
    let mut word = word.to_lowercase();
    for ending in ENDINGS {
        let Some(rest) = word.strip_suffix(ending) else { continue };
        if rest.chars().count() >= STEM_CHARS_MIN && !(ending == "s" && rest.ends_with('s')) {
            let length = rest.len();
            word.truncate(length);
            break;
        }
    }
    let mut end = word.chars().rev();
    let last = end.next();
    if last.is_some_and(|c| !"aeiouls".contains(c)) && last == end.next() && word.len() > STEM_CHARS_MIN {
        // `running` leaves `runn`.
        word.pop();
    }
    word
}

/// The stems of a text's words, in their order.
pub(super) fn of(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(stem)
}

/// The stems of a text's words, without stop words.
pub(super) fn telling(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric());
    let telling = words.filter(|word| word.chars().count() > 1 && !is_stop_word(&word.to_lowercase()));
    telling.map(stem).collect()
}

/// The stems of a heading's words, without stop words. Words joined by a hyphen or an underscore are one
/// word: a heading `quick-start` is about a quick start, and `installation-mismatch` is about neither of its
/// parts.
pub(super) fn of_heading(heading: &str) -> Vec<String> {
    let words = heading.split(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_'));
    let words = words.map(|word| word.replace(['-', '_'], ""));
    words
        .filter(|word| !word.is_empty() && !is_stop_word(&word.to_lowercase()))
        .map(|word| stem(&word))
        .collect()
}

fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.split_whitespace().any(|stop| stop == word)
}

#[cfg(test)]
mod tests {
    use super::{of_heading, stem, telling};

    #[test]
    fn forms_of_a_word_have_one_stem() {
        for forms in [
            &["install", "installs", "installing", "installation", "Installed"][..],
            &["configure", "configuring", "configuration"],
            &["test", "tests", "testing", "tested"],
            &["run", "running", "runs"],
            &["setting", "settings"],
            &["lease", "leases"],
            &["use", "uses"],
        ] {
            let stems: std::collections::BTreeSet<String> = forms.iter().map(|form| stem(form)).collect();
            assert_eq!(stems.len(), 1, "{forms:?}: {stems:?}");
        }
        assert_ne!(stem("license"), stem("lens"));
    }

    #[test]
    fn only_words_that_tell_something_are_kept() {
        assert_eq!(telling("Report on this repository"), Vec::<String>::new());
        assert_eq!(telling("How does a lease work?"), ["leas"]);
        assert_eq!(of_heading("Quick-start & how to use it"), ["quickstart", "use"]);
        assert_eq!(of_heading("installation-mismatch"), ["installationmismatch"].map(stem));
    }
}
