//! Each stage and guarantee against a real server, under the names of the flow.

mod bad_input;
mod bounded;
mod breaker;
mod budget;
mod chaos;
mod claims;
mod config;
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
mod permissions;
mod projections;
mod rolling;
mod sweep;
