//! Log lines as JSON: a line of a job can be found from its trace and from its request.

use bus_client::Profile;
use bus_schemas::commands::task::{Command, Submit};
use serde_json::Value;
use system_tests::agents::{GATE, Gate, Seen, settled};
use system_tests::{Server, accepted, command, eventually};

use crate::{client_span, run};

/// Goal: who has a trace id or a correlation id finds the log lines of that work. Method: cancel a
/// running job, which its worker logs; read the log file as JSON lines.
#[test]
fn a_line_names_its_trace_and_its_request() {
    run(async |telemetry| {
        let server = Server::start(Profile::Fast).await;
        let host = server.host("a", false).await;
        let mut gate = Gate::start(host.bus());
        let client = client_span();
        let submit = Submit { skill: GATE.into(), ..Submit::new("nothing") };
        let submit = command("logged", &Command::Submit(submit)).traced(Some(client));
        accepted(host.bus(), &submit).await;
        gate.until("logged", Seen::Started).await;
        let cancel = Command::Cancel { reason: String::new() };
        accepted(host.bus(), &command("logged", &cancel)).await;
        settled(host.bus(), "logged").await;
        let line = eventually("a line about the job", || async {
            let text = std::fs::read_to_string(telemetry.log_file()).ok()?;
            // The last line may be half written.
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut lines = lines.filter(|line| line["task"] == "logged");
            lines.find(|line| line["message"] == "the work is to stop")
        })
        .await;
        let trace_id: String = client.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
        for (field, value) in [
            ("trace_id", trace_id),
            ("correlation_id", submit.id.to_string()),
            ("span", "effects".to_owned()),
            ("level", "INFO".to_owned()),
        ] {
            assert_eq!(line[field], value.as_str(), "{field} of {line}");
        }
        assert!(line["span_id"].as_str().is_some_and(|id| id.len() == 16), "{line}");
        gate.stop().await;
        host.stop().await;
    });
}
