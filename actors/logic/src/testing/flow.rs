//! Whole task trees with queues, their lane and dead letters, under workers that claim and act at random:
//! every root ends, no slot, lease or timer is left, no more runs than the lane allows, and replay gives the
//! same world.

use bus_schemas::commands::lane;
use bus_schemas::commands::task::{Command, Plan, PlanStep, Submit, Usage};
use bus_schemas::jobs::{EffectStep, FailureClass, Job, StepResult};
use bus_schemas::settings::Budget;
use bus_schemas::{Hash, Revision};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::key;
use super::world::World;

/// An action of a worker with a job.
#[derive(Debug, Clone, Copy)]
enum WorkerAction {
    Complete,
    Plan,
    FailTransient,
    FailPermanent,
    BreakOff,
    BreakOffInEffect,
    Ask,
    CancelRoot,
    CancelTask,
    /// The worker gives it back.
    GiveBack,
    /// The job has no receiver.
    Vanish,
    /// A person sets or removes the lane's cap.
    Cap(Option<u32>),
}

fn action() -> impl Strategy<Value = WorkerAction> {
    prop_oneof![
        8 => Just(WorkerAction::Complete),
        4 => Just(WorkerAction::Plan),
        3 => Just(WorkerAction::FailTransient),
        1 => Just(WorkerAction::FailPermanent),
        2 => Just(WorkerAction::BreakOff),
        1 => Just(WorkerAction::BreakOffInEffect),
        2 => Just(WorkerAction::Ask),
        1 => Just(WorkerAction::CancelRoot),
        1 => Just(WorkerAction::CancelTask),
        1 => Just(WorkerAction::GiveBack),
        2 => Just(WorkerAction::Vanish),
        2 => proptest::option::of(1..4u32).prop_map(WorkerAction::Cap),
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

fn work(world: &mut World, job: &Job, action: WorkerAction) {
    let (task, attempt, token) = (job.task.to_string(), job.attempt, job.token.clone());
    if matches!(action, WorkerAction::Vanish) || !world.renews(job) {
        return;
    }
    if job.metered && !spend(world, job, &action) {
        let reason = "the budget is used up".to_owned();
        return world.tell(&task, &Command::GiveBack { attempt, token, reason });
    }
    for past in job.effects.iter().filter(|past| past.step == EffectStep::Ambiguous) {
        if matches!(action, WorkerAction::FailPermanent | WorkerAction::BreakOff) {
            return world.tell(&task, &fail(job, FailureClass::Ambiguous, "effect-unknown"));
        }
        let step =
            if matches!(action, WorkerAction::Complete) { EffectStep::Completed } else { EffectStep::Failed };
        world.tell(&task, &record(job, past.effect.to_string(), step));
    }
    let clone = || StepResult { name: "clone".into(), input: Hash::default(), result: json!(attempt) };
    let steps = || vec![clone()];
    world.tell(&task, &Command::RecordStep { attempt, token: token.clone(), steps: steps() });
    let complete = |plan| {
        let (token, steps, artifacts, result) = (token.clone(), steps(), vec![], json!(task));
        Command::CompleteJob { attempt, token, steps, artifacts, result, plan }
    };
    match action {
        WorkerAction::Plan if job.task.key.as_str().len() < 4 => world.tell(&task, &complete(Some(plan()))),
        WorkerAction::Complete | WorkerAction::Plan => world.tell(&task, &complete(None)),
        WorkerAction::FailTransient => world.tell(&task, &fail(job, FailureClass::Transient, "broken")),
        WorkerAction::FailPermanent => world.tell(&task, &fail(job, FailureClass::Permanent, "broken")),
        WorkerAction::GiveBack => {
            let reason = "the worker is to stop".to_owned();
            world.tell(&task, &Command::GiveBack { attempt, token, reason });
        }
        WorkerAction::BreakOff | WorkerAction::Vanish => {}
        WorkerAction::BreakOffInEffect => {
            for step in [EffectStep::Intended, EffectStep::Started] {
                world.tell(&task, &record(job, format!("push {attempt}"), step));
            }
        }
        WorkerAction::Ask => {
            let (prompt, authorization) = ("which?".into(), false);
            world.tell(
                &task,
                &Command::RequireInput { attempt, token, prompt, authorization, approval: None },
            );
            let question = number(&world.state(&task)["question_id"]);
            world.tell(&task, &Command::Answer { question, answer: json!("blue") });
        }
        WorkerAction::CancelRoot | WorkerAction::CancelTask => {
            let to = if matches!(action, WorkerAction::CancelTask) { task } else { "task/t".to_owned() };
            world.tell(&to, &Command::Cancel { reason: "enough".into() });
        }
        WorkerAction::Cap(concurrent) => {
            world.tell("lane/default", &lane::Command::SetCap { concurrent });
            world.tell(&task, &complete(None));
        }
    }
}

fn number(value: &Value) -> Revision {
    Revision(value.as_u64().unwrap_or_default())
}

fn fail(job: &Job, class: FailureClass, code: &str) -> Command {
    let (attempt, token, message) = (job.attempt, job.token.clone(), "it went wrong".into());
    let (code, hint, dependency) = (code.into(), None, None);
    Command::FailJob { attempt, token, class, code, message, hint, dependency }
}

fn record(job: &Job, effect: String, step: EffectStep) -> Command {
    let (attempt, token, detail) = (job.attempt, job.token.clone(), String::new());
    Command::RecordEffect { attempt, token, effect, step, detail, key: None, result: Value::Null }
}

/// Reserves a call, and settles it unless the worker breaks off; `false` if the budget does not allow it.
fn spend(world: &mut World, job: &Job, action: &WorkerAction) -> bool {
    let root = format!("task/{}", job.task.key.root());
    let reservation: smol_str::SmolStr = format!("{}/{}", job.task.key, job.attempt).into();
    let amount = Usage { tokens: 400, ..Usage::default() };
    let (task, lease_ms) = (job.task.key.clone(), 60_000);
    world.tell(&root, &Command::Reserve { reservation: reservation.clone(), task, amount, lease_ms });
    let account = world.state(&root)["account"].clone();
    let granted = account["reserved"].get(reservation.as_str()).is_some();
    if granted && !matches!(action, WorkerAction::BreakOff | WorkerAction::BreakOffInEffect) {
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

/// Answers every question; `false` if there is none.
fn answer(world: &mut World) -> bool {
    let tasks: Vec<_> = world.addresses().filter(|entity| entity.kind.as_str() == "task").cloned().collect();
    let mut answered = false;
    for task in tasks {
        let task = task.to_string();
        let state = world.state(&task);
        let exceeded = !state["account"]["exceeded"].is_null();
        if exceeded || state["phase"] == json!("answer") {
            let answer = if exceeded { json!(1_000) } else { json!("not done") };
            let id =
                if exceeded { &state["account"]["exceeded"]["question_id"] } else { &state["question_id"] };
            world.tell(&task, &Command::Answer { question: number(id), answer });
            answered = true;
        }
    }
    answered
}

/// Lets workers claim and work, people answer and time pass until nothing is in progress.
fn run(world: &mut World, places: u32, actions: &mut impl Iterator<Item = WorkerAction>) {
    let (agent, skills) = (key("coder"), ["plan".into()]);
    loop {
        match world.jobs.pop_front() {
            Some(job) => work(world, &job, actions.next().unwrap_or(WorkerAction::Complete)),
            None if world.claim(&agent, &skills, places) => check_bound(world),
            None if !world.fire_next_timer() && !answer(world) => break,
            None => {}
        }
    }
}

/// The numbers of waiting and running attempts in the lane's queues.
fn queues(world: &World) -> (usize, usize) {
    let queues = world.addresses().filter(|entity| entity.kind.as_str() == "queue");
    let states = queues.map(|queue| world.state(&queue.to_string()));
    let count = |value: &Value| value.as_object().map_or(0, serde_json::Map::len);
    states.fold((0, 0), |(waits, runs), state| {
        (waits + count(&state["waiting"]), runs + count(&state["running"]))
    })
}

/// Asserts that no more attempts run than the lane allows, and that it knows all of them if it has a limit.
fn check_bound(world: &World) {
    let lane = world.state("lane/default");
    if lane["limits"]["concurrent"].is_null() {
        assert_eq!(lane["is_open"], json!(true), "nothing bounds the lane");
        return;
    }
    let known = lane["running"].as_object().map_or(0, serde_json::Map::len);
    assert!(queues(world).1 <= known, "something runs without leave");
}

/// Asserts what must hold once nothing is in progress.
fn check_rest(world: &World) {
    let tasks: Vec<_> = world.addresses().filter(|entity| entity.kind.as_str() == "task").cloned().collect();
    for task in tasks {
        assert_eq!(world.state(&task.to_string())["phase"], json!("done"), "`{task}` is not at its end");
    }
    let lane = world.state("lane/default");
    assert_eq!((&lane["waiting"], &lane["running"]), (&json!({}), &json!({})), "slots are left behind");
    assert_eq!(queues(world), (0, 0), "attempts are left behind");
    assert!(world.timers().is_empty(), "timers are left behind: {:?}", world.timers());
    let known = [
        "task-final",
        "task-canceled",
        "stale-attempt",
        "deadline-passed",
        "no-question",
        "question-over",
        "task-not-final",
    ];
    for (entity, refusal) in &world.refusals {
        assert!(known.contains(&refusal.code.as_str()), "`{entity}` refused: {refusal:?}");
    }
    world.check_replay();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_tree_comes_to_its_end_and_leaves_nothing_behind(
        actions in vec(action(), 0..60),
        capacity in 1..4u32,
        cap in proptest::option::weighted(0.4, 1..4u32),
        planned in any::<bool>(),
        deadline_ms in proptest::option::weighted(0.3, 1_000..200_000u64),
        budget in proptest::option::weighted(0.4, (400..3_000u64, 1..12u64)),
    ) {
        let mut world = World::new();
        let (agent, skills) = (key("coder"), vec!["plan".into()]);
        let offer = lane::Command::OfferAgent { agent, skills, capacity, dependencies: vec![] };
        world.tell("lane/default", &offer);
        world.tell("lane/default", &lane::Command::SetCap { concurrent: cap });
        let submission = Submit {
            plan: planned.then(plan),
            deadline: deadline_ms.map(|later| world.now.plus_ms(later)),
            budget: budget.map(|(tokens, jobs)| Budget { tokens: Some(tokens), jobs: Some(jobs), ..Budget::default() }),
            ..Submit::new("a goal")
        };
        world.tell("task/t", &Command::Submit(submission));
        let mut actions = actions.into_iter();
        run(&mut world, capacity, &mut actions);
        check_rest(&world);
        // Once no action fails any more, a retry completes every task without a deadline.
        let before = world.state("task/t")["status"].clone();
        let end = world.state("task/t")["end_id"].as_u64().map(Revision);
        world.tell("task/t", &Command::Retry { end });
        run(&mut world, capacity, &mut std::iter::empty());
        check_rest(&world);
        if deadline_ms.is_none() || before == json!("completed") {
            prop_assert_eq!(world.state("task/t")["status"].clone(), json!("completed"));
        }
    }
}
