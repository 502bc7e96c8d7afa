//! Sentences by which instructions are smuggled in: each line of `patterns.txt` is a rule with a name, a weight and a
//! pattern.
//!
//! A weight of 0.5 is enough to be suspicious; lower ones need company. Patterns read a view of a text: small letters,
//! one space between words. `~` is a gap of up to three words.

use std::sync::LazyLock;

use regex::Regex;

/// A rule.
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    weight: f32,
    pattern: Regex,
}

pub(crate) static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rule = |line: &'static str| {
        let mut parts = line.splitn(3, ' ');
        let mut part = || parts.next().expect("the tests read each line");
        let (name, weight, text) = (part(), part(), part());
        // A boundary of ASCII words keeps the search linear and fast in every language.
        let text = text.replace(r"\b", r"(?-u:\b)");
        let text = text.replace("~?", "(?: [^ ]+){0,3}? ?").replace('~', "(?: [^ ]+){0,3}? ");
        let pattern = Regex::new(&text).unwrap_or_else(|error| panic!("the tests compile `{name}`: {error}"));
        Rule { name, weight: weight.parse().expect("the tests read each weight"), pattern }
    };
    include_str!("patterns.txt").lines().map(rule).collect()
});

/// The rules that a text meets in one of its views, each once: its name, the place, its weight. A rule counts for half
/// where the sentence is quoted: who writes about attacks quotes them.
pub(crate) fn found(views: &[String]) -> Vec<(&'static str, usize, f32)> {
    let look = |rule: &Rule| {
        let hits = views.iter().filter_map(|view| rule.pattern.find(view).map(|hit| (view, hit.start())));
        let weighed = hits.map(|(view, at)| {
            let is_quoted = view[..at].ends_with(['"', '“', '„', '«', '‘', '`']);
            (rule.name, at, if is_quoted { rule.weight / 2.0 } else { rule.weight })
        });
        weighed.max_by(|a, b| a.2.total_cmp(&b.2))
    };
    RULES.iter().filter_map(look).collect()
}
