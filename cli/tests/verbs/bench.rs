//! `bench`: it measures without a system, and says what it measured.

use crate::schema::check;
use crate::world::orrery;

/// A short measurement gives figures for Orrery and for the bare loop, as JSON.
#[test]
fn a_turn_is_measured_beside_the_bare_loop() {
    let nowhere = tempfile::tempdir().expect("a temporary directory");
    let bench = ["bench", "turn", "--seconds", "1", "--callers", "1,4", "--profile", "fast", "--json"];
    let report = orrery(nowhere.path(), &bench).good().line();
    check("bench", &report);
    let lines = report["results"].as_array().expect("a list");
    assert_eq!(lines.len(), 2, "{report}");
    for line in lines {
        let above_zero = |figure: &str| line[figure].as_f64().unwrap_or(0.0) > 0.0;
        assert!(["per_s", "p50_us", "baseline_per_s", "ratio_per_s"].into_iter().all(above_zero), "{line}");
    }
}

/// A halt is measured from its command to the last effect, over several rounds.
#[test]
fn a_halt_is_measured_until_the_last_effect() {
    let nowhere = tempfile::tempdir().expect("a temporary directory");
    let bench = ["bench", "halt", "--seconds", "1", "--callers", "8", "--profile", "fast", "--json"];
    let report = orrery(nowhere.path(), &bench).good().line();
    check("bench", &report);
    let lines = report["results"].as_array().expect("a list");
    let cases: Vec<_> = lines.iter().map(|line| line["case"].as_str().unwrap_or_default()).collect();
    assert_eq!(cases, ["last effect", "answer", "last job"], "{report}");
    let figure = |line: usize, figure: &str| lines[line][figure].as_f64().expect("a figure");
    assert!(lines.iter().all(|line| line["samples"] == 10), "{report}");
    assert!(figure(1, "p50_us") > 0.0 && figure(2, "max_us") >= figure(0, "max_us"), "{report}");
}

/// A tree comes over its budget only by what its calls use beyond what they reserve: one call of each job.
#[test]
fn a_budget_is_measured_under_fan_out() {
    let nowhere = tempfile::tempdir().expect("a temporary directory");
    let bench = ["bench", "budget", "--seconds", "1", "--callers", "8", "--profile", "fast", "--json"];
    let report = orrery(nowhere.path(), &bench).good().line();
    check("bench", &report);
    let over: Vec<_> = (0..2).map(|case| report["results"][case]["over_tokens"].as_u64()).collect();
    assert_eq!(over[0], Some(0), "{report}");
    assert!(over[1].is_some_and(|tokens| tokens <= 8 * 50), "{report}");
}

/// A long run stores for its last tool calls what it stored for its first: a history grows linearly.
#[test]
fn a_history_grows_linearly() {
    let nowhere = tempfile::tempdir().expect("a temporary directory");
    let report = orrery(nowhere.path(), &["bench", "history", "--profile", "fast", "--json"]).good().line();
    check("bench", &report);
    let lines = report["results"].as_array().expect("a list");
    let cases: Vec<_> = lines.iter().map(|line| (line["case"].as_str(), line["samples"].as_u64())).collect();
    let wanted = [("first hundred", 100), ("last hundred", 100), ("all", 1_000)];
    assert_eq!(cases, wanted.map(|(case, calls)| (Some(case), Some(calls))), "{report}");
    let bytes = |line: usize| lines[line]["bytes_per_call"].as_f64().expect("a figure");
    let (first, last) = (bytes(0), bytes(1));
    assert!(first > 2_000.0, "a call stores its result in the log and in the events: {report}");
    assert!((last / first - 1.0).abs() <= 0.1, "{first} bytes a call at first, {last} at last");
}

/// What cannot be measured is refused before anything is started.
#[test]
fn what_can_not_be_measured_is_refused() {
    let nowhere = tempfile::tempdir().expect("a temporary directory");
    orrery(nowhere.path(), &["bench", "turn", "--callers", "0"]).failed("bad-option", 64);
    orrery(nowhere.path(), &["bench", "turn", "--profile", "replicated"]).failed("bad-option", 64);
    for wrong in [&["bench"][..], &["bench", "everything"], &["bench", "turn", "--seconds", "0"]] {
        assert_eq!(orrery(nowhere.path(), wrong).status, 64, "{wrong:?}");
    }
}
