//! The command line: arguments, the connection to the system, one module for each verb, and output.

pub mod address;
pub mod arguments;
pub mod bar;
pub mod called;
pub mod client;
pub mod commands;
pub mod discovery;
pub mod failure;
pub mod output;
pub mod paging;
pub mod progress;
pub mod schema;
pub mod session;
pub mod stream;
pub mod tools;
pub mod usage;
