//! The web, for agents that read: a search, and pages as readable text.
//!
//! ```text
//! search ─→ SearXNG's JSON ─→ results
//! fetch ──→ URL checked ─→ name looked up ─→ every address checked ─→ robots.txt ─→ one of these addresses asked
//!              ▲                                                                        │
//!              └──────────────────────── redirect, counted ─────────────────────────────┴─→ bounded body ─→ Page
//! ```
//!
//! | part | what it is |
//! | --- | --- |
//! | [`Web`] | the front: what an operator allows, the cache, a search and a fetch |
//! | [`is_public`] | which addresses a fetch may connect to |
//! | [`Robots`] | what a site asks of programs, by RFC 9309 |
//! | [`Page`] | a page as text, without what a reader does not see |
//!
//! Nothing here sends a cookie, a credential or a body, runs a script, or knows the bus or a task. Nothing is repeated:
//! whoever calls decides about retries.

mod web;

mod search;

mod address;
mod fetch;
mod robots;

mod page;

mod cache;
mod error;

pub use address::{is_public, normal};
pub use error::Error;
pub use page::{Link, Page};
pub use robots::Robots;
pub use search::{Found, Search, Searched};
pub use web::{Resolve, Settings, Web};
