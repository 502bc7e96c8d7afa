//! Models on behalf of tasks: asked in order, behind breakers, within budgets, and recorded.

use std::time::Duration;

use bus_client::{Bus, Profile};
use bus_schemas::commands::halt::Command as Halt;
use bus_schemas::commands::task::{Command, Query, Submit};
use bus_schemas::views::task::Task;
use futures::TryStreamExt;
use serde_json::{Value, json};
use system_tests::models::scripted::{Act, Asked, Scripted, head, whole};
use system_tests::models::{KEY, says, system};
use system_tests::{PATIENCE, Server, accepted, command, eventually, query, view};

fn judgement(met: &[bool]) -> Value {
    let rules = met.iter().enumerate();
    rules.map(|(index, met)| ((index + 1).to_string(), json!({"met": met, "reason": "so it is"}))).collect()
}

fn judge(more: impl FnOnce(&mut Submit)) -> Command {
    let mut submit = Submit::new("Add a cache");
    submit.skill = "judge".into();
    submit.input = json!({"rules": ["it is short", "it has tests"], "text": "diff --git a/x b/x"});
    more(&mut submit);
    Command::Submit(submit)
}

async fn task(bus: &Bus, key: &str, is_wanted: impl Fn(&Task) -> bool) -> Task {
    eventually(&format!("the task `{key}`"), || async {
        let task: Task = view(bus, &query(key, &Query::Describe)).await?;
        is_wanted(&task).then_some(task)
    })
    .await
}

/// Goal: work is judged by a model that answers, although the first provider fails; the verdict is that of the rules.
/// Method: a provider without capacity before one that says yes and no.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_judges_and_the_next_provider_steps_in() {
    let server = Server::start(Profile::Fast).await;
    let full = Scripted::start(vec![whole("529 Overloaded", "application/json", "", "{}")]).await;
    let good = Scripted::start(vec![says(&judgement(&[true, false]))]).await;
    let host = system(&server, &[&full, &good]).await;
    let bus = server.bus().await;
    accepted(&bus, &command("j", &judge(|_| {}))).await;
    let task = task(&bus, "j", |task| task.state.is_final()).await;
    let result = task.result;
    assert_eq!((&result["verdict"], &result["met"]), (&json!("rejected"), &json!(1)), "{result}");
    let (first, second) = (full.asked(), good.asked());
    assert_eq!((first.len(), second.len()), (1, 1));
    let Asked { body, .. } = &second[0];
    assert_eq!(body["messages"][0]["role"], "system");
    assert!(
        body["messages"][1]["content"].as_str().is_some_and(|text| text.contains("diff --git a/x b/x")),
        "{body}"
    );
    host.stop().await;
}

/// Goal: the key of a provider is in its request and nowhere else. Method: a provider that repeats it in its refusal and
/// one that answers with it; then every message of every stream is looked at.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_stored_nowhere() {
    let server = Server::start(Profile::Fast).await;
    let echo = format!(r#"{{"error":{{"message":"the key {KEY} may not"}}}}"#);
    let refuses = Scripted::start(vec![whole("403 Forbidden", "application/json", "", &echo)]).await;
    let good = Scripted::start(vec![says(&judgement(&[true, true]))]).await;
    let host = system(&server, &[&refuses, &good]).await;
    let bus = server.bus().await;
    accepted(&bus, &command("j", &judge(|_| {}))).await;
    task(&bus, "j", |task| task.state.is_final()).await;
    accepted(&bus, &command("k", &judge(|submit| submit.goal = "fails".into()))).await;
    task(&bus, "k", |task| task.state.is_final()).await;
    for model in [&refuses, &good] {
        assert!(model.asked().iter().all(|asked| asked.head.contains(KEY)), "the provider gets the key");
    }
    host.stop().await;
    let context = async_nats::jetstream::new(server.client().await);
    let mut names = context.stream_names();
    let mut looked_at = 0;
    while let Some(name) = names.try_next().await.expect("names") {
        let mut stream = context.get_stream(&name).await.expect("a stream");
        let state = stream.info().await.expect("its state").state.clone();
        for sequence in state.first_sequence..=state.last_sequence {
            let Ok(message) = stream.get_raw_message(sequence).await else { continue };
            let is_there = message.payload.windows(KEY.len()).any(|bytes| bytes == KEY.as_bytes());
            assert!(!is_there, "{name} {} holds the key", message.subject);
            looked_at += 1;
        }
    }
    assert!(looked_at > 20, "{looked_at} messages are hardly all");
}

