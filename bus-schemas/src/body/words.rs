//! Messages of decoders in the words of JSON: a derived reader names Rust types, which mean nothing outside.

/// A decoder's message without the names of Rust types.
pub fn plain(message: &str) -> String {
    if let Some((_, place)) = message.split_once("did not match any variant of untagged enum ") {
        return format!("the value has none of the accepted forms{}", position(place).1);
    }
    // The decoder of MessagePack names the byte that it found.
    if message.starts_with("wrong msgpack marker ") {
        return "another type is expected".to_owned();
    }
    // The decoder of JSON expects this of a word that is not one.
    if let Some(place) = message.strip_prefix("expected value") {
        return format!("expected a string{place}");
    }
    let Some((found, expected)) = message.rsplit_once(", expected ") else { return message.to_owned() };
    let (expected, place) = position(expected);
    format!("{}, expected {}{place}", came(found), wanted(expected))
}

/// The message, and the position in the text behind it.
fn position(message: &str) -> (&str, &str) {
    message.rfind(" at line ").map_or((message, ""), |at| message.split_at(at))
}

/// What came.
fn came(found: &str) -> String {
    let Some(found) = found.strip_prefix("invalid type: ") else {
        // Only lists are read by position.
        return if found.starts_with("invalid length ") { "invalid type: an array" } else { found }
            .to_owned();
    };
    let known = match found {
        "sequence" => "an array",
        "map" => "an object",
        "null" | "unit value" | "Option value" => "null",
        "byte array" => "bytes",
        _ => found,
    };
    format!("invalid type: {known}")
}

/// What is expected.
fn wanted(expected: &str) -> &str {
    let begins = |words: &[&str]| words.iter().any(|word| expected.starts_with(word));
    match expected {
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" | "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => {
            "a whole number"
        }
        "f32" | "f64" => "a number",
        "a map" => "an object",
        "a sequence" => "an array",
        "unit" => "null",
        "string or map" => "a string or an object",
        "variant identifier" | "field identifier" => "a string",
        _ if begins(&["a nonzero "]) => "a whole number above 0",
        _ if begins(&["tuple struct ", "tuple variant ", "a tuple ", "an array of length "]) => "an array",
        _ if begins(&["struct ", "internally tagged enum ", "adjacently tagged enum "]) => "an object",
        _ if begins(&["enum "]) => "a string or an object",
        _ if begins(&["unit struct ", "unit variant "]) => "null",
        _ => expected,
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn no_message_names_a_type_of_rust() {
        for (message, expected) in [
            (
                "invalid length 6, expected struct NewTask with 11 elements at line 1 column 30",
                "invalid type: an array, expected an object at line 1 column 30",
            ),
            ("invalid type: sequence, expected struct Skill", "invalid type: an array, expected an object"),
            (
                "invalid type: string \"x\", expected internally tagged enum HoldScope",
                "invalid type: string \"x\", expected an object",
            ),
            ("invalid type: map, expected a sequence", "invalid type: an object, expected an array"),
            (
                "invalid value: integer `-1`, expected u32",
                "invalid value: integer `-1`, expected a whole number",
            ),
            ("expected value at line 1 column 3", "expected a string at line 1 column 3"),
            (
                "data did not match any variant of untagged enum Cap at line 2 column 1",
                "the value has none of the accepted forms at line 2 column 1",
            ),
            ("unknown field `a`, expected one of `b`, `c`", "unknown field `a`, expected one of `b`, `c`"),
            ("missing field `goal`", "missing field `goal`"),
        ] {
            assert_eq!(plain(message), expected);
        }
    }
}
