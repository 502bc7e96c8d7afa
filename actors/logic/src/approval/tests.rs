//! Given, when, then for `approval`.

use actors_core::Timestamp;
use bus_schemas::commands::approval::{BaseCheck, Call, Command, Grounds, Request, Use};
use bus_schemas::commands::task;
use bus_schemas::events::approval::Event;
use serde_json::json;
use smol_str::SmolStr;

use super::Approval;
use crate::testing::scenario::{Given, given};
use crate::testing::{address, key, sent};

const NOW: Timestamp = Timestamp(1_000_000);
const ANSWER_BY: Timestamp = Timestamp(1_060_000);
const USE_BY: Timestamp = Timestamp(1_030_000);

fn grounds() -> Grounds {
    Grounds { base: "aaaa".into(), policy_version: "p1".into(), settings_version: "s1".into() }
}

fn call(after: &str) -> Call {
    let files = json!([{"path": "a.py", "before": "1", "after": after}]);
    Call { call_id: "1".into(), name: "change".into(), args: json!({"target": "main", "files": files}) }
}

fn wanted() -> Request {
    Request {
        hint: Some("a fix".into()),
        tools: vec![call("2")],
        grounds: grounds(),
        base_check: BaseCheck::TouchedFiles,
        task: key("c-apply"),
        approvers: Vec::new(),
        answer_within_ms: 60_000,
        use_within_ms: 30_000,
    }
}

fn asked(request: Request) -> Given<Approval> {
    given(&address("approval/c"), []).called_by("change/c").when(Command::Request(request)).given
}

fn ids(given: &Given<Approval>) -> Vec<SmolStr> {
    given.state().asked.as_ref().expect("it was asked").ids().cloned().collect()
}

fn approved(given: Given<Approval>) -> Given<Approval> {
    let ids = ids(&given);
    let event = Event::Approved { ids: ids.clone(), by: "ann".into(), use_by: USE_BY, at: NOW };
    given.called_by("ann").when(Command::Approve { ids }).then([event])
}

fn using(change: impl FnOnce(&mut Use)) -> Command {
    let mut call = Use { task: key("c-apply"), tools: vec![call("2")], grounds: grounds() };
    change(&mut call);
    Command::Use(call)
}

fn used() -> Event {
    Event::Used { task: key("c-apply"), base: "aaaa".into(), by: "worker".into(), at: NOW }
}

fn reject() -> Command {
    Command::Reject { rejection_reason: "no".into() }
}

fn cancel() -> Command {
    Command::Cancel { reason: "enough".into() }
}

/// Complaint 6: an old approval authorises again and again, is not consumed and has no expiry.
#[test]
fn an_approval_works_once_for_its_task_and_not_for_ever() {
    let given = approved(asked(wanted())).called_by("worker").when(using(|_| ())).then([used()]);
    // After a crash between the use and the work the same task comes again.
    let given = given.when(using(|_| ())).then([]);
    let given = given.when(using(|call| call.task = key("other"))).then_refused("approval-over");
    given.when(using(|call| call.tools = vec![self::call("3")])).then_refused("approval-mismatch");
    let late = approved(asked(wanted())).at(USE_BY);
    let late = late.when(using(|_| ())).then_refused("approval-over");
    let late = late.by_timer().when(Command::Expire { due: USE_BY }).then([Event::Lapsed { at: USE_BY }]);
    late.when(using(|_| ())).then_refused("approval-over");
}

