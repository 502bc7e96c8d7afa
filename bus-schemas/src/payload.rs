//! The bytes of a command inside JSON: as text if they are UTF-8, otherwise as base64 (RFC 4648).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::envelope::{Body, ContentType};

/// The largest payload that an entity keeps, in bytes: the size of the largest command. A larger one could
/// not be sent again as it is.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// How the bytes are written in `content`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// As text: the bytes are UTF-8.
    #[default]
    Text,
    /// As base64: RFC 4648 with padding.
    Base64,
}

/// The bytes of a command, and their encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// The content type of the command.
    #[serde(default)]
    pub content_type: ContentType,
    /// How the bytes are written in `content`.
    #[serde(default)]
    pub encoding: Encoding,
    /// The bytes in that encoding.
    pub content: String,
}

impl Payload {
    /// A payload from a body; `None` if it is larger than [`PAYLOAD_BYTES_MAX`].
    pub fn of(body: &Body) -> Option<Self> {
        (body.bytes.len() <= PAYLOAD_BYTES_MAX).then(|| Self::written(body.content_type, &body.bytes))
    }
    /// A payload from bytes of any length.
    pub fn written(content_type: ContentType, bytes: &[u8]) -> Self {
        let (encoding, content) = match std::str::from_utf8(bytes) {
            Ok(text) => (Encoding::Text, text.to_owned()),
            Err(_) => (Encoding::Base64, STANDARD.encode(bytes)),
        };
        Self { content_type, encoding, content }
    }
    /// The body; `None` if `content` does not match its encoding.
    pub fn body(&self) -> Option<Body> {
        let bytes = match self.encoding {
            Encoding::Text => self.content.clone().into_bytes(),
            Encoding::Base64 => STANDARD.decode(&self.content).ok()?,
        };
        Some(Body { content_type: self.content_type, bytes: Bytes::from(bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard_in_both_directions() {
        let read = |content: &str| {
            let content_type = ContentType::Msgpack;
            Payload { content_type, encoding: Encoding::Base64, content: content.into() }.body()
        };
        let vectors = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, encoded) in vectors {
            assert_eq!(read(encoded).expect("base64").bytes, plain);
        }
        for (bytes, encoded) in [(&b"\xff"[..], "/w=="), (b"\xff\xef", "/+8="), (b"\xff\xef\xbe", "/+++")] {
            let payload = Payload::written(ContentType::Msgpack, bytes);
            assert_eq!((payload.encoding, payload.content.as_str()), (Encoding::Base64, encoded));
            assert_eq!(read(encoded).expect("base64").bytes, bytes);
        }
        for wrong in ["Z", "Zg=", "Z===", "====", "Zg==Zg==", "Zm9v!mFy", "Zm9\n", "Zg", "Zh=="] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn bytes_come_back_as_they_went() {
        for bytes in [&b"{\"type\":\"touch\"}"[..], b"\xff\x00\xfe", b"", "ä".as_bytes()] {
            let body = Body { content_type: ContentType::Msgpack, bytes: Bytes::copy_from_slice(bytes) };
            assert_eq!(Payload::of(&body).and_then(|payload| payload.body()), Some(body));
        }
        let large = Body { content_type: ContentType::Json, bytes: vec![b'x'; PAYLOAD_BYTES_MAX + 1].into() };
        assert_eq!(Payload::of(&large), None);
    }
}
