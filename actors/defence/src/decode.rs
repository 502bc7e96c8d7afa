//! Texts within a text: base64, hex, percent signs, escapes, entities, and what nobody sees.

use std::collections::VecDeque;
use std::sync::LazyLock;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use regex::{Captures, Regex};

use crate::Layer;
use crate::plain::plain;

/// How deep texts are looked for within texts.
const DEPTH_MAX: usize = 3;
/// The most pieces, and the most bytes of all of them: a text cannot make much more of itself.
const PIECES_MAX: usize = 24;
const BYTES_MAX: usize = 256 * 1024;
/// The most bytes that are read in other ways than from left to right.
const TWISTED_MAX: usize = 16 * 1024;
/// The fewest bytes of a decoded piece: shorter ones are chance.
const PIECE_MIN: usize = 8;

/// A text in its normal form.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) text: String,
    /// The same as patterns read it: in small letters, with one space between words; and what letters may stand for.
    pub(crate) views: Vec<String>,
    /// How it was hidden, from the outside in.
    pub(crate) hidden: String,
    pub(crate) signs: Vec<(Layer, &'static str, f32)>,
}

struct Rules {
    base64: Regex,
    hex: Regex,
    escape: Regex,
    percent: Regex,
    entity: Regex,
}

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let rule = |text| Regex::new(text).expect("the tests compile it");
    Rules {
        base64: rule(r"[A-Za-z0-9+/_-]{12,}={0,2}"),
        hex: rule(r"(?i)(?:\b|0x|\\x)[0-9a-f]{2}(?:(?:[\s:,]|\\x|0x)*[0-9a-f]{2}){7,}\b"),
        escape: rule(r"(?i)\\u\{?([0-9a-f]{4,6})\}?"),
        percent: rule(r"(?i)(?:%[0-9a-f]{2}.{0,24}?){3,}"),
        entity: rule(r"(?i)&#(x[0-9a-f]{1,6}|[0-9]{1,7});"),
    }
});

/// The text and what it holds, each in its normal form.
pub(crate) fn pieces(text: &str) -> Vec<Piece> {
    let mut waiting = VecDeque::from([(String::new(), text.to_owned(), 0)]);
    let (mut pieces, mut bytes) = (Vec::new(), 0);
    while let Some((hidden, text, depth)) = waiting.pop_front() {
        let normal = plain(&text);
        let views = views(&normal.text);
        if depth < DEPTH_MAX {
            for (name, inner) in within(&normal.text).into_iter().chain(normal.unseen) {
                bytes += inner.len();
                if pieces.len() + waiting.len() + 1 < PIECES_MAX && bytes <= BYTES_MAX {
                    let hidden = if hidden.is_empty() { name.to_owned() } else { format!("{hidden}/{name}") };
                    waiting.push_back((hidden, inner, depth + 1));
                }
            }
        }
        pieces.push(Piece { text: normal.text, views, hidden, signs: normal.signs });
    }
    pieces
}

/// What a text holds in another form.
fn within(text: &str) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut add = |name, bytes: Vec<u8>| {
        if let Some(text) = readable(bytes) {
            found.push((name, text));
        }
    };
    for run in RULES.base64.find_iter(text).take(PIECES_MAX * 4) {
        for alphabet in [&STANDARD, &URL_SAFE] {
            let padding = GeneralPurposeConfig::new()
                .with_decode_padding_mode(DecodePaddingMode::Indifferent)
                .with_decode_allow_trailing_bits(true);
            let decoded = GeneralPurpose::new(alphabet, padding).decode(run.as_str());
            if let Ok(bytes) = decoded {
                add("base64", bytes);
                break;
            }
        }
    }
    for run in RULES.hex.find_iter(text).take(PIECES_MAX) {
        let plain = run.as_str().to_lowercase().replace("0x", "").replace("\\x", "");
        let digits: Vec<u8> = plain.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        add("hex", digits.chunks_exact(2).filter_map(pair).collect());
    }
    if RULES.percent.is_match(text) {
        add("percent", percent_encoding::percent_decode_str(text).collect());
    }
    let number = |captures: &Captures<'_>| {
        let digits = &captures[1];
        let hex = digits.strip_prefix(['x', 'X']);
        let number = match hex {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => digits.parse(),
        };
        number.ok().and_then(char::from_u32).unwrap_or(' ').to_string()
    };
    if RULES.entity.find_iter(text).nth(2).is_some() {
        add("entities", RULES.entity.replace_all(text, number).into_owned().into_bytes());
    }
    let code = |captures: &Captures<'_>| {
        let number = u32::from_str_radix(&captures[1], 16).ok();
        number.and_then(char::from_u32).unwrap_or(' ').to_string()
    };
    if RULES.escape.find_iter(text).nth(2).is_some() {
        add("escapes", RULES.escape.replace_all(text, code).into_owned().into_bytes());
    }
    found
}

/// Bytes that are a text: most of its characters are letters and spaces.
fn readable(bytes: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    let count = text.chars().count();
    let good =
        text.chars().filter(|sign| sign.is_alphanumeric() || " .,;:!?'\"\n/-_".contains(*sign)).count();
    let letters = text.chars().filter(|sign| sign.is_alphabetic()).count();
    (text.len() >= PIECE_MIN && good * 10 >= count * 9 && letters * 2 >= count).then_some(text)
}

/// The forms of a text in which patterns are looked for: as it is, digits for letters, ROT13, backwards.
fn views(text: &str) -> Vec<String> {
    let small = text.to_lowercase();
    let flat = small.split_whitespace().collect::<Vec<_>>().join(" ");
    let start = &flat[..flat.floor_char_boundary(TWISTED_MAX)];
    let unleet: String = start
        .chars()
        .map(|sign| match sign {
            '0' => 'o',
            '1' | '!' => 'i',
            '3' => 'e',
            '4' | '@' => 'a',
            '5' | '$' => 's',
            '7' => 't',
            other => other,
        })
        .collect();
    let turned: String = start
        .chars()
        .map(|sign| match sign {
            'a'..='z' => char::from((sign as u8 - b'a' + 13) % 26 + b'a'),
            other => other,
        })
        .collect();
    let backwards = start.chars().rev().collect();
    vec![flat, unleet, turned, backwards]
}
