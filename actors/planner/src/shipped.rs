//! The domain of the shipped agents: each operator is one of their skills, each compound task a sort of goal.
//!
//! | fact | holds where |
//! | --- | --- |
//! | `repository` | the goal is about a git repository with commits |
//! | `on-topic` | the goal speaks of something that a report has |
//! | `documented` | the documentation of the repository speaks about the goal |
//! | `model`, `sandbox`, `code-write` | the process of the orchestrator has them |
//! | `files`, `rules` | the input names the files of a change; the goal or the input the rules of a judgement |
//! | `has X` | a step before leaves X |
//!
//! A cost is a rough number of the seconds that a step takes on a small repository: only their order is meant.

use std::sync::LazyLock;

use crate::htn::{Answer, Atom, Domain, Limits, Method, Operator};
use crate::intent::Goal;

/// The skills that read a repository for its report; they do not depend on each other.
pub const LOOKS: [&str; 5] = ["inventory", "history", "manifests", "hotspots", "docs"];

static DOMAIN: LazyLock<Domain> =
    LazyLock::new(|| Domain::new(operators(), methods()).expect("a test plans with this very domain"));

/// The domain.
pub fn domain() -> &'static Domain {
    &DOMAIN
}

/// A plan for a goal from these facts, or why there is none.
pub fn plan(goal: &Goal, facts: &[&str]) -> Answer {
    let facts: Vec<Atom> = facts.iter().map(|fact| Atom::of(fact)).collect();
    let answer = domain().find(&facts, &[Atom::of(goal.task())], Limits::default());
    answer.expect("facts are constants without variables, and a test plans every sort of goal")
}

fn operators() -> Vec<Operator> {
    let reads = |name, cost| Operator::new(name, cost).when(&["repository"]);
    let mut operators: Vec<Operator> =
        LOOKS.iter().map(|name| reads(name, 1).adds(&[&format!("has {name}")])).collect();
    let found = LOOKS.map(|name| format!("has {name}"));
    let found: Vec<&str> = std::iter::once("repository").chain(found.iter().map(String::as_str)).collect();
    let judged: Vec<&str> = found.iter().copied().chain(["has review"]).collect();
    operators.extend([
        Operator::new("review", 1).when(&found).adds(&["has review"]),
        Operator::new("report", 1).when(&judged),
        Operator::new("investigate", 60).when(&["repository", "model"]),
        Operator::new("repair", 300).when(&["repository", "model", "sandbox"]),
        Operator::new("test", 30).when(&["repository", "sandbox"]),
        Operator::new("check", 60).when(&["repository", "sandbox"]),
        Operator::new("specify", 30).when(&["model"]).adds(&["has specification"]),
        Operator::new("generate-backend", 60).when(&["model", "has specification"]).adds(&["has backend"]),
        Operator::new("generate-frontend", 60).when(&["model", "has specification"]).adds(&["has frontend"]),
        Operator::new("assemble", 120).when(&["sandbox", "has specification", "has backend", "has frontend"]),
        Operator::new("change", 60).when(&["repository", "files", "code-write", "sandbox"]),
        Operator::new("git-diff", 1).when(&["repository"]).adds(&["has diff"]),
        Operator::new("judge", 30).when(&["rules", "model", "has diff"]),
        reads("search-files", 1),
        reads("read-file", 1),
        reads("git-status", 1),
        reads("git-log", 1),
        reads("git-branches", 1),
    ]);
    operators
}

