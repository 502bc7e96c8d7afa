//! A plan with the reasons for it, for people and as the artifact of a dry run.

use std::fmt::Write;

use actors_planner::htn::{Answer, Plan as Found};
use bus_schemas::commands::task::{Plan, PlanStep};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

/// The artifact of a dry run.
pub(crate) const FILE: &str = "plan.json";

/// A plan, and why it is this one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Proposal {
    /// The goal.
    pub goal: String,
    /// What the goal was taken for, as the task of the domain that does it.
    pub task: String,
    /// What was known, as facts.
    pub facts: Vec<String>,
    /// The rough number of seconds that all steps cost.
    pub cost: u64,
    /// The steps.
    pub steps: Vec<ProposedStep>,
    /// The methods that led to the steps.
    pub chosen: Vec<Choice>,
    /// The methods, and the skills, that were not used, with the first reason.
    pub rejected: Vec<Choice>,
    /// How many more were not used.
    pub left_out: usize,
}

/// A step with its cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProposedStep {
    /// The name.
    pub step: SmolStr,
    /// The skill.
    pub skill: SmolStr,
    /// The goal.
    pub goal: String,
    /// The input.
    pub input: Value,
    /// The steps that it waits for.
    pub after: Vec<SmolStr>,
    /// The rough number of seconds that it costs.
    pub cost: u32,
}

/// A method, and a reason if it is not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Choice {
    /// The task.
    pub task: String,
    /// The method; absent where the task is a skill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Why it is not used.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl Proposal {
    /// The proposal of these steps, which were made of a found plan.
    pub(super) fn of(goal: &str, task: &str, facts: &[String], answer: &Answer, plan: &Plan) -> Self {
        let empty = Found { steps: Vec::new(), cost: 0, chosen: Vec::new() };
        let found = answer.plan.as_ref().unwrap_or(&empty);
        let costs = found.steps.iter().map(|step| step.cost);
        let proposed = |(step, cost): (&PlanStep, u32)| {
            let PlanStep { step, goal, skill, input, after, .. } = step.clone();
            ProposedStep { step, skill, goal, input, after, cost }
        };
        let steps = plan.steps.iter().zip(costs).map(proposed);
        let chosen = found.chosen.iter().map(|one| Choice {
            task: one.task.to_string(),
            method: Some(one.method.to_string()),
            why: String::new(),
        });
        Self {
            goal: goal.to_owned(),
            task: task.to_owned(),
            facts: facts.to_vec(),
            cost: found.cost,
            steps: steps.collect(),
            chosen: chosen.collect(),
            rejected: rejected(answer),
            left_out: answer.left_out,
        }
    }

    /// The proposal for people.
    pub fn text(&self) -> String {
        let Self { goal, task, facts, cost, steps, chosen, rejected, left_out } = self;
        let mut text = format!("goal: {goal}\ntaken for: {task}\nknown: {}\n", facts.join(", "));
        let _ = writeln!(text, "steps, about {cost} s together:");
        for ProposedStep { step, skill, input, after, cost, .. } in steps {
            let after =
                if after.is_empty() { String::new() } else { format!(", after {}", after.join(", ")) };
            let _ = writeln!(text, "  {step}: skill `{skill}`, about {cost} s{after}\n    input {input}");
        }
        for (title, choices) in [("because:", chosen), ("not used:", rejected)] {
            let lines = choices.iter().map(|one| format!("  {one}\n"));
            text.extend((!choices.is_empty()).then(|| format!("{title}\n")).into_iter().chain(lines));
        }
        if *left_out > 0 {
            let _ = writeln!(text, "  and {left_out} more");
        }
        text.trim_end().to_owned()
    }
}

impl std::fmt::Display for Choice {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { task, method, why } = self;
        match method {
            Some(method) => write!(formatter, "{task} by `{method}`")?,
            None => write!(formatter, "skill `{task}`")?,
        }
        if why.is_empty() { Ok(()) } else { write!(formatter, ": {why}") }
    }
}

/// What a search rejected.
pub(super) fn rejected(answer: &Answer) -> Vec<Choice> {
    let choice = |one: &actors_planner::htn::Rejected| Choice {
        task: one.task.to_string(),
        method: one.method.as_ref().map(ToString::to_string),
        why: one.why.to_string(),
    };
    answer.rejected.iter().map(choice).collect()
}
