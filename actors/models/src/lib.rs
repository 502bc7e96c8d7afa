//! Language models: one contract, and the wire formats of the providers behind it.
//!
//! ```text
//! Call → body of the format → one connection → frames (SSE or lines, bounded) → Reader → Completion or Fault
//! ```
//!
//! A completion exists only after the provider's terminal marker: a response that ends before it is a
//! [`Kind::Truncated`] fault, and one that ran into the output limit a [`Kind::OutputLimit`] fault. So nothing can
//! act on text that is not whole. Nothing is repeated here: whoever calls decides about retries, fallbacks,
//! breakers and budgets.

mod cache;
mod call;
mod conversation;
mod fault;
mod formats;
mod frames;
mod library;
mod models;
mod prompt;
mod provenance;
mod provider;
mod screening;
pub mod scripted;
mod secret;
mod settings;
mod structured;

pub use actors_defence::Level;
pub use cache::{AGE, AGES, Cache, Cached};
pub use call::{
    Call, Chunk, Completion, Embeddings, Message, Parameters, Schema, Tool, ToolCall, ToolChoice, Usage,
};
pub use conversation::{Conversation, Ended, TURNS_MAX, ToolError};
pub use fault::{Fault, Kind};
pub use formats::Format;
pub use library::{Library, Listed, Source};
pub use models::{Answer, ModelSettings, Models, Offer, Question};
pub use prompt::{Prompt, PromptError, PromptRef, render};
pub use provider::{ModelProvider, Provider, Timeouts};
pub use secret::{Secret, SecretError};
pub use structured::{Invalid, REASKS_MAX, Structured, structured};
