//! Whether the agents here can do what a goal asks for.
//!
//! A goal can be planned when it asks for what a report on a repository has, asks a question that the repository's
//! documentation speaks about, wants its failing tests to pass, or wants a small web service. A goal that asks for
//! another change, or for something else, is refused: what nobody asked for would only look like an answer. The rule
//! is in `docs/limits.md`.

/// The sort of a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The goal asks for something that a report has.
    Report,
    /// The goal is a question about something that only the repository's documentation may answer.
    Question,
    /// The goal asks that tests pass.
    Repair,
    /// The goal asks for a small web service.
    Build,
    /// The goal asks for another change or action.
    Change,
    /// The goal asks for nothing that a report has.
    Unknown,
}

/// Words, in any form, of what a report has and of asking for it.
const TOPICS: &str = "account activity analyse analysis analyze architecture assess assessment attention audit \
    author authorship check churn code codebase comment commit committer complexity composition \
    config configuration configure contribute contribution contributor count dependency describe \
    description digest directory doc documentation documented examine explain explore factor \
    file fixme folder function git hack health history hotspot inspect installation inventory \
    investigate issue knowledge language layout licence license line loc look maintainer \
    manifest module note outdated overview owner package people project purpose quality readme \
    repo report repository review risk scan setup software source stat statistic structure study \
    summarise summarize summary survey team technology test testing tests todo tool understand \
    usage xxx";

/// Words that point at the repository, in a question.
const POINTERS: [&str; 9] = ["this", "it", "its", "here", "these", "that", "there", "they", "we"];

/// The first words of questions.
const QUESTION_WORDS: &str = "are can could did do does has have how is should was were what when where which who whom \
    whose why will";

/// Verbs that ask for a change or an action. No agent here can do either.
const CHANGES: &str = "add adjust apply approve bake book build bump buy call change clean close commit compile \
    convert cook copy correct create cut debug decrease delete deploy design develop disable \
    document draw drop eliminate email enable encrypt erase execute extend fix format implement \
    improve increase initialise initialize insert install integrate invent kill launch merge \
    migrate modernise modernize modify move open optimise optimize order patch pay plan play \
    post print program publish pull push rebase reduce refactor release remind remove rename \
    reorganise reorganize repair replace reply reset resolve restart restore restructure reverse \
    revert rewrite roll run save schedule send set shrink simplify sing solve split squash start \
    stop submit tag test tidy translate tweet uninstall update upgrade upload use";

/// Those of these verbs that are nouns too: they ask for a change when an object follows, or nothing does.
const NOUNS_TOO: &str = "build change commit design document draw format merge open order patch plan print release \
    schedule tag test use";

/// Verbs that create something: their object must be a kind of report.
const MAKES: [&str; 11] = [
    "build", "compile", "compose", "create", "draft", "draw", "generate", "make", "prepare", "produce",
    "write",
];
/// Verbs that begin something new, beside these.
const STARTS: &str = "design develop implement program";
const PRODUCTS: &str = "account analysis assessment audit chart count description diagram digest inventory list note \
    overview report review statistic statistics stats summary survey table";

/// What a web service is called.
const SERVICES: &str =
    "api app application backend frontend page server service site webapp webpage webservice website";
/// Words by which a request speaks of something that is there.
const DEFINITE: &str = "its my our that the their these this those your";
/// Words behind what a request asks for.
const ABOUT: &str = "about at by for from of on so that to using where which who whose with";

/// Verbs that want tests to pass, and words between a verb and the tests.
const MENDS: &str = "correct fix get let make mend repair";
const FAILING: &str = "all broken failing red unit";

/// Words before the verb of a request.
const POLITE: &str = "also and can could go help hey hi i kindly let lets like me need now please then to us want \
    we will would you";

/// Words between a verb and its object.
const OBJECTS: &str =
    "a all an any each every it me my our some that the their them these this those us your";

/// Sorts a goal by what it asks for.
pub(crate) fn asked(goal: &str) -> Asked {
    let lower = goal.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric() && c != '-').filter(|word| !word.is_empty()).collect();
    let polite = words.iter().take_while(|word| one_of(POLITE, word)).count();
    let request = &words[polite..];
    let question = words.first().is_some_and(|word| one_of(QUESTION_WORDS, word))
        && !(polite > 0 && request.first().is_some_and(|verb| is_request(verb)));
    if !question && asks_for_passing_tests(request) {
        return Asked::Repair;
    }
    if !question && asks_for_a_service(request) {
        return Asked::Build;
    }
    if !question && asks_for_a_change(request) {
        return Asked::Change;
    }
    let on_topic = words.iter().any(|word| forms(word).any(|form| one_of(TOPICS, &form)));
    let points = words.iter().any(|word| POINTERS.contains(word));
    match question || goal.trim_end().ends_with('?') {
        true if on_topic || (points && words.len() <= POINTING_WORDS_MAX) => Asked::Report,
        true => Asked::Question,
        false if on_topic => Asked::Report,
        false => Asked::Unknown,
    }
}

/// A short question with `this` or `it` asks about the repository; in a long one the word may mean anything.
const POINTING_WORDS_MAX: usize = 6;

