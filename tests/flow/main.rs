//! Each stage and guarantee against a real server, under the names of the flow.

mod bad_input;
mod breaker;
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
mod lease;
mod projections;
