//! The agents that ship with Orrery: an orchestrator, and those that do what it plans.
//!
//! | agent | skills | makes |
//! | --- | --- | --- |
//! | `orchestrator` | `plan` | the plan of a repository report |
//! | `filesystem` | `inventory`, `manifests` | `inventory.json`, `manifests.json` |
//! | `git` | `history` | `history.json` |
//! | `research` | `hotspots`, `docs` | `hotspots.json`, `docs.json` |
//! | `reviewer` | `review`, `report` | `review.json`; `report.md`, `report.html` |
//! | `no-op` | `noop` | nothing, at once |

pub mod orchestrator;

pub mod filesystem;
pub mod git;
pub mod research;
pub mod reviewer;

pub mod no_op;

mod card;
mod goal;
mod repository;
mod step;

pub use filesystem::Filesystem;
pub use git::Git;
pub use no_op::NoOp;
pub use orchestrator::Orchestrator;
pub use research::Research;
pub use reviewer::Reviewer;
