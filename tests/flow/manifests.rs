//! effects: agents that manifests declare are loaded, run, upgraded and removed while the system runs.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use actors_agents::Tools;
use bus_client::{Bus, Profile};
use bus_schemas::Hash;
use bus_schemas::commands::agent::{Command, Query, Registration};
use bus_schemas::commands::task::{self, Submit};
use bus_schemas::manifests::AgentManifest;
use bus_schemas::views::task::Task;
use serde_json::{Value, json};
use system_tests::agents::small_repository;
use system_tests::models::scripted::{Act, Asked, Scripted};
use system_tests::models::{asks, models};
use system_tests::process::Process;
use system_tests::replays::assert_same;
use system_tests::{Server, accepted, command, eventually, query, refused, repository, view};

use crate::tester::{ended, results};

const AGENT: &str = "release-notes";

/// The manifest of the documentation, as another version with another prompt.
fn manifest(version: &str) -> AgentManifest {
    let file = repository().join("docs/examples/release-notes.toml");
    let text = std::fs::read_to_string(file).expect("the example");
    let mut manifest: AgentManifest = toml::from_str(&text).expect("a manifest");
    manifest.version = version.to_owned();
    manifest.prompt = format!("Version {version} for {{{{ input.readers }}}}.");
    manifest
}

async fn load(bus: &Bus, version: &str) {
    let manifest = Box::new(manifest(version));
    accepted(bus, &command(AGENT, &Command::Load { manifest })).await;
}

async fn described(bus: &Bus) -> Option<Registration> {
    view(bus, &query(AGENT, &Query::Describe)).await
}

/// Waits until these hosts run the manifest with this number.
async fn healthy(bus: &Bus, number: u32, hosts: &[&str]) {
    eventually(&format!("manifest {number} to run on {hosts:?}"), || async {
        let declared = described(bus).await?.declared?;
        let runs = |host: &&str| declared.health.get(*host).is_some_and(|said| said.problem.is_empty());
        (declared.number == number && hosts.iter().all(runs)).then_some(())
    })
    .await;
}

async fn submit(bus: &Bus, key: &str, goal: &str, input: &Value) {
    let submit = Submit { skill: AGENT.into(), input: input.clone(), ..Submit::new(goal) };
    accepted(bus, &command(key, &task::Command::Submit(submit))).await;
}

/// A model that looks at the log first, and then answers with its instructions. `before` runs before an answer to the
/// goal `hold`.
async fn model(before: impl Fn() -> Option<Vec<Act>> + Send + Sync + 'static) -> Scripted {
    let script = move |_: usize, asked: &Asked| {
        let messages = asked.body["messages"].as_array().expect("messages");
        let text = |number: usize| messages[number]["content"].as_str().expect("text");
        if messages.len() == 2 {
            return asks(&[("log", json!({}))]);
        }
        let held = if text(1).contains("\"goal\":\"hold\"") { before() } else { None };
        held.unwrap_or_else(|| asks(&[("answer", json!({"title": "Notes", "changes": [text(0)]}))]))
    };
    Scripted::answering(script).await.expect("a free port")
}

/// A model that holds its answer until the test sends a word.
async fn gated() -> (Scripted, Sender<()>) {
    let (open, gate) = channel();
    let gate = Mutex::new(gate);
    let before = move || {
        tokio::task::block_in_place(|| gate.lock().expect("one at a time").recv())
            .expect("the test is there");
        None
    };
    (model(before).await, open)
}

/// Goal: an agent that a document declares runs on every host, within its schemas, with people's text as data; a task
/// keeps the version that it began with while an upgrade serves the next ones; a removed agent finishes what it has and
/// takes nothing; a restart keeps what is loaded; and its attempts run again without a model. Method: the manifest of
/// the documentation on two hosts, with a scripted model that holds one answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_declared_agent_is_loaded_upgraded_and_removed() {
    let server = Server::start(Profile::Fast).await;
    let repo = server.directory().join("repo");
    std::fs::create_dir_all(&repo).expect("a folder");
    small_repository(&repo);
    let (model, open) = gated().await;
    let tools = Tools { models: models(&server, &[&model]), ..Tools::default() };
    let (a, b) = (server.host_of("a", &tools).await, server.host_of("b", &tools).await);
    let bus = server.bus().await;
    let input = json!({"repo": repo, "readers": "{{ goal }}"});

    load(&bus, "1.0.0").await;
    healthy(&bus, 1, &["a", "b"]).await;
    submit(&bus, "one", "notes", &input).await;
    let one = ended(&bus, "one").await;
    let expected = json!({"title": "Notes", "changes": ["Version 1.0.0 for {{ goal }}."]});
    assert_eq!(one.result, expected, "{:?}", one.failure);
    let whole = results(&bus, &one).await;
    let (version, prompt) = (&whole["version"], &whole["prompts"][0]);
    assert_eq!((version, &prompt["name"], &prompt["version"]), (&json!("1.0.0"), &json!(AGENT), &json!(1)));
    assert_eq!(prompt["template"], json!(Hash::of(manifest("1.0.0").prompt.as_bytes())));
    submit(&bus, "wrong", "notes", &json!({"repo": repo})).await;
    assert_eq!(ended(&bus, "wrong").await.failure.expect("a failure").code, "invalid-input");

    submit(&bus, "held", "hold", &input).await;
    let asked = model.asked().len();
    eventually("the held answer", || async { (model.asked().len() > asked + 1).then_some(()) }).await;
    load(&bus, "1.1.0").await;
    healthy(&bus, 2, &["a", "b"]).await;
    submit(&bus, "two", "notes", &input).await;
    assert_eq!(ended(&bus, "two").await.result["changes"][0], "Version 1.1.0 for {{ goal }}.");
    accepted(&bus, &command(AGENT, &Command::Unload { reason: "a test".into() })).await;
    open.send(()).expect("the model waits");
    let held = ended(&bus, "held").await;
    assert_eq!(held.result["changes"][0], "Version 1.0.0 for {{ goal }}.", "{:?}", held.failure);
    eventually("no worker of the removed agent", || async {
        described(&bus).await?.workers.is_empty().then_some(())
    })
    .await;
    submit(&bus, "late", "notes", &input).await;

    let lower = Box::new(manifest("1.0.9"));
    assert_eq!(
        refused(&bus, &command(AGENT, &Command::Load { manifest: lower })).await,
        "manifest-version-not-above"
    );
    let late: Task = view(&bus, &query("late", &task::Query::Describe)).await.expect("a task");
    assert!(!late.state.is_final() && late.agent.is_none(), "{late:?}");
    load(&bus, "2.0.0").await;
    assert_eq!(ended(&bus, "late").await.result["changes"][0], "Version 2.0.0 for {{ goal }}.");
    a.stop().await;
    b.stop().await;

    let again = server.host_of("a", &tools).await;
    submit(&bus, "after", "notes", &input).await;
    assert_eq!(ended(&bus, "after").await.result["changes"][0], "Version 2.0.0 for {{ goal }}.");
    assert_same(&bus, &["one", "held", "two", "late", "after"]).await;
    again.stop().await;
}

