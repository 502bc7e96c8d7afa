//! Given, when, then for `halt`.

use crate::testing::scenario::{Given, given};
use actors_core::{Revision, Timestamp};
use bus_schemas::commands::halt::Command;
use bus_schemas::commands::lane::HoldScope;
use bus_schemas::commands::{agent, lane, task};
use bus_schemas::events::halt::Event;

use super::Halt;
use crate::testing::{address, key, sent};

const NOW: Timestamp = Timestamp(1_000_000);

fn scope(name: &str, events: impl IntoIterator<Item = Event>) -> Given<Halt> {
    given(&address(&format!("halt/{name}")), events).called_by("ann")
}

fn halt(reason: &str) -> Command {
    Command::Halt { reason: reason.into(), grace_ms: 5_000 }
}

fn halted() -> Event {
    Event::Halted { reason: "fire".into(), by: "ann".into(), grace_ms: 5_000, at: NOW }
}

fn resume(per_minute: Option<u32>) -> Command {
    Command::Resume { reason: "out".into(), per_minute, revision: None }
}

fn resumed(per_minute: Option<u32>) -> Event {
    Event::Resumed { reason: "out".into(), by: "ann".into(), per_minute, at: NOW }
}

fn hold(name: &str) -> lane::Command {
    let cause = format!("halt/{name}").into();
    lane::Command::Hold {
        cause,
        scope: HoldScope::Lane,
        reason: "fire".into(),
        interrupt: true,
        grace_ms: 5_000,
    }
}

fn ease(name: &str, per_minute: Option<u32>) -> lane::Command {
    lane::Command::Ease { cause: format!("halt/{name}").into(), per_minute }
}

#[test]
fn a_halt_of_everything_reaches_every_lane_also_those_that_come_later() {
    let outcome = scope("all", [])
        .when(Command::Watch { lane: key("default") })
        .then([Event::Watched { lane: key("default") }])
        .when(Command::Watch { lane: key("default") })
        .then([])
        .when(halt("fire"));
    assert_eq!(outcome.decision().sends, [sent("lane/default", &hold("all"))]);
    let outcome = outcome.then([halted()]).when(Command::Watch { lane: key("fast") });
    assert_eq!(outcome.decision().sends, [sent("lane/fast", &hold("all"))]);
    let outcome = outcome.then([Event::Watched { lane: key("fast") }]).when(halt("fire"));
    assert_eq!(outcome.decision().sends.len(), 2, "said again, it is told again");
    let outcome = outcome.then([]).when(resume(Some(10)));
    let told = ["default", "fast"].map(|lane| sent(&format!("lane/{lane}"), &ease("all", Some(10))));
    assert_eq!(outcome.decision().sends, told);
    let outcome = outcome.then([resumed(Some(10))]).when(resume(None));
    let told = ["default", "fast"].map(|lane| sent(&format!("lane/{lane}"), &ease("all", None)));
    assert_eq!(outcome.decision().sends, told, "what is still released may go on at once");
    outcome.then([resumed(None)]);
    scope("all", [Event::Watched { lane: key("default") }]).when(resume(None)).then_refused("not-halted");
}

#[test]
fn a_resume_that_comes_late_ends_no_newer_halt() {
    let meant = |revision| {
        let (reason, revision) = ("out".into(), Some(Revision(revision)));
        Command::Resume { reason, per_minute: None, revision }
    };
    let again = Event::Halted { reason: "a leak".into(), by: "bob".into(), grace_ms: 5_000, at: NOW };
    // Resumed by somebody and halted anew, or halted for another reason: the one that was read is over.
    for (events, last) in [(vec![halted(), resumed(None), again.clone()], 3), (vec![halted(), again], 2)] {
        let given = scope("all", events).when(meant(last - 1)).then_refused("changed-since");
        let outcome = given.when(meant(last));
        let ended = serde_json::json!({"reason": "a leak", "by": "bob", "since": NOW});
        assert_eq!(outcome.decision().reply, ended, "who resumes it sees what it was");
    }
    // A lane that watches does not change the halt.
    let watched = Event::Watched { lane: key("default") };
    scope("all", [halted(), watched]).when(meant(1)).then([resumed(None)]);
    let outcome = scope("all", [halted(), resumed(None)]).when(resume(None));
    assert_eq!(outcome.decision().reply, serde_json::Value::Null, "nothing stood still any more");
    outcome.given.when(meant(1)).then_refused("changed-since");
    let unheard = scope("all", []).when(meant(0)).then_refused("not-halted");
    unheard.when(halt("fire")).then([halted()]).when(meant(0)).then_refused("changed-since");
}

#[test]
fn each_scope_tells_whom_it_concerns() {
    let (cause, reason) = ("halt/agent.git".into(), "fire".to_owned());
    let told = sent("agent/git", &agent::Command::Hold { cause, reason, grace_ms: 5_000 });
    assert_eq!(scope("agent.git", []).when(halt("fire")).decision().sends, [told]);
    let (cause, reason) = ("halt/task.t".into(), "fire".to_owned());
    let told = sent("task/t", &task::Command::Hold { cause, reason, grace_ms: 5_000 });
    assert_eq!(scope("task.t", []).when(halt("fire")).decision().sends, [told]);
    let told = sent("lane/fast", &hold("lane.fast"));
    assert_eq!(scope("lane.fast", []).when(halt("fire")).decision().sends, [told]);
    let told = sent("lane/fast", &ease("lane.fast", None));
    assert_eq!(scope("lane.fast", [halted()]).when(resume(None)).decision().sends, [told]);
}

#[test]
fn a_halt_needs_a_reason_and_a_scope_that_exists() {
    scope("all", []).when(halt("  ")).then_refused("reason-missing");
    scope("all", []).when(halt("a\u{1b}[2Jleak")).then_refused("reason-missing");
    scope("all", []).when(halt("a leak\u{202e}")).then_refused("reason-missing");
    scope("everything", []).when(halt("fire")).then_refused("unknown-scope");
    let endless = Command::Halt { reason: "fire".into(), grace_ms: 60_001 };
    scope("all", []).when(endless).then_refused("invalid-grace");
    scope("all", [halted()]).when(resume(Some(0))).then_refused("invalid-rate");
    for narrow in ["agent.git", "task.t"] {
        scope(narrow, [halted()]).when(resume(Some(9))).then_refused("invalid-rate");
    }
    scope("lane.fast", []).when(Command::Watch { lane: key("fast") }).then_refused("not-watchable");
}

#[test]
fn a_lane_that_missed_the_end_of_a_halt_is_told_when_it_asks() {
    for name in ["all", "lane.fast", "agent.git", "task.t"] {
        let confirm = || Command::Confirm { lane: key("fast") };
        let outcome = scope(name, [halted()]).when(confirm());
        assert!(outcome.decision().sends.is_empty(), "{name} stands");
        let outcome = outcome.then([]).when(resume(None)).given.when(confirm());
        assert_eq!(outcome.decision().sends, [sent("lane/fast", &ease(name, None))]);
        outcome.then([]);
    }
}
