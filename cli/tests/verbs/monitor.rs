//! `/metrics`: what an operator's monitoring sees of a system, from its start to its mending.

use std::io::{Read, Write};
use std::net::TcpStream;

use bus_schemas::commands::halt::Command as Halt;

use crate::bus::Client;
use crate::world::{World, eventually};

/// What stands behind a metric with its labels; none while it is not there.
fn figure(metrics: &str, name: &str) -> Option<f64> {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.parse().ok()
}

fn metrics(world: &World) -> String {
    asked(world.address("http"), "/metrics")
}

/// What is answered to a GET, head and body.
pub fn asked(address: &str, path: &str) -> String {
    let address = address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

/// Waits until every metric has the figure that is wanted of it.
fn until(world: &World, wanted: &[(&str, f64)]) {
    let mut last = String::new();
    let mut wrong = Vec::new();
    let deadline = std::time::Instant::now() + crate::world::PATIENCE;
    while std::time::Instant::now() < deadline {
        last = metrics(world);
        let differs = |(name, value): &&(&str, f64)| figure(&last, name) != Some(*value);
        wrong = wanted.iter().filter(differs).map(|(name, _)| *name).collect();
        if wrong.is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    panic!("{wrong:?} are not as wanted in\n{last}");
}

fn until_positive(world: &World, names: &[&str]) {
    for name in names {
        eventually(name, || figure(&metrics(world), name).filter(|value| *value > 0.0));
    }
}

/// What goes wrong in the test, as metrics.
const WRONG: [(&str, f64); 5] = [
    (r#"orrery_halts_active{scope="agent"}"#, 1.0),
    (r#"orrery_breaker_state{dependency="tool.deploy"}"#, 2.0),
    (r#"orrery_lane_waiting_attempts{lane="night"}"#, 1.0),
    (r#"orrery_tasks_open{state="submitted"}"#, 1.0),
    (r#"orrery_dead_letters_waiting{class="poison"}"#, 1.0),
];

/// Does everything that is wrong; where the backup of it lies.
fn go_wrong(world: &World, client: &Client) -> tempfile::TempDir {
    client.poison();
    let halt = Halt::Halt { reason: "a test".into(), grace_ms: 0 };
    client.ask("agent.nobody", &halt).expect("a halt");
    world.orrery(&["breakers", "trip", "tool.deploy", "--reason", "a test"]).good();
    let submit = ["tasks", "submit", "wait", "--id", "waits", "--skill", "nobody-has-it", "--lane", "night"];
    world.orrery(&submit).good();
    world.orrery(&["tasks", "submit", "nothing", "--id", "done", "--skill", "noop", "--wait"]).good();
    let limits = world.data_dir().join("limits.json");
    std::fs::write(&limits, r#"{"cache_entities": 1000}"#).expect("a file");
    let limits = limits.to_str().expect("UTF-8");
    world.orrery(&["settings", "propose", "limits", limits, "--reason", "a test", "--activate"]).good();
    let backups = tempfile::tempdir().expect("a temporary directory");
    let backup = backups.path().join("one");
    world.orrery(&["backup", backup.to_str().expect("UTF-8")]).good();
    backups
}

/// Goal: monitoring sees what is wrong, still after a restart, and that it was mended. Method: a real
/// process in which a command is poison, a breaker is tripped, an agent is halted, and work waits for an
/// agent that nobody has; then all of it is set right.
#[test]
fn what_is_wrong_is_measured_until_it_is_mended() {
    let world = World::start();
    let client = Client::connect(&world);
    let backups = go_wrong(&world, &client);
    until(&world, &WRONG);
    until(
        &world,
        &[
            (r#"orrery_dead_letters_changes_total{change="arrived"}"#, 1.0),
            (r#"orrery_decide_poisoned_total{kind="probe"}"#, 1.0),
            (r#"orrery_tasks_ended_total{state="completed"}"#, 1.0),
            (r#"orrery_config_active_version{name="limits"}"#, 1.0),
            (r#"orrery_config_hosts_behind{name="limits"}"#, 0.0),
            (r#"orrery_agent_workers{agent="no-op"}"#, 1.0),
            (r#"orrery_lane_held{lane="night"}"#, 0.0),
            ("orrery_lease_unowned_partitions", 0.0),
            ("orrery_lease_hosts", 1.0),
            ("orrery_lease_held_partitions", 8.0),
            ("orrery_lease_served_partitions", 8.0),
            ("orrery_lease_takeovers_total", 8.0),
            (r#"orrery_lease_serving{partition="0"}"#, 1.0),
            (r#"orrery_fanout_lag_records{partition="0"}"#, 0.0),
            ("orrery_bus_connected", 1.0),
            ("orrery_bus_durable", 1.0),
            ("orrery_inbox_stored_commands", 0.0),
        ],
    );
    until_positive(
        &world,
        &[
            r#"orrery_halts_oldest_seconds{scope="agent"}"#,
            r#"orrery_breaker_not_closed_seconds{dependency="tool.deploy"}"#,
            r#"orrery_lane_oldest_wait_seconds{lane="night"}"#,
            r#"orrery_tasks_longest_unchanged_seconds{state="submitted"}"#,
            "orrery_dead_letters_oldest_seconds",
            "orrery_backup_last_timestamp_seconds",
            "orrery_host_disk_free_bytes",
        ],
    );
    assert_eq!(figure(&metrics(&world), "orrery_host_last_crash_report_timestamp_seconds"), None);
    drop((client, backups));

    // What is wrong stays wrong in another process, and what happened before is not counted again.
    let world = World::start_in(world.stop());
    until(&world, &WRONG);
    until(&world, &[(r#"orrery_dead_letters_changes_total{change="arrived"}"#, 0.0)]);
    let client = Client::connect(&world);
    let resume = Halt::Resume { reason: "over".into(), per_minute: None, revision: None };
    client.ask("agent.nobody", &resume).expect("a resume");
    world.orrery(&["breakers", "reset", "tool.deploy", "--reason", "over"]).good();
    world.orrery(&["tasks", "cancel", "waits", "--reason", "over"]).good();
    let letters = world.orrery(&["dead-letters", "list", "--json"]).good().line();
    let entry = letters["dead_letters"][0]["entry"].as_str().expect("a dead letter").to_owned();
    world.orrery(&["dead-letters", "drop", &entry, "--reason", "over"]).good();
    until(&world, &WRONG.map(|(name, _)| (name, 0.0)));
    until(
        &world,
        &[
            (r#"orrery_dead_letters_changes_total{change="dropped"}"#, 1.0),
            (r#"orrery_tasks_ended_total{state="canceled"}"#, 1.0),
            (r#"orrery_breaker_not_closed_seconds{dependency="tool.deploy"}"#, 0.0),
            ("orrery_dead_letters_oldest_seconds", 0.0),
        ],
    );
}

/// A process without a gateway is measured where the settings say, and answers nothing else there.
#[test]
fn a_host_without_a_gateway_is_measured() {
    let world = World::start_with_and("metrics = \"127.0.0.1:0\"", &["--roles", "host,agents"]);
    assert_eq!(world.banner["http"], serde_json::Value::Null);
    let address = world.address("metrics");
    let served = "orrery_lease_served_partitions";
    eventually(served, || figure(&asked(address, "/metrics"), served).filter(|value| *value == 8.0));
    assert!(asked(address, "/health").starts_with("HTTP/1.1 200"));
    assert!(asked(address, "/v1/tasks").starts_with("HTTP/1.1 404"));
}
