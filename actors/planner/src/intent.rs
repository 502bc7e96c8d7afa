//! Goals in words: a small grammar of English, which says what is asked for or that it does not understand.
//!
//! ```text
//! text ─→ tokens: words with classes, quotes, paths ─→ options, taken out ─→ the first rule that fits ─→ Intent
//!                                                                         └→ none: the nearest examples
//! ```
//!
//! It knows words and their order, and nothing of what they mean. A sentence that asks for a change is never taken for one
//! that asks for a report, and one that fits no rule is refused.

mod rules;
mod words;

use std::collections::BTreeSet;

use serde::Serialize;
use smol_str::SmolStr;

use self::rules::{Form, RULES, Sort};

/// The most words of a goal that are read.
const WORDS_MAX: usize = 256;
/// The most words of a question with `this` that is about the repository.
const SHORT_WORDS_MAX: usize = 6;
/// The most examples that somebody is told.
const NEAREST_MAX: usize = 3;

/// What a goal asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "asks_for")]
pub enum Goal {
    /// Something that a report on a repository has.
    Report,
    /// An answer that only the documentation of a repository, or its files, may have.
    Question,
    /// That somebody looks into a repository.
    Investigate,
    /// That its tests pass.
    Repair,
    /// That its tests run.
    Test,
    /// That every check of it runs.
    Check,
    /// A small web service.
    Build,
    /// Another change.
    Change,
    /// A judgement of a change.
    Review {
        /// The former and the later commit; absent for what is not committed.
        range: Option<(SmolStr, SmolStr)>,
        /// The rules that it is judged by.
        rules: Vec<String>,
    },
    /// The places of a text.
    Search {
        /// The text.
        text: String,
    },
    /// The content of a file.
    Read {
        /// The file, from the top of the repository.
        file: SmolStr,
    },
    /// What is changed and not committed.
    Status,
    /// The newest commits.
    Log,
    /// The branches.
    Branches,
    /// A difference.
    Diff {
        /// The former and the later commit; absent for what is not committed.
        range: Option<(SmolStr, SmolStr)>,
    },
}

/// A goal with what it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Intent {
    /// What it asks for.
    #[serde(flatten)]
    pub goal: Goal,
    /// The absolute path that it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<SmolStr>,
    /// The most rounds of edits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounds: Option<u32>,
    /// The most seconds of a program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Whether it speaks of something that a report has.
    pub on_topic: bool,
}

/// No rule fits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no sentence that is understood has this form")]
pub struct NotUnderstood {
    /// The nearest sentences that are understood; none if no word of the goal is known.
    pub nearest: Vec<&'static str>,
}

/// A part of a goal.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word { word: String, classes: u32 },
    Text(String),
    Path(String),
    File(String),
    Range(String, String),
    Other,
}

impl Goal {
    /// The task of the shipped domain that does it.
    pub fn task(&self) -> &'static str {
        match self {
            Self::Report => "give-a-report",
            Self::Question => "answer-a-question",
            Self::Investigate => "look-into-it",
            Self::Repair => "make-tests-pass",
            Self::Test => "run-tests",
            Self::Check => "run-checks",
            Self::Build => "build-a-project",
            Self::Change => "change-files",
            Self::Review { .. } => "judge-a-change",
            Self::Search { .. } => "search",
            Self::Read { .. } => "read",
            Self::Status => "show-status",
            Self::Log => "show-log",
            Self::Branches => "show-branches",
            Self::Diff { .. } => "show-diff",
        }
    }
}

impl Token {
    fn is(&self, class: &str) -> bool {
        let Self::Word { classes, .. } = self else { return false };
        words::number(class).is_some_and(|number| classes & (1 << number) != 0)
    }

    fn word(&self) -> &str {
        if let Self::Word { word, .. } = self { word } else { "" }
    }

    fn number(&self) -> Option<u32> {
        self.word().parse().ok()
    }
}

