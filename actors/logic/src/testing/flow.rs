//! Whole task trees with broker and dead letters, under workers that do anything: every root
//! comes to its end, no slot and no timer is left behind, and replay gives the same world.

use bus_schemas::commands::broker;
use bus_schemas::commands::task::{Command, Plan, PlanStep, Submit};
use bus_schemas::jobs::{EffectStep, FailureClass, Job};
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
    match deed {
        Deed::Plan if job.task.key.as_str().len() < 4 => world.tell(&task, &complete(Some(plan()))),
        Deed::Complete | Deed::Plan => world.tell(&task, &complete(None)),
        Deed::FailTransient => world.tell(&task, &fail(FailureClass::Transient)),
        Deed::FailPermanent => world.tell(&task, &fail(FailureClass::Permanent)),
        Deed::BreakOff => {}
        Deed::BreakOffInEffect => {
            for step in [EffectStep::Intended, EffectStep::Started] {
                let effect = format!("push {attempt}");
                world.tell(&task, &Command::RecordEffect { attempt, effect, step, detail: String::new() });
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

/// Lets workers work and time pass until nothing is under way.
fn run(world: &mut World, deeds: &mut impl Iterator<Item = Deed>) {
    loop {
        match world.jobs.pop_front() {
            Some(job) => work(world, &job, deeds.next().unwrap_or(Deed::Complete)),
            None if !world.fire_next_timer() => break,
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
    ) {
        let mut world = World::new();
        let (agent, skills) = (key("coder"), vec!["plan".into()]);
        let offer = broker::Command::OfferAgent { agent, skills, capacity, dependencies: vec![] };
        world.tell("broker/default", &offer);
        let submission = Submit {
            plan: planned.then(plan),
            deadline: deadline_ms.map(|later| world.now.plus_ms(later)),
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
