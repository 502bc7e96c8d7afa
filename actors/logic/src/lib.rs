//! All entities of Orrery: what each kind decides and stores.
//!
//! One folder per kind, all of the same shape: `<kind>.rs` is the front page with the states, the invariants
//! and the command → event table; `decide.rs` checks commands; `state.rs` folds events. This crate is pure:
//! time and ids come through [`actors_core::Context`], and no decision depends on the order of a hash map.

pub mod task;

pub mod agent;
pub mod lane;
pub mod queue;

pub mod breaker;
pub mod halt;
pub mod healer;

pub mod approval;
pub mod change;
pub mod chaos;
pub mod dead_letter;
pub mod probe;
pub mod redrive;
pub mod schedule;
pub mod settings;

pub mod system;

mod order;
mod rules;
mod text;

macro_rules! register {
    ($($module:ident $entity:ident $($query:ident)? [$($system:literal)*],)*) => {
        /// All kinds, and the policy for commands that cannot be delivered, for the host.
        pub fn registry() -> actors_core::Registry {
            actors_core::Registry::new(&dead_letter::Letters)$(.with::<$module::$entity>())*
        }
    };
}
bus_schemas::for_each_kind!(register);

#[cfg(test)]
mod testing;