/// Says what a goal asks for.
pub fn understand(goal: &str) -> Result<Intent, NotUnderstood> {
    let mut tokens = tokens(goal);
    let mut intent = Intent { goal: Goal::Report, place: None, rounds: None, seconds: None, on_topic: false };
    take_options(&mut tokens, &mut intent);
    let polite = tokens.iter().take_while(|token| token.is("polite")).count();
    // “Can it …” is a question, and “can you …” is a request.
    let asks = polite < 2 && tokens.first().is_some_and(|token| token.is("question"));
    let is_question = asks || goal.trim_end().ends_with('?');
    intent.on_topic = tokens.iter().any(|token| token.is("topic"));
    let words = tokens.iter().filter(|token| !token.word().is_empty()).count();
    let mut request = tokens.split_off(polite);
    place_verbs(&mut request);
    let whole: Vec<Token> = tokens.into_iter().chain(request.iter().cloned()).collect();
    let fits = |form: Form, pattern: &str| match form {
        Form::Request => !asks && matches(pattern, &request),
        Form::Question => is_question && matches(pattern, &whole),
        Form::ShortQuestion => is_question && words <= SHORT_WORDS_MAX && matches(pattern, &whole),
    };
    let is_empty = !goal.chars().any(char::is_alphanumeric);
    match RULES.iter().find(|rule| !is_empty && fits(rule.form, rule.pattern)) {
        Some(rule) => Ok(Intent { goal: typed(rule.sort, &whole), ..intent }),
        None => Err(NotUnderstood { nearest: nearest(&whole) }),
    }
}

/// The goal of a sort, with what the tokens give it.
fn typed(sort: Sort, tokens: &[Token]) -> Goal {
    let texts = || {
        tokens
            .iter()
            .filter_map(|token| if let Token::Text(text) = token { Some(text.clone()) } else { None })
    };
    let range = tokens.iter().find_map(|token| match token {
        Token::Range(from, to) => Some((from.into(), to.into())),
        _ => None,
    });
    let file = || {
        tokens.iter().find_map(|token| if let Token::File(file) = token { Some(file.into()) } else { None })
    };
    match sort {
        Sort::Report => Goal::Report,
        Sort::Question => Goal::Question,
        Sort::Investigate => Goal::Investigate,
        Sort::Repair => Goal::Repair,
        Sort::Test => Goal::Test,
        Sort::Check => Goal::Check,
        Sort::Build => Goal::Build,
        Sort::Change => Goal::Change,
        Sort::Review => Goal::Review { range, rules: texts().collect() },
        Sort::Search => Goal::Search { text: texts().next().unwrap_or_default() },
        Sort::Read => Goal::Read { file: file().unwrap_or_default() },
        Sort::Status => Goal::Status,
        Sort::Log => Goal::Log,
        Sort::Branches => Goal::Branches,
        Sort::Diff => Goal::Diff { range },
    }
}

/// The tokens of a text.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next()
        && tokens.len() < WORDS_MAX
    {
        let inner = &rest[first.len_utf8()..];
        let close = match first {
            '`' | '"' | '\'' => Some(first),
            '“' => Some('”'),
            _ => None,
        };
        let quoted = close
            .and_then(|close| inner.find(close).map(|end| (&inner[..end], &inner[end + close.len_utf8()..])));
        let after = if let Some((quoted, after)) = quoted {
            tokens.push(if is_path(quoted) {
                Token::Path(quoted.to_owned())
            } else {
                Token::Text(quoted.to_owned())
            });
            after
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            plain(&rest[..end], &mut tokens);
            &rest[end..]
        };
        rest = after.trim_start_matches(|sign: char| sign.is_whitespace() || matches!(sign, ',' | ';' | ')'));
    }
    tokens
}

fn is_path(text: &str) -> bool {
    text.len() > 1 && text.starts_with('/') && !text.starts_with("//") && !text.contains('\0')
}

