//! The budget of a tree: reservations, exceeded limits, the question and its answers.

use bus_schemas::commands::task::{Policy, Reservation, Usage};
use bus_schemas::settings::{Budget, Duration};
use bus_schemas::views::task::Dimension;

use super::*;

fn tokens(tokens: u64) -> Usage {
    Usage { tokens, ..Usage::default() }
}

fn bounded(budget: Budget) -> Given<Task> {
    let submission = Submit { budget: Some(budget), plan: Some(diamond()), ..Submit::new("a goal") };
    root([submitted(submission), Event::Planned { plan: diamond() }, child_started("a"), child_started("b")])
}

fn reserve(name: &str, amount: Usage) -> Command {
    Command::Reserve { reservation: name.into(), task: key("t.a"), amount, lease_ms: 60_000 }
}

fn settle_call(name: &str, used: Usage) -> Command {
    Command::Settle { reservation: name.into(), used }
}

fn granted(outcome: &Outcome<Task>) -> bool {
    let reply = outcome.decision().reply.clone();
    serde_json::from_value::<Reservation>(reply).expect("a reservation").granted
}

fn thousand_tokens() -> Given<Task> {
    bounded(Budget { tokens: Some(1_000), ..Budget::default() })
}

/// The messages for the queue.
fn told_queue(outcome: &Outcome<Task>) -> Vec<queue::Command> {
    let sends = outcome.decision().sends.iter().filter(|send| send.to == address(&queue_of("t")));
    sends.map(|send| send.body.read().expect("a command of a queue")).collect()
}

#[test]
fn a_call_is_reserved_at_its_worst_and_settled_with_what_it_used() {
    let outcome = thousand_tokens().when(reserve("t.a/1/1", tokens(600)));
    assert!(granted(&outcome));
    assert_eq!(timer(&outcome, "reservations"), Some(NOW.plus_ms(60_000)));
    let again = outcome.given.when(reserve("t.a/1/1", tokens(600)));
    assert!(granted(&again) && again.decision().events.is_empty(), "said twice, reserved once");
    let outcome = again.given.when(settle_call("t.a/1/1", tokens(100)));
    assert!(cancels_timer(&outcome, "reservations"));
    let given = outcome.given.when(settle_call("t.a/1/1", tokens(100))).then([]);
    let account = given.state().account.as_ref().expect("it has a budget");
    assert_eq!((account.used, account.held()), (tokens(100), tokens(0)));
    assert!(granted(&given.when(reserve("t.b/1/1", tokens(900)))));
}

#[test]
fn what_is_not_allowed_pauses_the_tree_and_asks_for_more() {
    let given = thousand_tokens().when(reserve("t.a/1/1", tokens(600))).given;
    let outcome = given.when(reserve("t.b/1/1", tokens(500)));
    assert!(!granted(&outcome));
    let [queue::Command::Hold { root, interrupt, .. }] = &told_queue(&outcome)[..] else {
        panic!("{:?}", outcome.decision().sends)
    };
    assert_eq!((root, *interrupt), (&key("t"), false));
    let given = outcome.given;
    assert_eq!(given.state().shown(), TaskState::InputRequired);
    let small = given.when(reserve("t.b/1/2", tokens(1)));
    assert!(!granted(&small) && small.decision().events.is_empty(), "paused is paused, and asked once");
    let vague = answer_to(&small.given, "plenty");
    let given = small.given.when(vague).then_refused("invalid-answer");
    let enough = answer_to(&given, 500);
    let outcome = given.when(enough);
    assert!(matches!(&told_queue(&outcome)[..], [queue::Command::Ease { .. }]));
    assert_eq!(outcome.given.state().shown(), TaskState::Working);
    assert!(granted(&outcome.given.when(reserve("t.b/1/1", tokens(500)))));
}

#[test]
fn a_budget_that_is_not_extended_ends_the_tree() {
    let given = thousand_tokens().when(reserve("t.a/1/1", tokens(2_000))).given;
    let no = answer_to(&given, "no");
    let outcome = given.when(no);
    let stopped: Vec<_> = outcome.decision().sends.iter().map(|send| send.to.to_string()).collect();
    assert_eq!(stopped, ["task/t.a", "task/t.b"]);
    let given = outcome.given.when(settle("a", TaskState::Canceled)).given;
    let outcome = given.when(settle("b", TaskState::Canceled));
    let state = outcome.given.state();
    assert_eq!(
        (state.status, state.failure.as_ref().unwrap().class),
        (TaskState::Failed, FailureClass::Budget)
    );
    assert!(matches!(&told_queue(&outcome)[..], [queue::Command::Ease { .. }]), "the queue holds nothing");
}

