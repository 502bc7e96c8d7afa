//! `dead`: what could not be done, why, and doing it after all.

use serde_json::Value;

use crate::bus::Client;
use crate::schema::check;
use crate::world::{World, eventually, repository};

/// The dead letters of a list, once there are so many.
fn letters(world: &World, arguments: &[&str], count: usize) -> Vec<Value> {
    let all: Vec<&str> = [&["dead-letters", "list", "--json"], arguments].concat();
    eventually("the dead letters", || {
        let page = world.orrery(&all).good().line();
        check("dead-letters", &page);
        let letters = page["dead_letters"].as_array().expect("a list").clone();
        (letters.len() == count).then_some(letters)
    })
}

fn name(letter: &Value) -> &str {
    letter["entry"].as_str().expect("a key")
}

/// What could not be done is listed with its reason, and its bytes come out as they went in.
#[test]
fn dead_letters_are_shown_with_their_payload() {
    let world = World::start();
    assert!(world.orrery(&["dead-letters"]).good().stdout.contains("no dead letters"));
    Client::connect(&world).poison();
    let found =
        letters(&world, &["--class", "poison", "--state", "waiting", "--kind", "probe", "--key", "p"], 1);
    let entry = name(&found[0]);
    let whole = world.orrery(&["dead-letters", "show", entry, "--json"]).good().line();
    check("dead-letter", &whole);
    assert_eq!((&whole["decoded"]["type"], &whole["key"]), (&"panic".into(), &"p".into()), "{whole}");
    let text = world.orrery(&["dead-letters", "show", entry]).good().stdout;
    assert!(text.contains("probe/p") && text.contains("\"panic\"") && text.contains("is waiting"), "{text}");
    let bytes = world.orrery(&["dead-letters", "show", entry, "--payload"]).good().stdout;
    assert_eq!(bytes, r#"{"type":"panic"}"#);
    assert!(world.orrery(&["dead-letters"]).good().stdout.contains(entry));
    letters(&world, &["--class", "refused"], 0);
    letters(&world, &["--before", "2020-01-01T00:00:00Z"], 0);

    // What could be meant by a filter that means nothing is said before a redrive too.
    let nonsense = world.orrery(&["redrives", "start", "--class", "nonsense", "--watch"]).good();
    assert!(nonsense.stderr.contains("there are: waiting poison"), "{nonsense:?}");

    world
        .orrery(&["tasks", "submit", "Report", "--id", "lost", "--input", r#"{"repo": "/no/such/place"}"#])
        .good();
    let found = letters(&world, &["--class", "job-failed"], 1);
    let entry = name(&found[0]);
    let text = world.orrery(&["dead-letters", "show", entry]).good().stdout;
    assert!(text.contains("because attempt 1 failed as permanent"), "{text}");
    world.orrery(&["dead-letters", "redrive", entry, "--watch"]).failed("not-redriven", 1);
    let again = world.orrery(&["dead-letters", "show", entry, "--json"]).good().line();
    assert_eq!((&again["redrives"], &again["state"]), (&1.into(), &"waiting".into()), "{again}");
    assert_eq!(again["failures"].as_array().map(Vec::len), Some(1), "{again}");
    letters(&world, &["--class", "job-failed"], 1);
    world.orrery(&["dead-letters", "show", "nothing"]).failed("dead-letter-not-found", 66);
    world.orrery(&["dead-letters", "drop", "nothing"]).failed("dead-letter-not-found", 66);
}

/// Goal: a mistake is mended where it lies. Method: a poison command is edited value by value and
/// redriven; another one is dropped; what is done is done, and the original can still be read.
#[test]
fn a_dead_letter_is_edited_redriven_or_dropped() {
    let world = World::start();
    let client = Client::connect(&world);
    client.poison();
    let found = letters(&world, &[], 1);
    let entry = name(&found[0]).to_owned();
    world.orrery(&["dead-letters", "redrive", &entry, "--watch"]).failed("not-redriven", 1);
    assert_eq!(world.orrery(&["dead-letters", "edit", &entry]).status, 64, "it must say what");
    world.orrery(&["dead-letters", "edit", &entry, "--set", "type.x=1"]).failed("bad-edit", 65);
    let told =
        world.orrery(&["dead-letters", "edit", &entry, "--set", "type=touch", "--set", "note=x", "--json"]);
    check("dead-letter-changed", &told.good().line());
    let shown = world.orrery(&["dead-letters", "show", &entry, "--payload"]).good().stdout;
    assert_eq!(shown, r#"{"note":"x","type":"touch"}"#);
    let original = world.orrery(&["dead-letters", "show", &entry, "--payload", "--original"]).good().stdout;
    assert_eq!(original, r#"{"type":"panic"}"#);
    let told = world.orrery(&["dead-letters", "redrive", &entry, "--watch", "--json"]).good().line();
    check("dead-letter-changed", &told);
    assert_eq!(told["state"], "redriven", "{told}");
    world.orrery(&["dead-letters", "redrive", &entry]).failed("not-waiting", 65);

    client.poison();
    let found = letters(&world, &["--state", "waiting"], 1);
    let entry = name(&found[0]);
    let file = world.data_dir().join("payload.json");
    std::fs::write(&file, "{\"type\":").expect("a file");
    let path = file.to_str().expect("UTF-8");
    world.orrery(&["dead-letters", "edit", entry, "--file", path]).failed("bad-edit", 65);
    world.orrery(&["dead-letters", "edit", entry, "--file", "/no/such/file"]).failed("path-missing", 66);
    std::fs::write(&file, r#"{"type":"touch"}"#).expect("a file");
    world.orrery(&["dead-letters", "edit", entry, "--file", path, "--to", "probe/q"]).good();
    let text = world.orrery(&["dead-letters", "drop", entry, "--reason", "nobody wants it"]).good().stdout;
    assert!(text.contains("is dropped"), "{text}");
    let lines = world.orrery(&["dead-letters", "export", "--state", "dropped"]).good().lines();
    assert_eq!(lines.len(), 1);
    check("dead-letter", &lines[0]);
    assert_eq!((&lines[0]["to"], &lines[0]["decoded"]["type"]), (&"probe/q".into(), &"touch".into()));
    let out = world.data_dir().join("dead.jsonl");
    world.orrery(&["dead-letters", "export", "--output", out.to_str().expect("UTF-8")]).good();
    assert_eq!(std::fs::read_to_string(&out).expect("the file").lines().count(), 2);
}

/// Goal: many are redriven at a rate, and a person can hold that. Method: a redrive over poison
/// commands, paused, resumed and watched to its end; then one that is canceled.
#[test]
fn many_are_redriven_by_a_redrive() {
    let world = World::start();
    let client = Client::connect(&world);
    for _ in 0..5 {
        client.poison();
    }
    letters(&world, &["--state", "waiting"], 5);
    assert!(world.orrery(&["redrives"]).good().stdout.contains("no redrives"));
    world.orrery(&["redrives", "start"]).failed("bad-option", 64);
    let start = ["redrives", "start", "--class", "poison", "--rate", "1", "--name", "slow", "--json"];
    check("redrive", &world.orrery(&start).good().line());
    let paused = world.orrery(&["redrives", "pause", "slow", "--json"]).good().line();
    assert_eq!(paused["state"], "paused", "{paused}");
    let text = world.orrery(&["redrives"]).good().stdout;
    assert!(text.contains("slow") && text.contains("paused"), "{text}");
    let resumed = world.orrery(&["redrives", "resume", "slow", "--rate", "1000", "--json"]).good().line();
    assert_eq!(resumed["rate"], 1000, "{resumed}");
    let done = eventually("the redrive's end", || {
        let redrive = world.orrery(&["redrives", "show", "slow", "--json"]).good().line();
        (redrive["state"] == "completed").then_some(redrive)
    });
    assert_eq!((&done["sent"], &done["returned"]), (&5.into(), &5.into()), "poison stays poison: {done}");
    check("redrives", &world.orrery(&["redrives", "--json"]).good().line());
    letters(&world, &["--state", "waiting"], 5);
    let watched = world.orrery(&["redrives", "start", "--all", "--rate", "100", "--watch"]);
    assert!(watched.stdout.contains("5 of 5 sent"), "{watched:?}");
    watched.failed("not-redriven", 1);
    world.orrery(&["redrives", "cancel", "slow"]).failed("redrive-final", 65);
    world.orrery(&["redrives", "pause", "nothing"]).failed("redrive-not-found", 66);
    world.orrery(&["redrives", "show", "nothing"]).failed("redrive-not-found", 66);
}

/// Goal: a job that failed by its input is mended where it lies. Method: a report on a place that is not
/// there is edited, which submits it anew; what cannot be submitted is refused, and so is a step.
#[test]
fn a_failed_job_is_edited_and_submitted_anew() {
    let world = World::start();
    let repo = repository(world.data_dir());
    let input = r#"{"repo": "/no/such/place"}"#;
    world.orrery(&["tasks", "submit", "Report", "--id", "lost", "--input", input]).good();
    let found = letters(&world, &["--class", "job-failed"], 1);
    let entry = name(&found[0]);
    assert!(found[0]["traceparent"].is_null(), "nobody traces: {}", found[0]);
    let payload: Value =
        serde_json::from_str(&world.orrery(&["dead-letters", "show", entry, "--payload"]).good().stdout)
            .expect("a submission");
    assert_eq!((&payload["type"], &payload["goal"]), (&"submit".into(), &"Report".into()), "{payload}");
    world.orrery(&["dead-letters", "edit", entry, "--set", "x=1"]).failed("invalid-payload", 65);
    world.orrery(&["dead-letters", "edit", entry, "--set", "goal="]).failed("invalid-goal", 65);
    let change = format!("input.repo={}", repo.display());
    world.orrery(&["dead-letters", "edit", entry, "--set", &change]).good();
    let said = world.orrery(&["dead-letters", "redrive", entry]).good();
    assert!(said.stderr.contains("not waiting for"), "{said:?}");
    let done = eventually("the report", || {
        let whole = world.orrery(&["dead-letters", "show", entry, "--json"]).good().line();
        (whole["state"] == "redriven").then_some(whole)
    });
    let target = done["target"].as_str().expect("the task that was submitted");
    assert_eq!(target, format!("task/{entry}-r1"), "{done}");
    let task = target.strip_prefix("task/").expect("a task");
    assert_eq!(world.orrery(&["tasks", "show", task, "--json"]).good().line()["task"]["state"], "completed");
    let first = world.orrery(&["tasks", "show", "lost", "--json"]).good().line();
    assert_eq!(first["task"]["state"], "failed", "the first one stays as it failed: {first}");
}
