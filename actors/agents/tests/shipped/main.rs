//! The shipped agents do the main job on a real repository, each step as a job of its own.
//!
//! The stage is that of the worker's tests: a real nats-server, and a host that is played.

#[path = "../../../worker/tests/worker/host.rs"]
#[allow(dead_code, reason = "the tests of the worker use the rest")]
mod host;
#[path = "../../../worker/tests/worker/server.rs"]
mod server;
#[path = "../../../worker/tests/worker/stage.rs"]
#[allow(dead_code, reason = "the tests of the worker use the rest")]
mod stage;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use actors_agents::shipped;
use bus_schemas::Key;
use bus_schemas::commands::task::{Plan, PlanStep};
use bus_schemas::jobs::{Artifact, Job};
use serde_json::{Value, json};

use crate::stage::{Running, Stage, job, key};

/// Workers of all shipped agents, and who has which skill.
fn cast(stage: &Stage) -> (Vec<Running>, BTreeMap<String, Key>) {
    actors_report::parse_by(env!("CARGO_BIN_EXE_parse_for_agents").into());
    let mut skills = BTreeMap::new();
    let mut workers = Vec::new();
    for (agent, capacity) in shipped(&actors_agents::Tools::default()).own {
        let card = agent.card();
        skills.extend(card.skills.iter().map(|skill| (skill.id.to_string(), card.name.clone())));
        workers.push(stage.start(agent, "w1", capacity));
    }
    (workers, skills)
}

fn job_for(task: &str, skill: &str, agent: &Key, input: Value) -> Job {
    Job { agent: agent.clone(), skill: skill.into(), input, goal: "what is this?".into(), ..job(task) }
}

/// A repository with one commit.
fn repository(at: &Path) {
    std::fs::write(at.join("README.md"), "# Thing\n\n## Install\n\nRun `make`.\n").expect("a file");
    std::fs::write(at.join("main.py"), "# TODO: more\ndef main():\n    pass\n").expect("a file");
    std::fs::write(at.join("requirements.txt"), "requests==2.0\n").expect("a file");
    for arguments in [
        vec!["init", "-q", "-b", "main"],
        vec!["add", "."],
        vec!["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "commit", "-q", "-m", "begin"],
    ] {
        let status = Command::new("git").current_dir(at).args(arguments).status().expect("git");
        assert!(status.success());
    }
}

/// The plan is made by the orchestrator and done by the others, each with the artifacts of the steps before it, until
/// the report is there.
#[tokio::test]
async fn the_shipped_agents_make_a_report() {
    let stage = Stage::new().await;
    let (_workers, skills) = cast(&stage);
    let home = tempfile::tempdir().expect("a folder");
    repository(home.path());

    stage.host.give(&job_for("root", "plan", &skills["plan"], json!({"repo": home.path()}))).await;
    let told = stage.host.expect("root", "complete-job").await;
    let plan: Plan = serde_json::from_value(told.command["plan"].clone()).expect("a plan");
    assert!(plan.steps.len() >= 6);

    let mut made: BTreeMap<String, Vec<Artifact>> = BTreeMap::new();
    while made.len() < plan.steps.len() {
        let is_ready = |step: &&PlanStep| {
            !made.contains_key(step.step.as_str())
                && step.after.iter().all(|name| made.contains_key(name.as_str()))
        };
        let ready: Vec<_> = plan.steps.iter().filter(is_ready).cloned().collect();
        assert!(!ready.is_empty(), "the plan has a cycle");
        for step in &ready {
            let mut job = job_for(
                &format!("root.{}", step.step),
                &step.skill,
                &skills[step.skill.as_str()],
                step.input.clone(),
            );
            job.goal.clone_from(&step.goal);
            job.inputs = step.after.iter().flat_map(|name| made[name.as_str()].clone()).collect();
            stage.host.give(&job).await;
        }
        for step in &ready {
            let told = stage.host.expect(&format!("root.{}", step.step), "complete-job").await;
            assert!(told.command["result"].is_object(), "step `{}` has no summary", step.step);
            let mut artifacts: Vec<Artifact> =
                serde_json::from_value(told.command["artifacts"].clone()).expect("artifacts");
            // What the task above does when a step has settled.
            artifacts.iter_mut().for_each(|artifact| artifact.step = step.step.clone());
            made.insert(step.step.to_string(), artifacts);
        }
    }
    let names: Vec<_> = made["report"].iter().map(|artifact| artifact.name.as_str()).collect();
    assert_eq!(names, ["report.md", "report.html"]);
    let markdown = stage.bus.get_blob(made["report"][0].hash).await.expect("the report");
    assert!(String::from_utf8_lossy(&markdown).contains("main.py"));
}

/// What cannot be done says so once, with a code and the next step.
#[tokio::test]
async fn what_cannot_be_done_has_a_code_and_a_hint() {
    let stage = Stage::new().await;
    let (_workers, skills) = cast(&stage);
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let empty = tempfile::tempdir().expect("a folder");
    let status = Command::new("git").current_dir(empty.path()).args(["init", "-q"]).status().expect("git");
    assert!(status.success());
    let garbage = stage.bus.put_blob(b"{ not json").await.expect("a blob");
    let torn = Artifact {
        name: "inventory.json".into(),
        media_type: "application/json".into(),
        hash: garbage,
        bytes: 10,
        step: "inventory".into(),
    };
    let cases = [
        ("missing", "plan", json!({"repo": home.path().join("nothing")}), vec![], "path-missing"),
        ("file", "plan", json!({"repo": file}), vec![], "not-a-folder"),
        ("plain", "plan", json!({"repo": home.path()}), vec![], "not-a-repository"),
        ("empty", "plan", json!({"repo": empty.path()}), vec![], "repository-without-commits"),
        ("none", "plan", Value::Null, vec![], "goal-not-plannable"),
        ("wrong", "inventory", json!({"repo": 7}), vec![], "invalid-input"),
        ("alone", "review", json!({"repo": home.path()}), vec![], "artifact-missing"),
        ("torn", "review", json!({"repo": home.path()}), vec![torn], "artifact-malformed"),
    ];
    for (task, skill, input, inputs, code) in cases {
        let job = Job { inputs, ..job_for(task, skill, &skills[skill], input) };
        stage.host.give(&job).await;
        let told = stage.host.expect(task, "fail-job").await;
        assert_eq!(
            (&told.command["code"], &told.command["class"]),
            (&json!(code), &json!("permanent")),
            "{task}"
        );
        assert!(told.command["hint"].is_string(), "`{code}` has no hint");
    }
    stage.host.give(&job_for("odd", "juggle", &key("no-op"), Value::Null)).await;
    assert_eq!(stage.host.expect("odd", "fail-job").await.command["code"], json!("unknown-skill"));
    stage.host.give(&job_for("quick", "noop", &key("no-op"), Value::Null)).await;
    stage.host.expect("quick", "complete-job").await;
}