#[test]
fn what_nobody_settles_counts_as_used() {
    let given = thousand_tokens().when(reserve("t.a/1/1", tokens(600))).given;
    let given = given.when(Command::ExpireReservations).then([]);
    let outcome = given.at(NOW.plus_ms(60_000)).when(Command::ExpireReservations);
    let [Event::Settled { used, lapsed, .. }] = &outcome.decision().events[..] else {
        panic!("{:?}", outcome.decision().events)
    };
    assert_eq!((*used, *lapsed), (tokens(600), true));
}

#[test]
fn what_a_lapsed_call_used_above_its_worst_is_counted_when_it_says_so() {
    let given = thousand_tokens().when(reserve("t.a/1/1", tokens(600))).given;
    let given = given.at(NOW.plus_ms(60_000)).when(Command::ExpireReservations).given;
    let given = given.when(settle_call("t.a/1/1", tokens(100))).then([]);
    let more = Event::Settled {
        reservation: "t.a/1/1".into(),
        used: tokens(300),
        reserved: tokens(0),
        lapsed: false,
    };
    let given = given.when(settle_call("t.a/1/1", tokens(900))).then([more]);
    let given = given.when(settle_call("t.a/1/1", tokens(900))).then([]);
    assert_eq!(given.state().account.as_ref().map(|account| account.used), Some(tokens(900)));
    let outcome = given.when(reserve("t.b/1/1", tokens(200)));
    assert!(!granted(&outcome), "it counts");
}

#[test]
fn only_so_many_lapsed_calls_are_remembered() {
    let budget = Budget { tokens: Some(1_000_000), ..Budget::default() };
    let mut given = bounded(budget);
    for call in 0..300 {
        given = given.when(reserve(&format!("t.a/1/{call}"), tokens(1))).given;
    }
    let given = given.at(NOW.plus_ms(60_000)).when(Command::ExpireReservations).given;
    assert_eq!(given.state().account.as_ref().map(|account| account.lapsed.len()), Some(256));
}

#[test]
fn a_task_of_another_tree_reserves_nothing() {
    for (task, is_within) in [("t", true), ("t.a.b", true), ("tea", false), ("x.t", false)] {
        let command = Command::Reserve {
            reservation: "x".into(),
            task: key(task),
            amount: tokens(1),
            lease_ms: 60_000,
        };
        let outcome = thousand_tokens().when(command);
        match is_within {
            true => assert!(granted(&outcome), "{task}"),
            false => drop(outcome.then_refused("invalid-reservation")),
        }
    }
}

#[test]
fn a_retried_tree_has_what_is_left_of_its_time() {
    let budget = Budget { wall_clock: Some(Duration::from_secs(60)), ..Budget::default() };
    let failed = || {
        let submission = Submit { budget: Some(budget.clone()), ..Submit::new("a goal") };
        running(submission).when(fail_job(1, FailureClass::Permanent))
    };
    assert!(cancels_timer(&failed(), "wall-clock"));
    let retry = || Command::Retry { end: None };
    let outcome = failed().given.at(NOW.plus_ms(50_000)).when(retry());
    assert_eq!(timer(&outcome, "wall-clock"), Some(NOW.plus_ms(60_000)));
    // If nothing is left, a person is asked before anything is done.
    let outcome = failed().given.at(NOW.plus_ms(70_000)).when(retry());
    let [queue::Command::Hold { .. }, queue::Command::Enqueue { .. }] = &told_queue(&outcome)[..] else {
        panic!("{:?}", outcome.decision().sends)
    };
    assert_eq!(outcome.given.state().shown(), TaskState::InputRequired);
    let more = answer_to(&outcome.given, "30m");
    let outcome = outcome.given.when(more);
    assert_eq!(timer(&outcome, "wall-clock"), Some(NOW.plus_ms(70_000 + 1_800_000)));
    assert!(matches!(&told_queue(&outcome)[..], [queue::Command::Ease { .. }]));
}

#[test]
fn a_call_that_used_more_than_it_said_is_the_last_one() {
    let given = thousand_tokens().when(reserve("t.a/1/1", tokens(600))).given;
    let given = given.when(settle_call("t.a/1/1", tokens(1_200))).given;
    assert_eq!(given.state().shown(), TaskState::InputRequired);
}

