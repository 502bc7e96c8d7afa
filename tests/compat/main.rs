//! Programs in another language against the whole system: what `docs/protocol.md` promises and what
//! `docs/examples` shows. A missing Python or server fails these tests; nothing is skipped.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use async_nats::jetstream;
use async_nats::jetstream::stream::{Config, StorageType, SubjectTransform};
use bus_schemas::commands::task::Command::{self as TaskCommand, Cancel};
use bus_schemas::commands::task::{Plan, PlanStep, Query, Submit};
use bus_schemas::events::agent;
use bus_schemas::jobs::{Artifact, OutputChunk};
use bus_schemas::views::task::Task;
use bus_schemas::{EntityAddress, Key, PartitionId, Revision, upcast};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use system_tests::{Installation, PATIENCE, accepted, command, eventually, query, view};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// What the service asks for: six words.
const GOAL: &str = "count the words of this sentence";

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples").join(name)
}

/// Where an example finds NATS: services need no password, and agents that stream output or store blobs do.
fn address(name: &str, installation: &Installation) -> String {
    match name {
        "agent.py" => installation.server.url_with_password(),
        _ => installation.nats_url().to_owned(),
    }
}

/// A running example. It is killed when the test ends early.
struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(name: &str, installation: &Installation, arguments: &[&str]) -> Self {
        let mut child = Command::new(system_tests::python())
            .arg("-u")
            .arg(example(name))
            .args(arguments)
            .args(["--nats", &address(name, installation)])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Python starts");
        let stdout = child.stdout.take().expect("it is piped");
        Self { child, lines: BufReader::new(stdout).lines() }
    }

    async fn next_line(&mut self) -> Option<String> {
        timeout(PATIENCE, self.lines.next_line())
            .await
            .expect("the program says something")
            .expect("in UTF-8")
    }

    /// Everything that it says until it ends, which it must do well.
    async fn finish(mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(line) = self.next_line().await {
            said.push(line);
        }
        let status =
            timeout(PATIENCE, self.child.wait()).await.expect("it ends").expect("it can be waited for");
        assert!(status.success(), "{status}: {said:?}");
        said
    }

    async fn terminate(self) -> Vec<String> {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await.expect("`kill` is there");
        assert!(sent.success());
        self.finish().await
    }
}

/// `<revision> <event>` as `service.py` prints it.
fn event(line: &str) -> (u64, Value) {
    let (revision, event) = line.split_once(' ').unwrap_or_else(|| panic!("`{line}` is no event"));
    (revision.parse().expect("a revision"), serde_json::from_str(event).expect("an event is JSON"))
}

/// A service hands a task over in JSON, an agent outside does it, and both see what the log says.
#[tokio::test(flavor = "multi_thread")]
async fn the_python_examples_do_a_task_together() {
    let installation = Installation::start().await;
    let mut worker = Program::start("agent.py", &installation, &["--name", "wordsmith"]);
    assert_eq!(worker.next_line().await.as_deref(), Some("agent wordsmith takes jobs"));

    let task = "compat-words";
    let arguments = ["--skill", "text.words", "--id", task, GOAL];
    let said = Program::start("service.py", &installation, &arguments).finish().await;
    let events: Vec<(u64, Value)> = said.iter().map(|line| event(line)).collect();
    let revisions: Vec<u64> = events.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(revisions, (1..=events.len() as u64).collect::<Vec<_>>(), "{said:?}");
    let types: Vec<&str> = events.iter().filter_map(|(_, event)| event["type"].as_str()).collect();
    let steps = ["step-recorded", "step-recorded"];
    assert_eq!(types, [&["submitted", "queued", "job-issued"][..], &steps, &["completed"]].concat());
    let completed = &events.last().expect("it has events").1;
    assert_eq!(completed["result"]["words"], 6, "{completed}");

    // The same id again is the same task: nothing happens, and the same events are there to read.
    assert_eq!(Program::start("service.py", &installation, &arguments).finish().await, said);

    let artifacts: Vec<Artifact> = serde_json::from_value(completed["artifacts"].clone()).expect("artifacts");
    for artifact in artifacts {
        let bytes = installation.bus().get_blob(artifact.hash).await.expect("the blob is what its name says");
        assert_eq!(&bytes[..], GOAL.replace(' ', "\n").as_bytes());
        assert_eq!(bytes.len() as u64, artifact.bytes);
    }
    output_is_complete(&installation, task).await;
    worker.terminate().await;
    worker_has_left(&installation).await;
    installation.stop().await;
}

