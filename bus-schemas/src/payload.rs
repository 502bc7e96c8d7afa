//! The bytes of a command inside JSON: as text where they are UTF-8, otherwise as base64 (RFC 4648).

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::envelope::{Body, ContentType};

/// The largest payload that an entity keeps, in bytes: that of the largest command. A larger one could
/// not be sent again as it is.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// The alphabet of RFC 4648.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// How the bytes stand in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// They are UTF-8 and stand there as they are.
    #[default]
    Text,
    /// RFC 4648 with padding.
    Base64,
}

/// The bytes of a command, and how they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// How the command is written.
    #[serde(default)]
    pub content_type: ContentType,
    /// How the bytes stand in `content`.
    #[serde(default)]
    pub encoding: Encoding,
    /// The bytes in that encoding.
    pub content: String,
}

impl Payload {
    /// A body as a payload; none when it is larger than [`PAYLOAD_BYTES_MAX`].
    pub fn of(body: &Body) -> Option<Self> {
        (body.bytes.len() <= PAYLOAD_BYTES_MAX).then(|| Self::written(body.content_type, &body.bytes))
    }
    /// Bytes of any length.
    pub fn written(content_type: ContentType, bytes: &[u8]) -> Self {
        let (encoding, content) = match std::str::from_utf8(bytes) {
            Ok(text) => (Encoding::Text, text.to_owned()),
            Err(_) => (Encoding::Base64, base64(bytes)),
        };
        Self { content_type, encoding, content }
    }
    /// The body; none when `content` is not of its encoding.
    pub fn body(&self) -> Option<Body> {
        let bytes = match self.encoding {
            Encoding::Text => self.content.clone().into_bytes(),
            Encoding::Base64 => from_base64(&self.content)?,
        };
        Some(Body { content_type: self.content_type, bytes: Bytes::from(bytes) })
    }
}

/// Bytes as base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (group >> (18 - 6 * digit)) & 63;
            text.push(if digit as usize > chunk.len() { '=' } else { char::from(ALPHABET[index as usize]) });
        }
    }
    text
}

/// Reads base64 with padding; none for anything else.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(4) {
        return None;
    }
    let groups = digits.len() / 4;
    let mut bytes = Vec::with_capacity(groups * 3);
    for (number, chunk) in digits.chunks_exact(4).enumerate() {
        let padding = chunk.iter().rev().take_while(|digit| **digit == b'=').count();
        if padding > 2 || (padding > 0 && number + 1 != groups) {
            return None;
        }
        let mut group = 0_u32;
        for digit in &chunk[..4 - padding] {
            group = group << 6 | ALPHABET.iter().position(|known| known == digit)? as u32;
        }
        let [_, decoded @ ..] = (group << (6 * padding)).to_be_bytes();
        bytes.extend_from_slice(&decoded[..3 - padding]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard_in_both_directions() {
        let vectors = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, encoded) in vectors {
            assert_eq!(base64(plain.as_bytes()), encoded);
            assert_eq!(from_base64(encoded).as_deref(), Some(plain.as_bytes()));
        }
        for wrong in ["Z", "Zg=", "Z===", "====", "Zg==Zg==", "Zm9v!mFy", "Zm9\n"] {
            assert_eq!(from_base64(wrong), None, "{wrong:?}");
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
