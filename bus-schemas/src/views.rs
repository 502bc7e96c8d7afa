//! The views of readers: nouns, one file per kind.

pub mod command;
pub mod lane;
pub mod silent;
pub mod task;
pub mod waits;
