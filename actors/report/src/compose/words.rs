//! Formats numbers, sizes and names for people.

/// A number with its digits in groups of three: `12,345`.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A size in the unit that keeps it short: `1.5 MiB`.
pub(super) fn bytes(value: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if value < 1024 {
        return format!("{value} B");
    }
    let mut size = value as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// A count with its noun, in the singular for one.
pub(super) fn count(value: u64, singular: &str, plural: &str) -> String {
    format!("{} {}", number(value), if value == 1 { singular } else { plural })
}

/// The day of an RFC 3339 time.
pub(super) fn day(time: Option<&str>) -> &str {
    time.map_or("unknown", |time| time.split('T').next().unwrap_or(time))
}

/// A share in percent, rounded down so that only the whole is `100%`.
pub(super) fn percent(part: u64, whole: u64) -> String {
    match u128::from(part) * 100 / u128::from(whole.max(1)) {
        0 if part > 0 => "<1%".to_owned(),
        share => format!("{share}%"),
    }
}

/// Text from a repository on one line, without control characters and marks that change the direction of
/// text.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { visible(c) }).collect()
}

/// As [`one_line`], for a quotation that keeps its lines.
pub(super) fn lines(text: &str) -> String {
    text.chars().map(|c| if matches!(c, '\n' | '\t') { c } else { visible(c) }).collect()
}

fn visible(c: char) -> char {
    match c {
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// At most `chars_max` characters, keeping the end of a path and the start of anything else.
pub(super) fn shorten(text: &str, chars_max: usize) -> String {
    let length = text.chars().count();
    if length <= chars_max {
        return text.to_owned();
    }
    let kept = chars_max.saturating_sub(1);
    if text.contains('/') {
        let end: String = text.chars().skip(length - kept).collect();
        format!("…{end}")
    } else {
        let start: String = text.chars().take(kept).collect();
        format!("{start}…")
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, number, one_line, percent, shorten};

    #[test]
    fn numbers_and_names_read_well() {
        assert_eq!([number(7), number(1234), number(1_234_567)], ["7", "1,234", "1,234,567"]);
        assert_eq!([bytes(12), bytes(1536), bytes(5 << 30)], ["12 B", "1.5 KiB", "5.0 GiB"]);
        assert_eq!([percent(1, 1000), percent(999, 1000), percent(0, 0)], ["<1%", "99%", "0%"]);
        assert_eq!([shorten("src/a/b.rs", 6), shorten("Ada Lovelace", 4)], ["…/b.rs", "Ada…"]);
        assert_eq!(one_line("a\u{1b}[31m\nb\u{202e}c"), "a\u{fffd}[31m b\u{fffd}c");
    }
}