/// Whether a request, or a part of it that begins anew, asks for an action rather than for information.
fn asks_for_a_change(request: &[&str]) -> bool {
    let products = request.iter().any(|word| forms(word).any(|form| one_of(PRODUCTS, &form)));
    let mut verbs = request.iter().enumerate().filter(|(at, word)| {
        let next = request.get(at + 1);
        let thing_follows = next.is_some_and(|next| one_of(OBJECTS, next));
        match at.checked_sub(1).and_then(|before| request.get(before)) {
            None => thing_follows || next.is_none() || !one_of(NOUNS_TOO, word),
            Some(before) => {
                thing_follows && matches!(*before, "and" | "then" | "or" | "also" | "please" | "but")
            }
        }
    });
    verbs.any(|(_, verb)| match MAKES.contains(verb) {
        true => !products,
        false => is_change(verb),
    })
}

/// Whether a request is “make the tests pass”, or “fix the failing tests”.
fn asks_for_passing_tests(request: &[&str]) -> bool {
    let Some((verb, rest)) = request.split_first() else { return false };
    let between = rest.iter().take_while(|word| one_of(OBJECTS, word) || one_of(FAILING, word)).count();
    let is_about_tests = rest.get(between).is_some_and(|word| ["test", "tests"].contains(word));
    let are_to_pass = rest.iter().any(|word| ["pass", "green"].contains(word));
    let is_enough = !["get", "let", "make"].contains(verb);
    one_of(MENDS, verb) && is_about_tests && (is_enough || are_to_pass)
}

/// Whether a request is “a small web service that …”, or “build an app”: for one that is not there yet.
fn asks_for_a_service(request: &[&str]) -> bool {
    let (verb, rest) = match request.split_first() {
        Some((verb, rest)) if MAKES.contains(verb) || one_of(STARTS, verb) => (true, rest),
        _ => (false, request),
    };
    let person = rest.iter().take_while(|word| ["me", "us"].contains(word)).count();
    let what: Vec<&str> = rest[person..].iter().take_while(|word| !one_of(ABOUT, word)).copied().collect();
    let is_new = verb || what.first().is_some_and(|word| ["a", "an", "one"].contains(word));
    is_new
        && !what.iter().any(|word| one_of(DEFINITE, word))
        && what.last().is_some_and(|word| one_of(SERVICES, word))
}

fn is_request(verb: &str) -> bool {
    is_change(verb) || one_of(MENDS, verb) || MAKES.contains(&verb)
}

fn is_change(verb: &str) -> bool {
    one_of(CHANGES, verb)
}

fn one_of(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|one| one == word)
}

/// A word as it is, and without its possible endings.
fn forms(word: &str) -> impl Iterator<Item = String> + '_ {
    let bare =
        [("", ""), ("s", ""), ("es", ""), ("ies", "y"), ("ing", ""), ("ing", "e"), ("ed", ""), ("d", "")];
    bare.into_iter().filter_map(|(ending, instead)| Some(format!("{}{instead}", word.strip_suffix(ending)?)))
}

#[cfg(test)]
mod tests {
    use super::{Asked, asked};

    #[test]
    fn what_a_report_has_can_be_asked_for() {
        for goal in [
            "Report on this repository",
            "report on `/srv/app`, please",
            "What does this project do?",
            "what is this?",
            "Find TODOs and long functions",
            "Who works on this?",
            "who wrote it",
            "Which languages is it written in?",
            "List the dependencies",
            "Could you write a report on the tests?",
            "Please make a report about the build and the tests",
            "write me a summary of the history",
            "How do I install it?",
            "Can you summarize the documentation?",
            "I want an inventory of all files",
            "analyse the codebase",
            "bus factor",
            "Test coverage",
            "commit history of the last year",
            "build instructions and documentation",
            "Bericht über dieses Repository",
        ] {
            assert_eq!(asked(goal), Asked::Report, "{goal:?}");
        }
    }

    #[test]
    fn a_question_on_anything_else_is_one_for_the_documentation() {
        for goal in ["How is the barometer read?", "When does a lease end?", "What is the weather in Paris?"]
        {
            assert_eq!(asked(goal), Asked::Question, "{goal:?}");
        }
    }

    #[test]
    fn tests_are_to_pass_and_services_are_to_be_built() {
        for goal in [
            "make the tests of this repository pass",
            "Make the tests pass",
            "please fix the failing tests of /srv/app",
            "repair tests",
            "get all unit tests to pass",
            "Could you make the tests green?",
            "Can you fix the tests",
        ] {
            assert_eq!(asked(goal), Asked::Repair, "{goal:?}");
        }
        for goal in [
            "A small web service that keeps notes",
            "an app for shopping lists",
            "Build me a REST API for recipes with a page",
            "please create a to-do list app",
            "Could you make me a website?",
            "I want a website about frogs",
            "develop a service which counts words",
        ] {
            assert_eq!(asked(goal), Asked::Build, "{goal:?}");
        }
        for goal in ["Report on the web service", "make a summary of a web service", "describe the API"] {
            assert_eq!(asked(goal), Asked::Report, "{goal:?}");
        }
    }

    #[test]
    fn what_nobody_here_can_do_is_not_taken_for_a_report() {
        for goal in [
            "fix the TODOs",
            "Delete this repository",
            "please refactor the code",
            "Could you deploy this project?",
            "Report on the tests and then fix them",
            "write tests for the history module",
            "Update the documentation",
            "fix the code so that the tests pass",
            "make this service faster",
            "build the app",
            "build the project",
            "make me a sandwich",
        ] {
            assert_eq!(asked(goal), Asked::Change, "{goal:?}");
        }
        for goal in ["a sandwich", "make-believe", "happiness now", "🙂", ""] {
            assert_eq!(asked(goal), Asked::Unknown, "{goal:?}");
        }
    }
}
