//! The agents that come with Orrery: an orchestrator, and the agents that run the steps of its plans.
//!
//! | agent | skills | makes |
//! | --- | --- | --- |
//! | `orchestrator` | `plan`, `build` | the plan of a goal, or `plan.json` of a dry run |
//! | | `specify`, which needs a model | `specify.json` |
//! | `filesystem` | `inventory`, `manifests` | `inventory.json`, `manifests.json` |
//! | | `list-files`, `read-file`, `search-files` | `files.json`, the content, `matches.json` |
//! | | `write-file` | a file in a workspace |
//! | `git` | `history` | `history.json` |
//! | | `git-status`, `git-log`, `git-blame`, `git-diff`, `git-branches` | what they are called |
//! | | `git-branch`, `git-worktree`, `git-worktree-remove`, `git-commit` | a branch, a tree, a commit |
//! | | `git-merge-check`, `git-merge` | a merge, before and after |
//! | `research` | `hotspots`, `docs` | `hotspots.json`, `docs.json` |
//! | | `investigate`, which needs a model | `answer.json` |
//! | | `web-search`, `fetch`, where the operator allows them | `search.json`, `page.json` |
//! | `reviewer` | `review`, `report` | `review.json`; `report.md`, `report.html` |
//! | | `judge`, which needs a model | `verdict.json` |
//! | `backend`, `frontend` | `generate-backend`, `generate-frontend`, which need a model | `backend.json`, `frontend.json` |
//! | `code` | `repair`, which needs a model and the sandbox | `repair.json`, `repair.patch`, `manifest.json` |
//! | | `assemble`, which needs the sandbox | `build.json`, `project.tar`, `manifest.json` |
//! | `test` | `test`, `check`, which need the sandbox | `tests.json`; `checks.json` |
//! | `change`, where the operator allows it | `change`, which needs a person and the sandbox | `change.diff` |
//! | `no-op` | `noop` | nothing, at once |
//! | those that manifests declare | one each, which needs a model | `result.json` |

mod orchestrator;

mod specialist;

mod declared;

mod change;
mod code;
mod filesystem;
mod git;
mod research;
mod reviewer;
mod tester;

mod judge;
mod no_op;

mod asking;
mod card;
mod checks;
mod code_write;
mod failure;
mod investigate;
pub mod manifest;
mod project;
mod repository;
mod sandbox;
mod step;
mod web;
mod workspaces;

mod catalog;

pub use catalog::{Tools, prompts, shipped};
pub use code_write::CodeWrite;
pub use orchestrator::Proposal;
pub use sandbox::{Limits, Sandboxes};
pub use workspaces::Workspaces;
