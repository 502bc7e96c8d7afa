//! The command line as people and programs use it: the real binary, against a real system.

mod advice;
mod archive;
mod around;
mod backup;
mod bench;
mod bus;
mod damage;
mod dead;
mod doctor;
mod elsewhere;
mod heal;
mod history;
mod life;
mod readme;
mod recipes;
mod schema;
mod settings;
mod start;
mod task;
mod world;
