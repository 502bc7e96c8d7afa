//! The sandbox: programs that nobody has to trust, run in containers without network, rights or host files.
//!
//! ```text
//! agents' process │ keeper's process
//! Sandbox::run ───┼─→ a warm container, or a new one ─→ files in ─→ argv ─→ Chunk … ─→ Finished ─→ removed
//! ```
//!
//! The [`keeper`] owns the engine's socket, and [`Sandbox`] calls it over a socket of its own. Callers reach what its
//! methods do and nothing else of the engine. Where there is no engine, or one that cannot enforce the [`limits`],
//! nothing runs. `docs/security.md` says what each
//! layer stops and what it does not.

pub mod error;
pub mod files;
pub mod image;
pub mod keeper;
pub mod limits;
pub mod measure;
pub mod run;
pub mod sandbox;

mod create;
mod drive;
mod engine;
mod link;
mod owner;
mod pool;
mod trial;
mod wire;

pub use error::Error;
pub use files::{Entry, Files, ReadBack};
pub use image::{Image, ImageInUse, Kind};
pub use keeper::{keep_by, kept_instead};
pub use link::Keeper;
pub use owner::{Config, probe};
pub use run::{Chunk, Finished, Reason, Run, Running, Source};
pub use sandbox::Sandbox;
pub use trial::Trial;
