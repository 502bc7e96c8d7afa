//! effects: a model works with tools, each call checked, counted and recorded once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use actors_models::{Conversation, Ended, Message, Models, Tool, ToolError};
use actors_worker::{Agent, Done, Failure, Work, Worker};
use bus_client::{Bus, Profile};
use bus_schemas::Key;
use bus_schemas::commands::agent::{AgentCard, Skill};
use bus_schemas::commands::task::{Command, Query, Submit};
use bus_schemas::jobs::StepResult;
use bus_schemas::views::task::Task;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use system_tests::models::scripted::{Act, Scripted};
use system_tests::models::{asks, models, recorded, says};
use system_tests::{Server, accepted, command, eventually, query, view};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The largest value that a message holds itself.
const INLINE: usize = 64 * 1024;

/// How often each tool was called.
#[derive(Default)]
struct Counts {
    adds: AtomicU32,
    sends: AtomicU32,
}

/// Works with a model. Its first attempt fails after the conversation, if the input says so.
struct Clerk {
    models: Arc<Models>,
    counts: Arc<Counts>,
}

impl Agent for Clerk {
    fn card(&self) -> AgentCard {
        let skill = Skill { id: "clerk".into(), name: "Clerk".into(), ..Skill::default() };
        AgentCard {
            name: Key::parse("clerk").expect("a test's key"),
            description: "works with tools".into(),
            version: "1".into(),
            skills: vec![skill],
            dependencies: vec![],
        }
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let (models, counts) = (Arc::clone(&self.models), Arc::clone(&self.counts));
        Box::pin(async move {
            let Ended { text, value, turns, tool_calls, usage } =
                conversation(&work.job.input, &counts).run(&work, &models).await?;
            if work.job.attempt == 1 && work.job.input["fails"] == true {
                return Err(Failure::transient("worker-stopping", "the first attempt ends here"));
            }
            let text = if text.len() > 1_000 { text.len().to_string() } else { text };
            let result = json!({"text": text, "value": value, "turns": turns, "tool_calls": tool_calls,
                                "tokens": usage.input + usage.output});
            Ok(Done::with(vec![], result))
        })
    }
}

fn tool(name: &str, fields: &Value) -> Tool {
    let required: Vec<_> = fields.as_object().expect("fields").keys().cloned().collect();
    let parameters =
        json!({"type": "object", "properties": fields, "required": required, "additionalProperties": false});
    Tool { name: name.into(), description: String::new(), parameters }
}

fn conversation(input: &Value, counts: &Arc<Counts>) -> Conversation {
    let (adding, sending) = (Arc::clone(counts), Arc::clone(counts));
    let opening = vec![
        Message::system("Work."),
        Message::user("x".repeat(input["opening"].as_u64().unwrap_or(1) as usize)),
    ];
    let number = json!({"type": "integer"});
    let conversation =
        Conversation::new("work", opening, vec![])
            .reads(tool("add", &json!({"a": number, "b": number})), move |arguments| {
                adding.adds.fetch_add(1, Ordering::Relaxed);
                async move {
                    Ok(json!(arguments["a"].as_i64().unwrap_or(0) + arguments["b"].as_i64().unwrap_or(0)))
                }
            })
            .reads(tool("fill", &json!({"bytes": number})), |arguments| async move {
                Ok(Value::from("y".repeat(arguments["bytes"].as_u64().unwrap_or(0) as usize)))
            })
            .writes(tool("send", &json!({"text": {"type": "string"}})), &["text"], move |key, arguments| {
                let count = sending.sends.fetch_add(1, Ordering::Relaxed);
                async move {
                    match arguments["text"].as_str() {
                        Some("secrets") => Err(ToolError::Refused("secrets are not sent".into())),
                        _ => Ok(json!({"sent": count, "key": key.len(), "long": "z".repeat(1_000)})),
                    }
                }
            });
    match input["closes"].as_bool() {
        Some(true) => conversation.closes(tool("finish", &json!({"sum": number}))).turns(8),
        _ => conversation.turns(8),
    }
}

/// A worker whose model is played by these scripts.
struct Running {
    bus: Bus,
    counts: Arc<Counts>,
    model: Scripted,
    stop: CancellationToken,
    worker: JoinHandle<()>,
    host: actors_host::Running,
    _server: Server,
}

