//! The text of a file: decoded by its byte-order mark, or as UTF-8 without one, and without the mark.

/// Bytes in which a NUL makes a file binary, as in git.
const BINARY_PROBE_BYTES: usize = 8_000;

/// The encodings of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Utf16 { big: bool },
    Utf32 { big: bool },
}

/// The longer mark first: a mark of UTF-32 begins like one of UTF-16.
const MARKS: [(&[u8], Encoding); 5] = [
    (b"\xff\xfe\0\0", Encoding::Utf32 { big: false }),
    (b"\0\0\xfe\xff", Encoding::Utf32 { big: true }),
    (b"\xff\xfe", Encoding::Utf16 { big: false }),
    (b"\xfe\xff", Encoding::Utf16 { big: true }),
    (b"\xef\xbb\xbf", Encoding::Utf8),
];

/// The encoding that the start of a file indicates, and the length of its mark in bytes.
pub(super) fn encoding(start: &[u8]) -> (Encoding, usize) {
    let marked = MARKS.iter().find(|(mark, _)| start.starts_with(mark));
    marked.map_or((Encoding::Utf8, 0), |(mark, encoding)| (*encoding, mark.len()))
}

/// The text of a whole file, with replacement characters for invalid bytes; `None` when it is binary.
pub(super) fn decode(mut bytes: Vec<u8>) -> Option<String> {
    let (encoding, mark) = encoding(&bytes);
    let body = &bytes[mark..];
    let text = match encoding {
        Encoding::Utf8 if is_binary(body) => return None,
        Encoding::Utf8 => {
            bytes.drain(..mark);
            return Some(
                String::from_utf8(bytes)
                    .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
            );
        }
        Encoding::Utf16 { big } => {
            let units = body.chunks_exact(2).map(|pair| number(pair, big) as u16);
            char::decode_utf16(units).collect::<Result<String, _>>().ok()
        }
        Encoding::Utf32 { big } => {
            body.chunks_exact(4).map(|four| char::from_u32(number(four, big))).collect()
        }
    };
    // Many files that begin with such a mark by chance are no text further on.
    text.filter(|text| !is_binary(text.as_bytes()))
}

/// Whether this start of a UTF-8 file is that of a binary file.
pub(super) fn is_binary(start: &[u8]) -> bool {
    start[..start.len().min(BINARY_PROBE_BYTES)].contains(&0)
}

fn number(bytes: &[u8], big: bool) -> u32 {
    let add = |sum: u32, byte: &u8| sum << 8 | u32::from(*byte);
    if big { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
}

#[cfg(test)]
mod tests {
    use super::decode;

    /// The text in every encoding that has a mark, with its mark.
    fn marked(text: &str) -> Vec<Vec<u8>> {
        let with_mark = format!("\u{feff}{text}");
        let units: Vec<u16> = with_mark.encode_utf16().collect();
        let points: Vec<u32> = with_mark.chars().map(u32::from).collect();
        vec![
            with_mark.clone().into_bytes(),
            units.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
            units.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
            points.iter().flat_map(|point| point.to_le_bytes()).collect(),
            points.iter().flat_map(|point| point.to_be_bytes()).collect(),
        ]
    }

    #[test]
    fn a_mark_tells_the_encoding_and_is_no_text() {
        for bytes in marked("# é 😀\r\n") {
            assert_eq!(decode(bytes.clone()).as_deref(), Some("# é 😀\r\n"), "{bytes:?}");
        }
        for text in ["", "a", "\u{fffd}a"] {
            assert_eq!(decode(text.as_bytes().to_vec()).as_deref(), Some(text));
        }
        assert_eq!(decode(b"a\xffb".to_vec()).as_deref(), Some("a\u{fffd}b"));
        for binary in [
            &b"a\0b"[..],
            b"\xef\xbb\xbf\0",
            b"\xff\xfe\0\xd8a\0",
            b"\xff\xfea\0\0\0",
            b"\xff\xfe\0\0a\0\0\xff",
        ] {
            assert_eq!(decode(binary.to_vec()), None, "{binary:?}");
        }
    }
}
