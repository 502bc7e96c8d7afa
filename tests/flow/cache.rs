//! effects: an answer of a model that was given before is not paid for twice, where its provider allows that.

use std::sync::Arc;
use std::time::Duration;

use actors_agents::Tools;
use actors_host::Running;
use actors_models::{AGE, Cache};
use bus_client::{Bus, Profile};
use bus_schemas::commands::task::{Command, Query, Submit};
use bus_schemas::views::task::Task;
use serde_json::{Value, json};
use system_tests::models::redis::{PASSWORD, Redis};
use system_tests::models::scripted::{Act, Scripted, head};
use system_tests::models::{is_cut, models_of, recorded, says};
use system_tests::{Server, accepted, command, eventually, query, view};

const REPEATABLE: &str = "temperature = 0.0\n";

fn good() -> Vec<Act> {
    says(&json!({"1": {"met": true, "reason": "so it is"}}))
}

/// Has a piece of work judged in a new task, and returns the task.
async fn judged(bus: &Bus, key: &str, more: impl FnOnce(&mut Submit)) -> Task {
    let mut submit = Submit::new("Add a cache");
    submit.skill = "judge".into();
    submit.input = json!({"rules": ["it is short"], "text": "diff --git a/x b/x"});
    submit.attempts_max = Some(1);
    more(&mut submit);
    accepted(bus, &command(key, &Command::Submit(submit))).await;
    eventually(&format!("the end of `{key}`"), || async {
        let task: Task = view(bus, &query(key, &Query::Describe)).await?;
        task.state.is_final().then_some(task)
    })
    .await
}

/// What the record of a task says of the cache.
async fn cached(bus: &Bus, key: &str) -> Value {
    let step = eventually("the recorded answer", || async {
        recorded(bus, key).await.into_iter().find(|step| step.name == "judge")
    });
    step.await.result["cache"].clone()
}

/// Asks in new tasks until the cache says this: on a busy machine it may be late, which is a miss.
async fn until(bus: &Bus, name: &str, wanted: &str) -> String {
    for number in 0..100 {
        let key = format!("{name}-{number}");
        let task = judged(bus, &key, |_| {}).await;
        assert_eq!(task.result["verdict"], "accepted");
        if cached(bus, &key).await == wanted {
            return key;
        }
    }
    panic!("no task of a hundred has a {wanted}");
}

/// A host whose models have more lines in their file, and perhaps a Redis.
async fn host(server: &Server, model: &Scripted, more: &str, redis: Option<&Redis>) -> Running {
    let url = redis.map(Redis::url);
    let cache = Cache::new(url.as_deref(), AGE).expect("a URL");
    let models = Arc::new(models_of(server, &[model], more).cached_in(cache));
    server.host_of("a", &Tools { models, ..Tools::default() }).await
}

async fn entries(bus: &Bus) -> u64 {
    bus.state_of(&format!("KV_{}", bus.topology().cache())).await.expect("the bucket").messages
}

/// Goal: the same call is paid for once, in the installation's own bucket, and the record says which answer came from
/// there. Method: the same work in two tasks, the second one without a budget for any call; and other work.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_call_is_paid_for_once() {
    let server = Server::start(Profile::Fast).await;
    let model = Scripted::start(vec![good()]).await;
    let host = host(&server, &model, REPEATABLE, None).await;
    let bus = server.bus().await;
    judged(&bus, "first", |_| {}).await;
    assert_eq!(cached(&bus, "first").await, "miss");
    until(&bus, "again", "hit").await;
    let asked = model.asked().len();
    let tiny: bus_schemas::settings::Budget =
        serde_json::from_value(json!({"tokens": 50})).expect("a budget");
    let budget = tiny.clone();
    let task = judged(&bus, "free", |submit| submit.budget = Some(budget)).await;
    assert_eq!(
        (task.result["verdict"].as_str(), cached(&bus, "free").await),
        (Some("accepted"), json!("hit"))
    );
    assert_eq!(task.budget.expect("a budget").used.tokens, 0, "a hit costs nothing");
    assert_eq!(model.asked().len(), asked, "nobody was asked");
    let other = judged(&bus, "other", |submit| submit.input["text"] = "diff --git a/y b/y".into()).await;
    assert_eq!(
        (other.result["verdict"].as_str(), cached(&bus, "other").await),
        (Some("accepted"), json!("miss"))
    );
    assert_eq!(model.asked().len(), asked + 1);
    host.stop().await;
}

