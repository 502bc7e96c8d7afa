//! The wire formats against a server that writes what each test says, byte by byte where that matters.

mod answers;
mod faults;
mod good;
mod server;
mod structured;
