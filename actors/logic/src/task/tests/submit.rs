//! `submit`: what is accepted, what is refused, and the message for the parent.

use super::*;

#[test]
fn a_leaf_is_queued_and_the_same_submission_is_the_same_answer() {
    let deadline = NOW.plus_ms(60_000);
    let submission = Submit { deadline: Some(deadline), skill: "code".into(), ..Submit::new("a goal") };
    let outcome = root([]).called_by("schedule/s").when(Command::Submit(submission.clone()));
    assert_eq!(outcome.decision().sends, [enqueue("t", 1, "code")]);
    assert_eq!(timer(&outcome, "deadline"), Some(deadline));
    assert_eq!(outcome.decision().reply["state"], "submitted");
    assert_eq!(outcome.decision().reply["revision"], 2);
    let given = outcome.then([submitted(submission.clone()), queued(1)]);
    let again = given.when(Command::Submit(submission));
    assert!(again.decision().sends.is_empty());
    assert_eq!(again.decision().reply["id"], "t");
    again.then([]).when(Command::Submit(Submit::new("another goal"))).then_refused("task-exists");
}

#[test]
fn a_plan_starts_every_step_that_waits_for_nothing() {
    let submission = Submit { owner: "ann".into(), priority: 7, ..planned(diamond()) };
    let outcome = root([]).when(Command::Submit(submission.clone()));
    let child = |name: &str| Submit {
        owner: "ann".into(),
        priority: 7,
        skill: "code".into(),
        parent: Some(key("t")),
        ..Submit::new(format!("do {name}"))
    };
    let sends = ["a", "b"].map(|name| sent(&format!("task/t.{name}"), &Command::Submit(child(name))));
    assert_eq!(outcome.decision().sends, sends);
    assert_eq!(outcome.decision().reply["children"], serde_json::json!(["t.a", "t.b"]));
    outcome.then([
        submitted(submission),
        Event::Planned { plan: diamond() },
        child_started("a"),
        child_started("b"),
    ]);
}

#[test]
fn unsound_submissions_are_refused_and_nothing_is_created() {
    let goal = || Submit::new("a goal");
    let cases = [
        ("invalid-goal", Submit::new("")),
        ("invalid-goal", Submit::new("x".repeat(8_193))),
        ("invalid-priority", Submit { priority: 10, ..goal() }),
        ("invalid-attempts", Submit { attempts_max: Some(0), ..goal() }),
        ("invalid-attempts", Submit { attempts_max: Some(101), ..goal() }),
        ("invalid-lane", Submit { lane: key(&"l".repeat(129)), ..goal() }),
        ("invalid-skill", Submit { skill: "".into(), ..goal() }),
        ("invalid-skill", Submit { skill: "s".repeat(65).into(), ..goal() }),
        ("invalid-owner", Submit { owner: "".into(), ..goal() }),
        ("invalid-deadline", Submit { deadline: Some(NOW), ..goal() }),
        ("invalid-deadline", Submit { deadline: Some(Timestamp(9_007_199_254_740_991)), ..goal() }),
        ("invalid-deadline", Submit { deadline: Some(Timestamp::MAX.next()), ..goal() }),
        ("invalid-goal", Submit::new("a\u{1b}[2J")),
        ("invalid-goal", Submit::new("a\u{202e}b")),
        ("invalid-skill", Submit { skill: "a\u{9b}b".into(), ..goal() }),
        ("invalid-owner", Submit { owner: "\u{1b}[2J\u{1b}]0;x\u{7}a".into(), ..goal() }),
        ("invalid-owner", Submit { owner: "a\nb".into(), ..goal() }),
        ("invalid-owner", Submit { owner: "a\u{202e}b".into(), ..goal() }),
        ("invalid-parent", Submit { parent: Some(key("root")), ..goal() }),
    ];
    let last = Submit { deadline: Some(Timestamp::MAX), ..Submit::new("two\r\n\tlines") };
    assert_eq!(root([]).when(Command::Submit(last)).decision().sends.len(), 1);
    for (code, submission) in cases {
        let given = root([]).called_by("schedule/s").when(Command::Submit(submission)).then_refused(code);
        assert_eq!(super::super::view(given.state(), &key("t")), None);
    }
    given::<Task>(&address("task/t.a"), []).when(Command::Submit(goal())).then_refused("invalid-parent");
}

