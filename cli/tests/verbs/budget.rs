//! Budgets: a tree that has used up its own waits for a person, says so, and goes on with more.

use crate::bus::Client;
use crate::schema::check;
use crate::world::{World, eventually};

/// Goal: whoever gave a budget sees what of it is used, what the task waits for, and lets it go on. Method:
/// one job, and a task that needs two, since it asks a question.
#[test]
fn a_budget_that_is_used_up_is_said_and_extended() {
    let world = World::start();
    let client = Client::connect(&world);
    client.oracle();
    let given = ["--jobs", "1", "--tokens", "5000", "--money", "2.50", "--time", "30m"];
    let submit = ["tasks", "submit", "know", "--id", "k", "--skill", "oracle"];
    world.orrery(&[&submit[..], &given[..]].concat()).good();
    client.begin("k");
    client.question("k", "of whom?");
    let question = world.number("k", "question_id");
    world.orrery(&["tasks", "answer", "k", "me", "--question", &question]).good();
    client.offer();
    let paused = eventually("the budget to be used up", || {
        let tree = world.orrery(&["tasks", "show", "k", "--json"]).good().line();
        tree["task"]["budget"]["exceeded"].is_object().then_some(tree)
    });
    check("task-show", &paused);
    assert_eq!(paused["task"]["state"], "input-required", "{paused}");
    let budget = &paused["task"]["budget"];
    assert_eq!((&budget["used"]["jobs"], &budget["limits"]["jobs"]), (&1.into(), &1.into()), "{paused}");
    assert_eq!(budget["limits"]["money_micros"], 2_500_000);
    let text = world.orrery(&["tasks", "show", "k"]).good().stdout;
    for part in
        ["jobs 1 of 1 used", "money 0.00 of 2.50 used", "paused for its jobs", "orrery tasks answer k ANSWER"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    let why = world.orrery(&["tasks", "why", "k", "--json"]).good().line();
    assert_eq!(why["waits_for"], "budget", "{why}");
    let question = world.number("k", "question_id");
    world.orrery(&["tasks", "answer", "k", "rubbish", "--question", &question]).failed("invalid-answer", 65);
    world.orrery(&["tasks", "extend-budget", "k", "--tokens", "5"]).failed("invalid-extension", 65);
    world.orrery(&["tasks", "extend-budget", "k"]).failed("invalid-extension", 65);
    let extend = ["tasks", "extend-budget", "k", "--jobs", "2", "--reason", "worth it", "--json"];
    check("task", &world.orrery(&extend).good().line());
    eventually("the next attempt", || {
        let why = world.orrery(&["tasks", "why", "k", "--json"]).good().line();
        (why["waits_for"] == "lane").then_some(())
    });
    let shown = world.orrery(&["tasks", "show", "k", "--json"]).good().line();
    assert!(shown["task"]["budget"]["exceeded"].is_null(), "{shown}");
    assert_eq!(shown["task"]["budget"]["limits"]["jobs"], 3, "{shown}");
}

/// Goal: mistakes are said before anything begins. Method: bounds that are none, and a tree without one.
#[test]
fn mistakes_about_budgets_are_named() {
    let world = World::start();
    for wrong in [["--jobs", "0"], ["--tokens", "many"], ["--money", "1.0000001"], ["--time", "30"]] {
        assert_eq!(world.orrery(&[&["tasks", "submit", "x"], &wrong[..]].concat()).status, 64, "{wrong:?}");
    }
    world.orrery(&["tasks", "submit", "x", "--time", "5ms"]).failed("invalid-budget", 65);
    world.orrery(&["tasks", "submit", "x", "--id", "free", "--skill", "nobody-has-this"]).good();
    world.orrery(&["tasks", "extend-budget", "free", "--jobs", "1"]).failed("no-budget", 65);
    let help = world.orrery(&["run", "--help"]).good().stdout;
    assert!(help.contains("Budget:") && help.contains("--tool-calls"), "{help}");
}
