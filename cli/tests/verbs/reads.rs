//! Reading writes nothing: neither a request to the gateway nor a verb that shows something leaves a trace.

use crate::bus::Client;
use crate::monitor::asked;
use crate::world::{World, eventually};

/// Requests in a round.
const REQUESTS: usize = 1_000;

/// One of everything that can be read.
fn story(world: &World, client: &Client) {
    world.orrery(&["tasks", "submit", "nothing", "--id", "done", "--skill", "noop", "--wait"]).good();
    world
        .orrery(&["tasks", "submit", "g", "--id", "waits", "--skill", "nobody-has-it", "--lane", "night"])
        .good();
    world.orrery(&["breakers", "trip", "tool.deploy", "--reason", "a test"]).good();
    world.orrery(&["lanes", "set", "night", "--concurrent", "2", "--reason", "a test"]).good();
    world.orrery(&["halt", "task.waits", "--reason", "a test"]).good();
    world.orrery(&["chaos", "delay", "--by", "1ms", "--for", "1s"]).good();
    client.poison();
}

/// What the gateway shows.
fn paths(letter: &str) -> Vec<String> {
    let plain = [
        "/v1/tasks",
        "/v1/tasks/done",
        "/v1/tasks/done/events",
        "/v1/tasks/done/why",
        "/v1/tasks/waits",
        "/v1/tasks/waits/why",
        "/v1/tasks/nobody",
        "/v1/tasks/nobody/why",
        "/v1/agents",
        "/v1/approvals",
        "/v1/approvals/nobody",
        "/v1/schedules",
        "/v1/dead-letters",
        "/v1/dead-letters/export",
        "/v1/redrives",
        "/v1/redrives/nobody",
        "/v1/halts",
        "/v1/lanes",
        "/v1/lanes/default",
        "/v1/lanes/night",
        "/v1/lanes/nobody",
        "/v1/breakers",
        "/v1/breakers/tool.deploy",
        "/v1/breakers/nobody",
        "/v1/settings/lanes",
        "/v1/settings/lanes?version=1",
        "/v1/settings/lanes/history",
        "/v1/settings/retry",
        "/v1/settings/nobody",
        "/v1/settings/nobody/history",
        "/v1/openapi.json",
        "/errors/busy",
        "/health",
        "/ready",
        "/metrics",
    ];
    let letter = format!("/v1/dead-letters/{letter}");
    plain.iter().map(|path| (*path).to_owned()).chain([letter]).collect()
}

/// What the command line shows.
const VERBS: [&[&str]; 13] = [
    &["tasks", "list"],
    &["tasks", "show", "waits"],
    &["tasks", "why", "waits"],
    &["agents"],
    &["lanes"],
    &["lanes", "show", "night"],
    &["breakers"],
    &["breakers", "show", "tool.deploy"],
    &["halts"],
    &["chaos", "list", "--all"],
    &["settings", "list"],
    &["settings", "history", "lanes"],
    &["settings", "diff", "lanes", "0", "1"],
];

/// Goal: whoever looks changes nothing, however often. Method: a system with one of everything, whose logs
/// are as long after a thousand requests and every verb that shows something as before them. Hosts have words
/// of their own for the logs now and then, so a round that saw one is done again; were it a request that
/// writes, every round would see it.
#[test]
fn a_thousand_requests_leave_the_logs_as_they_are() {
    let world = World::start_with("chaos = \"durable\"\n");
    let client = Client::connect(&world);
    story(&world, &client);
    let letter = eventually("the dead letter", || {
        let page = world.orrery(&["dead-letters", "--json"]).good().line();
        page["dead_letters"][0]["entry"].as_str().map(str::to_owned)
    });
    let paths = paths(&letter);
    eventually("a round without a record", || {
        let before = client.ends();
        for path in paths.iter().cycle().take(REQUESTS) {
            let answer = asked(world.address("http"), path);
            let is_there = answer.starts_with("HTTP/1.1 20") != path.contains("nobody");
            assert!(is_there, "{path}: {answer}");
        }
        for verb in VERBS {
            world.orrery(verb).good();
        }
        (client.ends() == before).then_some(())
    });
}

/// Goal: whoever asks what nobody can answer is told so at once, by a code that has a page. Method: queries of
/// every wrong sort, over the bus as any client could send them.
#[test]
fn a_query_that_nobody_can_answer_is_refused_by_a_code() {
    let world = World::start();
    let client = Client::connect(&world);
    world.orrery(&["tasks", "submit", "g", "--id", "waits", "--skill", "nobody-has-it"]).good();
    let stale = r#"{"type":"renew","attempt":1,"token":"guessed"}"#;
    let cases = [
        ("task/nobody", r#"{"type":"describe"}"#, "task-not-found"),
        ("task/nobody", r#"{"type":"explain"}"#, "task-not-found"),
        ("task/nobody", r#"{"type":"wait"}"#, "task-not-found"),
        ("task/waits", stale, "stale-attempt"),
        ("task/waits", r#"{"type":"juggle"}"#, "unknown-query"),
        ("task/waits", r#"{"type":"cancel"}"#, "unknown-query"),
        ("task/waits", r#"{"type":"renew","attempt":"one"}"#, "malformed-command"),
        ("task/waits", r#"{"attempt":1}"#, "malformed-command"),
        ("task/waits", "[", "malformed-command"),
        ("probe/p", r#"{"type":"describe"}"#, "unknown-query"),
        ("nothing/p", r#"{"type":"describe"}"#, "unknown-kind"),
        ("chaos/nobody", r#"{"type":"describe"}"#, "experiment-not-found"),
        ("dead-letter/nobody", r#"{"type":"describe"}"#, "dead-letter-not-found"),
        ("settings/nobody", r#"{"type":"describe"}"#, "unknown-settings"),
        ("settings/nobody", r#"{"type":"history"}"#, "unknown-settings"),
        ("settings/lanes", r#"{"type":"describe","version":7}"#, "settings-version-not-found"),
    ];
    eventually("a round without a record", || {
        let before = client.ends();
        for (entity, query, code) in cases {
            let refusal = client.query(entity, query).expect_err(query);
            assert_eq!(refusal.code, code, "{entity} {query}: {refusal:?}");
            let page = asked(world.address("http"), &format!("/errors/{code}"));
            assert!(page.starts_with("HTTP/1.1 200"), "{code}: {page}");
        }
        (client.ends() == before).then_some(())
    });
    let unknown = client.query("task/waits", r#"{"type":"juggle"}"#).expect_err("nobody knows it");
    assert_eq!(unknown.hint.as_deref(), Some("the kind answers `describe`, `explain`, `wait`, `renew`"));
    world.orrery(&["chaos", "trip-breaker", &"x".repeat(129)]).failed("invalid-dependency", 65);
}
