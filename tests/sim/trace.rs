//! What happened, line by line: the last lines for people, all of them as one hash for determinism.

use std::collections::VecDeque;

/// Lines kept for a failure's message.
const LINES_KEPT: usize = 30;

/// The trace of one run.
#[derive(Debug, Default)]
pub struct Trace {
    lines: VecDeque<String>,
    fingerprint: Fingerprint,
    /// Whether every line is printed at once.
    aloud: bool,
}

impl Trace {
    /// An empty trace; with `ORRERY_SIM_TRACE` every line is printed too.
    pub fn new() -> Self {
        Self { aloud: std::env::var_os("ORRERY_SIM_TRACE").is_some(), ..Self::default() }
    }
    /// Adds a line.
    pub fn line(&mut self, text: String) {
        self.fingerprint.add(text.as_bytes());
        if self.aloud {
            println!("{text}");
        }
        if self.lines.len() == LINES_KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(text);
    }
    /// The last lines.
    pub fn last(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
    /// One number for all lines.
    pub fn hash(&self) -> u64 {
        self.fingerprint.0
    }
}

/// FNV-1a, 64 bit, over lines: it only has to tell two runs of the same seed apart.
#[derive(Debug)]
struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    fn add(&mut self, line: &[u8]) {
        for byte in line.iter().chain(b"\n") {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