/// The tokens of a piece without blanks and quotes.
fn plain(piece: &str, tokens: &mut Vec<Token>) {
    let trimmed =
        piece.trim_matches(|sign| matches!(sign, '`' | '"' | '\'' | '(' | ')' | ',' | ';' | ':' | '?' | '!'));
    let trimmed = trimmed.trim_end_matches('.');
    let is_word = |sign: char| sign.is_alphanumeric() || matches!(sign, '-' | '_');
    let is_reference =
        |text: &str| !text.is_empty() && text.chars().all(|sign| is_word(sign) || matches!(sign, '.' | '/'));
    if is_path(trimmed) {
        return tokens.push(Token::Path(trimmed.to_owned()));
    }
    if trimmed.contains("://") {
        return tokens.push(Token::Other);
    }
    if let Some((from, to)) = trimmed.split_once("..")
        && is_reference(from)
        && is_reference(to)
    {
        return tokens.push(Token::Range(from.to_owned(), to.to_owned()));
    }
    let ending = trimmed.rsplit_once('.').map_or("", |(_, ending)| ending);
    let is_named = !ending.is_empty() && ending.chars().all(char::is_alphanumeric);
    if (is_named || trimmed.contains('/')) && is_reference(trimmed) && trimmed.starts_with(is_word) {
        return tokens.push(Token::File(trimmed.to_owned()));
    }
    let lower = trimmed.to_lowercase();
    let parts =
        lower.split(|sign: char| !sign.is_alphanumeric() && sign != '-').filter(|part| !part.is_empty());
    tokens.extend(parts.map(|part| Token::Word { word: part.to_owned(), classes: words::classes(part) }));
}

/// Takes out what says where and how much: `in /srv/app`, `5 rounds`, `60 seconds`.
fn take_options(tokens: &mut Vec<Token>, intent: &mut Intent) {
    const BEFORE_PATHS: [&str; 8] = ["in", "into", "to", "on", "of", "for", "at", "from"];
    const BEFORE_NUMBERS: [&str; 8] = ["in", "within", "at", "most", "with", "up", "to", "for"];
    while let Some(at) = tokens.iter().position(|token| matches!(token, Token::Path(_))) {
        if let Token::Path(path) = tokens.remove(at) {
            intent.place.get_or_insert(path.into());
        }
        remove_before(tokens, at, &BEFORE_PATHS, 1);
    }
    let unit = |unit: &str| match unit {
        "round" | "rounds" => Some(true),
        "second" | "seconds" => Some(false),
        _ => None,
    };
    let amount = |pair: &[Token]| Some((pair[0].number()?, unit(pair[1].word())?));
    while let Some(at) = tokens.windows(2).position(|pair| amount(pair).is_some()) {
        if let Some((number, is_rounds)) = amount(&tokens[at..at + 2]) {
            if is_rounds { intent.rounds = Some(number) } else { intent.seconds = Some(number.into()) }
        }
        tokens.drain(at..at + 2);
        remove_before(tokens, at, &BEFORE_NUMBERS, 3);
    }
}

/// Removes at most so many of these words before a place.
fn remove_before(tokens: &mut Vec<Token>, mut at: usize, words: &[&str], most: usize) {
    for _ in 0..most {
        if at > 0 && words.contains(&tokens[at - 1].word()) {
            at -= 1;
            tokens.remove(at);
        }
    }
}

/// Gives the words of a request the classes that depend on their place.
fn place_verbs(request: &mut [Token]) {
    for at in 0..request.len() {
        let next = request.get(at + 1);
        let (object_follows, is_last) = (next.is_some_and(|next| next.is("object")), next.is_none());
        let token = &request[at];
        let is_verb = match at.checked_sub(1) {
            None => object_follows || is_last || !token.is("noun"),
            Some(before) => object_follows && request[before].is("joint"),
        };
        let (makes, changes) = (token.is("make"), token.is("change"));
        let produces = makes && request[at..].iter().any(|token| token.is("product"));
        let placed = [
            ("act", is_verb && changes && !makes),
            ("later", is_verb && at > 0 && (changes || makes) && !produces),
            ("makes", is_verb && makes),
            ("plain", !token.is("about") && !token.is("definite")),
            ("other", !token.is("product")),
        ];
        if let Token::Word { classes, .. } = &mut request[at] {
            for (class, _) in placed.iter().filter(|(_, is_so)| *is_so) {
                *classes |= words::number(class).map_or(0, |number| 1 << number);
            }
        }
    }
}