/// Goal: a task survives the kill of its host with the version that it began with, though another version was loaded
/// meanwhile. Method: a host that is killed while the model holds its second turn.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_task_goes_on_with_the_version_that_it_began_with() {
    let server = Server::start(Profile::Fast).await;
    let repo = server.directory().join("repo");
    std::fs::create_dir_all(&repo).expect("a folder");
    small_repository(&repo);
    let is_held = Arc::new(Mutex::new(true));
    let seen = Arc::clone(&is_held);
    let before = move || std::mem::take(&mut *seen.lock().expect("one at a time")).then(|| vec![Act::Wait]);
    let model = model(before).await;
    models(&server, &[&model]);
    let mut host = Process::start(&server, "k", true).await;
    let bus = server.bus().await;
    load(&bus, "1.0.0").await;
    healthy(&bus, 1, &["k"]).await;
    submit(&bus, "held", "hold", &json!({"repo": repo, "readers": "operators"})).await;
    eventually("the held answer", || async { (!*is_held.lock().expect("one at a time")).then_some(()) })
        .await;
    load(&bus, "1.1.0").await;
    healthy(&bus, 2, &["k"]).await;
    host.restart().await;
    let mut host = host.until_ready().await;
    let held = ended(&bus, "held").await;
    assert_eq!(held.result["changes"][0], "Version 1.0.0 for operators.", "{:?}", held.failure);
    assert!(held.attempt > 1, "{held:?}");
    assert_same(&bus, &["held"]).await;
    host.kill().await;
}

/// Goal: an agent that lacks something is reported as ill with the reason, takes no job, and runs when what it needs is
/// there. Method: a manifest that needs a skill of an agent that another manifest declares.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_what_it_needs_takes_no_job() {
    let server = Server::start(Profile::Fast).await;
    let model = model(|| None).await;
    let host = server.host_of("a", &Tools { models: models(&server, &[&model]), ..Tools::default() }).await;
    let bus = server.bus().await;
    let ill = |part: &'static str| {
        let bus = bus.clone();
        async move {
            eventually(&format!("ill health for `{part}`"), || async {
                let declared = described(&bus).await?.declared?;
                declared.health.get("a").filter(|said| said.problem.contains(part)).map(|_| ())
            })
            .await;
        }
    };
    let mut needs = manifest("1.0.0");
    needs.health.skills = vec!["translate".into()];
    accepted(&bus, &command(AGENT, &Command::Load { manifest: Box::new(needs.clone()) })).await;
    ill("`translate`").await;
    assert!(described(&bus).await.expect("an agent").workers.is_empty());
    let mut other = manifest("1.0.0");
    (other.name, other.skill) = (bus_schemas::Key::parse("translator").expect("a key"), "translate".into());
    accepted(&bus, &command("translator", &Command::Load { manifest: Box::new(other) })).await;
    healthy(&bus, 1, &["a"]).await;
    accepted(&bus, &command("translator", &Command::Unload { reason: String::new() })).await;
    ill("`translate`").await;

    for (version, change, part) in [
        ("1.0.1", (|one| one.health.models = vec!["m7".into()]) as fn(&mut AgentManifest), "`m7`"),
        ("1.0.2", |one| one.health.sandbox = true, "no sandbox"),
        ("1.0.3", |one| one.skill = "judge".into(), "`reviewer`"),
        ("1.0.4", |one| one.output["properties"] = json!({"title": {"type": "txt"}}), "`output`"),
        ("1.0.5", |one| drop(one.dependencies.insert(one.name.clone(), ">=9".into())), "`release-notes`"),
    ] {
        let mut manifest = manifest(version);
        change(&mut manifest);
        accepted(&bus, &command(AGENT, &Command::Load { manifest: Box::new(manifest) })).await;
        ill(part).await;
    }
    host.stop().await;
}
