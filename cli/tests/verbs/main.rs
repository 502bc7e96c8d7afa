//! The command line as people and programs use it: the real binary, against a real system.

mod around;
mod bench;
mod bus;
mod damage;
mod doctor;
mod history;
mod life;
mod recipes;
mod schema;
mod task;
mod world;