/// Goal: only calls that say temperature 0, or whose provider opts in, are answered from the cache. Method: the same work
/// in two tasks for each case.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_repeatable_or_opted_in_is_cached() {
    let server = Server::start(Profile::Fast).await;
    let bus = server.bus().await;
    for (case, more) in
        [("usual", ""), ("warm", "temperature = 0.7\n"), ("out", "temperature = 0\ncache = false\n")]
    {
        let model = Scripted::start(vec![good()]).await;
        let host = host(&server, &model, more, None).await;
        for number in 0..2 {
            let key = format!("{case}-{number}");
            judged(&bus, &key, |_| {}).await;
            assert_eq!(cached(&bus, &key).await, "off", "{case}");
        }
        assert_eq!((model.asked().len(), entries(&bus).await), (2, 0), "{case}");
        host.stop().await;
    }
    let model = Scripted::start(vec![good()]).await;
    let host = host(&server, &model, "cache = true\n", None).await;
    until(&bus, "opted", "hit").await;
    host.stop().await;
}

/// Goal: no answer is kept that was cut, broken off, refused or did not fit. Method: a model with each of these, and then a
/// good one.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_answer_is_not_kept() {
    let server = Server::start(Profile::Fast).await;
    let bus = server.bus().await;
    let broken_off =
        vec![head("200 OK", "text/event-stream", ""), Act::Write(b"data: {\"choices\":[]}\n\n".to_vec())];
    for (code, script) in [
        ("model-answer-truncated", broken_off),
        ("model-output-limit", is_cut()),
        ("invalid-output", says(&json!({"1": {"met": "perhaps"}}))),
    ] {
        let model = Scripted::start(vec![script]).await;
        let host = host(&server, &model, REPEATABLE, None).await;
        let failure = judged(&bus, code, |_| {}).await.failure.expect("a failure");
        assert_eq!((failure.code.as_str(), entries(&bus).await), (code, 0));
        host.stop().await;
    }
    let model = Scripted::start(vec![good()]).await;
    let host = host(&server, &model, REPEATABLE, None).await;
    until(&bus, "good", "hit").await;
    assert_eq!(entries(&bus).await, 1);
    host.stop().await;
}

/// Goal: two installations share a Redis and no answer. Method: the same prefix, the same model, the same work, on two
/// servers.
#[tokio::test(flavor = "multi_thread")]
async fn two_installations_share_no_answer() {
    let redis = Redis::start();
    let model = Scripted::start(vec![good()]).await;
    let (one, other) = (Server::start(Profile::Fast).await, Server::start(Profile::Fast).await);
    let first = host(&one, &model, REPEATABLE, Some(&redis)).await;
    until(&one.bus().await, "one", "hit").await;
    let asked = model.asked().len();
    let second = host(&other, &model, REPEATABLE, Some(&redis)).await;
    let bus = other.bus().await;
    judged(&bus, "other", |_| {}).await;
    assert_eq!((cached(&bus, "other").await, model.asked().len()), (json!("miss"), asked + 1));
    until(&bus, "again", "hit").await;
    assert_eq!(entries(&bus).await, 0, "nothing is in the installation's own bucket");
    first.stop().await;
    second.stop().await;
}

/// Goal: work goes on while Redis is away, and is cached again when it is back; its password is in no message. Method: a
/// Redis that is killed between tasks, and started again.
#[tokio::test(flavor = "multi_thread")]
async fn work_goes_on_without_redis() {
    let server = Server::start(Profile::Fast).await;
    let mut redis = Redis::start();
    let model = Scripted::start(vec![good()]).await;
    let host = host(&server, &model, REPEATABLE, Some(&redis)).await;
    let bus = server.bus().await;
    until(&bus, "before", "hit").await;
    redis.kill();
    let asked = model.asked().len();
    for number in 0..3 {
        let begun = std::time::Instant::now();
        let key = format!("without-{number}");
        let task = judged(&bus, &key, |_| {}).await;
        assert_eq!(
            (task.result["verdict"].as_str(), cached(&bus, &key).await),
            (Some("accepted"), json!("miss"))
        );
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    }
    assert_eq!(model.asked().len(), asked + 3);
    redis.restart();
    let key = until(&bus, "after", "hit").await;
    let steps = recorded(&bus, &key).await;
    assert!(!format!("{steps:?}").contains(PASSWORD));
    host.stop().await;
}
