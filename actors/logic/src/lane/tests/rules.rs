//! Given, when, then for rules from settings and people, and for reading them back.

use actors_core::{Revision, Timestamp};
use bus_schemas::PartitionId;
use bus_schemas::commands::lane::{Command, HoldScope, Limits, Outcome};
use bus_schemas::commands::{halt, queue, settings as documents};
use bus_schemas::events::lane::Event;
use bus_schemas::settings::{self, ApplySettings};
use bus_schemas::views::lane::{Lane as View, Limit};
use serde_json::{Value, json};

use super::*;

fn apply(version: u64, value: Value) -> Command {
    Command::ApplySettings(ApplySettings { name: "lanes".into(), version, value })
}

fn configured(version: u64, concurrent: Option<u32>, paused: bool) -> Event {
    let limits = Limits { concurrent, ..Limits::default() };
    Event::Configured { version, limits, paused, at: NOW }
}

fn pause(reason: &str) -> Command {
    Command::Pause { reason: reason.into() }
}

fn resume(per_minute: Option<u32>) -> Command {
    Command::Resume { reason: "done".into(), per_minute, revision: None }
}

fn described(given: Given<Lane>) -> View {
    serde_json::from_value(given.ask(Query::Describe).expect("it answers").value).expect("a view")
}

#[test]
fn a_resume_that_comes_late_ends_no_newer_pause() {
    let meant = |revision: Revision| Command::Resume {
        reason: "done".into(),
        per_minute: None,
        revision: Some(revision),
    };
    let given = lane([configured(0, None, false)]).when(pause("a drill")).given;
    let seen = described(given).revision;
    let given = lane([configured(0, None, false)]).when(pause("a drill")).given;
    let given =
        given.when(enqueue("b", "ann", 5, 1)).given.when(resume(None)).given.when(pause("a leak")).given;
    let given = given.when(meant(seen)).then_refused("changed-since");
    let outcome = given.when(enqueue("c", "ann", 5, 1)).given.when(meant(Revision(u64::MAX)));
    assert_eq!(outcome.decision().reply["reason"], "a leak", "who ends it sees what it was");
    assert_eq!(described(outcome.given).pause, None);
}

#[test]
fn a_lane_asks_for_its_rules_until_it_was_told() {
    let watch = documents::Command::Watch { kind: address("lane/x").kind, key: key("default") };
    let watches = ["lanes", "retry", "limits"].map(|name| sent(&format!("settings/{name}"), &watch));
    let all = sent("halt/all", &halt::Command::Watch { lane: key("default") });
    let outcome = lane([]).when(offer("coder", 1));
    assert_eq!(outcome.decision().sends, [&watches[..], &[all]].concat(), "an agent comes first");
    let outcome = lane([]).when(Command::Join { partition: PartitionId(3) });
    assert_eq!(outcome.decision().sends, watches, "work comes first");
    let outcome = outcome.given.when(enqueue("b", "ann", 5, 1));
    assert!(outcome.decision().sends.is_empty(), "once is enough");
    assert_eq!(lane([offered("coder", 1)]).when(offer("coder", 1)).decision().sends, watches, "not told yet");
    let told = lane([offered("coder", 1), configured(0, None, false)]).when(offer("coder", 1));
    assert!(told.decision().sends.is_empty());
}

#[test]
fn a_task_that_asks_again_for_what_it_has_gets_no_second_leave() {
    let assigned = Event::Assigned { task: key("a"), attempt: 1, agent: key("coder"), at: NOW };
    let capped = configured(0, Some(2), false);
    let given = lane([offered("coder", 2), capped, enqueued("a", "ann", 5, 1), assigned]);
    let outcome = given.when(enqueue("a", "ann", 5, 1));
    assert!(outcome.decision().events.is_empty());
    assert_eq!(outcome.decision().sends, [], "it could cross a word that takes the first one back");
}

