//! What readers see: nouns, one file per kind.

pub mod task;