#[test]
fn unsound_plans_are_refused() {
    let named = |name: &str| Plan { steps: vec![step(name, &[])] };
    let with = |change: fn(&mut PlanStep)| {
        let mut only = step("a", &[]);
        change(&mut only);
        Plan { steps: vec![only] }
    };
    let many = (0..257).map(|n| step(&format!("s{n}"), &[])).collect();
    let cases = [
        Plan { steps: vec![] },
        Plan { steps: many },
        named(""),
        named("a.b"),
        named("a b"),
        named(&"x".repeat(160)),
        with(|only| only.goal.clear()),
        with(|only| only.goal = "a\u{1b}b".into()),
        with(|only| only.skill = "a\nb".into()),
        with(|only| only.skill = "".into()),
        Plan { steps: vec![step("a", &[]), step("a", &[])] },
        Plan { steps: vec![step("a", &["b"])] },
        Plan { steps: vec![step("a", &["a"])] },
        Plan { steps: vec![step("a", &[]), step("b", &["a", "a"])] },
        Plan { steps: vec![step("a", &["c"]), step("b", &["a"]), step("c", &["b"]), step("d", &[])] },
    ];
    for plan in cases {
        root([]).when(Command::Submit(planned(plan))).then_refused("invalid-plan");
    }
    let deep = Submit { parent: Some(key("t.1.2.3.4.5.6.7")), ..planned(diamond()) };
    let outcome = given::<Task>(&address("task/t.1.2.3.4.5.6.7.8"), []).when(Command::Submit(deep));
    assert_eq!(outcome.given.state().status, TaskState::Rejected);
}

#[test]
fn an_unsound_child_is_rejected_so_that_its_parent_hears_of_it() {
    let submission = Submit { parent: Some(key("t")), deadline: Some(NOW), ..Submit::new("a goal") };
    let outcome = given::<Task>(&address("task/t.a"), []).when(Command::Submit(submission));
    let view = outcome.decision().reply.clone();
    assert_eq!(
        (view["state"].as_str(), view["failure"]["code"].as_str()),
        (Some("rejected"), Some("invalid-deadline"))
    );
    let [send] = &outcome.decision().sends[..] else { panic!("{:?}", outcome.decision().sends) };
    assert_eq!(send.to, address("task/t"));
    assert!(
        matches!(send.body.read(), Ok(Command::SettleChild { step, state: TaskState::Rejected, .. }) if step == "a")
    );
}

#[test]
fn every_other_command_needs_a_task() {
    for command in [
        cancel(),
        complete_job(1),
        fail_job(1, FailureClass::Transient),
        settle("a", TaskState::Completed),
        Command::Retry { end: None },
        Command::ExpireDeadline,
        assign(1),
    ] {
        root([]).when(command).then_refused("task-not-found");
    }
}

#[test]
fn a_lane_of_the_longest_name_has_a_queue() {
    let lane = key(&"l".repeat(128));
    let outcome = root([]).when(Command::Submit(Submit { lane: lane.clone(), ..Submit::new("a goal") }));
    let [send] = &outcome.decision().sends[..] else { panic!("{:?}", outcome.decision().sends) };
    assert_eq!(queue::lane(&send.to.key), Some(lane));
}

#[test]
fn a_task_belongs_to_its_caller() {
    let owner =
        |outcome: Outcome<Task>| outcome.given.state().submission.as_ref().map(|known| known.owner.clone());
    let submit = |owner: &str| Command::Submit(Submit { owner: owner.into(), ..Submit::new("a goal") });
    let by = |caller: &str| root([]).called_by(caller);
    assert_eq!(owner(by("ann").when(Command::Submit(Submit::new("a goal")))).as_deref(), Some("ann"));
    assert_eq!(owner(by("ann").when(submit("ann"))).as_deref(), Some("ann"));
    let refused = by("ann").when(submit("eve")).then_refused("foreign-owner");
    assert!(refused.state().submission.is_none());
    // A schedule says whose task it submits.
    assert_eq!(owner(by("schedule/nightly").when(submit("eve"))).as_deref(), Some("eve"));
}
