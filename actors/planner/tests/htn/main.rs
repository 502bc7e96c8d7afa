//! The planner on random domains: beside another planner, and by what every plan must be.

mod domains;
mod latency;
mod reasons;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use actors_planner::htn::{Answer, Atom, Limit, Limits, Why};
use proptest::prelude::*;
use serde_json::Value;

use crate::domains::Problem;

/// Domains that both planners must have answered.
const DOMAINS: usize = 500;
const SEED: u64 = 20_261_130;

fn find(problem: &Problem, limits: Limits) -> Answer {
    problem.domain.find(&problem.facts, &problem.tasks, limits).expect("a problem")
}

fn texts(answer: &Answer) -> Option<Vec<String>> {
    let plan = answer.plan.as_ref()?;
    Some(plan.steps.iter().map(|step| step.task.to_string()).collect())
}

/// Goal: the procedure is the one that is known, and no likeness of it. Method: 500 random domains, answered by GTPyhop
/// with its recursive strategy as well: both find a plan or none, and the same one. Where nothing costs anything the first
/// plan is the cheapest.
#[test]
#[expect(clippy::disallowed_methods, reason = "the other planner is a program")]
fn plans_are_those_of_another_planner() {
    let seed: u64 =
        std::env::var("ORRERY_PLANNER_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(SEED);
    println!("ORRERY_PLANNER_SEED={seed}");
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let mut oracle = Command::new(format!("{root}/.tools/venv/bin/python"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/htn/oracle.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`make tools` makes the environment of Python");
    let mut asked = oracle.stdin.take().expect("it was piped");
    let mut answers = BufReader::new(oracle.stdout.take().expect("it was piped")).lines();
    let (mut agreed, mut solved, mut gave_up, mut backtracked) = (0, 0, 0, 0);
    for seed in seed.. {
        let problem = Problem::of(seed, 0);
        writeln!(asked, "{}", problem.to_json()).expect("the oracle reads");
        let theirs: Value = serde_json::from_str(&answers.next().expect("an answer").expect("a line"))
            .expect("the oracle answers in JSON");
        if theirs == "gave-up" {
            gave_up += 1;
            continue;
        }
        let answer = find(&problem, Limits::default());
        assert_eq!(answer.limit, None, "domain {seed}");
        let ours = texts(&answer);
        assert_eq!(serde_json::to_value(&ours).expect("JSON"), theirs, "domain {seed}: {problem:#?}");
        agreed += 1;
        let is_solved = ours.is_some_and(|steps| !steps.is_empty());
        solved += usize::from(is_solved);
        backtracked += usize::from(is_solved && answer.rejected.iter().any(|one| one.why == Why::DeadEnd));
        if agreed == DOMAINS {
            break;
        }
    }
    drop(asked);
    assert!(oracle.wait().expect("it ends").success());
    println!(
        "{agreed} agree: {solved} have steps, {backtracked} of them after a dead end; {gave_up} took too long"
    );
    // A generator that makes only trivial domains would show nothing.
    assert!(solved > DOMAINS / 4 && solved < DOMAINS && backtracked > DOMAINS / 20 && gave_up < DOMAINS / 10);
}

/// Whether the steps of a plan can be done in order, and what they cost.
fn replayed(problem: &Problem, steps: &[Atom]) -> u64 {
    let domain = serde_json::to_value(&problem.domain).expect("plain data");
    let mut facts: BTreeSet<String> = problem.facts.iter().map(ToString::to_string).collect();
    let mut cost = 0;
    for step in steps {
        let operator = &domain["operators"][step.name()];
        let head = operator["head"].as_str().expect("a text").to_owned();
        let variable = head.split(' ').nth(1).expect("a parameter").to_owned();
        let ground =
            |text: &Value| text.as_str().expect("a text").replace(&variable, step.arguments()[0].as_str());
        let texts = |name: &str| operator[name].as_array().expect("a list").iter().map(ground).collect();
        let (when, adds, deletes): (Vec<String>, Vec<String>, Vec<String>) =
            (texts("when"), texts("adds"), texts("deletes"));
        for condition in when {
            match condition.strip_prefix("not ") {
                Some(fact) => assert!(!facts.contains(fact), "{step}: {condition}"),
                None => assert!(facts.contains(&condition), "{step}: {condition}"),
            }
        }
        facts.retain(|fact| !deletes.contains(fact));
        facts.extend(adds);
        cost += operator["cost"].as_u64().expect("a number");
    }
    cost
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Goal: the same problem has the same answer, each step can be done when its turn comes, also in any order that the
    /// plan allows, and no plan costs less. Method: a lower bound of the cost by one finds nothing.
    #[test]
    fn a_plan_can_be_done_and_none_is_cheaper(seed: u64) {
        let problem = Problem::of(seed, 5);
        let answer = find(&problem, Limits::default());
        prop_assert_eq!(&answer, &find(&problem, Limits::default()));
        prop_assert_eq!(answer.limit, None);
        let Some(plan) = &answer.plan else {
            let is_said = !answer.rejected.is_empty();
            prop_assert!(is_said, "nothing says why there is no plan");
            return Ok(());
        };
        let steps: Vec<Atom> = plan.steps.iter().map(|step| step.task.clone()).collect();
        prop_assert_eq!(replayed(&problem, &steps), plan.cost);
        if let Some(less) = plan.cost.checked_sub(1) {
            let cheaper = find(&problem, Limits { cost: less, ..Limits::default() });
            prop_assert!(cheaper.plan.is_none(), "{:?} is cheaper than {:?}", cheaper.plan, plan);
        }
        // The last step that may come now comes first.
        let (mut order, mut done) = (Vec::new(), BTreeSet::new());
        while order.len() < steps.len() {
            let is_ready = |at: &usize| !done.contains(at) && plan.steps[*at].after.is_subset(&done);
            let next = (0..steps.len()).rev().find(is_ready).expect("the order has no circle");
            done.insert(next);
            order.push(steps[next].clone());
        }
        prop_assert_eq!(replayed(&problem, &order), plan.cost);
    }

    /// Goal: no search goes beyond its limits, whatever they are. Method: limits that are met.
    #[test]
    fn a_search_keeps_its_limits(seed: u64, depth in 0_usize..12, steps in 0_usize..400, kept in 0_usize..4) {
        let problem = Problem::of(seed, 5);
        let limits = Limits { depth, steps, rejected: kept, ..Limits::default() };
        let answer = find(&problem, limits);
        prop_assert!(answer.rejected.len() <= kept);
        prop_assert!(answer.limit == Some(Limit::Steps) || answer.steps <= steps);
        let free = find(&problem, Limits::default());
        match (answer.limit, &answer.plan) {
            (None, plan) => prop_assert_eq!(plan, &free.plan),
            (Some(_), Some(plan)) => prop_assert!(plan.cost >= free.plan.expect("a plan").cost),
            (Some(_), None) => {}
        }
    }
}
