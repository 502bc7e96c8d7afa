//! Whole task trees with broker and dead letters, under workers that do anything: every root
//! comes to its end, no slot and no timer is left behind, and replay gives the same world.

use bus_schemas::commands::broker;
use bus_schemas::commands::task::{Command, Plan, PlanStep, Submit, Usage};
use bus_schemas::jobs::{EffectStep, FailureClass, Job};
use bus_schemas::settings::Budget;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::key;
use super::world::World;

/// What a worker does with a job.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Complete,
    Plan,
    FailTransient,
    FailPermanent,
    BreakOff,
    BreakOffInEffect,
    Ask,
    CancelRoot,
    CancelTask,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        8 => Just(Deed::Complete),
        4 => Just(Deed::Plan),
        3 => Just(Deed::FailTransient),
        1 => Just(Deed::FailPermanent),
        2 => Just(Deed::BreakOff),
        1 => Just(Deed::BreakOffInEffect),
        2 => Just(Deed::Ask),
        1 => Just(Deed::CancelRoot),
        1 => Just(Deed::CancelTask),
    ]
}

fn step(name: &str, after: &[&str], optional: bool) -> PlanStep {
    PlanStep {
        step: name.into(),
        goal: format!("do {name}"),
        skill: "plan".into(),
        input: Value::Null,
        after: after.iter().map(|step| (*step).into()).collect(),
        optional,
    }
}

fn plan() -> Plan {
    Plan {
        steps: vec![
            step("a", &[], false),
            step("b", &[], true),
            step("c", &["a", "b"], false),
            step("d", &["b"], false),
        ],
    }
}

fn work(world: &mut World, job: &Job, deed: Deed) {
    let (task, attempt) = (job.task.to_string(), job.attempt);
    let refusals = world.refusals.len();
    if job.metered && !spend(world, job, &deed) {
        let reason = "the budget is used up".to_owned();
        return world.tell(&task, &Command::Withdraw { attempt, reason });
    }
    world.tell(&task, &Command::StartJob { attempt, worker: "w1".into() });
    if world.refusals.len() > refusals {
        return;
    }
    let fail = |class| Command::FailJob {
        attempt,
        class,
        code: "broken".into(),
        message: "it went wrong".into(),
        hint: None,
        dependency: None,
    };
    let complete = |plan| Command::CompleteJob { attempt, artifacts: vec![], result: json!(task), plan };
    for past in job.effects.iter().filter(|past| past.step == EffectStep::Ambiguous) {
        if matches!(deed, Deed::FailPermanent | Deed::BreakOff) {
            let code = "effect-unknown".to_owned();
            let Command::FailJob { message, .. } = fail(FailureClass::Ambiguous) else { return };
            let (class, hint, dependency) = (FailureClass::Ambiguous, None, None);
            return world.tell(&task, &Command::FailJob { attempt, class, code, message, hint, dependency });
        }
        let step = if matches!(deed, Deed::Complete) { EffectStep::Completed } else { EffectStep::Failed };
        world.tell(&task, &record(attempt, past.effect.to_string(), step));
    }
    match deed {
        Deed::Plan if job.task.key.as_str().len() < 4 => world.tell(&task, &complete(Some(plan()))),
        Deed::Complete | Deed::Plan => world.tell(&task, &complete(None)),
        Deed::FailTransient => world.tell(&task, &fail(FailureClass::Transient)),
        Deed::FailPermanent => world.tell(&task, &fail(FailureClass::Permanent)),
        Deed::BreakOff => {}
        Deed::BreakOffInEffect => {
            for step in [EffectStep::Intended, EffectStep::Started] {
                let effect = format!("push {attempt}");
                world.tell(&task, &record(attempt, effect, step));
            }
        }
        Deed::Ask => {
            world.tell(
                &task,
                &Command::RequireInput { attempt, prompt: "which?".into(), authorization: false },
            );
            world.tell(&task, &Command::ProvideInput { answer: json!("blue"), by: "ann".into() });
        }
        Deed::CancelRoot | Deed::CancelTask => {
            let to = if matches!(deed, Deed::CancelTask) { task } else { "task/t".to_owned() };
            world.tell(&to, &Command::Cancel { reason: "enough".into(), by: "ann".into() });
        }
    }
}

fn record(attempt: u32, effect: String, step: EffectStep) -> Command {
    Command::RecordEffect { attempt, effect, step, detail: String::new(), key: None, result: json!(null) }
}

