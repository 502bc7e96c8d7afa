//! The framing of a stream's snapshot: S2, as nats-server writes and reads it.
//!
//! Only uncompressed blocks are written, which every reader of the format accepts; all kinds are read.

use std::io::{Error, ErrorKind, Read, Result};

/// The first bytes of a framed stream.
pub(super) const START: &[u8] = b"\xff\x06\x00\x00S2sTwO";
/// The size of a block that is written, in bytes; the format allows four megabytes.
pub(super) const BLOCK_BYTES: usize = 64 * 1024;
/// The largest block of the format, in bytes; a larger one is an error.
const BLOCK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The size of the checksum before each block, in bytes.
const CHECKSUM_BYTES: usize = 4;

const COMPRESSED: u8 = 0x00;
const PLAIN: u8 = 0x01;
/// The first kind of chunk that may be skipped.
const SKIPPABLE_FROM: u8 = 0x80;

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what.to_owned())
}

/// A block with its frame.
pub(super) fn frame(block: &[u8]) -> Vec<u8> {
    debug_assert!(block.len() <= BLOCK_BYTES_MAX, "the callers cut blocks to size");
    let length = u32::try_from(block.len() + CHECKSUM_BYTES).expect("a block is at most four megabytes");
    let mut framed = Vec::with_capacity(block.len() + 8);
    framed.push(PLAIN);
    framed.extend(&length.to_le_bytes()[..3]);
    framed.extend(checksum(block).to_le_bytes());
    framed.extend(block);
    framed
}

/// Reads the blocks of a framed stream.
pub(super) struct Blocks<R> {
    from: R,
}

impl<R: Read> Blocks<R> {
    /// The blocks of a stream that starts here.
    pub(super) fn new(from: R) -> Self {
        Self { from }
    }

    /// The next block, after its checksum is verified; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let mut head = [0; 4];
            if !self.fill(&mut head)? {
                return Ok(None);
            }
            let length = u32::from_le_bytes([head[1], head[2], head[3], 0]) as usize;
            let mut chunk = vec![0; length];
            self.from.read_exact(&mut chunk)?;
            let block = match head[0] {
                COMPRESSED | PLAIN if length < CHECKSUM_BYTES => return Err(broken("a block is too short")),
                COMPRESSED => decompress(&chunk[CHECKSUM_BYTES..])?,
                PLAIN => chunk[CHECKSUM_BYTES..].to_vec(),
                kind if kind >= SKIPPABLE_FROM => continue,
                _ => return Err(broken("a chunk is of an unknown kind")),
            };
            let stored = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
            if checksum(&block) != stored {
                return Err(broken("a block is not what its checksum says"));
            }
            return Ok(Some(block));
        }
    }

    /// Reads the head of a chunk; `false` at the end of the stream, which must be between two chunks.
    fn fill(&mut self, head: &mut [u8; 4]) -> Result<bool> {
        let mut filled = 0;
        while filled < head.len() {
            match self.from.read(&mut head[filled..])? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                more => filled += more,
            }
        }
        Ok(true)
    }
}

/// A position in compressed bytes.
struct Compressed<'a> {
    left: &'a [u8],
}

impl Compressed<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8]> {
        let (taken, left) = self.left.split_at_checked(count).ok_or_else(|| broken("a block is cut off"))?;
        self.left = left;
        Ok(taken)
    }
    /// A number of up to four bytes, lowest first.
    fn number(&mut self, bytes: usize) -> Result<usize> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, byte| (number << 8) | usize::from(*byte)))
    }
    fn varint(&mut self) -> Result<usize> {
        let mut number = 0;
        for shift in (0..32).step_by(7) {
            let byte = self.number(1)?;
            number |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(broken("a length is too long"))
    }
}

/// Decompresses a block: literals and copies of earlier bytes, some of which repeat the last distance.
fn decompress(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut from = Compressed { left: bytes };
    let length = from.varint()?;
    if length > BLOCK_BYTES_MAX {
        return Err(broken("a block is too long"));
    }
    let (mut block, mut distance) = (Vec::with_capacity(length), 0);
    while !from.left.is_empty() {
        let tag = from.number(1)?;
        let upper = tag >> 2;
        let copied = match tag & 3 {
            0 => {
                let count = if upper < 60 { upper } else { from.number(upper - 59)? };
                block.extend(from.take(count + 1)?);
                continue;
            }
            1 => {
                let (short, near) = (upper & 7, ((tag & 0xe0) << 3) | from.number(1)?);
                if near > 0 {
                    distance = near;
                }
                match (near, short) {
                    (0, 5) => from.number(1)? + 8,
                    (0, 6) => from.number(2)? + (1 << 8) + 4,
                    (0, 7) => from.number(3)? + (1 << 16) + 4,
                    _ => short + 4,
                }
            }
            wide => {
                distance = from.number(if wide == 2 { 2 } else { 4 })?;
                upper + 1
            }
        };
        if distance == 0 || distance > block.len() || block.len() + copied > length {
            return Err(broken("a copy reaches out of its block"));
        }
        for _ in 0..copied {
            block.push(block[block.len() - distance]);
        }
    }
    if block.len() == length { Ok(block) } else { Err(broken("a block has another length than it says")) }
}

/// CRC-32C, rotated and masked as the framing format requires.
fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum = TABLE[usize::from((sum as u8) ^ byte)] ^ (sum >> 8);
    }
    (!sum).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// One CRC-32C step for each byte value.
static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut sum, mut bit) = (byte as u32, 0);
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0x82f6_3b78 } else { sum >> 1 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back_and_a_changed_one_is_refused() {
        // "123456789" is the usual check of a CRC-32C: 0xe3069283.
        assert_eq!(checksum(b"123456789"), 0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8));
        let framed = [START, &frame(b"some bytes"), &frame(b"more")].concat();
        let mut blocks = Blocks::new(framed.as_slice());
        assert_eq!(blocks.next().expect("a block").as_deref(), Some(b"some bytes".as_slice()));
        assert_eq!(blocks.next().expect("a block").as_deref(), Some(b"more".as_slice()));
        assert_eq!(blocks.next().expect("the end"), None);
        for at in START.len()..framed.len() {
            let mut changed = framed.clone();
            changed[at] ^= 1;
            let mut blocks = Blocks::new(changed.as_slice());
            let whole = std::iter::from_fn(|| blocks.next().transpose()).collect::<Result<Vec<_>>>();
            assert!(whole.is_err() || whole.is_ok_and(|read| read.concat() != b"some bytesmore"), "at {at}");
        }
    }

    #[test]
    fn copies_and_repeats_are_followed() {
        // Five letters; six bytes from five before; the same distance again, four bytes.
        let block = b"\x0f\x10abcde\x09\x05\x01\x00";
        assert_eq!(decompress(block).expect("a block"), b"abcdeabcdeabcde");
        assert!(decompress(b"\x08\x00a\x09\x05").is_err(), "a copy from before the beginning");
    }
}