/// Goal: a process without a model says so, and names the setting. Method: the same work without a file.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_model_the_task_says_what_is_missing() {
    let server = Server::start(Profile::Fast).await;
    let host = system(&server, &[]).await;
    let bus = server.bus().await;
    accepted(&bus, &command("j", &judge(|_| {}))).await;
    let task = task(&bus, "j", |task| task.state.is_final()).await;
    let failure = task.failure.expect("a failure");
    assert_eq!(failure.code, "no-model");
    assert!(failure.hint.is_some_and(|hint| hint.contains("`models`")));
    host.stop().await;
}

/// Goal: no call is made that the budget does not allow, and what was used is charged. Method: a tree with too few
/// tokens, which is extended.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_made_within_the_budget() {
    let server = Server::start(Profile::Fast).await;
    let good = Scripted::start(vec![says(&judgement(&[true, true]))]).await;
    let host = system(&server, &[&good]).await;
    let bus = server.bus().await;
    let budget = serde_json::from_value(json!({"tokens": 50})).expect("a budget");
    accepted(&bus, &command("j", &judge(|submit| submit.budget = Some(budget)))).await;
    task(&bus, "j", |task| task.budget.as_ref().is_some_and(|budget| budget.exceeded.is_some())).await;
    assert_eq!(good.asked().len(), 0, "nothing was asked");
    let extend = serde_json::from_value(json!({"tokens": 1_000_000})).expect("a budget");
    accepted(&bus, &command("j", &Command::ExtendBudget { extend, reason: "worth it".into() })).await;
    let task = task(&bus, "j", |task| task.state.is_final()).await;
    assert_eq!(task.result["verdict"], "accepted");
    let used = task.budget.expect("a budget").used;
    assert_eq!((used.tokens, used.money_micros), (27, 34), "what the provider counted, at its prices");
    host.stop().await;
}

/// Goal: a halt reaches the model: its connection is closed, and the work begins again after it. Method: a model that
/// says nothing, under a halt of everything without grace, and then one that answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_halt_closes_the_connection() {
    let server = Server::start(Profile::Fast).await;
    let begun = vec![head("200 OK", "text/event-stream", ""), Act::Wait];
    let mut model = Scripted::start(vec![begun, says(&judgement(&[true, true]))]).await;
    let host = system(&server, &[&model]).await;
    let bus = server.bus().await;
    accepted(&bus, &command("j", &judge(|_| {}))).await;
    eventually("the question", || async { (!model.asked().is_empty()).then_some(()) }).await;
    let halt = Halt::Halt { reason: "a leak".into(), grace_ms: 5_000 };
    let halted = std::time::Instant::now();
    accepted(&bus, &command("all", &halt)).await;
    tokio::time::timeout(PATIENCE, model.closed.recv()).await.expect("it is closed").expect("a server");
    let after = halted.elapsed();
    assert!(after < Duration::from_secs(1), "the connection is closed {after:?} after the halt");
    let resume = Halt::Resume { reason: "mended".into(), per_minute: None, revision: None };
    accepted(&bus, &command("all", &resume)).await;
    let task = task(&bus, "j", |task| task.state.is_final()).await;
    assert_eq!(task.result["verdict"], "accepted");
    host.stop().await;
}
