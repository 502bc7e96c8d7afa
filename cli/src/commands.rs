//! The verbs. Each module has a verb's arguments, its output, and its implementation.

pub mod down;
pub mod run;
pub mod up;

pub mod tasks;

pub mod agents;
pub mod approvals;
pub mod breakers;
pub mod changes;
pub mod chaos;
pub mod dead_letters;
pub mod halt;
pub mod heal;
pub mod lanes;
pub mod redrives;
pub mod schedules;
pub mod settings;

pub mod events;
pub mod ledger;
pub mod manifest;
pub mod rebuild;
pub mod replay;
pub mod verify;

pub mod archive;
pub mod backup;
pub mod restore;

pub mod bench;
pub mod completions;
pub mod config;
pub mod doctor;
pub mod explain;
pub mod prompts;
pub mod sandbox;