/// Complaint 6: the script behind an approval may have changed. Complaint 7: the base, and a new head.
#[test]
fn an_approval_is_for_the_very_bytes_and_grounds() {
    let given = approved(asked(wanted())).called_by("worker");
    let changes: [fn(&mut Use); 7] = [
        |call| call.tools = vec![self::call("3")],
        |call| call.tools.push(self::call("3")),
        |call| call.tools[0].name = "shell".into(),
        |call| call.tools.clear(),
        |call| call.grounds.policy_version = "p2".into(),
        |call| call.grounds.settings_version = "s2".into(),
        |call| call.task = key("other"),
    ];
    let given = changes
        .into_iter()
        .fold(given, |given, change| given.when(using(change)).then_refused("approval-mismatch"));
    // A request never changes: no new head is bound to an old approval.
    let other = Request { tools: vec![self::call("3")], ..wanted() };
    let given = given.called_by("change/c").when(Command::Request(other)).then_refused("approval-exists");
    // The base moved, and the touched files are as they were.
    let moved = Event::Used { task: key("c-apply"), base: "bbbb".into(), by: "worker".into(), at: NOW };
    let given = given.called_by("worker");
    given.when(using(|call| call.grounds.base = "bbbb".into())).then([moved]);
    let full = approved(asked(Request { base_check: BaseCheck::FullBase, ..wanted() })).called_by("worker");
    let full = full.when(using(|call| call.grounds.base = "bbbb".into())).then_refused("approval-mismatch");
    full.when(using(|_| ())).then([used()]);
}

/// Complaint 4: what a model wrote came back as a person's approval.
#[test]
fn only_a_person_who_did_not_ask_answers() {
    let given = asked(wanted());
    let ids = ids(&given);
    let approve = || Command::Approve { ids: ids.clone() };
    let given = ["change/c", "task/c", "agent/code"].into_iter().fold(given, |given, by| {
        let given = given.called_by(by).when(approve()).then_refused("not-an-approver");
        given.when(reject()).then_refused("not-an-approver")
    });
    let given = given.called_by("worker").when(using(|_| ())).then_refused("approval-waits");
    approved(given);
    let named = asked(Request { approvers: vec!["bob".into()], ..wanted() });
    let ids = self::ids(&named);
    let named =
        named.called_by("ann").when(Command::Approve { ids: ids.clone() }).then_refused("not-an-approver");
    let by_bob = Event::Approved { ids: ids.clone(), by: "bob".into(), use_by: USE_BY, at: NOW };
    named.called_by("bob").when(Command::Approve { ids }).then([by_bob]);
}

/// Complaint 3: asked to approve without being shown what. Who approves names each call by the hash of what is shown,
/// and leaving one out is no yes.
#[test]
fn every_call_is_named_exactly_once() {
    let given = asked(Request { tools: vec![call("2"), call("3")], ..wanted() });
    let both = ids(&given);
    let one = vec![both[0].clone()];
    let twice = vec![both[0].clone(), both[0].clone(), both[1].clone()];
    let given =
        [Vec::new(), one, twice, vec!["x".into(), "y".into()]].into_iter().fold(given, |given, ids| {
            given.called_by("ann").when(Command::Approve { ids }).then_refused("approval-mismatch")
        });
    let turned: Vec<_> = both.into_iter().rev().collect();
    let event = Event::Approved { ids: turned.clone(), by: "ann".into(), use_by: USE_BY, at: NOW };
    given.when(Command::Approve { ids: turned }).then([event]);
}

/// Complaint 9: a timeout was recorded as a rejection by a person, or a request waited for ever.
#[test]
fn approved_rejected_timed_out_and_canceled_are_four_outcomes() {
    let expire = || Command::Expire { due: ANSWER_BY };
    let late = asked(wanted()).at(ANSWER_BY);
    let ids = ids(&late);
    let late =
        late.called_by("ann").when(Command::Approve { ids: ids.clone() }).then_refused("approval-over");
    let late = late.when(reject()).then_refused("approval-over");
    let over = late.by_timer().when(expire()).then([Event::TimedOut { at: ANSWER_BY }]);
    over.when(expire()).then([]).when(cancel()).then([]);
    let rejected = Event::Rejected { rejection_reason: "no".into(), by: "ann".into(), at: NOW };
    let given = asked(wanted()).called_by("ann").when(reject()).then([rejected]).when(reject()).then([]);
    given.when(Command::Approve { ids: ids.clone() }).then_refused("approval-over").when(expire()).then([]);
    let canceled = Event::Canceled { reason: "enough".into(), by: "ann".into(), at: NOW };
    let given = asked(wanted()).called_by("ann").when(cancel()).then([canceled]).when(cancel()).then([]);
    given.when(Command::Approve { ids }).then_refused("approval-over").when(expire()).then([]);
    let revoked = Event::Revoked { reason: "enough".into(), by: "ann".into(), at: NOW };
    approved(asked(wanted()))
        .when(cancel())
        .then([revoked])
        .when(using(|_| ()))
        .then_refused("approval-over");
}

