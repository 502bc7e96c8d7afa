//! The grammar: rules in order, of which the first one that fits gives the goal.
//!
//! | part of a pattern | fits |
//! | --- | --- |
//! | `word`, `one\|two` | one of these words |
//! | `%class` | a word of a class of `words.rs`; `%act` and `%makes` are verbs at the begin of a request or behind a joint, `%later` those behind a joint, `%plain` is neither about nor definite, `%other` is no product |
//! | `{text}`, `{file}`, `{range}` | words in quotes; a file below the repository; `FROM..TO` |
//! | `?part`, `*part` | the part or nothing; any number of them |
//! | `...` | any words |
//! | `stop` | the end, or a word behind what is asked for, such as `that` |

/// Which sentences a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Request,
    Question,
    /// A question of at most six words: in a longer one `this` may mean anything.
    ShortQuestion,
}

/// The sort of a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sort {
    Repair,
    Build,
    Test,
    Check,
    Review,
    Search,
    Read,
    Status,
    Log,
    Branches,
    Diff,
    Investigate,
    Change,
    Report,
    Question,
}

pub(super) struct Rule {
    pub(super) sort: Sort,
    pub(super) form: Form,
    pub(super) pattern: &'static str,
    /// A sentence that it fits, for who is told what would be understood.
    pub(super) example: &'static str,
}

const fn rule(sort: Sort, form: Form, pattern: &'static str, example: &'static str) -> Rule {
    Rule { sort, form, pattern, example }
}

use Form::{Question, Request, ShortQuestion};

const TESTS: &str = "fix the failing tests";
const GREEN: &str = "make the tests pass";
const SERVICE: &str = "a small web service that keeps notes";
const RUN: &str = "run the tests";
const CHECKS: &str = "run all checks";
const CHANGES: &str = "review the changes by the rule \"no new dependency\"";
const WHOLE: &str = "report on this repository";
const ACT: &str = "apply this change";

pub(super) const RULES: [Rule; 36] = [
    // Who asks for two things, the second of them a change, gets neither.
    rule(Sort::Change, Request, "... %later ...", "report on this, then fix it"),
    rule(
        Sort::Repair,
        Request,
        "fix|repair|mend|correct *%object|all|broken|failing|red|unit test|tests ...",
        TESTS,
    ),
    rule(
        Sort::Repair,
        Request,
        "get|let|make *%object|all|broken|failing|red|unit test|tests ... pass|green ...",
        GREEN,
    ),
    rule(
        Sort::Repair,
        Request,
        "make sure|certain ?that *%object|all|unit test|tests ... pass|green ...",
        GREEN,
    ),
    rule(Sort::Repair, Request, "*%object|unit tests to|must|should pass|succeed ...", GREEN),
    rule(
        Sort::Build,
        Request,
        "%make|%start ?me|us *%plain %service stop ...",
        "build an app for shopping lists",
    ),
    rule(Sort::Build, Request, "a|an|one *%plain %service stop ...", SERVICE),
    rule(
        Sort::Test,
        Request,
        "run|rerun|execute|start *%object|unit|whole|full test|tests|testsuite|pytest ?suite ?again",
        RUN,
    ),
    rule(
        Sort::Test,
        Request,
        "run|rerun|execute *%object|unit test|tests of|in|for *%object repository|repo|project|package",
        RUN,
    ),
    rule(
        Sort::Test,
        Request,
        "test %object ?whole repository|repo|project|package|code",
        "test this repository",
    ),
    rule(
        Sort::Test,
        Request,
        "check|see if|whether|that *%object|unit tests pass|work|run",
        "check whether the tests pass",
    ),
    rule(
        Sort::Test,
        Question,
        "do|does|are|will *%object|unit tests pass|run|work|passing|green ?here|now",
        "do the tests pass?",
    ),
    rule(
        Sort::Check,
        Request,
        "run *%object|type|code|security|style check|checks|linter|linters|pipeline|checker ...",
        CHECKS,
    ),
    rule(
        Sort::Check,
        Request,
        "lint|typecheck *%object code|repository|repo|project|package|it|this",
        "lint the code",
    ),
    rule(Sort::Check, Request, "check *%object types|style|formatting|secrets ...", "check the types"),
    rule(Sort::Check, Request, "scan ... secrets|vulnerabilities ...", "scan the code for secrets"),
    rule(
        Sort::Review,
        Request,
        "review *%object|last|latest|recent|open|uncommitted change|changes|diff|work|patch ...",
        CHANGES,
    ),
    rule(
        Sort::Review,
        Request,
        "review ?%object ?changes ?from|in|of {range} ...",
        "review main..feature by the rule \"no unwrap\"",
    ),
    rule(
        Sort::Review,
        Request,
        "judge|assess *%object|last|latest change|changes|diff|work|patch ...",
        CHANGES,
    ),
    rule(Sort::Investigate, Request, "find|figure|work out ...", "find out why the cache is slow"),
    rule(Sort::Search, Request, "search|grep|find|look *%other {text} ...", "search for \"TODO\""),
    rule(
        Sort::Read,
        Request,
        "read|show|print|display|cat ?me *%object|content|contents|of ?file {file}",
        "show the file src/main.rs",
    ),
    rule(Sort::Status, Request, "?show|print|list|display ?me *%object ?git status", "show the git status"),
    rule(
        Sort::Status,
        Question,
        "which|what files are|is changed|modified|untracked",
        "which files are changed?",
    ),
    rule(Sort::Log, Request, "?show|print|list|display ?me *%object git log", "show the git log"),
    rule(
        Sort::Log,
        Request,
        "show|print|list|display ?me *%object last|latest|recent|newest commits",
        "list the latest commits",
    ),
    rule(Sort::Branches, Request, "show|print|list|display ?me *%object ?git branches", "list the branches"),
    rule(
        Sort::Diff,
        Request,
        "?show|print|display ?me *%object ?git|uncommitted diff|changes ?of|from|between ?{range}",
        "show the diff",
    ),
    rule(Sort::Change, Request, "... %act ...", ACT),
    rule(Sort::Change, Request, "*%other %makes *%other", "write this file"),
    rule(Sort::Investigate, Request, "investigate|research ...", "investigate how a lease ends"),
    rule(Sort::Investigate, Request, "look into ...", "look into the way that retries work"),
    rule(Sort::Report, Question, "... %topic ...", "what does this project do?"),
    rule(Sort::Report, ShortQuestion, "... %pointer ...", "what is this?"),
    rule(Sort::Question, Question, "...", "how is the barometer read?"),
    rule(Sort::Report, Request, "... %topic ...", WHOLE),
];
