//! What a program in the sandbox must not be able to do, tried against a real engine: each test is one way out, and
//! asserts that it is closed.

mod bounds;
mod ends;
mod engine;
mod images;
mod inspect;
mod isolation;
mod keeper;
mod stage;
mod workspace;