fn methods() -> Vec<Method> {
    let everything: Vec<&str> = LOOKS.into_iter().chain(["review", "report"]).collect();
    vec![
        Method::new("from-everything", "give-a-report").then(&everything),
        Method::new("from-the-documentation", "answer-a-question")
            .when(&["documented"])
            .then(&["give-a-report"]),
        Method::new("by-looking-into-it", "answer-a-question").then(&["investigate"]),
        Method::new("with-a-model", "look-into-it").when(&["model"]).then(&["investigate"]),
        Method::new("from-a-report", "look-into-it").when(&["on-topic"]).then(&["give-a-report"]),
        Method::new("from-the-documentation", "look-into-it").when(&["documented"]).then(&["give-a-report"]),
        Method::new("by-a-repair", "make-tests-pass").then(&["repair"]),
        Method::new("in-the-sandbox", "run-tests").then(&["test"]),
        Method::new("in-the-sandbox", "run-checks").then(&["check"]),
        Method::new("from-a-specification", "build-a-project").then(&[
            "specify",
            "generate-backend",
            "generate-frontend",
            "assemble",
        ]),
        Method::new("with-approval", "change-files").then(&["change"]),
        Method::new("by-rules", "judge-a-change").then(&["git-diff", "judge"]),
        Method::new("in-files", "search").then(&["search-files"]),
        Method::new("from-the-workspace", "read").then(&["read-file"]),
        Method::new("from-git", "show-status").then(&["git-status"]),
        Method::new("from-git", "show-log").then(&["git-log"]),
        Method::new("from-git", "show-branches").then(&["git-branches"]),
        Method::new("from-git", "show-diff").then(&["git-diff"]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::htn::Why;

    const ALL: [&str; 8] =
        ["repository", "on-topic", "documented", "model", "sandbox", "code-write", "files", "rules"];

    fn goals() -> Vec<Goal> {
        use Goal::*;
        let review = Review { range: None, rules: Vec::new() };
        let (search, read) = (Search { text: "x".into() }, Read { file: "x".into() });
        let plain =
            [Report, Question, Investigate, Repair, Test, Check, Build, Change, Status, Log, Branches];
        plain.into_iter().chain([review, search, read, Diff { range: None }]).collect()
    }

    #[test]
    fn every_sort_of_goal_has_a_plan_where_everything_is_there() {
        for goal in goals() {
            let answer = plan(&goal, &ALL);
            assert!(
                answer.plan.is_some_and(|plan| !plan.steps.is_empty()),
                "{goal:?}: {:?}",
                answer.rejected
            );
        }
    }

    #[test]
    fn where_something_is_missing_it_is_named() {
        let missing = |goal: &Goal, fact: &str| {
            let facts: Vec<&str> = ALL.into_iter().filter(|one| *one != fact).collect();
            let answer = plan(goal, &facts);
            let unmet = answer.rejected.iter().filter_map(|one| match &one.why {
                Why::Unmet { condition } => Some(condition.to_string()),
                _ => None,
            });
            (answer.plan.map(|plan| plan.steps.len()), unmet.collect::<Vec<_>>().join(" "))
        };
        for goal in goals().into_iter().filter(|goal| *goal != Goal::Build) {
            let (steps, unmet) = missing(&goal, "repository");
            assert!(steps.is_none() && unmet.contains("repository"), "{goal:?}: {unmet}");
        }
        for (goal, fact) in [
            (Goal::Repair, "model"),
            (Goal::Repair, "sandbox"),
            (Goal::Build, "model"),
            (Goal::Build, "sandbox"),
            (Goal::Change, "files"),
            (Goal::Change, "code-write"),
            (Goal::Review { range: None, rules: Vec::new() }, "rules"),
        ] {
            assert_eq!(missing(&goal, fact), (None, fact.to_owned()), "{goal:?}");
        }
        assert_eq!(missing(&Goal::Question, "documented"), (Some(1), "documented".to_owned()));
        assert_eq!(missing(&Goal::Investigate, "model"), (Some(7), "model".to_owned()));
    }

    #[test]
    fn steps_wait_for_those_whose_results_they_read() {
        let after = |goal: &Goal| {
            let steps = plan(goal, &ALL).plan.expect("a plan").steps;
            steps.iter().map(|step| step.after.len()).collect::<Vec<_>>()
        };
        assert_eq!(after(&Goal::Report), [0, 0, 0, 0, 0, 5, 6]);
        assert_eq!(after(&Goal::Build), [0, 1, 1, 3]);
    }
}
