//! A lane without limits: attempts begin with the next worker whose claim fits.

use bus_schemas::settings::{Budget, Retry, RetryPolicy};
use bus_schemas::views::lane::{Limit, Part, Waiting};
use smol_str::format_smolstr;

use super::*;

#[test]
fn it_asks_for_the_rules_once_with_the_first_thing_that_happens() {
    let join = || lane::Command::Join { partition: HERE };
    let hold = Command::Hold {
        cause: "halt/task.t".into(),
        root: key("t"),
        reason: "fire".into(),
        interrupt: false,
        grace_ms: 0,
    };
    for first in [enqueue("a", "ann", 5, 1), hold] {
        let outcome = queue([]).when(release("x"));
        assert!(told_lane(&outcome).is_empty(), "nothing happened");
        let outcome = outcome.given.when(first);
        assert_eq!(told_lane(&outcome), [join()]);
        let outcome = outcome.given.when(enqueue("b", "ann", 5, 2));
        assert!(told_lane(&outcome).is_empty(), "once is enough");
        assert!(taken(&outcome.given.when(take(9))).is_empty(), "nothing begins before it knows the rules");
    }
    let nameless = given::<Queue>(&address("queue/default"), []);
    nameless.when(enqueue("a", "ann", 5, 1)).then_refused("invalid-key");
}

#[test]
fn a_worker_gets_what_it_claims_under_the_token_of_its_claim() {
    let outcome = ruled(false, waiting(&["a", "b", "c"])).when(take(2));
    let told: Vec<(String, task::Command)> = outcome
        .decision()
        .sends
        .iter()
        .map(|send| (send.to.to_string(), send.body.read().expect("a command of a task")))
        .collect();
    assert_eq!(told.len(), 2);
    for ((to, command), name) in told.iter().zip(["a", "b"]) {
        let task::Command::Assign { agent, worker, claim: answers, attempt, token, policy } = command else {
            panic!("{command:?}")
        };
        assert_eq!(*to, format!("task/{name}"));
        assert_eq!((agent, worker.as_str(), *answers, *attempt), (&key("coder"), "w1", claim(), 1));
        assert_eq!((*token, policy), (Hash::of(b"a token"), &None));
    }
    let given = outcome.then([assigned("a"), assigned("b")]);
    let given = given.when(take(5)).then([assigned("c")]).when(take(5)).then([]);
    given.when(release("a")).then([released("a")]).when(release("a")).then([]);
}

#[test]
fn a_claim_gets_the_best_of_all_its_skills_and_no_other() {
    let skilled = |name: &str, skill: &str, priority| {
        Event::Enqueued(Entry { skill: skill.into(), ..entry(name, "ann", priority, 1) })
    };
    let past = [skilled("code-1", "code", 5), skilled("draw-1", "draw", 9), skilled("test-1", "test", 7)];
    let given = ruled(false, past);
    let outcome = given.when(take_by("coder", 1, &["code", "test"]));
    assert_eq!(taken(&outcome), ["test-1"]);
    let outcome = outcome.given.when(take_by("coder", 9, &["code", "test"]));
    assert_eq!(taken(&outcome), ["code-1"]);
    assert_eq!(taken(&outcome.given.when(take_by("coder", 9, &["sing", "draw"]))), ["draw-1"]);
}

#[test]
fn one_claim_takes_so_many_at_most() {
    let past = (0..300).map(|n| enqueued(&format!("t{n}"), "ann", 5, n));
    let outcome = ruled(false, past).when(take(10_000));
    assert_eq!(taken(&outcome).len(), 256);
    assert_eq!(taken(&outcome.given.when(take(10_000))).len(), 44);
}