async fn output_is_complete(installation: &Installation, task: &str) {
    let key = Key::parse(task).expect("a constant");
    let output = installation.bus().output(&key).await.expect("output can be read");
    let chunks = timeout(PATIENCE, output.take(6).try_collect::<Vec<(Key, OutputChunk)>>());
    let chunks = chunks.await.expect("six chunks").expect("output can be read");
    let numbers: Vec<u64> = chunks.iter().map(|(_, chunk)| chunk.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    let text: String = chunks.iter().map(|(_, chunk)| chunk.text.as_str()).collect();
    assert_eq!(text.split_whitespace().collect::<Vec<_>>().join(" "), GOAL);
}

/// The worker said good-bye before it ended: after SIGTERM nobody waits for its heartbeat.
async fn worker_has_left(installation: &Installation) {
    let entity: EntityAddress = "agent/wordsmith".parse().expect("a constant");
    system_tests::eventually("`worker-deregistered`", || async {
        let history = installation.bus().history(&entity, Revision(0), 0).await.ok()?;
        let stored = &history.last()?.event;
        let event = upcast::read::<agent::Event>(&stored.event_type, stored.schema, &stored.body).ok()?;
        matches!(event, agent::Event::WorkerDeregistered { .. }).then_some(())
    })
    .await;
}

/// A canceled task takes its work away from the agent outside: it is told so, and is free for the next
/// task.
#[tokio::test(flavor = "multi_thread")]
async fn a_python_agent_stops_work_that_is_no_longer_wanted() {
    let installation = Installation::start().await;
    let mut worker = Program::start("agent.py", &installation, &["--name", "wordsmith"]);
    worker.next_line().await;

    let goal = "word ".repeat(1_000); // fifty seconds of work
    let arguments = ["--skill", "text.words", "--id", "compat-long", &goal];
    let mut service = Program::start("service.py", &installation, &arguments);
    while event(&service.next_line().await.expect("the task begins")).1["type"] != "job-issued" {}
    let reason = "it takes too long".to_owned();
    let cancel = system_tests::command("compat-long", &Cancel { reason });
    system_tests::accepted(installation.bus(), &cancel).await;
    let said = service.finish().await;
    assert_eq!(event(said.last().expect("it ends")).1["type"], "canceled");

    let arguments = ["--skill", "text.words", "--id", "compat-next", GOAL];
    let said = Program::start("service.py", &installation, &arguments).finish().await;
    assert_eq!(event(said.last().expect("it ends")).1["result"]["words"], 6);
    worker.terminate().await;
    installation.stop().await;
}

/// Goal: what is done and recorded is not done again, and what is done and not recorded is. Method: the first
/// worker ends between the call and the record of its second step, and the next attempt is another worker's.
#[tokio::test(flavor = "multi_thread")]
async fn a_python_agent_goes_on_behind_the_last_recorded_step() {
    let installation = Installation::start().await;
    let name = ["--name", "wordsmith"];
    let doomed = [&name[..], &["--die-after", "store"]].concat();
    let mut doomed = Program::start("agent.py", &installation, &doomed);
    doomed.next_line().await;
    let arguments = ["--skill", "text.words", "--id", "compat-steps", GOAL];
    let service = Program::start("service.py", &installation, &arguments);
    for step in ["split", "store"] {
        assert_eq!(doomed.next_line().await, Some(format!("compat-steps/1: {step} is done")));
    }
    assert_eq!(doomed.next_line().await, None, "it ends there");
    let mut worker = Program::start("agent.py", &installation, &name);
    worker.next_line().await;
    // The lease of the first one ends by its silence, after forty seconds.
    let mut said = Vec::new();
    for _ in 0..2 {
        let line = timeout(PATIENCE * 2, worker.lines.next_line()).await.expect("the next attempt begins");
        said.push(line.expect("in UTF-8").expect("it goes on"));
    }
    assert_eq!(said, ["compat-steps/2: split was done before", "compat-steps/2: store is done"]);
    let events: Vec<Value> = service.finish().await.iter().map(|line| event(line).1).collect();
    let recorded = events.iter().filter(|event| event["type"] == "step-recorded");
    let recorded: Vec<_> =
        recorded.map(|event| (event["name"].as_str(), event["attempt"].as_u64())).collect();
    assert_eq!(recorded, [(Some("split"), Some(1)), (Some("store"), Some(2))]);
    assert_eq!(events.last().expect("it ends")["result"]["words"], 6);
    worker.terminate().await;
    installation.stop().await;
}

/// An agent whose server goes away says so in one line and ends with a failure, for whoever restarts it.
#[tokio::test(flavor = "multi_thread")]
async fn a_python_agent_ends_in_good_order_without_its_server() {
    let installation = Installation::start().await;
    let mut child = Command::new(system_tests::python())
        .arg("-u")
        .arg(example("agent.py"))
        .args(["--nats", &address("agent.py", &installation), "--name", "orphan"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Python starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let ready = timeout(PATIENCE, lines.next_line()).await.expect("it says something").expect("in UTF-8");
    assert_eq!(ready.as_deref(), Some("agent orphan takes jobs"));
    installation.stop().await;
    let ended =
        timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").expect("it was our child");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!((ended.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.starts_with("agent orphan ends: "), "{said}");
}

/// Goal: two typed agents outside do the steps of a plan, and what a killed one had not recorded is done again, once.
/// Method: the second agent ends between its work and the record of it; another one goes on. Their own tests run first.
#[tokio::test(flavor = "multi_thread")]
async fn a_python_pair_matches_candidates_to_a_posting() {
    let tested = Command::new(system_tests::python())
        .args(["-B", "-m", "unittest", "test_matching"])
        .current_dir(example(""))
        .output()
        .await
        .expect("Python starts");
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
    let installation = Installation::start().await;
    let mut analyst = Program::start("matching.py", &installation, &["analyse"]);
    assert_eq!(analyst.next_line().await.as_deref(), Some("agent analyst takes jobs"));
    let mut doomed = Program::start("matching.py", &installation, &["match", "--die-after", "match"]);
    assert_eq!(doomed.next_line().await.as_deref(), Some("agent matcher takes jobs"));
    let step = |name: &str, skill: &str, after: &[&str], input: Value| PlanStep {
        input,
        ..system_tests::agents::step(name, skill, after)
    };
    let posting = json!({"posting": "Senior Engineer\nYou write Rust and SQL, 5+ years. NATS is a plus."});
    let candidates = json!({"candidates": [
        {"name": "Bob", "skills": ["rust"], "years": 2},
        {"name": "Ada", "skills": ["rust", "sql", "nats"], "years": 7},
    ]});
    let plan = Plan {
        steps: vec![
            step("analyse", "analyse-job", &[], posting),
            step("match", "match-candidates", &["analyse"], candidates),
        ],
    };
    let submit = Submit { plan: Some(plan), ..Submit::new("Who fits?") };
    accepted(installation.bus(), &command("who", &TaskCommand::Submit(submit))).await;
    assert_eq!(analyst.next_line().await.as_deref(), Some("who.analyse/1: analyse is done"));
    assert_eq!(doomed.next_line().await.as_deref(), Some("who.match/1: match is done"));
    assert_eq!(doomed.next_line().await, None, "it ends there");
    let mut matcher = Program::start("matching.py", &installation, &["match"]);
    matcher.next_line().await;
    // The lease of the first one ends by its silence, after forty seconds.
    let line = timeout(PATIENCE * 2, matcher.lines.next_line()).await.expect("the next attempt begins");
    assert_eq!(line.expect("in UTF-8").as_deref(), Some("who.match/2: match is done"));
    let ended: Task = eventually("the end of the step", || async {
        let task: Task = view(installation.bus(), &query("who.match", &Query::Describe)).await?;
        task.state.is_final().then_some(task)
    })
    .await;
    let best = &ended.result["matches"][0];
    assert_eq!((&best["name"], &best["score"]), (&json!("Ada"), &json!(100)), "{}", ended.result);
    analyst.terminate().await;
    matcher.terminate().await;
    installation.stop().await;
}

/// Our partition of a key is the server's `{{partition(n,1)}}`, so that a stream's transform and a
/// client route alike.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_computes_the_same_partitions() {
    let installation = Installation::start().await;
    let client = installation.server.client().await;
    let context = jetstream::new(client);
    let words = ["a", "task", "compat-words", "0199c7a5-7a4e-7cc3-a4a7-6f0c5b6a1f10", "Z_9", "-", "__"];
    let keys: BTreeSet<String> =
        words.into_iter().map(str::to_owned).chain((0..500).map(|number| format!("key-{number}"))).collect();
    for count in [1_u16, 3, 8, 64] {
        let stream = context
            .create_stream(Config {
                name: format!("PARTITIONS_{count}"),
                subjects: vec![format!("compat-{count}.*")],
                storage: StorageType::Memory,
                subject_transform: Some(SubjectTransform {
                    source: format!("compat-{count}.*"),
                    destination: format!("compat-{count}.{{{{partition({count},1)}}}}.{{{{wildcard(1)}}}}"),
                }),
                ..Config::default()
            })
            .await
            .expect("a stream with a transform");
        for key in &keys {
            context
                .publish(format!("compat-{count}.{key}"), "".into())
                .await
                .expect("sent")
                .await
                .expect("stored");
        }
        let consumer = stream
            .create_consumer(jetstream::consumer::pull::OrderedConfig::default())
            .await
            .expect("a consumer");
        let messages = consumer.messages().await.expect("messages").take(keys.len());
        let stored =
            timeout(PATIENCE, messages.try_collect::<Vec<_>>()).await.expect("all").expect("readable");
        for message in stored {
            let mut tokens = message.subject.as_str().splitn(3, '.').skip(1);
            let (partition, key) = (tokens.next().expect("a partition"), tokens.next().expect("a key"));
            assert_eq!(PartitionId::of(key, count).to_string(), partition, "key `{key}` of {count}");
        }
    }
    installation.stop().await;
}
