//! From words to a plan, without I/O: the grammar of goals, and the planner.

pub mod htn;
pub mod intent;
pub mod shipped;
