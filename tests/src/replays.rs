//! Tasks whose agents run again with what was recorded.

use std::path::Path;

use actors_agents::{Tools, shipped};
use bus_client::Bus;
use bus_schemas::Key;
use orrery_storage::archive::Archive;
use orrery_storage::replay::effects::{Compare, Compares, Request, Verdict, run};

/// Replays a task that has ended, with these tools for steps that may run.
pub async fn replayed(bus: &Bus, task: &str, tools: &Tools, runs_steps: bool) -> (Compares, Vec<Compare>) {
    let archive = Archive::open(Path::new("no-archive")).expect("no archive");
    let task = Key::parse(task).expect("a key");
    let request = Request { task: &task, agents: &shipped(tools), runs_steps };
    let mut compares = Vec::new();
    let sum = run(bus, &archive, &request, |compare| compares.push(compare)).await.expect("a replay");
    // A task answers before the event stream has its end; the replay has it at once.
    assert!(compares.iter().all(|compare| compare.verdict != Verdict::Open), "{compares:#?}");
    (sum, compares)
}

/// Asserts that the agents of these tasks ask for the same and decide the same without any tool.
pub async fn assert_same(bus: &Bus, tasks: &[&str]) {
    for task in tasks {
        let (sum, compares) = replayed(bus, task, &Tools::recorded(), false).await;
        assert!(sum.attempts > 0 && sum.differ == 0, "`{task}`: {compares:#?}");
    }
}
