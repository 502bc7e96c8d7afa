//! The benchmarks of `orrery bench`: the speed of an installation on this machine, beside a bare loop on the
//! same server in the same run.
//!
//! Absolute figures say as much about a machine as about a program. So Orrery and the bare loop
//! (crate `bare-loop`: the protocol of the commit record and nothing besides) take turns in short
//! slices on one server, driven by the same callers, and a report gives the ratio beside each figure.

mod bench;
mod error;
mod report;

mod callers;
mod installation;
mod machine;
mod owner;
mod slices;
mod tasks;
mod workers;

mod budget;
mod halt;
mod handover;
mod history;
mod idle;
mod repair;
mod replay;
mod resume;
mod steps;
mod task;
mod turn;
mod wake;

pub use bench::{Bench, HOSTS_MAX, Options, Progress, WAKE_ENTITIES, run};
pub use error::Error;
pub use owner::run as run_owner;
pub use repair::{PARALLEL_MAX, RepairOptions, RepairReport, RepairResult, SeededBug, repair, seeded_bugs};
pub use report::{Figures, Report};
