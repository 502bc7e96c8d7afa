//! The bare loop.
