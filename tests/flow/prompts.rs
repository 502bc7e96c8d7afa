//! effects: which version of a prompt a task uses is a setting, and stays what it was at the task's first use.

use std::path::Path;
use std::sync::Arc;

use actors_agents::{Tools, prompts};
use actors_models::Library;
use bus_client::{Bus, Profile};
use bus_schemas::Hash;
use bus_schemas::commands::settings::Command as Settings;
use bus_schemas::commands::task::{Command, Query, Submit};
use bus_schemas::views::task::Task;
use serde_json::{Value, json};
use system_tests::models::scripted::{Scripted, whole};
use system_tests::models::{models_of, recorded, says};
use system_tests::{Server, accepted, command, eventually, query, view};

const SECOND: &str = "Be strict.{% for rule in rules %} Rule: {{ rule }}{% endfor %}";

async fn judge(bus: &Bus, key: &str) {
    let mut submit = Submit::new("Add a cache");
    submit.skill = "judge".into();
    submit.input = json!({"rules": ["no {{ rules }}"], "text": "diff --git a/x b/x"});
    accepted(bus, &command(key, &Command::Submit(submit))).await;
}

async fn end(bus: &Bus, key: &str) -> Task {
    eventually(&format!("the end of `{key}`"), || async {
        let task: Task = view(bus, &query(key, &Query::Describe)).await?;
        task.state.is_final().then_some(task)
    })
    .await
}

/// Activates a version of the prompt `judge`.
async fn activate(bus: &Bus, settings: u64, version: u32, template: &str) {
    let active = json!({"judge": {"version": version, "template": Hash::of(template.as_bytes())}});
    let (value, reason) = (json!({ "active": active }), "a test".to_owned());
    accepted(bus, &command("prompts", &Settings::Propose { value, reason: reason.clone() })).await;
    accepted(bus, &command("prompts", &Settings::Activate { version: settings, reason })).await;
}

/// What the record of a task says of its prompt.
async fn named(bus: &Bus, key: &str) -> Value {
    let judge = eventually("the recorded answer", || async {
        recorded(bus, key).await.into_iter().find(|step| step.name == "judge")
    });
    judge.await.result["prompts"][0].clone()
}

async fn host(server: &Server, model: &Scripted, folder: &Path) -> actors_host::Running {
    let library = Library::load(&prompts(), Some(folder)).expect("a folder of prompts");
    let models = Arc::new(models_of(server, &[model], "").with_prompts(library));
    server.host_of("a", &Tools { models, ..Tools::default() }).await
}

/// Goal: settings activate a version that an operator wrote, text of people stays text in it, a task under way keeps its
/// version, and a file that was changed is not used. Method: the shipped version; the operator's; a task whose first attempt
/// fails while the settings change; another text under the same version.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_keeps_the_version_that_it_used_first() {
    let server = Server::start(Profile::Fast).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("judge.v2.j2");
    std::fs::write(&file, SECOND).expect("a file");
    let good = says(&json!({"1": {"met": true, "reason": "so it is"}}));
    let fails = whole("500 Oops", "application/json", "", "{}");
    let model = Scripted::start(vec![good.clone(), good.clone(), fails, good]).await;
    let first = host(&server, &model, folder.path()).await;
    let bus = server.bus().await;
    judge(&bus, "shipped").await;
    end(&bus, "shipped").await;
    let shipped = named(&bus, "shipped").await;
    let own = prompts().into_iter().find(|one| one.name == "judge").expect("it is shipped");
    assert_eq!((&shipped["version"], &shipped["template"]), (&json!(own.version), &json!(own.hash())));

    activate(&bus, 1, 2, SECOND).await;
    judge(&bus, "operator").await;
    end(&bus, "operator").await;
    let found = named(&bus, "operator").await;
    assert_eq!((&found["name"], &found["version"]), (&json!("judge"), &json!(2)));
    let said = model.asked()[1].body["messages"][0]["content"].as_str().expect("text").to_owned();
    assert_eq!(said, "Be strict. Rule: no {{ rules }}");
    assert_eq!(found["rendered"], json!(Hash::of(said.as_bytes())));
    assert_eq!(found["template"], json!(Hash::of(SECOND.as_bytes())));

    judge(&bus, "under-way").await;
    eventually("the third question", || async { (model.asked().len() >= 3).then_some(()) }).await;
    activate(&bus, 2, own.version, own.template).await;
    end(&bus, "under-way").await;
    assert_eq!(named(&bus, "under-way").await["version"], 2, "it keeps what it used first");

    activate(&bus, 3, 2, SECOND).await;
    first.stop().await;
    std::fs::write(&file, "Be lax.").expect("a file");
    let second = host(&server, &model, folder.path()).await;
    judge(&bus, "changed").await;
    assert_eq!(end(&bus, "changed").await.failure.expect("a failure").code, "prompt-changed");
    second.stop().await;
    std::fs::remove_file(&file).expect("it is there");
    let third = host(&server, &model, folder.path()).await;
    judge(&bus, "missing").await;
    assert_eq!(end(&bus, "missing").await.failure.expect("a failure").code, "prompt-missing");
    third.stop().await;
}
