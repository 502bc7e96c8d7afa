//! What a search comes to: a plan, and why it is this one.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use smol_str::SmolStr;

use super::domain::{Atom, Condition};

/// The bounds of a search.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most that a plan may cost.
    pub cost: u64,
    /// The most tasks that are taken up one within or after the other: operators and methods together.
    pub depth: usize,
    /// The most tasks and facts that are looked at or copied in all of the search: a bound of its time and its memory.
    pub steps: usize,
    /// The most rejections that are kept.
    pub rejected: usize,
}

impl Default for Limits {
    /// Enough for plans of some dozens of steps, within some megabytes.
    fn default() -> Self {
        Self { cost: u64::from(u32::MAX), depth: 256, steps: 200_000, rejected: 256 }
    }
}

/// A limit that a search met: what it says holds for the part that it saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// A branch was deeper than [`Limits::depth`].
    Depth,
    /// The search ended after [`Limits::steps`].
    Steps,
}

/// The outcome of a search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The cheapest plan; of equal ones the first.
    pub plan: Option<Plan>,
    /// The methods that were not used, each with the first reason, in the order in which they were tried.
    pub rejected: Vec<Rejected>,
    /// How many more rejections there were.
    pub left_out: usize,
    /// A limit that was met.
    pub limit: Option<Limit>,
    /// The steps that the search took.
    pub steps: usize,
}

/// Operators in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// What all of them cost.
    pub cost: u64,
    /// The methods that led to them.
    pub chosen: Vec<Chosen>,
}

/// One operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The operator with its arguments.
    pub task: Atom,
    /// What it costs.
    pub cost: u32,
    /// The steps before it, by their place, whose effects its conditions need or which it would disturb: steps without
    /// such an order may be done side by side.
    pub after: BTreeSet<usize>,
}

/// A method that the plan uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chosen {
    /// The task.
    pub task: Atom,
    /// The method.
    pub method: SmolStr,
    /// How deep the task is below the one that was asked for.
    pub level: usize,
}

/// A method, or an operator, that the plan does not use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Rejected {
    /// The task.
    pub task: Atom,
    /// The method; absent for an operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<SmolStr>,
    /// Why.
    #[serde(flatten)]
    pub why: Why,
}

/// Why a method is not used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum Why {
    /// A condition does not hold: the first one.
    Unmet {
        /// The condition.
        condition: Condition,
    },
    /// The method's tasks cannot be done.
    DeadEnd,
    /// The method's plans cost more, or as much and come later.
    Costlier {
        /// What the plans cost that are no dearer.
        than: u64,
    },
    /// A limit ended the search before it knew.
    Limit,
}

impl fmt::Display for Why {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmet { condition } => write!(formatter, "`{condition}` does not hold"),
            Self::DeadEnd => formatter.write_str("the tasks of it cannot be done"),
            Self::Costlier { than } => write!(formatter, "nothing cheaper than {than} comes of it"),
            Self::Limit => formatter.write_str("a limit ended the search"),
        }
    }
}
