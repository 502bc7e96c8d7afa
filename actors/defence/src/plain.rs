//! The normal form of a text: NFKC, no characters that nobody sees, one alphabet within a word.

use icu_normalizer::ComposingNormalizerBorrowed;

use crate::Layer;

/// The most characters of a word that are looked at: no language has longer ones, and data has.
const WORD_CHARS_MAX: usize = 48;
/// So many single letters in a row are a word that somebody spaced out.
const SPACED_MIN: usize = 4;

/// Latin letters, each before one of another alphabet that looks like it.
const LOOKS_LIKE: &str = "aаbвcсdԁeеgɡhһiіjјkкlӏmмnпoоpрqԛrгsѕtтuυvѵwԝxхyуAАBВCСEЕHНIІJЈKКMМOОPРSЅTТXХYУaαeεnηiιkκvνoοpρtτxχyγAΑBΒEΕZΖHΗIΙKΚMΜNΝOΟPΡTΤYΥXΧiı";

/// A text in its normal form, and what was strange about it.
#[derive(Debug)]
pub(crate) struct Plain {
    pub(crate) text: String,
    pub(crate) signs: Vec<(Layer, &'static str, f32)>,
    /// What tags and selectors of Unicode spell: no reader sees it.
    pub(crate) unseen: Vec<(&'static str, String)>,
}

/// Makes the normal form.
pub(crate) fn plain(text: &str) -> Plain {
    let mut kept = String::with_capacity(text.len());
    let (mut controls, mut invisible, mut bidi) = (0, 0, 0);
    let (mut tags, mut selected) = (String::new(), Vec::new());
    for sign in text.chars() {
        match sign {
            '\n' | '\t' | '\r' => kept.push(sign),
            '\u{E0020}'..='\u{E007E}' => tags.extend(char::from_u32(sign as u32 - 0xE0000)),
            '\u{FE00}'..='\u{FE0F}' => selected.push(sign as u32 - 0xFE00),
            '\u{E0100}'..='\u{E01EF}' => selected.push(sign as u32 - 0xE0100 + 16),
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}' => bidi += 1,
            _ if is_invisible(sign) => invisible += 1,
            _ if sign.is_control() => controls += 1,
            _ => kept.push(sign),
        }
    }
    let mut signs = Vec::new();
    let mut sign = |is_there: bool, layer, rule, weight| {
        if is_there {
            signs.push((layer, rule, weight));
        }
    };
    sign(controls > 0, Layer::Characters, "control-characters", 0.1);
    sign(bidi > 0, Layer::Characters, "direction-marks", 0.15);
    // A joiner is part of some scripts and pictures; many of them are not.
    sign(invisible > 3, Layer::Characters, "invisible-characters", 0.35);
    sign(tags.len() > 8, Layer::Characters, "tag-characters", 0.5);
    let normal = ComposingNormalizerBorrowed::new_nfkc().normalize(&kept);
    let (text, mixed) = one_alphabet(&normal);
    sign(mixed > 0, Layer::Normal, "mixed-alphabets", 0.35);
    let (text, spaced) = together(&text);
    sign(spaced, Layer::Normal, "spaced-letters", 0.2);
    let selected: Option<Vec<u8>> = selected.into_iter().map(|byte| u8::try_from(byte).ok()).collect();
    let selected = selected.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let unseen = [("tags", tags), ("selectors", selected)];
    let unseen = unseen.into_iter().filter(|(_, text)| text.len() >= 4).collect();
    Plain { text, signs, unseen }
}

fn is_invisible(sign: char) -> bool {
    matches!(sign, '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180B}'..='\u{180E}' | '\u{200B}'..='\u{200D}' | '\u{2060}'..='\u{2065}' | '\u{206A}'..='\u{206F}'
        | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E001F}' | '\u{E007F}')
}

/// The text with each word that mixes alphabets written in the Latin one, and the number of these words.
fn one_alphabet(text: &str) -> (String, usize) {
    let mut mixed = 0;
    let words = text.split_inclusive(|sign: char| !sign.is_alphanumeric());
    let words = words.map(|word| {
        let is_latin = word.chars().any(|sign| sign.is_ascii_alphabetic());
        let changed: String = word.chars().map(latin).collect();
        if !is_latin || changed == word {
            return word.to_owned();
        }
        mixed += 1;
        changed
    });
    (words.collect(), mixed)
}

fn latin(sign: char) -> char {
    let mut pairs = LOOKS_LIKE.chars();
    while let (Some(known), Some(strange)) = (pairs.next(), pairs.next()) {
        if strange == sign {
            return known;
        }
    }
    sign
}

/// Writes words together whose letters stand alone, as in `i g n o r e`, and says whether there was one.
fn together(text: &str) -> (String, bool) {
    let (mut out, mut is_spaced) = (String::with_capacity(text.len()), false);
    // Two spaces, or a line, are the end of a word in a text with spaces between all letters.
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            out.push('\n');
        }
        for (number, part) in line.split("  ").enumerate() {
            if number > 0 {
                out.push(' ');
            }
            let letters: Vec<&str> = part.split([' ', '.', '-', '_', '*']).collect();
            let is_single =
                |letter: &&str| letter.chars().count() == 1 && letter.chars().all(char::is_alphabetic);
            if letters.len() >= SPACED_MIN && letters.iter().all(is_single) {
                is_spaced = true;
                out.extend(letters);
            } else {
                out.push_str(part);
            }
        }
    }
    (out, is_spaced)
}

/// The words of a normal form in small letters, with a zero for each digit.
pub(crate) fn words(text: &str) -> Vec<String> {
    let small = text.to_lowercase();
    let words = small.split(|sign: char| !sign.is_alphanumeric()).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let signs = word.chars().take(WORD_CHARS_MAX);
            signs.map(|sign| if sign.is_numeric() { '0' } else { sign }).collect()
        })
        .collect()
}
