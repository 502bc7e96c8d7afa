//! Each stage and guarantee against a real server, under the names of the flow.

mod bad_input;
mod decide;
mod effects;
mod fanout;
mod fold;
mod gateway;
mod inbox;
mod journal;
mod lease;
mod projections;
