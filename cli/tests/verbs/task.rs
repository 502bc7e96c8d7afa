//! `task`, `agents`, `schedules`, `dead`: what there is, and what can be done to it.

use serde_json::Value;

use crate::schema::check;
use crate::world::{World, eventually};

/// A task from its submission to its end, through every verb.
#[test]
fn a_task_is_submitted_watched_listed_and_shown() {
    let world = World::start();
    let plan = world.data_dir().join("plan.json");
    let steps = r#"{"steps": [{"step": "a", "goal": "nothing", "skill": "noop"},
                              {"step": "b", "goal": "nothing", "skill": "noop", "after": ["a"]}]}"#;
    std::fs::write(&plan, steps).expect("a file");
    let plan = plan.to_str().expect("UTF-8");
    let submit =
        ["task", "submit", "two steps", "--id", "two", "--plan", plan, "--owner", "ada", "--wait", "--json"];
    let lines = world.orrery(&submit).good().lines();
    let (last, changes) = lines.split_last().expect("lines");
    check("task-told", last);
    changes.iter().for_each(|change| check("change", change));
    assert!(changes.iter().any(|change| change["task"] == "two.b" && change["event"] == "completed"));
    let tree = eventually("the end in the read model", || {
        let tree = world.orrery(&["task", "show", "two", "--json"]).good().line();
        (tree["task"]["state"] == "completed").then_some(tree)
    });
    check("task-show", &tree);
    let steps: Vec<&Value> =
        tree["children"].as_array().expect("a list").iter().map(|child| &child["task"]["id"]).collect();
    assert_eq!(steps, ["two.a", "two.b"].as_slice());
    let page = world.orrery(&["task", "list", "--owner", "ada", "--json"]).good().line();
    check("task-list", &page);
    assert_eq!(page["tasks"].as_array().expect("a list").len(), 1, "children are not listed: {page}");
    let all = world.orrery(&["task", "list", "--all", "--json"]).good().line();
    assert_eq!(all["tasks"].as_array().expect("a list").len(), 3);
    let text = world.orrery(&["task", "list"]).good().stdout;
    assert!(text.contains("TASK") && text.contains("two steps"), "{text}");
    world.orrery(&["task", "watch", "two"]).good();
}

/// What waits can be canceled and retried, and what is wrong is said with a code.
#[test]
fn a_task_is_canceled_and_mistakes_are_named() {
    let world = World::start();
    world.orrery(&["task", "submit", "waits for ever", "--id", "w", "--skill", "nobody-has-this"]).good();
    check("task-told", &world.orrery(&["task", "cancel", "w", "--reason", "bored", "--json"]).good().line());
    world.orrery(&["task", "watch", "w"]).failed("task-canceled", 1);
    world.orrery(&["task", "input", "w", "42"]).failed("no-question", 65);
    world.orrery(&["task", "watch", "nobody"]).failed("task-not-found", 66);
    world.orrery(&["task", "show", "nobody"]).failed("task-not-found", 66);
    world.orrery(&["task", "show", "a b"]).failed("invalid-key", 64);
    world.orrery(&["task", "artifact", "w", "report.md"]).failed("artifact-not-found", 66);
    world.orrery(&["task", "submit", "x", "--plan", "/no/such/file"]).failed("invalid-plan", 66);
    world.orrery(&["task", "submit", "", "--id", "empty"]).failed("invalid-goal", 65);
    assert_eq!(world.orrery(&["task", "submit", "x", "--deadline", "tomorrow"]).status, 64);
    assert_eq!(world.orrery(&["task", "list", "--limit", "1000"]).status, 64);
    world.orrery(&["task", "list", "--cursor", "rubbish"]).failed("invalid-cursor", 64);
}

/// Agents, schedules and dead letters, as text and as JSON.
#[test]
fn agents_schedules_and_dead_letters_are_shown() {
    let world = World::start();
    let agents = eventually("the shipped agents", || {
        let agents = world.orrery(&["agents", "--json"]).good().line();
        (agents["agents"].as_array().expect("a list").len() == 6).then_some(agents)
    });
    check("agents", &agents);
    check("agent", &world.orrery(&["agents", "git", "--json"]).good().line());
    world.orrery(&["agents", "nobody"]).failed("agent-not-found", 66);
    let add = ["schedules", "add", "often", "nothing", "--skill", "noop", "--every", "1s", "--json"];
    check("schedule-told", &world.orrery(&add).good().line());
    let fired = eventually("the schedule to fire", || {
        let list = world.orrery(&["schedules", "--json"]).good().line();
        (list["schedules"][0]["fired"].as_u64().unwrap_or(0) > 0).then_some(list)
    });
    check("schedules", &fired);
    world.orrery(&["schedules", "remove", "often"]).good();
    world.orrery(&["schedules", "add", "bad", "x", "--cron", "rubbish"]).failed("invalid-recurrence", 65);
    assert!(world.orrery(&["dead", "list"]).good().stdout.contains("no dead letters"));
    // No agent has ever heard of this place: the orchestrator says so, for good.
    world
        .orrery(&["task", "submit", "Report", "--id", "lost", "--input", r#"{"repo": "/no/such/place"}"#])
        .good();
    let page = eventually("the dead letter", || {
        let page = world.orrery(&["dead", "list", "--json"]).good().line();
        (!page["dead"].as_array().expect("a list").is_empty()).then_some(page)
    });
    check("dead-list", &page);
    let entry = page["dead"][0]["entry"].as_str().expect("a key");
    check("dead-show", &world.orrery(&["dead", "show", entry, "--json"]).good().line());
    world.orrery(&["dead", "show", "nothing"]).failed("dead-letter-not-found", 66);
}
