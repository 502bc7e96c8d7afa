//! What readers see: nouns, one file per kind.

pub mod lane;
pub mod silent;
pub mod task;
pub mod waits;