#[test]
fn queues_are_told_what_the_settings_say_of_tasks() {
    let told = |name: &str, version, value| {
        Command::ApplySettings(settings::ApplySettings { name: name.into(), version, value })
    };
    let retry = json!({"skills": {"code": {"attempts": 7}}});
    let joined = Event::Joined { partition: PartitionId(3) };
    let given = lane([joined, offered("coder", 2), configured(0, Some(2), false)]);
    let outcome = given.when(told("retry", 0, json!({})));
    assert!(outcome.decision().events.is_empty(), "the defaults are known");
    let given = outcome.given.when(told("retry", 1, retry.clone())).given;
    let outcome = given.when(told("retry", 1, retry));
    assert!(outcome.decision().events.is_empty(), "said twice");
    let outcome = outcome.given.when(told("limits", 1, json!({"budget": {"tokens": 9}})));
    match outcome.decision().sends.last().map(|send| send.body.read()) {
        Some(Ok(queue::Command::Rules(rules))) => {
            let attempts = rules.retry.policy("code").attempts;
            assert_eq!((attempts, rules.budget.tokens, rules.governed), (7, Some(9), true));
        }
        other => panic!("{other:?}"),
    }
    lane([]).when(told("retry", 3, json!({"skills": 7}))).then_refused("invalid-settings");
}

/// Goal: a lane shows which version of which settings it runs, also when two versions have the same rules.
#[test]
fn a_lane_knows_the_versions_that_it_runs() {
    let told = |name: &str, version, value| {
        Command::ApplySettings(settings::ApplySettings { name: name.into(), version, value })
    };
    let versions = |given: Given<Lane>| {
        let settings = described(given).settings;
        ["lanes", "limits", "retry"].map(|name| settings.get(name).copied())
    };
    assert_eq!(versions(lane([])), [None, Some(0), Some(0)], "nobody has told it anything");
    let tokens = |queue: u32| json!({"inbox_queue": queue, "budget": {"tokens": 9}});
    let after = |commands: Vec<Command>| {
        let given = lane([configured(2, None, false)]);
        commands.into_iter().fold(given, |given, command| given.when(command).given)
    };
    let mut commands = vec![told("retry", 1, json!({"default": {"attempts": 7}}))];
    commands.push(told("limits", 3, tokens(100)));
    assert_eq!(versions(after(commands.clone())), [Some(2), Some(3), Some(1)]);
    let outcome = after(commands.clone()).when(told("limits", 4, tokens(200)));
    assert_eq!(outcome.decision().events.len(), 1, "the same budget, of another version");
    assert_eq!(versions(outcome.given), [Some(2), Some(4), Some(1)]);
    commands.push(told("retry", 0, json!({})));
    assert_eq!(versions(after(commands)), [Some(2), Some(3), Some(0)], "the defaults hold again");
}

#[test]
fn activated_rules_hold_at_once_and_instead_of_all_others() {
    let named = json!({"default": {"concurrent": 1}, "lanes": {"default": {"concurrent": 3}}});
    let waiting = (1..5).map(|n| enqueued(&format!("t{n}"), "ann", 5, n));
    let past: Vec<_> = waiting.chain([offered("coder", 9), Event::CapSet { concurrent: Some(0) }]).collect();
    let outcome = lane(past).when(apply(0, json!({})));
    assert_eq!(outcome.decision().events, [configured(0, Some(0), false)], "nobody has activated anything");
    let outcome = outcome.given.when(apply(0, json!({})));
    assert!(outcome.decision().events.is_empty(), "said twice");
    let outcome = outcome.given.when(apply(1, json!({"default": {"concurrent": 1}})));
    assert_eq!(assignments(&outcome), ["t1"], "the rules of all lanes");
    let outcome = outcome.given.when(apply(2, named));
    assert_eq!(assignments(&outcome), ["t2", "t3"], "its own rules");
    assert_eq!(described(outcome.given).version, Some(2));
    let given = lane([configured(2, Some(1), false)]).when(apply(0, json!({})));
    given.then([configured(0, None, false), Event::GoverningEnded { at: NOW }]);
    lane([]).when(apply(3, json!({"lanes": 7}))).then_refused("invalid-settings");
}

