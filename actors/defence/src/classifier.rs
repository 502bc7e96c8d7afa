//! A learned judgement behind one trait: logistic regression over hashed words, pairs of words and pieces of words.
//!
//! A model is a file of little-endian numbers, which `scripts/train_defence.py` writes and nothing executes:
//!
//! | bytes | meaning |
//! | --- | --- |
//! | 0–3 | `ORDC` |
//! | 4 | the version of the format, 1 |
//! | 5 | the bits of a bucket's number, 10 to 24 |
//! | 6–7 | 0 |
//! | 8–11 | the weight of a step of the numbers below, as `f32` |
//! | 12–15 | the bias, as `f32` |
//! | 16–19 | the margin from which a text counts as hostile, as `f32` |
//! | 20– | a weight for each bucket, as `i8` |
//!
//! The bucket of a feature is the end of its CRC-32. A larger model has more bits: the file with 24 of them has 16 MiB.

use crate::plain;

/// The words of a window: a long text is judged by its worst window, of which each begins in the middle of the one before.
const WINDOW: usize = 64;
/// The bits of a bucket's number.
const BITS: std::ops::RangeInclusive<u8> = 10..=24;
/// The bytes before the weights.
const HEAD: usize = 20;

/// A learned judgement of texts.
pub trait Classifier: Send + Sync {
    /// The chance, 0 to 1, that a normal form holds an instruction.
    fn score(&self, text: &str) -> f32;
    /// The score above which a text counts as hostile, chosen on texts that are no published corpus.
    fn threshold(&self) -> f32;
}

/// Why a file is no model.
#[derive(Debug, thiserror::Error)]
#[error("the file is no classifier of format 1: {0}")]
pub struct ModelError(&'static str);

/// A linear model.
pub struct Linear {
    bits: u8,
    scale: f32,
    bias: f32,
    threshold: f32,
    weights: Box<[i8]>,
}

impl std::fmt::Debug for Linear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Linear").field("bits", &self.bits).finish_non_exhaustive()
    }
}

impl Linear {
    /// The model that ships.
    pub fn small() -> Self {
        Self::read(include_bytes!("classifier.bin")).expect("a test reads the file that ships")
    }

    /// Reads a model.
    pub fn read(bytes: &[u8]) -> Result<Self, ModelError> {
        let (head, rest) = bytes.split_at_checked(HEAD).ok_or(ModelError("too short"))?;
        if &head[..5] != b"ORDC\x01" {
            return Err(ModelError("without the mark of the format"));
        }
        let bits = head[5];
        if !BITS.contains(&bits) || rest.len() != 1 << bits {
            return Err(ModelError("a length that is not that of the buckets"));
        }
        let number =
            |at: usize| f32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes of the head"));
        let (scale, bias, margin) = (number(8), number(12), number(16));
        if !(scale.is_finite() && bias.is_finite() && margin.is_finite()) {
            return Err(ModelError("a number in the head that is none"));
        }
        let weights = rest.iter().map(|byte| byte.cast_signed()).collect();
        Ok(Self { bits, scale, bias, threshold: chance(margin), weights })
    }

    fn bucket(&self, feature: &str) -> u32 {
        crc32fast::hash(feature.as_bytes()) & ((1 << self.bits) - 1)
    }

    /// The buckets that a word adds: itself, its pairs with the next two, its pieces.
    fn buckets(&self, words: &[String], at: usize) -> Vec<u32> {
        let word = &words[at];
        let mut found = vec![self.bucket(&format!("w{word}"))];
        for (sign, next) in [("p", words.get(at + 1)), ("s", words.get(at + 2))] {
            found.extend(next.map(|next| self.bucket(&format!("{sign}{word} {next}"))));
        }
        let padded: Vec<char> = std::iter::once(' ').chain(word.chars()).chain([' ']).collect();
        for size in 3..=5 {
            for piece in padded.windows(size) {
                found.push(
                    self.bucket(&std::iter::once('c').chain(piece.iter().copied()).collect::<String>()),
                );
            }
        }
        found
    }
}

impl Classifier for Linear {
    fn score(&self, text: &str) -> f32 {
        let words = plain::words(text);
        let mut worst = f32::MIN;
        let mut begin = 0;
        loop {
            let window = &words[begin..words.len().min(begin + WINDOW)];
            let mut buckets: Vec<u32> = (0..window.len()).flat_map(|at| self.buckets(window, at)).collect();
            buckets.sort_unstable();
            buckets.dedup();
            let sum: i32 = buckets.iter().map(|bucket| i32::from(self.weights[*bucket as usize])).sum();
            let margin = self.scale * sum as f32 / (buckets.len().max(1) as f32).sqrt() + self.bias;
            worst = worst.max(margin);
            if begin + WINDOW >= words.len() {
                return chance(worst);
            }
            begin += WINDOW / 2;
        }
    }

    fn threshold(&self) -> f32 {
        self.threshold
    }
}

fn chance(margin: f32) -> f32 {
    1.0 / (1.0 + (-margin).exp())
}