async fn start(scripts: Vec<Vec<Act>>) -> Running {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let (bus, model) = (server.bus().await, Scripted::start(scripts).await);
    let (counts, stop) = (Arc::new(Counts::default()), CancellationToken::new());
    let clerk = Clerk { models: models(&server, &[&model]), counts: Arc::clone(&counts) };
    let (worker, stopped) = (Worker::new(bus.clone(), Arc::new(clerk), "w-1", 4), stop.clone());
    let worker = tokio::spawn(async move { worker.run(stopped).await.expect("the worker ends well") });
    Running { bus, counts, model, stop, worker, host, _server: server }
}

impl Running {
    async fn done(&self, key: &str, input: Value, more: impl FnOnce(&mut Submit)) -> Task {
        let mut submit = Submit::new("Work with tools: send `three`, `seven` or `secrets`");
        (submit.skill, submit.input) = ("clerk".into(), input);
        more(&mut submit);
        accepted(&self.bus, &command(key, &Command::Submit(submit))).await;
        eventually(&format!("the end of `{key}`"), || async {
            let task: Task = view(&self.bus, &query(key, &Query::Describe)).await?;
            task.state.is_final().then_some(task)
        })
        .await
    }

    /// What the model was told last, in the request with this number.
    fn told(&self, number: usize) -> Vec<Value> {
        self.model.asked()[number].body["messages"].as_array().expect("messages").clone()
    }

    /// The recorded steps, once there are so many.
    async fn steps(&self, count: usize) -> Vec<StepResult> {
        let all = || async { Some(recorded(&self.bus, "t").await).filter(|steps| steps.len() >= count) };
        eventually("the recorded steps", all).await
    }

    async fn end(self) {
        self.stop.cancel();
        self.worker.await.expect("no panic");
        self.host.stop().await;
    }
}

/// Goal: tools run with arguments that fit, the model hears its mistakes, and the end is the closing tool's. Method: a good
/// call, wrong arguments, an unknown tool, one that refuses, two at once, text, and the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_works_with_tools() {
    let running = start(vec![
        asks(&[("add", json!({"a": 1, "b": 2}))]),
        asks(&[("add", json!({"a": "1"}))]),
        asks(&[("fly", json!({})), ("send", json!({"text": "secrets"}))]),
        says(&json!("I am done")),
        asks(&[("add", json!({"a": 3, "b": 4})), ("send", json!({"text": "seven"}))]),
        asks(&[("finish", json!({"sum": 7}))]),
    ])
    .await;
    let budget = serde_json::from_value(json!({"tool_calls": 100})).expect("a budget");
    let task = running.done("t", json!({"closes": true}), |submit| submit.budget = Some(budget)).await;
    let result = &task.result;
    assert_eq!(
        (&result["value"], &result["turns"], &result["tool_calls"]),
        (&json!({"sum": 7}), &json!(6), &json!(4)),
        "{task:?}"
    );
    assert_eq!(result["tokens"], 6 * 27);
    assert_eq!(
        (running.counts.adds.load(Ordering::Relaxed), running.counts.sends.load(Ordering::Relaxed)),
        (2, 2)
    );
    assert_eq!(task.budget.expect("a budget").used.tool_calls, 4, "what ran is counted");
    let said = |number: usize, place: usize| {
        running.told(number)[place]["content"].as_str().expect("text").to_owned()
    };
    assert_eq!(said(1, 3), "3");
    assert!(said(2, 5).contains("do not fit") && said(2, 5).contains("required"), "{}", said(2, 5));
    assert!(said(3, 7).contains("no such tool") && said(3, 8).contains("secrets are not sent"));
    assert!(said(4, 10).contains("no tool call"));
    assert!(said(5, 13).contains("\"key\":64"), "an effect gets its idempotency key: {}", said(5, 13));
    assert_eq!(running.told(5).len(), 14, "the conversation is sent as a whole");
    running.end().await;
}

