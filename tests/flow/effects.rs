//! effects: agents take jobs, do real work, and report; a task tree comes to its end.

use std::path::Path;
use std::process::Command as Process;

use bus_client::EventQuery;
use bus_schemas::commands::task::{Command, Submit};
use bus_schemas::events::task::Event;
use bus_schemas::{EntityAddress, Key, Kind, upcast};
use futures::TryStreamExt;
use system_tests::{Installation, PATIENCE, accepted, command};

fn git(directory: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
    let status =
        Process::new("git").arg("-C").arg(directory).args(identity).args(arguments).status().unwrap();
    assert!(status.success(), "git {arguments:?}");
}

fn repository(directory: &Path) {
    std::fs::create_dir_all(directory.join("src")).unwrap();
    std::fs::write(
        directory.join("README.md"),
        "# Tiny\n\nA tiny project.\n\n## Build\n\nRun `cargo build`.\n",
    )
    .unwrap();
    std::fs::write(directory.join("Cargo.toml"), "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\n")
        .unwrap();
    std::fs::write(directory.join("src/main.rs"), "// TODO: more\nfn main() {}\n").unwrap();
    git(directory, &["init", "--quiet", "--initial-branch", "main"]);
    git(directory, &["add", "."]);
    git(directory, &["commit", "--quiet", "-m", "Begin"]);
}

/// The last event of a task, once it is a final one.
async fn settled(installation: &Installation, key: &str) -> Event {
    let entity = EntityAddress::new(Kind::from_static("task"), Key::parse(key).unwrap());
    let bus = installation.bus();
    let query = EventQuery { subjects: vec![bus.subjects().event(&entity)], from: 0 };
    let mut events = bus.events(query).await.unwrap();
    let following = async {
        while let Some(stored) = events.try_next().await.unwrap() {
            let event: Event =
                upcast::read(&stored.event.event_type, stored.event.schema, &stored.event.body).unwrap();
            if matches!(event, Event::Completed { .. } | Event::Failed { .. } | Event::Canceled { .. }) {
                return event;
            }
        }
        panic!("the event stream ended");
    };
    tokio::time::timeout(PATIENCE, following).await.expect("the task comes to its end")
}

/// Goal: the main job, from a goal to a report. Method: a real repository, the shipped agents.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_report_is_made() {
    let installation = Installation::start().await;
    let directory = tempfile::tempdir().unwrap();
    repository(directory.path());
    let submit = Submit {
        input: serde_json::json!({ "repo": directory.path() }),
        ..Submit::new("Report on this repository")
    };
    accepted(installation.bus(), &command("report-1", &Command::Submit(submit))).await;
    let artifacts = match settled(&installation, "report-1").await {
        Event::Completed { artifacts, .. } => artifacts,
        other => panic!("the task did not complete: {other:?}"),
    };
    let report = artifacts.iter().find(|artifact| artifact.name == "report.md").expect("a Markdown report");
    let text = installation.bus().get_blob(report.hash).await.unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.contains("tiny") && text.contains("Rust"), "{text}");
    assert!(artifacts.iter().any(|artifact| artifact.name == "report.html"));
    installation.stop().await;
}

/// Goal: what cannot be done is said with a code. Method: a path that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_repository_fails_with_a_code() {
    let installation = Installation::start().await;
    let submit = Submit {
        input: serde_json::json!({ "repo": "/no/such/place" }),
        ..Submit::new("Report on this repository")
    };
    accepted(installation.bus(), &command("report-2", &Command::Submit(submit))).await;
    let Event::Failed { failure, .. } = settled(&installation, "report-2").await else {
        panic!("the task did not fail")
    };
    assert_eq!(failure.code, "path-missing", "{failure:?}");
    assert!(failure.hint.is_some());
    installation.stop().await;
}
