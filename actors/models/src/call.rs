//! A call to a model, and what comes back.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A call. Its serialized form is what identifies it in a cache and in a recorded step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The provider's name of the model.
    pub model: String,
    /// The conversation, oldest message first.
    pub messages: Vec<Message>,
    /// The tools that the model may ask for.
    pub tools: Vec<Tool>,
    /// Whether the model must ask for one.
    pub tool_choice: ToolChoice,
    /// The schema of the answer, for providers that take one.
    pub schema: Option<Schema>,
    /// How the model writes.
    pub parameters: Parameters,
}

impl Call {
    /// A call without tools.
    pub fn new(model: impl Into<String>, messages: Vec<Message>, parameters: Parameters) -> Self {
        let (tools, tool_choice) = (Vec::new(), ToolChoice::Auto);
        Self { model: model.into(), messages, tools, tool_choice, schema: None, parameters }
    }
}

/// How a model writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// The most tokens of the answer: the bound of its cost.
    pub max_tokens: u32,
    /// The sampling temperature; `None` for the provider's default.
    pub temperature: Option<f64>,
    /// The nucleus of the sampling; `None` for the provider's default.
    pub top_p: Option<f64>,
    /// The seed of the sampling, for providers that take one.
    pub seed: Option<u64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// The tokens of the context that the server is to hold, for Ollama; `None` for the server's default.
    pub num_ctx: Option<u32>,
}

impl Parameters {
    /// The provider's defaults, with a bound.
    pub fn bounded(max_tokens: u32) -> Self {
        Self { max_tokens, temperature: None, top_p: None, seed: None, stop: Vec::new(), num_ctx: None }
    }
    /// Sampling that is as repeatable as the provider allows.
    pub fn repeatable(max_tokens: u32, seed: u64) -> Self {
        Self { temperature: Some(0.0), seed: Some(seed), ..Self::bounded(max_tokens) }
    }
}

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case")]
pub enum Message {
    /// Instructions of the program.
    System { text: String },
    /// A person, or a program on their behalf.
    User { text: String },
    /// The model.
    Assistant { text: String, tool_calls: Vec<ToolCall> },
    /// The result of a tool that the model asked for.
    Tool { call_id: String, name: String, text: String },
}

impl Message {
    /// Instructions of the program.
    pub fn system(text: impl Into<String>) -> Self {
        Self::System { text: text.into() }
    }
    /// A person's message.
    pub fn user(text: impl Into<String>) -> Self {
        Self::User { text: text.into() }
    }
}

/// A tool that a model may ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// The name: letters, digits, `_` and `-`, at most 64.
    pub name: String,
    /// What the tool does.
    pub description: String,
    /// JSON Schema of the arguments: an object.
    pub parameters: Value,
}

/// Whether a model must ask for a tool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToolChoice {
    /// As the model likes.
    #[default]
    Auto,
    /// It must not.
    None,
    /// It must, for one of them.
    Required,
    /// It must, for this one.
    Named(String),
}

/// A JSON Schema with a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// The name: letters, digits, `_` and `-`, at most 64.
    pub name: String,
    /// The schema.
    pub schema: Value,
}

/// A tool call that a model asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The id, which the result repeats.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments: a JSON object.
    pub arguments: Value,
}

/// Tokens of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the conversation that was sent, with the cached ones.
    pub input: u64,
    /// Of these, tokens that the provider had in its cache.
    pub cached: u64,
    /// Tokens that the model wrote, with those of its reasoning.
    pub output: u64,
}

/// A whole answer of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// The text.
    pub text: String,
    /// The tools that the model asks for, in order.
    pub tool_calls: Vec<ToolCall>,
    /// The tokens, as the provider counted them.
    pub usage: Usage,
    /// The model that answered, as the provider names it.
    pub model: String,
}

/// A piece of an answer that is under way, to be shown and never to be acted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// Text of the answer.
    Text(String),
    /// Text of the model's reasoning.
    Reasoning(String),
}

/// Vectors of texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Embeddings {
    /// A vector for each text, in order.
    pub vectors: Vec<Vec<f32>>,
    /// The tokens.
    pub usage: Usage,
}
