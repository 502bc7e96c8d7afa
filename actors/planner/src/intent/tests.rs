//! What is understood, and what is not.

use super::*;

/// The name of what a goal asks for, or `none`.
fn asked(goal: &str) -> &'static str {
    match understand(goal).map(|intent| intent.goal) {
        Ok(Goal::Report) => "report",
        Ok(Goal::Question) => "question",
        Ok(Goal::Investigate) => "investigate",
        Ok(Goal::Repair) => "repair",
        Ok(Goal::Test) => "test",
        Ok(Goal::Check) => "check",
        Ok(Goal::Build) => "build",
        Ok(Goal::Change) => "change",
        Ok(Goal::Review { .. }) => "review",
        Ok(Goal::Search { .. }) => "search",
        Ok(Goal::Read { .. }) => "read",
        Ok(Goal::Status) => "status",
        Ok(Goal::Log) => "log",
        Ok(Goal::Branches) => "branches",
        Ok(Goal::Diff { .. }) => "diff",
        Err(_) => "none",
    }
}

fn check(wanted: &str, goals: &[&str]) {
    for goal in goals {
        assert_eq!(asked(goal), wanted, "{goal:?}");
    }
}

#[test]
fn what_a_report_has_can_be_asked_for() {
    let goals = [
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
        "Report on the web service",
        "make a summary of a web service",
        "describe the API",
        "Review this repository",
        "give me an overview of /srv/app",
        "is it tested?",
        "count the lines by language",
    ];
    check("report", &goals);
}

#[test]
fn a_question_on_anything_else_is_one_for_the_documentation() {
    let goals = [
        "How is the barometer read?",
        "When does a lease end?",
        "What is the weather in Paris?",
        "Why would the cache be stale in the morning after a restart?",
    ];
    check("question", &goals);
    let goals = [
        "investigate how a lease ends",
        "please look into the slow start",
        "find out who calls `retry`",
        "Could you figure out why the cache is stale?",
    ];
    check("investigate", &goals);
}

#[test]
fn tests_are_to_pass() {
    let goals = [
        "make the tests of this repository pass",
        "Make the tests pass",
        "please fix the failing tests of /srv/app",
        "repair tests",
        "get all unit tests to pass",
        "Could you make the tests green?",
        "Can you fix the tests",
        "make sure that the tests pass",
        "I want the tests to pass",
        "the tests should pass",
        "mend the broken tests in at most 5 rounds",
    ];
    check("repair", &goals);
}

#[test]
fn tests_and_checks_are_to_run() {
    let goals = [
        "run the tests",
        "Run all the unit tests of /srv/app",
        "please run the tests again",
        "Could you run the test suite?",
        "execute the tests of this repository",
        "test this repository",
        "check whether the tests pass",
        "see if the tests pass",
        "Do the tests pass?",
        "are all tests green?",
        "run the tests with at most 60 seconds",
        "run pytest in /srv/app",
    ];
    check("test", &goals);
    let goals =
        ["run all checks", "run the linters", "lint the code", "check the types", "scan this for secrets"];
    check("check", &goals);
}

#[test]
fn services_are_to_be_built() {
    let goals = [
        "A small web service that keeps notes",
        "an app for shopping lists",
        "Build me a REST API for recipes with a page",
        "please create a to-do list app",
        "Could you make me a website?",
        "I want a website about frogs",
        "develop a service which counts words",
        "build an app in /srv/projects/notes",
    ];
    check("build", &goals);
}

#[test]
fn changes_are_judged_and_files_are_looked_at() {
    let goals = [
        "review the changes",
        "Review my latest changes by the rule \"no new dependency\"",
        "review main..feature",
        "judge the diff of /srv/app",
    ];
    check("review", &goals);
    check("search", &["search for \"TODO\"", "find all uses of `retry` in /srv/app", "grep 'lease_ttl'"]);
    check(
        "read",
        &["show me the file src/main.rs", "read README.md", "print the contents of docs/limits.md"],
    );
    check("status", &["git status", "show the status", "which files are changed?"]);
    check("log", &["git log", "show the latest commits"]);
    check("branches", &["list the branches", "show me all git branches"]);
    check(
        "diff",
        &["show the diff", "git diff", "show the changes between v1..v2", "show me the uncommitted changes"],
    );
}

#[test]
fn what_nobody_here_can_do_is_not_taken_for_anything_else() {
    let goals = [
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
        "run the tests and deploy the app",
        "run the service",
        "run the tests and then delete them",
        "review the changes and merge them",
        "remove \"TODO\" from src/main.rs",
        "test the rocket",
        "find out who calls `retry` and delete it",
        "make the tests pass and update the docs",
        "search for \"x\" and then replace it",
    ];
    check("change", &goals);
    let goals = [
        "a sandwich",
        "make-believe",
        "happiness now",
        "🙂",
        "",
        "?",
        "???",
        "\"report on this repository\"",
        "/srv/app",
        "read https://example.org/x",
    ];
    check("none", &goals);
}

#[test]
fn what_a_goal_names_is_taken_out() {
    let intent = understand("mend the broken tests of /srv/my.app, in at most 5 rounds, 60 seconds").unwrap();
    assert_eq!(
        (intent.place.as_deref(), intent.rounds, intent.seconds),
        (Some("/srv/my.app"), Some(5), Some(60))
    );
    for (goal, place) in [
        ("report on /srv/app.", Some("/srv/app")),
        ("report on \"/srv/my app\"", Some("/srv/my app")),
        ("report on (/srv/app)", Some("/srv/app")),
        ("report on the code // comment", None),
        ("report on the repository", None),
    ] {
        assert_eq!(understand(goal).unwrap().place.as_deref(), place, "{goal}");
    }
    let goal = |text: &str| understand(text).unwrap().goal;
    let range = |from: &str, to: &str| Some((SmolStr::new(from), SmolStr::new(to)));
    let rules = vec!["no `unwrap`".to_owned(), "tests".to_owned()];
    let said = "review main..feature/x by the rules \"no `unwrap`\" and “tests”";
    assert_eq!(goal(said), Goal::Review { range: range("main", "feature/x"), rules });
    assert_eq!(goal("search for \"a  b\" in /srv/app"), Goal::Search { text: "a  b".to_owned() });
    assert_eq!(goal("show the file src/main.rs of /srv/app"), Goal::Read { file: "src/main.rs".into() });
}

#[test]
fn each_example_is_understood_as_its_rule_says() {
    for rule in &RULES {
        let intent = understand(rule.example).unwrap_or_else(|_| panic!("{:?}", rule.example));
        assert_eq!(typed(rule.sort, &tokens(rule.example)), intent.goal, "{:?}", rule.example);
        for part in rule.pattern.split(' ').flat_map(|part| part.split('|')) {
            if let Some(class) = part.trim_start_matches(['?', '*']).strip_prefix('%') {
                assert!(words::number(class).is_some(), "{part} in {:?}", rule.pattern);
            }
        }
    }
}

#[test]
fn who_is_not_understood_is_told_what_would_be() {
    let nearest = |goal: &str| understand(goal).unwrap_err().nearest;
    assert_eq!(nearest("repot on my sandwich")[0], "report on this repository");
    assert!(nearest("the brnches, pretty")[0].contains("branches"));
    assert_eq!(nearest("a sandwich"), Vec::<&str>::new());
}

#[test]
fn a_long_goal_is_read_in_bounded_time() {
    for part in ["make ", "and build the ", "\"", "/a ", "1 rounds ", "a..b ", "%act ", "… "] {
        let _ = understand(&part.repeat(20_000 / part.len()));
    }
}
