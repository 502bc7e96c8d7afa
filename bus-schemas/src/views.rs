//! What readers see: nouns, one file per kind.

pub mod lane;
pub mod task;
pub mod waits;
