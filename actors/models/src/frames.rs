//! Frames of a streamed answer: server-sent events, or lines of JSON. Both are bounded.
//!
//! Server-sent events follow the WHATWG HTML standard, section 9.2; an event that no blank line ends is dropped.

use crate::fault::{Fault, Kind};

/// The most bytes of a line, and of an event.
const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// How frames are separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Server-sent events.
    Events,
    /// A JSON object per line.
    Lines,
}

/// One frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The name of the event; empty if it has none.
    pub(crate) name: String,
    /// The data.
    pub(crate) data: String,
}

/// Splits bytes into frames.
#[derive(Debug)]
pub(crate) struct Frames {
    framing: Framing,
    /// The bytes of a line that has not ended.
    line: Vec<u8>,
    name: String,
    data: Option<String>,
}

impl Frames {
    pub(crate) fn new(framing: Framing) -> Self {
        Self { framing, line: Vec::new(), name: String::new(), data: None }
    }

    /// The frames that end within `bytes`.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Frame>, Fault> {
        let mut frames = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.append(&bytes[..end])?;
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            let line = std::str::from_utf8(line).map_err(|_| Fault::malformed("the answer is not UTF-8"))?;
            frames.extend(self.end_line(line)?);
        }
        self.append(bytes)?;
        Ok(frames)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.line.len() + bytes.len() > FRAME_BYTES_MAX {
            return Err(too_large());
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self, line: &str) -> Result<Option<Frame>, Fault> {
        if self.framing == Framing::Lines {
            let is_blank = line.trim().is_empty();
            return Ok((!is_blank).then(|| Frame { name: String::new(), data: line.to_owned() }));
        }
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            return Ok(self.data.take().map(|data| Frame { name, data }));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) if data.len() + value.len() >= FRAME_BYTES_MAX => return Err(too_large()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            },
            // Comments, `id` and `retry`.
            _ => {}
        }
        Ok(None)
    }
}

fn too_large() -> Fault {
    Fault::new(Kind::TooLarge, format!("a piece of the answer has more than {FRAME_BYTES_MAX} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(framing: Framing, pieces: &[&[u8]]) -> Result<Vec<(String, String)>, Fault> {
        let mut frames = Frames::new(framing);
        let mut all = Vec::new();
        for piece in pieces {
            all.extend(frames.push(piece)?.into_iter().map(|frame| (frame.name, frame.data)));
        }
        Ok(all)
    }

    #[test]
    fn events_are_those_of_the_standard_however_they_arrive() {
        let text =
            ": hello\r\nevent: a\r\ndata: 1\r\ndata:2\r\n\r\ndata: \u{e9}\n\nid: 7\n\ndata: lost".as_bytes();
        let wanted = vec![("a".to_owned(), "1\n2".to_owned()), (String::new(), "\u{e9}".to_owned())];
        assert_eq!(split(Framing::Events, &[text]).unwrap(), wanted);
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(split(Framing::Events, &single).unwrap(), wanted);
        assert_eq!(split(Framing::Lines, &[b"{}\n\n", b"{\"a\":1", b"}\nrest"]).unwrap().len(), 2);
    }

    #[test]
    fn what_grows_without_end_is_refused() {
        let long = vec![b'x'; FRAME_BYTES_MAX];
        assert_eq!(split(Framing::Lines, &[&long, b"x"]).unwrap_err().kind, Kind::TooLarge);
        let line = [b"data: ", &long[..FRAME_BYTES_MAX / 2], b"\n"].concat();
        assert_eq!(split(Framing::Events, &[&line, &line, &line]).unwrap_err().kind, Kind::TooLarge);
        assert_eq!(split(Framing::Events, &[b"data: \xff\n\n"]).unwrap_err().kind, Kind::Malformed);
    }
}
