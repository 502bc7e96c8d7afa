//! The command line: arguments, the connection to what runs, one module for each verb, and how
//! results are printed.

pub mod address;
pub mod arguments;
pub mod asked;
pub mod called;
pub mod commands;
pub mod discovery;
pub mod failure;
pub mod gateway;
pub mod log;
pub mod output;
pub mod progress;
pub mod schema;
pub mod session;
pub mod usage;
pub mod who;