/// Whether a pattern fits all of the tokens.
fn matches(pattern: &str, tokens: &[Token]) -> bool {
    let (part, rest) = pattern.split_once(' ').unwrap_or((pattern, ""));
    match part.split_at_checked(1) {
        None | Some(("", _)) => tokens.is_empty(),
        Some((".", "..")) => (0..=tokens.len()).any(|skipped| matches(rest, &tokens[skipped..])),
        Some(("?", part)) => {
            matches(rest, tokens)
                || tokens.first().is_some_and(|token| is(part, token) && matches(rest, &tokens[1..]))
        }
        Some(("*", part)) => {
            let most = tokens.iter().take_while(|token| is(part, token)).count();
            (0..=most).any(|skipped| matches(rest, &tokens[skipped..]))
        }
        _ if part == "stop" => {
            tokens.is_empty()
                || tokens.first().is_some_and(|token| !token.is("plain") && matches(rest, &tokens[1..]))
        }
        _ => tokens.first().is_some_and(|token| is(part, token) && matches(rest, &tokens[1..])),
    }
}

/// Whether a part of a pattern fits a token.
fn is(part: &str, token: &Token) -> bool {
    part.split('|').any(|one| match (one, token) {
        ("{text}", Token::Text(_)) | ("{file}", Token::File(_)) | ("{range}", Token::Range(..)) => true,
        // What is no word is no product either.
        ("%other", Token::Text(_) | Token::File(_) | Token::Range(..) | Token::Other) => true,
        (_, Token::Word { word, .. }) => match one.strip_prefix('%') {
            Some(class) => token.is(class),
            None => one == word,
        },
        _ => false,
    })
}

/// The examples that share most words with the tokens, a word with one or two wrong letters included.
fn nearest(tokens: &[Token]) -> Vec<&'static str> {
    const COMMON: [&str; 9] = ["the", "this", "for", "that", "are", "all", "what", "with", "how"];
    let words: BTreeSet<&str> = tokens.iter().map(Token::word).filter(|word| word.len() > 2).collect();
    // A word that is known is not taken for another one.
    let allowed = |word: &str| match words::all().any(|known| known == word) || word.len() < 4 {
        true => 0,
        false => 1 + usize::from(word.len() > 6),
    };
    let words: Vec<(&str, usize)> = words.into_iter().map(|word| (word, allowed(word))).collect();
    let is_shared = |part: &&str| words.iter().any(|(word, allowed)| distance(word, part) <= *allowed);
    let mut ranked: Vec<(usize, usize, &'static str)> = Vec::new();
    // Nobody is led to a change.
    for (place, rule) in RULES.iter().enumerate().filter(|(_, rule)| rule.sort != Sort::Change) {
        let parts = rule.example.split(|sign: char| !sign.is_alphanumeric());
        let shared = parts.filter(|part| part.len() > 2 && !COMMON.contains(part)).filter(is_shared).count();
        if shared > 0 && ranked.iter().all(|(_, _, example)| *example != rule.example) {
            ranked.push((usize::MAX - shared, place, rule.example));
        }
    }
    ranked.sort_unstable();
    ranked.into_iter().take(NEAREST_MAX).map(|(_, _, example)| example).collect()
}

/// The number of letters to change, to add or to remove, so that one word becomes the other.
fn distance(one: &str, other: &str) -> usize {
    if one.len().abs_diff(other.len()) > 8 {
        return usize::MAX;
    }
    let other: Vec<char> = other.chars().take(32).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, sign) in one.chars().take(32).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (at, known) in other.iter().enumerate() {
            let changed = diagonal + usize::from(sign != *known);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests;