#[test]
fn a_lane_that_settings_pause_waits_until_they_do_not() {
    let past = [offered("coder", 9), enqueued("a", "ann", 5, 1), configured(1, None, true)];
    let held = described(lane(past.clone()));
    assert_eq!((held.blocks[0].what, held.blocks[0].cause.as_deref()), (Limit::Held, Some("settings/lanes")));
    let outcome = lane(past.clone()).when(Command::Wake);
    assert_eq!(assignments(&outcome), [""; 0]);
    lane(past).when(resume(None)).then_refused("not-paused");
    let outcome = outcome.given.when(apply(2, json!({"default": {"paused": false}})));
    assert_eq!(assignments(&outcome), ["a"]);
}

#[test]
fn a_person_pauses_a_lane_and_says_why() {
    let paused = Event::Paused { reason: "new disk".into(), by: "ann".into(), at: NOW };
    let past = [offered("coder", 2), enqueued("a", "ann", 5, 1), assigned("a", "coder")];
    let outcome = lane(past).when(pause("new disk"));
    assert!(outcome.decision().sends.is_empty(), "what runs goes on");
    let given = outcome.then([paused]).when(pause("new disk")).then([]);
    let outcome = given.when(enqueue("b", "ann", 5, 2));
    assert_eq!(assignments(&outcome), [""; 0]);
    let view = described(outcome.given);
    assert_eq!(
        (view.blocks[0].what, view.blocks[0].reason.as_str()),
        (Limit::Held, "paused by ann: new disk")
    );
    lane([]).when(pause(" ")).then_refused("reason-missing");
    lane([]).when(resume(None)).then_refused("not-paused");
    lane([]).when(resume(Some(0))).then_refused("invalid-rate");
    let past = [offered("coder", 2), enqueued("b", "ann", 5, 2)];
    let outcome = lane(past).when(pause("new disk")).given.when(resume(None));
    assert_eq!(assignments(&outcome), ["b"]);
}

#[test]
fn a_rate_doubles_with_each_minute_that_used_it_up_and_falls_back_on_a_failure() {
    let waiting = (10..60).map(|n| enqueued(&format!("t{n}"), "ann", 5, n));
    let held = held("halt/all", HoldScope::Lane);
    let past: Vec<_> = waiting.chain([offered("coder", 2), held]).collect();
    let mut given = lane(past).at(Timestamp(60_000));
    let mut begun = Vec::new();
    for minute in 1_u64..=6 {
        let command = match minute {
            1 => Command::Ease { cause: "halt/all".into(), per_minute: Some(2) },
            _ => Command::Wake,
        };
        let mut outcome = given.at(Timestamp(minute * 60_000)).when(command);
        let mut count = 0;
        loop {
            let now = assignments(&outcome);
            count += now.len();
            let Some(task) = outcome.given.state().any_running() else { break };
            let result = if minute == 4 && now.is_empty() { Outcome::Failed } else { Outcome::Done };
            outcome = outcome.given.when(Command::Release { task, attempt: 1, outcome: result });
        }
        given = outcome.given;
        begun.push(count);
    }
    assert_eq!(begun, [2, 4, 8, 16, 2, 4]);
    assert!(!given.state().throttles().is_empty(), "work waits still, and each minute was used up");
}

#[test]
fn a_lane_without_a_bound_says_what_its_work_waits_for() {
    let lonely = described(lane([enqueued("a", "ann", 5, 1)]));
    assert_eq!((lonely.waiting, lonely.blocks[0].what), (1, Limit::NoAgent));
    let busy = [offered("coder", 1), enqueued("a", "ann", 5, 1), assigned("a", "coder")];
    assert!(described(lane(busy.clone())).blocks.is_empty(), "nothing waits");
    let busy: Vec<_> = busy.into_iter().chain([enqueued("b", "ann", 5, 2)]).collect();
    assert_eq!(described(lane(busy)).blocks[0].what, Limit::Busy);
}
