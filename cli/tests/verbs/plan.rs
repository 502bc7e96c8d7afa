//! `plan`: what would be done for a goal, and why, before anything is.

use crate::schema::check;
use crate::world::{World, repository};

/// Goal: whoever asks sees the steps, what they cost and what they wait for, the methods that led to them, and why others
/// did not; nothing of it is done. Method: a question that the documentation answers, with and without `--json`.
#[test]
fn a_plan_is_shown_with_its_reasons_and_nothing_is_done() {
    let world = World::start();
    let repo = repository(world.data_dir());
    let repo = repo.to_str().expect("UTF-8");
    let plan = world.orrery(&["plan", "How do words become small?", "--repo", repo, "--json"]).good().line();
    check("plan", &plan);
    assert_eq!((&plan["task"], &plan["cost"]), (&"answer-a-question".into(), &7.into()), "{plan}");
    let steps = plan["steps"].as_array().expect("steps");
    let after: Vec<usize> = steps.iter().map(|step| step["after"].as_array().map_or(0, Vec::len)).collect();
    assert_eq!(after, [0, 0, 0, 0, 0, 5, 6], "{plan}");
    assert!(steps.iter().all(|step| step["input"]["repo"] == repo && step["cost"] == 1), "{plan}");
    assert_eq!(plan["chosen"][0]["method"], "from-the-documentation", "{plan}");
    let rejected = plan["rejected"].as_array().expect("a list");
    let why = |task: &str| rejected.iter().find(|one| one["task"] == task).map(|one| one["why"].to_string());
    assert!(why("investigate").is_some_and(|why| why.contains("`model` does not hold")), "{plan}");

    let text = world.orrery(&["plan", "Report on this repository", "--repo", repo]).good().stdout;
    for part in ["taken for: give-a-report", "report: skill `report`", "because:", "by `from-everything`"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let tasks = world.orrery(&["tasks", "list", "--json"]).good().stdout;
    assert!(!tasks.contains("inventory"), "a step was begun: {tasks}");
}

/// Goal: where there is no plan, what is missing is named, and who is nearly understood is told what would be.
#[test]
fn a_goal_without_a_plan_says_what_is_missing() {
    let world = World::start();
    let repo = repository(world.data_dir());
    let repo = repo.to_str().expect("UTF-8");
    for (goal, code, part) in [
        ("make the tests pass", "no-model", "needs a model"),
        ("run the tests", "no-sandbox", "needs the sandbox"),
        (
            "What is the weather in Paris?",
            "goal-not-plannable",
            "speaks about this question; this work needs a model",
        ),
        ("fix the TODOs", "goal-not-plannable", "names no files"),
        ("list the brnches", "goal-not-plannable", "`list the branches`"),
        ("a sandwich", "goal-not-plannable", "no word of it is known"),
    ] {
        let refused = world.orrery(&["plan", goal, "--repo", repo]).failed(code, 1);
        assert!(refused.stderr.contains(part) && refused.stderr.contains("next:"), "{goal}: {refused:?}");
    }
    world.orrery(&["plan", " ", "--repo", repo]).failed("invalid-goal", 64);
}
