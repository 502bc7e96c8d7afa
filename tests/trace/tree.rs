//! The spans of a task tree: one trace, every job below the client, attributes by the conventions.

use bus_client::Profile;
use bus_schemas::commands::task::Command;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::Method;
use serde_json::json;
use system_tests::agents::{planned, settled, small_repository, step};
use system_tests::edge::{Edge, answer};
use system_tests::{Server, accepted, command, eventually};

use crate::collector::{Trace, attribute};
use crate::{client_span, run};

/// A trace with so many jobs that is whole and in which every decision reached the log.
async fn complete(trace: impl Fn() -> Trace, jobs: usize) -> Trace {
    eventually("a whole trace", || async {
        let trace = trace();
        let is_job = |name: &str| name.starts_with("invoke_agent ");
        let found = trace.spans.values().filter(|span| is_job(&span.name)).count();
        let written = trace.named("journal").len() == trace.named("decide").len();
        (trace.is_whole() && found == jobs && written).then_some(trace)
    })
    .await
}

/// Goal: one root task with children is one trace, from the client's ask to the last job. Method: a
/// plan of three steps, one of them real work; then follow every span up to the client's.
#[test]
fn a_task_tree_is_one_trace() {
    run(async |telemetry| {
        let server = Server::start(Profile::Fast).await;
        let host = server.host("a", true).await;
        let repository = tempfile::tempdir().unwrap();
        small_repository(repository.path());
        let mut count = step("count", "inventory", &["one"]);
        count.input = json!({"repo": repository.path()});
        let plan = planned(vec![step("one", "noop", &[]), count, step("two", "noop", &["count"])]);
        let client = client_span();
        let submit = command("tree", &Command::Submit(plan)).traced(Some(client));
        accepted(host.bus(), &submit).await;
        settled(host.bus(), "tree").await;
        let trace = complete(|| telemetry.collector.trace(client), 3).await;

        let jobs = [
            ("tree.one", "no-op", None),
            ("tree.count", "filesystem", Some("invoke_agent no-op")),
            ("tree.two", "no-op", Some("invoke_agent filesystem")),
        ];
        for (task, agent, cause) in jobs {
            let spans = trace.named(&format!("invoke_agent {agent}"));
            let span = spans.into_iter().find(|span| attribute(span, "task") == task).expect("a span a job");
            assert_eq!(span.kind(), SpanKind::Consumer);
            for (key, value) in [
                ("gen_ai.operation.name", "invoke_agent"),
                ("gen_ai.agent.name", agent),
                ("gen_ai.conversation.id", "tree"),
                ("messaging.system", "nats"),
                ("messaging.operation.name", "process"),
                ("messaging.operation.type", "process"),
                ("messaging.destination.name", &format!("orrery.claim.{agent}")),
                ("messaging.message.id", &format!("{task}/1")),
                ("messaging.message.conversation_id", &submit.id.to_string()),
            ] {
                assert_eq!(attribute(span, key), value, "{key} of {task}");
            }
            let chain = trace.chain(span).expect("a whole trace");
            assert_eq!(chain[0], "decide", "{task} was issued by a decision");
            assert!(
                cause.is_none_or(|job| chain.iter().any(|name| name == job)),
                "{task} is below {chain:?}"
            );
        }
        let decided = trace.named("decide");
        let first =
            decided.iter().find(|span| span.parent_span_id == client.span_id).expect("the submission");
        assert_eq!(attribute(first, "actor"), "task/tree");
        assert_eq!(attribute(first, "command_id"), submit.id.to_string());
        let log = format!("orrery.log.{}", system_tests::agents::task("tree").partition(8));
        for span in decided.iter().filter(|span| attribute(span, "actor") == "task/tree") {
            let below = |name: &str| -> Vec<_> {
                let named = trace.named(name);
                named.into_iter().filter(|child| child.parent_span_id == span.span_id).collect()
            };
            let journal = below("journal");
            assert_eq!(journal.len(), 1, "a decision is written once");
            assert_eq!(attribute(journal[0], "messaging.destination.name"), log);
            let out = below("fanout");
            assert_eq!(out.len(), usize::from(attribute(span, "events") != "0"));
            for span in journal.iter().chain(&out) {
                assert_eq!(attribute(span, "messaging.system"), "nats");
                assert_eq!(attribute(span, "messaging.operation.type"), "send");
                assert_eq!(span.kind(), SpanKind::Producer);
            }
            for span in out {
                assert_eq!(attribute(span, "messaging.destination.name"), "orrery.evt.task.tree");
            }
        }
        host.stop().await;
    });
}

/// Goal: the trace of an HTTP client goes on behind the gateway, and a failed job is an error there.
/// Method: submit with `traceparent` a task that its agent cannot do.
#[test]
fn a_request_over_http_begins_the_trace() {
    run(async |telemetry| {
        let server = Server::start(Profile::Fast).await;
        let host = server.host("a", true).await;
        let edge = Edge::start(host.bus(), &server.directory().join("gateway")).await;
        let client = client_span();
        let body = json!({"goal": "count", "skill": "inventory", "input": {"repo": "relative"}});
        let request = edge.request(Method::POST, "/v1/tasks").header("traceparent", client.to_traceparent());
        let (status, task) = answer(request.json(&body)).await;
        assert_eq!(status, 201, "{task}");
        settled(host.bus(), task["id"].as_str().unwrap()).await;
        let trace = complete(|| telemetry.collector.trace(client), 1).await;
        let job = trace.named("invoke_agent filesystem")[0];
        let chain = trace.chain(job).expect("a whole trace");
        assert_eq!(chain.last().map(String::as_str), Some("POST /v1/tasks"), "{chain:?}");
        assert_eq!(attribute(job, "error.type"), "invalid-input");
        assert_eq!(job.status.as_ref().map(|status| status.code), Some(2), "an error");
        edge.stop().await;
        host.stop().await;
    });
}
