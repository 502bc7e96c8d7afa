//! A planner of hierarchical task networks: it takes tasks apart by methods until only operators are left.
//!
//! ```text
//! seek(state, tasks): no task    → a plan
//!                     operator   → its conditions hold → its effects, then the rest
//!                     compound   → each method in its declared order, each binding in sorted order
//! ```
//!
//! The procedure is the total-order forward decomposition of SHOP2 (Nau and others, 2003) as pyhop does it, with a bound
//! by cost: of all plans the cheapest one is found, and of equal ones the first. The same input has the same plan.
//!
//! What it does not do: tasks are totally ordered and never interleaved; a fact that is not in the state is false; costs
//! are fixed numbers; and within its [`Limits`] alone an answer is complete: [`Answer::limit`] says whether one was met.

mod domain;
mod plan;
mod search;

pub use domain::{Atom, Condition, Domain, DomainError, Method, Operator};
pub use plan::{Answer, Chosen, Limit, Limits, Plan, Rejected, Step, Why};
