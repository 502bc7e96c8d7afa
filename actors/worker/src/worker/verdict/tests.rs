//! The table of reports, row by row.

use bus_schemas::{CommandId, EntityAddress, Key, Kind};
use serde_json::{Value, json};

use super::*;

fn job() -> Job {
    let key = Key::parse("t1").expect("a key");
    Job {
        id: "t1/2".into(),
        task: EntityAddress::new(Kind::from_static("task"), key.clone()),
        attempt: 2,
        token: "token".into(),
        agent: key,
        skill: "noop".into(),
        lane: Key::parse("default").expect("a key"),
        goal: "nothing".into(),
        input: Value::Null,
        inputs: Vec::new(),
        answers: Vec::new(),
        deadline: None,
        lease_ms: 30_000,
        effects: Vec::new(),
        steps: 0,
        metered: false,
        correlation: CommandId::from_text("c"),
    }
}

/// The purpose and the code of a report; empty when there is none. Every report carries the job's token.
fn told(end: End, interruption: Option<Interruption>) -> (&'static str, String, Option<FailureClass>) {
    match report_of(&job(), end, interruption) {
        None => ("", String::new(), None),
        Some(Report { purpose, command }) => {
            let written = serde_json::to_value(&command).expect("a command is plain data");
            assert_eq!((&written["attempt"], &written["token"]), (&json!(2), &json!("token")), "{purpose}");
            match command {
                Command::FailJob { code, class, .. } => (purpose, code, Some(class)),
                _ => (purpose, String::new(), None),
            }
        }
    }
}

#[test]
fn every_row_of_the_table() {
    let unwanted = || Some(Interruption::Unwanted { reason: "canceled".into() });
    let halted = || Some(Interruption::Halted { reason: "fire".into(), grace: Duration::ZERO });
    let interruptions = || {
        [
            None,
            unwanted(),
            Some(Interruption::Deadline),
            Some(Interruption::Stopping),
            Some(Interruption::LeaseLost),
            halted(),
        ]
    };
    for interruption in interruptions() {
        assert_eq!(told(End::Returned(Ok(Done::default())), interruption.clone()).0, "complete");
        let panicked = told(End::Panicked("oh".into()), interruption.clone());
        assert_eq!(panicked, ("fail", "agent-panicked".into(), Some(FailureClass::Poison)));
        let unclear = End::Returned(Err(Failure::ambiguous("sent-maybe", "the line broke")));
        assert_eq!(told(unclear, interruption).1, "sent-maybe");
    }
    for end in [
        || End::Returned(Err(Failure::transient("net", "no route"))),
        || End::Returned(Err(Failure::input_required("which?"))),
        || End::Dropped,
    ] {
        assert_eq!(told(end(), unwanted()), ("fail", "canceled".into(), Some(FailureClass::Canceled)));
        let late = told(end(), Some(Interruption::Deadline));
        assert_eq!(late, ("fail", "deadline-exceeded".into(), Some(FailureClass::Permanent)));
        assert_eq!(told(end(), Some(Interruption::Stopping)).0, "give-back");
        assert_eq!(told(end(), halted()).0, "give-back");
        // The task has given the attempt up already.
        assert_eq!(told(end(), Some(Interruption::LeaseLost)).0, "");
    }
    let plain = told(End::Returned(Err(Failure::transient("net", "no route"))), None);
    assert_eq!(plain, ("fail", "net".into(), Some(FailureClass::Transient)));
    assert_eq!(told(End::Returned(Err(Failure::input_required("which?"))), None).0, "require-input");
    assert_eq!(told(End::Dropped, None).0, "give-back");
}

#[test]
fn a_result_that_no_message_holds_becomes_a_failure() {
    let command = Command::CompleteJob {
        attempt: 2,
        token: "token".into(),
        steps: Vec::new(),
        artifacts: Vec::new(),
        result: Value::String("x".repeat(10_000)),
        plan: None,
    };
    let report = || Report { purpose: "complete", command: command.clone() };
    assert_eq!(report().bounded(&job(), 1 << 20), report());
    let Report { purpose, command } = report().bounded(&job(), 10_000);
    assert_eq!(purpose, "fail");
    assert!(matches!(command, Command::FailJob { attempt: 2, code, .. } if code == "result-too-large"));
}
