//! Tasks that wait: for an agent, for each other, for a host. Each stays in its own trace.

use bus_client::Profile;
use bus_schemas::commands::lane::Command as Lane;
use bus_schemas::commands::task::{Command, Submit};
use bus_schemas::{Revision, TraceContext};
use system_tests::agents::{settled, task};
use system_tests::{Server, accepted, command, eventually};

use crate::collector::attribute;
use crate::{client_span, run};

/// Goal: what one task frees and another one gets is in the trace of the one that gets it, also when
/// another host goes on with it. Method: two traced tasks and one without trace in a lane that does
/// one at a time, submitted while no agent is there; the host changes; then agents come.
#[test]
fn every_task_stays_in_its_own_trace() {
    run(async |telemetry| {
        let server = Server::start(Profile::Fast).await;
        let first = server.host("first", false).await;
        accepted(first.bus(), &command("default", &Lane::SetCap { concurrent: Some(1) })).await;
        let clients = [("ada", Some(client_span())), ("bob", Some(client_span())), ("eve", None)];
        let mut ids = Vec::new();
        for (key, client) in clients {
            let submit = Submit { skill: "noop".into(), ..Submit::new("nothing") };
            let ask = command(key, &Command::Submit(submit)).traced(client);
            accepted(first.bus(), &ask).await;
            ids.push(ask.id);
        }
        first.stop().await;
        let foreign = clients.map(|(_, client)| client.map(|client| client.trace_id));
        let foreign: Vec<_> = foreign.into_iter().filter(Option::is_some).collect();
        let second = server.host("second", true).await;
        for ((key, client), id) in clients.into_iter().zip(ids) {
            settled(second.bus(), key).await;
            let events = second.bus().history(&task(key), Revision(0), 0).await.unwrap();
            for stored in &events {
                let event = &stored.event.event_type;
                assert_eq!(stored.correlation, Some(id), "`{event}` of {key} belongs to its request");
                let trace = stored.traceparent.as_deref().and_then(TraceContext::parse);
                let trace = trace.map(|trace| trace.trace_id);
                match client {
                    Some(client) => assert_eq!(trace, Some(client.trace_id), "`{event}` of {key}"),
                    // What its worker begins is a trace of its own.
                    None => assert!(!foreign.contains(&trace), "`{event}` of {key} is in another's trace"),
                }
            }
            let Some(client) = client else { continue };
            let trace = eventually("a whole trace", || async {
                let trace = telemetry.collector.trace(client);
                (trace.is_whole() && !trace.named("invoke_agent no-op").is_empty()).then_some(trace)
            })
            .await;
            let jobs = trace.named("invoke_agent no-op");
            assert_eq!(jobs.len(), 1, "no job of another task");
            assert_eq!(attribute(jobs[0], "task"), key);
        }
        second.stop().await;
    });
}