/// Goal: a later attempt asks nobody and repeats no tool call. Method: an attempt that fails after its conversation.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_attempt_gets_the_recorded_turns() {
    let running = start(vec![
        asks(&[("add", json!({"a": 1, "b": 2})), ("send", json!({"text": "three"}))]),
        says(&json!("done")),
    ])
    .await;
    let task = running.done("t", json!({"fails": true}), |_| {}).await;
    assert_eq!((task.attempt, &task.result["text"]), (2, &json!("\"done\"")), "{task:?}");
    assert_eq!(running.model.asked().len(), 2);
    assert_eq!(
        (running.counts.adds.load(Ordering::Relaxed), running.counts.sends.load(Ordering::Relaxed)),
        (1, 1)
    );
    let names: Vec<_> = running.steps(3).await.into_iter().map(|step| step.name).collect();
    assert_eq!(names, ["work/1", "work/1.1", "work/2"], "and `work/1.2` is an effect");
    running.end().await;
}

/// Goal: a prompt, an output and a result above 64 KiB are blobs, and what is recorded for each is small. Method: one of
/// each; then the whole history is looked at.
#[tokio::test(flavor = "multi_thread")]
async fn large_texts_are_blobs() {
    let large = INLINE + 1_000;
    let running =
        start(vec![asks(&[("fill", json!({"bytes": large}))]), says(&json!("w".repeat(large)))]).await;
    let task = running.done("t", json!({"opening": large, "fails": true}), |_| {}).await;
    assert_eq!(task.attempt, 2, "and a later attempt reads them: {task:?}");
    assert_eq!(task.result["text"], (large + 2).to_string());
    let steps = running.steps(3).await;
    for (step, part) in steps.iter().zip(["xxxx", "yyyy", "wwww"]) {
        let hash = step.result["blob"].as_str().and_then(bus_schemas::Hash::from_hex);
        let hash = hash.unwrap_or_else(|| panic!("`{}` is no blob: {}", step.name, step.result));
        let bytes = running.bus.get_blob(hash).await.expect("the blob");
        assert!(bytes.len() > large && String::from_utf8_lossy(&bytes).contains(part), "{}", step.name);
    }
    running.end().await;
}

/// Goal: a conversation ends: by its turns, or by mistakes in a row. Method: a model that asks on and on, and one that never
/// gets its arguments right.
#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_bounded() {
    let running = start(vec![asks(&[("add", json!({"a": 1, "b": 2}))])]).await;
    let failure = running.done("t", json!({}), |_| {}).await.failure.expect("a failure");
    assert_eq!((failure.code.as_str(), running.model.asked().len()), ("conversation-too-long", 8));
    running.end().await;
    let running = start(vec![asks(&[("add", json!({"a": 1}))])]).await;
    let failure = running.done("t", json!({}), |_| {}).await.failure.expect("a failure");
    assert_eq!((failure.code.as_str(), running.model.asked().len()), ("invalid-output", 3));
    assert_eq!(running.counts.adds.load(Ordering::Relaxed), 0, "no handler ran");
    running.end().await;
}

/// Goal: tool calls are bounded by the budget of the tree. Method: a budget of two calls, which is extended.
#[tokio::test(flavor = "multi_thread")]
async fn tool_calls_are_bounded_by_the_budget() {
    let one = || asks(&[("add", json!({"a": 1, "b": 2}))]);
    let running = start(vec![one(), one(), one(), says(&json!("done"))]).await;
    let budget = serde_json::from_value(json!({"tool_calls": 2})).expect("a budget");
    let extend = serde_json::from_value(json!({"tool_calls": 1})).expect("a budget");
    let bus = running.bus.clone();
    let extended = async {
        eventually("the end of the budget", || async {
            let task: Task = view(&bus, &query("t", &Query::Describe)).await?;
            task.budget?.exceeded.map(drop)
        })
        .await;
        accepted(&bus, &command("t", &Command::ExtendBudget { extend, reason: "worth it".into() })).await;
    };
    let (task, ()) =
        tokio::join!(running.done("t", json!({}), |submit| submit.budget = Some(budget)), extended);
    assert_eq!(task.result["text"], "\"done\"", "{task:?}");
    assert_eq!(task.budget.expect("a budget").used.tool_calls, 3);
    assert_eq!(running.counts.adds.load(Ordering::Relaxed), 3);
    running.end().await;
}
