//! Each stage and guarantee against a real server, under the names of the flow.

mod decide;
mod effects;
mod fanout;
mod inbox;
mod journal;
mod lease;
