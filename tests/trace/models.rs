//! The span of a call to a model: below its job, with the attributes of OpenTelemetry's conventions for models.

use bus_client::Profile;
use bus_schemas::commands::task::{Command, Submit};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;
use system_tests::models::scripted::{Scripted, whole};
use system_tests::models::{KEY, says, system};
use system_tests::{Server, accepted, command, eventually};

use crate::collector::attribute;
use crate::{client_span, run};

/// Goal: a dashboard shows each call to a model below its job, with its model and its tokens, and no text of it.
/// Method: a job whose first provider has no capacity.
#[test]
fn a_call_to_a_model_is_a_span_of_its_job() {
    run(async |telemetry| {
        let server = Server::start(Profile::Fast).await;
        let full = Scripted::start(vec![whole("529 Overloaded", "application/json", "", "{}")]).await;
        let answer = json!({"1": {"met": true, "reason": "because"}});
        let good = Scripted::start(vec![says(&answer)]).await;
        let host = system(&server, &[&full, &good]).await;
        let mut submit = Submit::new("Add a cache");
        submit.skill = "judge".into();
        submit.input = json!({"rules": ["a rule of the test"], "text": "a text of the test"});
        let client = client_span();
        accepted(host.bus(), &command("j", &Command::Submit(submit)).traced(Some(client))).await;
        let trace = eventually("both calls", || async {
            let trace = telemetry.collector.trace(client);
            (trace.is_whole() && trace.named("chat m").len() == 2).then_some(trace)
        })
        .await;
        let calls = trace.named("chat m");
        for call in &calls {
            assert_eq!(call.kind(), SpanKind::Client);
            assert_eq!(attribute(call, "gen_ai.operation.name"), "chat");
            let chain = trace.chain(call).expect("a whole trace");
            assert!(chain.iter().any(|name| name == "invoke_agent reviewer"), "{chain:?}");
        }
        let of = |provider: &str| {
            let found = calls.iter().find(|call| attribute(call, "gen_ai.provider.name") == provider);
            *found.expect("a call of the provider")
        };
        assert_eq!(attribute(of("m0"), "error.type"), "model-overloaded");
        for (key, value) in [
            ("gen_ai.request.model", "m"),
            ("gen_ai.response.model", "m-1"),
            ("gen_ai.usage.input_tokens", "20"),
            ("gen_ai.usage.output_tokens", "7"),
        ] {
            assert_eq!(attribute(of("m1"), key), value);
        }
        for span in trace.spans.values() {
            let text = format!("{span:?}");
            let secret = [KEY, "a rule of the test", "a text of the test"]
                .into_iter()
                .find(|part| text.contains(part));
            assert_eq!(secret, None, "{text}");
        }
        host.stop().await;
    });
}
