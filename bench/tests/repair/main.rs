//! The set of seeded bugs, repaired with scripted answers: a figure of the loop, and of no model.

#[path = "../../../actors/sandbox/tests/escapes/engine.rs"]
mod engine;

use std::collections::BTreeMap;
use std::sync::Arc;

use actors_agents::{Sandboxes, Tools};
use actors_sandbox::{Config, Image, Kind};
use orrery_bench::{RepairOptions, RepairReport, repair};

/// The benchmark with the images and packages of `make tools`, and without a model.
async fn repaired(installation: &str, only: &[&str]) -> RepairReport {
    actors_sandbox::keep_by(env!("CARGO_BIN_EXE_keeper_for_benchmarks").into());
    let images = engine::images();
    let sandboxes = Sandboxes::new(Config {
        socket: Some(engine::socket()),
        installation: installation.to_owned(),
        capacity: 4,
        images: vec![(Image::open(&images, Kind::Python).expect("`make tools` builds the images"), 0)],
        base_image: None,
    });
    let options = RepairOptions {
        tools: Tools { sandboxes: Arc::new(sandboxes), ..Tools::default() },
        packages: images.with_file_name("packages"),
        only: only.iter().map(ToString::to_string).collect(),
        parallel: 2,
        nats_server: None,
        progress: Some(Arc::new(|line: &str| eprintln!("{line}"))),
    };
    repair(options).await.expect("`make tools` obtains the packages")
}

/// Goal: the loop repairs every seeded bug of packages that others wrote, and accepts no answer that is wrong. Method:
/// for each bug a wrong patch, then the right one; over the set one answer that edits a test, one outside of the
/// workspace, one that was cut and one whose expected text differs. The patches are graded apart from the agent.
#[tokio::test(flavor = "multi_thread")]
async fn every_seeded_bug_is_repaired_and_no_wrong_answer_is_accepted() {
    let report = repaired("bench-repair", &[]).await;
    assert_eq!((report.answers, report.providers.as_slice()), ("scripted", &["scripted".to_owned()][..]));
    let wrong: Vec<_> = report.results.iter().filter(|result| !result.repaired).collect();
    assert!(report.bugs >= 26 && wrong.is_empty(), "{} bugs, not repaired: {wrong:#?}", report.bugs);
    let refused: BTreeMap<&str, u64> =
        report.refused.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
    let wrong = report.bugs as u64;
    let expected = [
        ("model-output-limit", 1),
        ("no-better", wrong - 1),
        ("path-refused", 1),
        // One wrong patch is no Python any more, and never runs.
        ("syntax-error", 1),
        ("test-edited", 1),
        ("text-differs", 1),
    ];
    assert_eq!(refused, expected.into());
    // Each refused answer took a round, and each bug one more.
    assert_eq!(report.rounds, refused.values().sum::<u64>() + wrong, "{report:#?}");
}
