//! The rules of the repository as tests: pure reads of its files, no server, no program.
//!
//! A finding names file, line, what is wrong and the fix. A rule that the repository does not keep
//! everywhere has a table of exceptions with reasons; an exception that is not needed any more is a
//! finding as well, so tables only shrink. Every rule is also shown a specimen that breaks it.

mod files;

mod sources;

mod dependencies;
mod graph;
mod kinds;
mod names;
mod settings;

mod links;
mod machine;
mod prose;

mod errors;
mod faults;
mod flow;
mod monitoring;
mod simulation;
mod topology;