/// A timer of the answer that is on its way when a person approves ends nothing.
#[test]
fn a_timer_that_comes_too_early_or_too_late_ends_nothing() {
    let given = approved(asked(wanted())).by_timer();
    let used = given.when(Command::Expire { due: ANSWER_BY }).then([]).when(using(|_| ()));
    assert!(used.result.is_ok());
    let early = asked(wanted()).when(Command::Expire { due: ANSWER_BY });
    assert_eq!(early.decision().timers.len(), 1, "it waits on");
    early.then([]);
}

#[test]
fn unsound_requests_are_refused() {
    let cases = [
        Request { tools: Vec::new(), ..wanted() },
        Request { tools: vec![call("2"); 2], ..wanted() },
        Request { tools: (0..17).map(|number| call(&number.to_string())).collect(), ..wanted() },
        Request { tools: vec![Call { args: json!([]), ..call("2") }], ..wanted() },
        Request { tools: vec![Call { args: json!({"force": true}), ..call("2") }], ..wanted() },
        Request { tools: vec![Call { name: "".into(), ..call("2") }], ..wanted() },
        Request { tools: vec![call(&"x".repeat(128 * 1024))], ..wanted() },
        Request { hint: Some("a\u{202e}b".into()), ..wanted() },
        Request { approvers: vec!["".into()], ..wanted() },
        Request { answer_within_ms: 999, ..wanted() },
        Request { use_within_ms: u64::MAX, ..wanted() },
        Request { grounds: Grounds { policy_version: "".into(), ..grounds() }, ..wanted() },
    ];
    for request in cases {
        given::<Approval>(&address("approval/c"), [])
            .when(Command::Request(request))
            .then_refused("invalid-approval");
    }
    let known = asked(wanted()).when(Command::Request(wanted())).then([]);
    known.when(Command::Cancel { reason: " ".into() }).then_refused("reason-missing");
    given::<Approval>(&address("approval/none"), []).when(cancel()).then_refused("approval-not-found");
}

/// Complaint 10: recovery with a pending approval. Whoever waits is told, whichever of the two comes first.
#[test]
fn the_task_that_waits_is_told_now_or_later() {
    let told = |outcome: &str| {
        let settle = task::Command::SettleApproval { approval: key("c"), outcome: outcome.into() };
        vec![sent("task/c-apply", &settle)]
    };
    let first = asked(wanted()).called_by("task/c-apply").when(Command::Watch).then([]);
    let ids = ids(&first);
    let outcome = first.called_by("ann").when(Command::Approve { ids });
    assert_eq!(outcome.decision().sends, told("approved"));
    let outcome = outcome.given.called_by("task/c-apply").when(Command::Watch);
    assert_eq!(outcome.decision().sends, told("approved"));
    let outcome = asked(wanted()).called_by("ann").when(reject());
    assert_eq!(outcome.decision().sends, told("rejected"));
    let outcome = asked(wanted()).called_by("ann").when(cancel());
    assert_eq!(outcome.decision().sends, told("canceled"));
    let late = asked(wanted()).at(ANSWER_BY).by_timer();
    assert_eq!(late.when(Command::Expire { due: ANSWER_BY }).decision().sends, told("timed-out"));
    let none = given::<Approval>(&address("approval/c"), []).called_by("task/c-apply").when(Command::Watch);
    assert_eq!(none.decision().sends, told("not-found"));
}
