//! `approvals`: what waits for a person, and the answer.

use bus_schemas::Key;
use bus_schemas::commands::approval::{BaseCheck, Call, Command, Grounds, Request};
use serde_json::json;

use crate::bus::Client;
use crate::schema::check;
use crate::world::{World, eventually};

pub fn ask(client: &Client, key: &str) {
    let args = json!({"target": "main", "diff": "-a\n+b\n", "files": [], "goal": "\u{1b}[2Jfix it"});
    let request = Request {
        hint: Some("a fix".into()),
        tools: vec![Call { call_id: "1".into(), name: "change".into(), args }],
        grounds: Grounds { base: "abc".into(), policy_version: "1".into(), settings_version: "2".into() },
        base_check: BaseCheck::TouchedFiles,
        task: Key::parse("t").expect("a key"),
        approvers: Vec::new(),
        answer_within_ms: 600_000,
        use_within_ms: 600_000,
    };
    client.ask(key, &Command::Request(request)).expect("it is asked");
}

/// Goal: a person sees the bytes and nothing that a model said about them, answers, and sees what became of each
/// (complaint 3). Method: three requests that are approved, rejected and canceled, and every wrong answer.
#[test]
fn approvals_are_listed_shown_and_answered() {
    let world = World::start();
    assert!(world.orrery(&["approvals"]).good().stdout.contains("no approvals"));
    let client = Client::connect(&world);
    for key in ["one", "two", "three"] {
        ask(&client, key);
    }
    let listed = eventually("three requests", || {
        let list = world.orrery(&["approvals", "list", "--state", "waiting", "--json"]).good().line();
        (list["approvals"].as_array().expect("a list").len() == 3).then_some(list)
    });
    check("approvals", &listed);
    let page = world.orrery(&["approvals", "list", "--limit", "2"]).good().stdout;
    assert!(page.starts_with("APPROVAL ") && page.contains("more: --cursor "), "{page}");
    let shown = world.orrery(&["approvals", "show", "one", "--json"]).good().line();
    check("approval", &shown);
    let id = shown["tools"][0]["id"].as_str().expect("an id");
    let text = world.orrery(&["approvals", "show", "one"]).good().stdout;
    assert!(text.contains("-a\n+b\n") && !text.contains('\u{1b}'), "{text}");
    assert!(text.contains(&format!("orrery approvals approve one --id {id}")), "{text}");

    world.orrery(&["approvals", "approve", "one", "--id", "x"]).failed("approval-mismatch", 65);
    world.orrery(&["approvals", "approve", "one", "--id", id, "--id", id]).failed("approval-mismatch", 65);
    assert_eq!(world.orrery(&["approvals", "approve", "one"]).status, 64, "it must say what");
    let approved =
        world.orrery(&["approvals", "approve", "one", "--id", id, "--as", "ann", "--json"]).good().line();
    check("approval", &approved);
    assert_eq!((&approved["state"], &approved["decided_by"]), (&json!("approved"), &json!("ann")));
    let rejected =
        world.orrery(&["approvals", "reject", "two", "--reason", "not now", "--json"]).good().line();
    assert_eq!((&rejected["state"], &rejected["reason"]), (&json!("rejected"), &json!("not now")));
    world.orrery(&["approvals", "cancel", "three", "--reason", "enough"]).good();
    world.orrery(&["approvals", "reject", "three", "--reason", "no"]).failed("approval-over", 65);
    let text = world.orrery(&["approvals", "list"]).good().stdout;
    for state in ["approved", "rejected", "canceled"] {
        assert!(text.contains(state), "{text}");
    }
    world.orrery(&["approvals", "show", "nobody"]).failed("approval-not-found", 66);
    world.orrery(&["approvals", "cancel", "nobody", "--reason", "x"]).failed("approval-not-found", 66);
}
