//! The command line as people and programs use it: the real binary, against a real system.

#[path = "../../../actors/sandbox/tests/escapes/engine.rs"]
mod engine;

mod advice;
mod approvals;
mod archive;
mod around;
mod backup;
mod bench;
mod budget;
mod build;
mod bus;
mod changes;
mod chaos;
mod cut;
mod damage;
mod dead;
mod doctor;
mod elsewhere;
mod explain;
mod halt;
mod heal;
mod history;
mod lanes;
mod ledger;
mod life;
mod manifests;
mod monitor;
mod plan;
mod prompts;
mod readme;
mod reads;
mod recipes;
mod repair;
mod replicated;
mod sandbox;
mod schema;
mod settings;
mod start;
mod task;
mod world;
