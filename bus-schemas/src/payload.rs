//! The bytes of a command inside JSON: as text if they are UTF-8, otherwise as base64 (RFC 4648).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::envelope::{Body, ContentType};
use crate::ids::Hash;

/// The largest payload that an entity keeps, in bytes: the size of the largest command. A larger one could
/// not be sent again as it is.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// The field with the token of a job, in every command of a worker.
const TOKEN: &[u8] = b"token";

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
    /// A payload without the token of a job, for what more than hosts read: its SHA-256 hash stands in its place, as in
    /// the task's events. What cannot be read ends before the word `token`.
    #[must_use]
    pub fn without_token(self) -> Self {
        let Some(body) = self.body() else { return self };
        match body.read::<Map<String, Value>>() {
            Ok(mut fields) => match fields.get_mut("token") {
                Some(Value::String(token)) => {
                    *token = Hash::of_token(token).to_hex();
                    let bytes = match self.content_type {
                        ContentType::Json => serde_json::to_vec(&fields).ok(),
                        ContentType::Msgpack => rmp_serde::to_vec(&fields).ok(),
                    };
                    Self::written(self.content_type, &bytes.expect("what was read can be written"))
                }
                _ => self,
            },
            Err(_) => match body.bytes.windows(TOKEN.len()).position(|word| word == TOKEN) {
                Some(end) => Self::written(self.content_type, &body.bytes[..end]),
                None => self,
            },
        }
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

    /// The token is gone whatever the body is: a report, one with an unknown field, one that was cut, MessagePack, and
    /// bytes that no reader of JSON values takes. All else stays.
    #[test]
    fn no_payload_shows_a_token() {
        let hash = Hash::of_token("s3cret").to_hex();
        let shown = |content_type, bytes: &[u8]| {
            let body = Payload::written(content_type, bytes).without_token().body().expect("a body").bytes;
            assert!(!body.windows(6).any(|word| word == b"s3cret"), "{body:?}");
            body
        };
        let json = |text: &str| shown(ContentType::Json, text.as_bytes());
        let report = r#"{"attempt":1,"token":"s3cret","type":"complete-job"}"#;
        assert_eq!(json(report), report.replace("s3cret", &hash));
        assert_eq!(json(r#"{"token": "\u00733cret"}"#), format!(r#"{{"token":"{hash}"}}"#));
        assert_eq!(json(r#"{"type":"complete-job","token":"s3cret","#), r#"{"type":"complete-job",""#);
        assert_eq!(json(r#"["token", "s3cret"]"#), r#"[""#);
        for plain in [r#"{"type": "touch"}"#, r#"{"token": 7}"#, r#"{"type": "cut"#, ""] {
            assert_eq!(json(plain), plain);
        }
        let fields: Map<String, Value> = serde_json::from_str(report).expect("JSON");
        let written = shown(ContentType::Msgpack, &rmp_serde::to_vec(&fields).expect("MessagePack"));
        let fields: Map<String, Value> = rmp_serde::from_slice(&written).expect("MessagePack");
        assert_eq!(fields["token"], *hash);
        assert_eq!(
            shown(ContentType::Msgpack, b"\x82\xa1x\xc4\x01\x00\xa5token\xa6s3cret"),
            &b"\x82\xa1x\xc4\x01\x00\xa5"[..]
        );
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
