//! The budget of a task tree, kept by its root: the limits, the usage, and the reservations of running calls.
//!
//! A call reserves its worst case before it is made, and is settled with its usage. So a tree exceeds a limit
//! only by what calls use beyond their own worst case.

use std::collections::{BTreeMap, VecDeque};

use bus_schemas::commands::task::Usage;
use bus_schemas::settings::Budget;
use bus_schemas::views::task::{self as view, Dimension, Exceeded};
use bus_schemas::{Key, Timestamp};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// The dimensions that a call can use.
const COUNTED: [Dimension; 4] =
    [Dimension::Tokens, Dimension::MoneyMicros, Dimension::ToolCalls, Dimension::Jobs];

/// The most lapsed calls that may still report their usage: each is in the state of the root.
const LAPSED_MAX: usize = 256;

/// The budget of a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The limits.
    pub limits: Budget,
    /// The usage.
    pub used: Usage,
    /// The reservations of running calls.
    pub reserved: BTreeMap<SmolStr, Held>,
    /// The last calls that were not settled in time, each with the usage counted for it, the oldest first.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub lapsed: VecDeque<(SmolStr, Usage)>,
    /// Why the tree is paused.
    pub exceeded: Option<Exceeded>,
}

/// The reservation of one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The task whose attempt makes the call.
    pub task: Key,
    /// The most that the call can use.
    pub amount: Usage,
    /// The time by which it must be settled.
    pub until: Timestamp,
}

impl Account {
    pub(super) fn of(limits: Budget) -> Self {
        Self { limits, ..Self::default() }
    }
    /// The sum of all reservations.
    pub(super) fn held(&self) -> Usage {
        self.reserved.values().fold(Usage::default(), |sum, held| sum.plus(held.amount))
    }
    /// The first dimension whose limit does not allow `more`.
    pub(super) fn over(&self, more: Usage) -> Option<Dimension> {
        let wanted = self.used.plus(self.held()).plus(more);
        COUNTED.into_iter().find(|dimension| {
            limit(&self.limits, *dimension).is_some_and(|limit| used(wanted, *dimension) > limit)
        })
    }
    /// When the first reservation lapses.
    pub(super) fn first_lapse(&self) -> Option<Timestamp> {
        self.reserved.values().map(|held| held.until).min()
    }
    /// The usage counted for a call that was not settled in time.
    pub(super) fn lapsed(&self, reservation: &str) -> Option<Usage> {
        self.lapsed.iter().find(|(known, _)| known == reservation).map(|(_, counted)| *counted)
    }
    pub(super) fn settle(&mut self, reservation: &SmolStr, used: Usage, has_lapsed: bool) {
        self.reserved.remove(reservation);
        self.lapsed.retain(|(known, _)| known != reservation);
        if has_lapsed {
            if self.lapsed.len() == LAPSED_MAX {
                self.lapsed.pop_front();
            }
            self.lapsed.push_back((reservation.clone(), used));
        }
        self.used = self.used.plus(used);
    }
    /// The view for readers.
    pub(super) fn view(&self) -> view::Account {
        view::Account {
            limits: self.limits.clone(),
            used: self.used,
            reserved: self.held(),
            exceeded: self.exceeded.clone(),
        }
    }
    /// The exceeded limit in words, for the question.
    pub(super) fn words(&self, dimension: Dimension, more: Usage) -> String {
        let unit = unit(dimension);
        if dimension == Dimension::WallClock {
            let limit = self.limits.wall_clock.unwrap_or_default();
            return format!("the tree has had its time, {limit}; extend by how much, such as \"30m\"?");
        }
        let limit = limit(&self.limits, dimension).unwrap_or_default();
        let (spent, held) = (used(self.used, dimension), used(self.held(), dimension));
        let more = used(more, dimension);
        format!(
            "the budget is used up: of {limit} {unit}, {spent} are used and {held} held, and {more} more are \
             wanted; extend by how much?"
        )
    }
}

fn used(usage: Usage, dimension: Dimension) -> u64 {
    match dimension {
        Dimension::Tokens => usage.tokens,
        Dimension::MoneyMicros => usage.money_micros,
        Dimension::ToolCalls => usage.tool_calls,
        Dimension::Jobs => usage.jobs,
        Dimension::WallClock => 0,
    }
}

fn limit(budget: &Budget, dimension: Dimension) -> Option<u64> {
    match dimension {
        Dimension::Tokens => budget.tokens,
        Dimension::MoneyMicros => budget.money_micros,
        Dimension::ToolCalls => budget.tool_calls,
        Dimension::Jobs => budget.jobs,
        Dimension::WallClock => None,
    }
}

fn unit(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Tokens => "tokens",
        Dimension::MoneyMicros => "millionths of money",
        Dimension::ToolCalls => "calls of tools",
        Dimension::Jobs => "jobs",
        Dimension::WallClock => "milliseconds",
    }
}
