//! The wire formats: how a call is written, and how an answer is read.

mod chat;
mod draft;
mod messages;
mod ollama;
mod responses;

use std::borrow::Cow;

use hyper::http::request::Builder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::{Call, Chunk, Completion, Embeddings};
use crate::fault::Fault;
use crate::frames::{Frame, Framing};
use crate::secret::Secret;

/// A wire format, and where it differs between those who speak it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Chat Completions, as OpenAI defines them.
    Chat,
    /// Chat Completions, as servers imitate them: llama.cpp, vLLM, OpenRouter. The bound of the answer is
    /// `max_tokens`.
    CompatibleChat,
    /// OpenAI's Responses.
    Responses,
    /// Anthropic's Messages.
    Messages,
    /// Ollama's own API.
    Ollama,
}

/// Reads a streamed answer, frame by frame.
pub(crate) trait Reader: Send {
    /// Reads a frame; true after the provider's terminal marker.
    fn read(&mut self, frame: &Frame, show: &mut (dyn FnMut(Chunk) + Send)) -> Result<bool, Fault>;

    /// The completion. Without the terminal marker it is a fault.
    fn finish(self: Box<Self>) -> Result<Completion, Fault>;
}

impl Format {
    /// The path of calls, below the provider's URL.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Chat | Self::CompatibleChat => "chat/completions",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::Ollama => "api/chat",
        }
    }

    /// The URL of the provider that defines the format, or where its server listens by default.
    pub fn default_url(self) -> Option<&'static str> {
        match self {
            Self::Chat | Self::Responses => Some("https://api.openai.com/v1"),
            Self::Messages => Some("https://api.anthropic.com/v1"),
            Self::Ollama => Some("http://127.0.0.1:11434"),
            Self::CompatibleChat => None,
        }
    }

    /// The request with the headers of the format and the key.
    pub(crate) fn authorized(self, request: Builder, key: Option<&Secret>) -> Builder {
        let Some(key) = key else { return self.versioned(request) };
        let (name, value) = match self {
            Self::Messages => ("x-api-key", key.reveal().to_owned()),
            _ => ("authorization", format!("Bearer {}", key.reveal())),
        };
        self.versioned(request).header(name, value)
    }

    fn versioned(self, request: Builder) -> Builder {
        match self {
            Self::Messages => request.header("anthropic-version", "2023-06-01"),
            _ => request,
        }
    }

    /// The body of a call.
    pub(crate) fn body(self, call: &Call, stream: bool) -> Value {
        match self {
            Self::Chat => chat::body(call, stream, chat::ORIGINAL_BOUND),
            Self::CompatibleChat => chat::body(call, stream, "max_tokens"),
            Self::Responses => responses::body(call, stream),
            Self::Messages => messages::body(call, stream),
            Self::Ollama => ollama::body(call, stream),
        }
    }

    pub(crate) fn framing(self) -> Framing {
        if self == Self::Ollama { Framing::Lines } else { Framing::Events }
    }

    pub(crate) fn reader(self) -> Box<dyn Reader> {
        match self {
            Self::Chat | Self::CompatibleChat => Box::<chat::Stream>::default(),
            Self::Responses => Box::<responses::Stream>::default(),
            Self::Messages => Box::<messages::Stream>::default(),
            Self::Ollama => Box::<ollama::Stream>::default(),
        }
    }

    /// The completion of an answer that came as one body.
    pub(crate) fn whole(self, body: &Value) -> Result<Completion, Fault> {
        match self {
            Self::Chat | Self::CompatibleChat => chat::whole(body),
            Self::Responses => responses::whole(body),
            Self::Messages => messages::whole(body),
            Self::Ollama => ollama::whole(body),
        }
    }

    /// The path and the body of a request for embeddings; `None` where the format has none.
    pub(crate) fn embedding(self, model: &str, texts: &[String]) -> Option<(&'static str, Value)> {
        let body = serde_json::json!({"model": model, "input": texts});
        match self {
            Self::Chat | Self::CompatibleChat | Self::Responses => Some(("embeddings", body)),
            Self::Ollama => Some(("api/embed", body)),
            Self::Messages => None,
        }
    }

    /// The vectors of an answer to a request for `count` embeddings.
    pub(crate) fn embeddings(self, body: &Value, count: usize) -> Result<Embeddings, Fault> {
        let embeddings = match self {
            Self::Ollama => ollama::embeddings(body),
            _ => chat::embeddings(body),
        }?;
        if embeddings.vectors.len() == count {
            return Ok(embeddings);
        }
        let vectors = embeddings.vectors.len();
        Err(Fault::malformed(format!("the answer has {vectors} vectors for {count} texts")))
    }
}

/// A schema without bounds of values, which the strict modes of OpenAI and Anthropic refuse. The answer is checked
/// against the whole schema anyway.
pub(crate) fn relaxed(schema: &Value) -> Value {
    const BOUNDS: [&str; 11] = [
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "uniqueItems",
        "pattern",
    ];
    match schema {
        Value::Object(fields) => {
            // A property may have the name of a bound; its value is a schema then.
            let is_bound = |name: &str, value: &Value| BOUNDS.contains(&name) && !value.is_object();
            let kept = fields.iter().filter(|(name, value)| !is_bound(name, value));
            Value::Object(kept.map(|(name, value)| (name.clone(), relaxed(value))).collect())
        }
        Value::Array(items) => items.iter().map(relaxed).collect(),
        other => other.clone(),
    }
}

/// The arguments of a tool call as text: most providers write text, some the object itself.
pub(crate) fn arguments(value: &Value) -> Result<Cow<'_, str>, Fault> {
    match value {
        Value::String(text) => Ok(text.as_str().into()),
        Value::Null => Ok("".into()),
        Value::Object(_) => Ok(value.to_string().into()),
        _ => Err(Fault::malformed("the arguments of a tool call are no object")),
    }
}

/// The JSON of a frame.
pub(crate) fn json(frame: &Frame) -> Result<Value, Fault> {
    serde_json::from_str(&frame.data)
        .map_err(|error| Fault::malformed(format!("a piece of the answer is no JSON: {error}")))
}

/// A field as text; empty when it is missing.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A vector of numbers.
pub(crate) fn vector(value: &Value) -> Option<Vec<f32>> {
    #[expect(clippy::cast_possible_truncation, reason = "vectors are compared, not added up")]
    value.as_array()?.iter().map(|number| number.as_f64().map(|number| number as f32)).collect()
}
