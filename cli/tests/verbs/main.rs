//! The command line as people and programs use it: the real binary, against a real system.

mod advice;
mod archive;
mod around;
mod backup;
mod bench;
mod budget;
mod bus;
mod chaos;
mod damage;
mod dead;
mod doctor;
mod elsewhere;
mod halt;
mod heal;
mod history;
mod lanes;
mod life;
mod monitor;
mod readme;
mod recipes;
mod replicated;
mod schema;
mod settings;
mod start;
mod task;
mod world;