#[test]
fn jobs_are_counted_and_one_too_many_is_taken_back() {
    let count = |attempt| Command::CountJob { task: key("t.a"), attempt };
    let given = bounded(Budget { jobs: Some(1), ..Budget::default() });
    let given = given.when(count(1)).then([Event::JobCounted { task: key("t.a"), attempt: 1 }]);
    let outcome = given.when(count(2));
    let taken_back =
        Command::Withdraw { attempt: 2, reason: "the budget of its tree allows no more jobs".into() };
    assert!(outcome.decision().sends.contains(&sent("task/t.a", &taken_back)));
    assert_eq!(outcome.given.state().shown(), TaskState::InputRequired);
}

#[test]
fn a_task_of_a_bounded_tree_tells_the_root_of_each_job() {
    let budget = Budget { jobs: Some(5), ..Budget::default() };
    let submission = Submit { parent: Some(key("t")), budget: Some(budget), ..Submit::new("a goal") };
    let given = given::<Task>(&address("task/t.a"), [submitted(submission), queued(1)]);
    let outcome = given.when(assign(1));
    assert!(outcome.decision().jobs[0].1.metered);
    assert_eq!(
        outcome.decision().sends,
        [sent("task/t", &Command::CountJob { task: key("t.a"), attempt: 1 })]
    );
    outcome.given.when(reserve("x", tokens(1))).then_refused("ask-the-root");
}

#[test]
fn time_that_is_over_stops_the_tree_until_there_is_more() {
    let budget = Budget { wall_clock: Some(Duration::from_secs(60)), ..Budget::default() };
    let submission = Submit { budget: Some(budget.clone()), ..Submit::new("a goal") };
    let outcome = root([]).when(Command::Submit(submission));
    assert_eq!(timer(&outcome, "wall-clock"), Some(NOW.plus_ms(60_000)));
    let given = bounded(budget).when(Command::ExpireWallClock).then([]);
    let outcome = given.at(NOW.plus_ms(60_000)).when(Command::ExpireWallClock);
    let [queue::Command::Hold { interrupt: true, .. }] = &told_queue(&outcome)[..] else {
        panic!("{:?}", outcome.decision().sends)
    };
    let [nothing, more] = [Value::Null, "30m".into()].map(|answer| answer_to(&outcome.given, answer));
    let given = outcome.given.when(nothing).then_refused("invalid-answer");
    let outcome = given.at(NOW.plus_ms(90_000)).when(more);
    assert_eq!(timer(&outcome, "wall-clock"), Some(NOW.plus_ms(90_000 + 1_800_000)));
    let account = outcome.given.state().account.clone().expect("it has a budget");
    assert_eq!((account.exceeded, account.limits.wall_clock), (None, Some(Duration::from_secs(1_890))));
}

#[test]
fn a_tree_without_a_budget_gets_that_of_the_settings() {
    let budget = Budget { tokens: Some(10), ..Budget::default() };
    let policy = Some(Box::new(Policy { budget: budget.clone(), ..Policy::default() }));
    let Command::Assign { agent, worker, claim, attempt, token, .. } = assign(1) else { return };
    let assign = Command::Assign { agent, worker, claim, attempt, token, policy };
    let given = root([submitted(Submit::new("a goal")), queued(1)]);
    let outcome = given.when(assign.clone());
    assert!(outcome.decision().events.contains(&Event::BudgetSet { budget: budget.clone() }));
    assert!(outcome.decision().jobs[0].1.metered);
    // A budget of its own is not replaced.
    let own =
        Submit { budget: Some(Budget { tokens: Some(99), ..Budget::default() }), ..Submit::new("a goal") };
    let state = root([submitted(own), queued(1)]).when(assign.clone()).given.state().account.clone();
    assert_eq!(state.map(|account| account.limits.tokens), Some(Some(99)));
    // A child tells its root.
    let child = Submit { parent: Some(key("t")), ..Submit::new("a goal") };
    let outcome = super::given::<Task>(&address("task/t.a"), [submitted(child), queued(1)]).when(assign);
    let adopt = sent("task/t", &Command::AdoptBudget { budget: budget.clone() });
    assert!(outcome.decision().sends.contains(&adopt));
    let given = root([submitted(planned(diamond())), Event::Planned { plan: diamond() }]);
    let adopt = Command::AdoptBudget { budget: budget.clone() };
    given.when(adopt.clone()).then([Event::BudgetSet { budget }]).when(adopt).then([]);
}