/// Reserves a call, and settles it unless the worker breaks off; false where the budget says no.
fn spend(world: &mut World, job: &Job, deed: &Deed) -> bool {
    let root = format!("task/{}", job.task.key.root());
    let reservation: smol_str::SmolStr = format!("{}/{}", job.task.key, job.attempt).into();
    let amount = Usage { tokens: 400, ..Usage::default() };
    let (task, lease_ms) = (job.task.key.clone(), 60_000);
    world.tell(&root, &Command::Reserve { reservation: reservation.clone(), task, amount, lease_ms });
    let account = world.state(&root)["account"].clone();
    let granted = account["reserved"].get(reservation.as_str()).is_some();
    if granted && !matches!(deed, Deed::BreakOff | Deed::BreakOffInEffect) {
        let used = Usage { tokens: 300, ..Usage::default() };
        world.tell(&root, &Command::Settle { reservation, used });
    }
    let account = world.state(&root)["account"].clone();
    let [used, limit] = [&account["used"], &account["limits"]].map(|of| of["tokens"].as_u64().unwrap_or(0));
    assert!(used <= limit, "{used} tokens are used of {limit}");
    let [used, limit] = [&account["used"], &account["limits"]].map(|of| of["jobs"].as_u64().unwrap_or(0));
    assert!(used <= limit, "{used} jobs are used of {limit}");
    granted
}

/// Answers every question; false when there is none.
fn answer(world: &mut World) -> bool {
    let tasks: Vec<_> = world.addresses().filter(|entity| entity.kind.as_str() == "task").cloned().collect();
    let mut answered = false;
    for task in tasks {
        let task = task.to_string();
        let state = world.state(&task);
        let exceeded = !state["account"]["exceeded"].is_null();
        if exceeded || state["phase"] == json!("answer") {
            let answer = if exceeded { json!(1_000) } else { json!("not done") };
            world.tell(&task, &Command::ProvideInput { answer, by: "ann".into() });
            answered = true;
        }
    }
    answered
}

/// Lets workers work, people answer and time pass until nothing is under way.
fn run(world: &mut World, deeds: &mut impl Iterator<Item = Deed>) {
    loop {
        match world.jobs.pop_front() {
            Some(job) => work(world, &job, deeds.next().unwrap_or(Deed::Complete)),
            None if !world.fire_next_timer() && !answer(world) => break,
            None => {}
        }
    }
}

/// What must hold once nothing is under way.
fn check_rest(world: &World) {
    let tasks: Vec<_> = world.addresses().filter(|entity| entity.kind.as_str() == "task").cloned().collect();
    for task in tasks {
        assert_eq!(world.state(&task.to_string())["phase"], json!("done"), "`{task}` is not at its end");
    }
    let lane = world.state("broker/default");
    assert_eq!((&lane["waiting"], &lane["running"]), (&json!({}), &json!({})), "slots are left behind");
    assert!(world.timers().is_empty(), "timers are left behind: {:?}", world.timers());
    let known =
        ["task-final", "task-canceled", "stale-attempt", "deadline-passed", "no-question", "task-not-final"];
    for (entity, refusal) in &world.refusals {
        assert!(known.contains(&refusal.code.as_str()), "`{entity}` refused: {refusal:?}");
    }
    world.check_replay();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_tree_comes_to_its_end_and_leaves_nothing_behind(
        deeds in vec(deed(), 0..60),
        capacity in 1..4u32,
        planned in any::<bool>(),
        deadline_ms in proptest::option::weighted(0.3, 1_000..200_000u64),
        budget in proptest::option::weighted(0.4, (400..3_000u64, 1..12u64)),
    ) {
        let mut world = World::new();
        let (agent, skills) = (key("coder"), vec!["plan".into()]);
        let offer = broker::Command::OfferAgent { agent, skills, capacity, dependencies: vec![] };
        world.tell("broker/default", &offer);
        let submission = Submit {
            plan: planned.then(plan),
            deadline: deadline_ms.map(|later| world.now.plus_ms(later)),
            budget: budget.map(|(tokens, jobs)| Budget { tokens: Some(tokens), jobs: Some(jobs), ..Budget::default() }),
            ..Submit::new("a goal")
        };
        world.tell("task/t", &Command::Submit(submission));
        let mut deeds = deeds.into_iter();
        run(&mut world, &mut deeds);
        check_rest(&world);
        // Once nobody does anything wrong any more, a retry completes what has no deadline.
        let before = world.state("task/t")["status"].clone();
        world.tell("task/t", &Command::Retry { by: "ann".into() });
        run(&mut world, &mut std::iter::empty());
        check_rest(&world);
        if deadline_ms.is_none() || before == json!("completed") {
            prop_assert_eq!(world.state("task/t")["status"].clone(), json!("completed"));
        }
    }
}