#[test]
fn the_same_attempt_waits_once_and_a_later_one_replaces_it() {
    let later = || Command::Enqueue(Entry { attempt: 2, ..entry("a", "ann", 5, 9) });
    let given = ruled(false, waiting(&["a"])).when(enqueue("a", "ann", 5, 1)).then([]);
    let given = given.when(later()).given.when(enqueue("a", "ann", 5, 1)).then([]);
    assert_eq!(given.state().waiting(&key("a")).map(|entry| entry.attempt), Some(2));
    given.when(release("a")).then([]);

    let outcome = ruled(false, [enqueued("a", "ann", 5, 1), assigned("a")]).when(later());
    let freed = Event::Released { task: key("a"), attempt: 1, outcome: lane::Outcome::Withdrawn };
    assert_eq!(outcome.decision().events[0], freed, "the stale attempt is gone");
    assert!(outcome.given.state().running(&key("a")).is_none());
}

#[test]
fn a_task_is_told_what_the_settings_say_of_its_skill() {
    let often = RetryPolicy { attempts: 7, ..RetryPolicy::default() };
    let retry = Retry { skills: [("code".into(), often)].into(), ..Retry::default() };
    let budget = Budget { tokens: Some(9), ..Budget::default() };
    let said = Rules { retry, budget, ..rules(false, 1) };
    let outcome = queue(waiting(&["a"])).when(Command::Rules(said)).given.when(take(1));
    match outcome.decision().sends[0].body.read() {
        Ok(task::Command::Assign { policy: Some(policy), .. }) => {
            assert_eq!((policy.retry.attempts, policy.budget.tokens), (7, Some(9)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn workers_are_called_for_the_first_of_each_skill() {
    let skilled = |name: &str, skill: &str, priority, since| {
        Event::Enqueued(Entry { skill: skill.into(), ..entry(name, "ann", priority, since) })
    };
    let past = [skilled("a", "code", 5, 7), skilled("b", "code", 9, 8), skilled("c", "draw", 9, 3)];
    assert!(queue(past.clone()).openings().is_empty(), "its lane has not said its rules");
    let openings = ruled(false, past).openings();
    let told: Vec<_> = openings.iter().map(|opening| (opening.skill.as_str(), opening.rank)).collect();
    assert_eq!(told, [("draw", (0, Timestamp(3))), ("code", (0, Timestamp(8)))]);
    assert!(openings.iter().all(|opening| opening.lane == key("default") && opening.agent.is_none()));
    let many = (0..300).map(|n| skilled(&format!("t{n}"), &format_smolstr!("s{n}"), 5, 1_000 - n));
    let openings = ruled(false, many).openings();
    assert_eq!((openings.len(), openings[0].skill.as_str()), (256, "s299"), "those that wait longest");
}

#[test]
fn it_says_what_waits_and_runs_here_and_why() {
    let given = ruled(false, waiting(&["a", "b", "c"])).when(take(1)).given;
    let part: Part = serde_json::from_value(given.ask(Query::Describe).unwrap().value).expect("a view");
    assert_eq!((part.waiting, part.oldest, part.governed), (2, Some(Timestamp(2)), Some(false)));
    assert_eq!(part.running, [(key("coder"), 1)].into());
    let explain = |given: &Given<Queue>, name: &str| -> Waiting {
        let view = given.ask(Query::Explain { task: key(name) }).expect("it answers");
        serde_json::from_value(view.value).expect("a view")
    };
    let runs = explain(&given, "a");
    assert_eq!((runs.waits, runs.attempt, runs.agent), (false, 1, Some(key("coder"))));
    let waits = explain(&given, "c");
    assert_eq!((waits.waits, waits.ahead, waits.since), (true, 1, Some(Timestamp(3))));
    assert!(waits.blocks.is_empty(), "nothing but its place");
    let claim = waits.last_claim.expect("somebody was given work");
    assert_eq!((claim.agent, claim.worker.as_str(), claim.at), (key("coder"), "w1", NOW));
    assert_eq!(explain(&given, "x"), Waiting::default());
    let untold = explain(&queue(waiting(&["a"])), "a");
    assert_eq!(untold.blocks[0].what, Limit::Order);
    let part: Part = serde_json::from_value(queue([]).ask(Query::Describe).unwrap().value).expect("a view");
    assert_eq!(part.governed, None);
}
