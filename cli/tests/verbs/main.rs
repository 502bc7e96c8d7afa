//! The command line as people and programs use it: the real binary, against a real system.

mod life;
mod world;
