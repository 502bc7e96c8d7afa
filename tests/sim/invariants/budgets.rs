//! The budget of a task tree, counted from the events of its root: what calls may use at most is held
//! before they are made, and all of it together never exceeds the bound.

use std::collections::BTreeMap;

use bus_schemas::Key;
use bus_schemas::commands::task::Usage;
use bus_schemas::events::task::Event;
use bus_schemas::settings::Budget;
use smol_str::SmolStr;

use super::{Check, hold, violated};
use crate::coverage::{Coverage, Reached};

/// The invariant.
const NAME: &str = "budget_bound";

/// The budget of one tree.
#[derive(Debug, Default)]
pub struct BudgetAudit {
    limits: Option<Budget>,
    used: Usage,
    /// What calls have used above what they had reserved: the only way above a bound.
    excess: Usage,
    reserved: BTreeMap<SmolStr, Usage>,
    /// The calls that lapsed, and may still say that they used more.
    lapsed: BTreeMap<SmolStr, Usage>,
    exceeded: bool,
}

impl BudgetAudit {
    /// Whether the tree is paused until somebody extends it.
    pub(super) fn is_exceeded(&self) -> bool {
        self.exceeded
    }

    /// Whether its time is bounded, and runs.
    pub(super) fn is_timed(&self) -> bool {
        !self.exceeded && self.limits.as_ref().is_some_and(|limits| limits.wall_clock.is_some())
    }

    /// Takes an event of the root in.
    pub fn event(&mut self, root: &Key, event: &Event, coverage: &mut Coverage) -> Check {
        match event {
            Event::Submitted { submission, .. } if submission.parent.is_none() => {
                self.limits = submission.budget.clone();
            }
            Event::BudgetSet { budget } => self.limits = Some(budget.clone()),
            Event::BudgetExtended { budget, .. } => {
                (self.limits, self.exceeded) = (Some(budget.clone()), false);
            }
            Event::BudgetExceeded { .. } => {
                coverage.note(Reached::BudgetExceeded);
                self.exceeded = true;
            }
            Event::Reserved { reservation, amount, .. } => {
                coverage.note(Reached::BudgetReserved);
                hold(!self.exceeded, NAME, || format!("`{root}` is paused, and {reservation} is reserved"))?;
                let fresh = self.reserved.insert(reservation.clone(), *amount).is_none();
                hold(fresh, NAME, || format!("`{root}`: {reservation} is reserved again"))?;
                return self.within(root);
            }
            Event::Settled { reservation, used, lapsed, .. } => {
                let Some(amount) = self.reserved.remove(reservation) else {
                    return self.settled_late(root, reservation, *used, *lapsed, coverage);
                };
                hold(!lapsed || *used == amount, NAME, || {
                    format!("`{root}`: {reservation} lapsed for less")
                })?;
                if *lapsed {
                    coverage.note(Reached::ReservationLapsed);
                    self.lapsed.insert(reservation.clone(), amount);
                }
                self.used = self.used.plus(*used);
                self.excess = self.excess.plus(above(*used, amount));
            }
            Event::JobCounted { .. } => {
                self.used.jobs += 1;
                return self.within(root);
            }
            Event::Completed { .. } | Event::Failed { .. } | Event::Canceled { .. } => {
                self.exceeded = false;
                let left = &self.reserved;
                hold(left.is_empty(), NAME, || format!("`{root}` ended, and holds {left:?}"))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// A call that lapsed used more than was counted for it: that counts as well, once.
    fn settled_late(
        &mut self,
        root: &Key,
        reservation: &SmolStr,
        used: Usage,
        lapsed: bool,
        coverage: &mut Coverage,
    ) -> Check {
        let known = self.lapsed.remove(reservation).is_some();
        if !known || lapsed {
            return violated(NAME, format!("`{root}`: {reservation} is settled, and not reserved"));
        }
        coverage.note(Reached::LapsedCallCounted);
        (self.used, self.excess) = (self.used.plus(used), self.excess.plus(used));
        Ok(())
    }

    /// What was used within what was reserved, and what is held, are within the bounds.
    fn within(&self, root: &Key) -> Check {
        let Some(limits) = &self.limits else { return Ok(()) };
        let wanted = self.reserved.values().fold(self.used, |sum, amount| sum.plus(*amount));
        let counted = [
            (limits.tokens, wanted.tokens, self.excess.tokens),
            (limits.money_micros, wanted.money_micros, self.excess.money_micros),
            (limits.tool_calls, wanted.tool_calls, self.excess.tool_calls),
            (limits.jobs, wanted.jobs, self.excess.jobs),
        ];
        let holds = counted.iter().all(|(limit, wanted, excess)| {
            limit.is_none_or(|limit| *wanted <= limit.saturating_add(*excess))
        });
        hold(holds, NAME, || format!("`{root}` may use {limits:?}, and uses or holds {wanted:?}"))
    }
}

/// How much more the one is than the other.
fn above(used: Usage, amount: Usage) -> Usage {
    Usage {
        tokens: used.tokens.saturating_sub(amount.tokens),
        money_micros: used.money_micros.saturating_sub(amount.money_micros),
        tool_calls: used.tool_calls.saturating_sub(amount.tool_calls),
        jobs: used.jobs.saturating_sub(amount.jobs),
    }
}
