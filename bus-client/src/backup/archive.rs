//! The archive inside a stream's snapshot, in the format of nats-server 2.15: its state, then every message
//! with its sequence, time and headers. Read to count the content, and rewritten for a stream that must end
//! earlier or continue later than the file does.

use std::io::{Error, ErrorKind, Read, Result};

use async_nats::header::{NATS_BATCH_COMMIT, NATS_BATCH_ID};

use super::s2::{BLOCK_BYTES, Blocks, START, frame};
use super::{Held, Totals};

/// The first bytes of an archive.
const MAGIC: &[u8] = b"NATSARC1";
/// The name of the entry with the stream's state; it is the first entry.
const STATE: &[u8] = b"state.json";
/// The end of an archive: five lengths of 0.
const END: [u8; 5] = [0; 5];
/// The longest name of an entry, in bytes: a subject.
const NAME_BYTES_MAX: u64 = 64 * 1024;
/// The longest entry, in bytes: the server's largest possible message with its headers.
const ENTRY_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// An entry: the state, or a message.
struct Entry {
    name: Vec<u8>,
    /// Kept encoded, because the time itself is not needed.
    time: Vec<u8>,
    sequence: u64,
    headers_length: u64,
    /// Headers and payload.
    content: Vec<u8>,
}

/// Reads entries one by one.
struct Entries<R> {
    blocks: Blocks<R>,
    buffer: Vec<u8>,
    at: usize,
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what.to_owned())
}

impl<R: Read> Entries<R> {
    fn new(from: R) -> Result<Self> {
        let mut entries = Self { blocks: Blocks::new(from), buffer: Vec::new(), at: 0 };
        match entries.take(MAGIC.len())? == MAGIC {
            true => Ok(entries),
            false => Err(broken("the file does not begin as an archive of a stream")),
        }
    }

    fn take(&mut self, count: usize) -> Result<&[u8]> {
        while self.buffer.len() - self.at < count {
            self.buffer.drain(..self.at);
            self.at = 0;
            let block = self.blocks.next()?.ok_or(ErrorKind::UnexpectedEof)?;
            self.buffer.extend(block);
        }
        let taken = self.at..self.at + count;
        self.at = taken.end;
        Ok(&self.buffer[taken])
    }

    /// A number, decoded and encoded.
    fn varint(&mut self) -> Result<(u64, Vec<u8>)> {
        let (mut number, mut bytes) = (0, Vec::new());
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            bytes.push(byte);
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((number, bytes));
            }
        }
        Err(broken("a number is too long"))
    }

    fn next(&mut self) -> Result<Option<Entry>> {
        let (name_length, _) = self.varint()?;
        let (_, time) = self.varint()?;
        let (sequence, _) = self.varint()?;
        let (headers_length, _) = self.varint()?;
        let (payload_length, _) = self.varint()?;
        if name_length == 0 {
            return Ok(None);
        }
        let content_length = headers_length.saturating_add(payload_length);
        if name_length > NAME_BYTES_MAX || content_length > ENTRY_BYTES_MAX {
            return Err(broken("an entry is too long"));
        }
        let name = self.take(name_length as usize)?.to_vec();
        let content = self.take(content_length as usize)?.to_vec();
        Ok(Some(Entry { name, time, sequence, headers_length, content }))
    }
}

/// Counts the content of an archive and checks that it is complete. Bytes are those of headers and payloads.
pub(super) fn count(from: impl Read) -> Result<Held> {
    let mut entries = Entries::new(from)?;
    let mut held = Held::default();
    while let Some(entry) = entries.next()? {
        if entry.name == STATE {
            let state: Totals = serde_json::from_slice(&entry.content)?;
            held.totals.first_sequence = state.first_sequence;
            held.totals.last_sequence = state.last_sequence;
        } else if entry.sequence > 0 {
            if held.totals.messages == 0 {
                held.totals.first_sequence = entry.sequence;
            }
            held.totals.messages += 1;
            held.totals.bytes += entry.content.len() as u64;
            held.unfinished = match entry.batch() {
                Batch::Open => held.unfinished + 1,
                Batch::Closed => 0,
            };
        }
    }
    Ok(held)
}

/// The position of a message in an atomic batch.
enum Batch {
    /// More messages of the batch follow.
    Open,
    /// The last message of a batch, or a message of none.
    Closed,
}

impl Entry {
    fn batch(&self) -> Batch {
        let headers = self.content.get(..self.headers_length as usize).unwrap_or_default();
        let has = |name: &str| {
            let lines = headers.split(|byte| *byte == b'\n');
            lines.into_iter().any(|line| {
                line.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b':'))
            })
        };
        match has(NATS_BATCH_ID.as_ref()) && !has(NATS_BATCH_COMMIT.as_ref()) {
            true => Batch::Open,
            false => Batch::Closed,
        }
    }
}

/// An archive with other totals and without the messages after their last sequence.
pub(super) struct Rewritten<R> {
    entries: Option<Entries<R>>,
    totals: Totals,
    out: Vec<u8>,
}

impl<R: Read> Rewritten<R> {
    pub(super) fn new(from: R, totals: Totals) -> Result<Self> {
        Ok(Self { entries: Some(Entries::new(from)?), totals, out: MAGIC.to_vec() })
    }

    fn entry(&mut self, entry: &Entry) {
        let replaced =
            (entry.name == STATE).then(|| serde_json::to_vec(&self.totals).expect("totals are four numbers"));
        let content = replaced.as_ref().unwrap_or(&entry.content);
        varint(&mut self.out, entry.name.len() as u64);
        self.out.extend(&entry.time);
        varint(&mut self.out, entry.sequence);
        varint(&mut self.out, entry.headers_length);
        varint(&mut self.out, content.len() as u64 - entry.headers_length);
        self.out.extend(&entry.name);
        self.out.extend(content);
    }
}

/// The archive as framed blocks.
impl<R: Read> Iterator for Rewritten<R> {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.out.len() < BLOCK_BYTES
            && let Some(entries) = &mut self.entries
        {
            match entries.next() {
                // The state and other entries of the whole stream have no sequence.
                Ok(Some(entry)) if entry.sequence <= self.totals.last_sequence => self.entry(&entry),
                Ok(Some(_)) => {}
                Ok(None) => {
                    self.out.extend(END);
                    self.entries = None;
                }
                Err(error) => {
                    self.entries = None;
                    self.out.clear();
                    return Some(Err(error));
                }
            }
        }
        let rest = self.out.split_off(self.out.len().min(BLOCK_BYTES));
        let block = std::mem::replace(&mut self.out, rest);
        (!block.is_empty()).then(|| Ok(frame(&block)))
    }
}

/// The start of the archive, before its blocks.
pub(super) fn start() -> Vec<u8> {
    START.to_vec()
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number as u8) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
