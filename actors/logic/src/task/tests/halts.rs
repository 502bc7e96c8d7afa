//! The refusals of a halt for callers and workers, before a decision.

use actors_core::GateRequest;
use bus_schemas::Body;
use bus_schemas::commands::task::Usage;
use bus_schemas::events::halt::Event as Halted;
use bus_schemas::halts::Halts;
use bus_schemas::record::Source;
use bus_schemas::wire::EventFold;

use super::*;
use crate::task::{State, admit};

const GRACE_MS: u64 = 5_000;

fn halts(scope: &str) -> Halts {
    let mut halts = Halts::default();
    let event = Halted::Halted { reason: "fire".into(), by: "ann".into(), grace_ms: GRACE_MS, at: NOW };
    halts.apply(&key(scope), &event);
    halts
}

/// Whether a command, or without a source a query, is admitted this long after the halt.
fn is_admitted(state: &State, source: Option<&Source>, body: &Body, scope: &str, after_ms: u64) -> bool {
    let (entity, now) = (address("task/t"), NOW.plus_ms(after_ms));
    let request = GateRequest { entity: &entity, source, caller: None, body, now, memory: Some(state) };
    admit(&halts(scope), &request).is_ok()
}

/// Whether a caller's command is admitted this long after the halt.
fn passes(given: &Given<Task>, command: &Command, scope: &str, after_ms: u64) -> bool {
    is_admitted(given.state(), Some(&Source::Ask), &Body::json(command), scope, after_ms)
}

#[test]
fn under_a_halt_a_worker_begins_nothing_and_ends_what_it_has() {
    let work = running(Submit::new("a goal"));
    let reserve = Command::Reserve {
        reservation: "r".into(),
        task: key("t"),
        amount: Usage::default(),
        lease_ms: 1_000,
    };
    let begins = [effect(1, EffectStep::Intended), effect(1, EffectStep::Started), reserve];
    let ends = [
        effect(1, EffectStep::Completed),
        effect(1, EffectStep::Failed),
        Command::GiveBack { attempt: 1, token: token(1), reason: "halted".into() },
        complete_job(1),
    ];
    for scope in ["all", "lane.default", "agent.coder", "task.t"] {
        for command in &begins {
            assert!(!passes(&work, command, scope, 0), "{command:?} under {scope}");
        }
        for command in &ends {
            assert!(passes(&work, command, scope, 60_000), "{command:?} under {scope}");
        }
    }
    for scope in ["lane.night", "agent.other", "task.u"] {
        assert!(begins.iter().all(|command| passes(&work, command, scope, 0)), "{scope} is another");
    }
}

/// Whether the worker of attempt 1, issued at that time, may go on this long after the halt.
fn renews(issued_at: Timestamp, scope: &str, after_ms: u64) -> bool {
    let past = [submitted(Submit::new("a goal")), queued(1)];
    let given = root(past).at(issued_at).when(assign(1)).given;
    let renew = Query::Renew { attempt: 1, token: token(1), progressed: true };
    is_admitted(given.state(), None, &Body::json(&renew), scope, after_ms)
}

#[test]
fn a_lease_is_renewed_for_the_grace_and_nothing_begins_under_a_halt() {
    let before = Timestamp(NOW.0 - 1);
    for scope in ["all", "lane.default", "agent.coder", "task.t"] {
        assert!(renews(before, scope, GRACE_MS));
        assert!(!renews(before, scope, GRACE_MS + 1));
        assert!(!renews(NOW, scope, 0), "it was issued when the halt stood");
        assert!(!renews(NOW.plus_ms(1), scope, 2));
    }
    assert!(renews(NOW.plus_ms(1), "agent.other", 60_000));
    // Other queries are answered.
    for query in [Query::Describe, Query::Explain, Query::Wait] {
        let given = running(Submit::new("a goal"));
        assert!(is_admitted(given.state(), None, &Body::json(&query), "all", 60_000));
    }
}

#[test]
fn what_was_submitted_before_is_answered_as_before() {
    let submit = Command::Submit(Submit::new("a goal"));
    assert!(!passes(&root([]), &submit, "all", 0), "new work");
    assert!(passes(&running(Submit::new("a goal")), &submit, "all", 0), "the same once more");
    let handed_over = Body::json(&submit);
    assert!(is_admitted(root([]).state(), Some(&Source::Inbox(1)), &handed_over, "all", 0), "it waits");
}
