//! Each stage and guarantee against a real server, under the names of the flow.

mod bad_input;
mod bounded;
mod breaker;
mod budget;
mod chaos;
mod claims;
mod dead;
mod decide;
mod effects;
mod fanout;
mod fold;
mod gateway;
mod halt;
mod inbox;
mod journal;
mod lanes;
mod lease;
mod models;
mod permissions;
mod projections;
mod restore;
mod rolling;
mod settings;
mod sweep;
mod tail;
mod tester;