#[test]
fn an_extension_says_how_much_more_of_what() {
    let extend = |extend| Command::ExtendBudget { extend, reason: String::new() };
    let more = Budget { tokens: Some(5), ..Budget::default() };
    let given = thousand_tokens().when(extend(Budget::default())).then_refused("invalid-extension");
    let given = given.when(extend(more.clone())).given;
    assert_eq!(given.state().account.as_ref().unwrap().limits.tokens, Some(1_005));
    root([submitted(Submit::new("a goal"))]).when(extend(more)).then_refused("no-budget");
    for budget in [
        Budget { tokens: Some(0), ..Budget::default() },
        Budget { wall_clock: Some(Duration::from_ms(5)), ..Budget::default() },
    ] {
        let submission = Submit { budget: Some(budget), ..Submit::new("a goal") };
        root([]).when(Command::Submit(submission)).then_refused("invalid-budget");
    }
}

#[test]
fn a_time_that_no_date_can_end_is_refused_wherever_it_comes_from() {
    let time = |time| Budget { wall_clock: Some(time), ..Budget::default() };
    let (long, left) = ("9000000d".parse().expect("a duration"), Timestamp::MAX.0 - NOW.0);
    for (span, is_taken) in
        [(long, false), (Duration::from_ms(left), true), (Duration::from_ms(left + 1), false)]
    {
        let submit = Command::Submit(Submit { budget: Some(time(span)), ..Submit::new("a goal") });
        let adopt = Command::AdoptBudget { budget: time(span) };
        for (given, command) in [(root([]), submit), (root([submitted(Submit::new("a goal"))]), adopt)] {
            match is_taken {
                true => assert!(!given.when(command).decision().events.is_empty()),
                false => drop(given.when(command).then_refused("invalid-budget")),
            }
        }
        let extend = Command::ExtendBudget { extend: time(span), reason: String::new() };
        bounded(time(Duration::from_secs(60))).when(extend).then_refused("invalid-extension");
    }
    let given = bounded(time(Duration::from_secs(60))).at(NOW.plus_ms(60_000));
    let mut given = given.when(Command::ExpireWallClock).given;
    for answer in
        [Value::from("9000000d"), Value::from(u64::MAX), serde_json::json!({"wall_clock": "9000000d"})]
    {
        let named = answer_to(&given, answer);
        given = given.when(named).then_refused("invalid-extension");
    }
}

#[test]
fn the_view_shows_what_is_left_and_that_it_waits() {
    let given = thousand_tokens().when(reserve("t.a/1/1", tokens(600))).given;
    let given = given.when(reserve("t.b/1/1", tokens(500))).given;
    let view = super::super::view(given.state(), &key("t")).expect("it was submitted");
    assert_eq!(view.state, TaskState::InputRequired);
    let account = view.budget.expect("it has a budget");
    assert_eq!(account.exceeded.map(|exceeded| exceeded.dimension), Some(Dimension::Tokens));
    assert_eq!((account.used, account.reserved), (tokens(0), tokens(600)));
    assert!(view.question.is_some_and(|question| question.contains("of 1000 tokens")));
}

/// The budget runs out while a step's question is open: each is answered by its own id.
#[test]
fn a_question_of_the_budget_is_answered_by_its_own_name() {
    let budget = Budget { tokens: Some(1_000), ..Budget::default() };
    let given = running(Submit { budget: Some(budget), ..Submit::new("a goal") });
    let reserve = |tokens_wanted| Command::Reserve {
        reservation: "t/1/1".into(),
        task: key("t"),
        amount: tokens(tokens_wanted),
        lease_ms: 60_000,
    };
    let given = given.when(ask(1, "which?")).given;
    let colour = answer_to(&given, "blue");
    let given = given.when(reserve(2_000)).given;
    let more = answer_to(&given, 5_000);
    assert_ne!(colour, more);
    let given = given.when(colour.clone()).given;
    assert_eq!(given.state().answers, [Value::from("blue")]);
    let given = given.when(colour).then_refused("question-over");
    let given = given.when(more.clone()).given;
    assert_eq!(given.state().account.as_ref().and_then(|account| account.limits.tokens), Some(6_000));
    given.when(more).then_refused("no-question");
}
