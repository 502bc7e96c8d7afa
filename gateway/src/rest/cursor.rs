//! Cursors of lists: opaque to clients, and good for ever, because they name a place and no offset.

use crate::projections::Place;

use super::problem::{Problem, code};

/// The first character: another layout would have another.
const LAYOUT: &str = "1";

/// Writes a cursor.
pub fn write(place: &Place) -> String {
    let text = format!("{}/{}", place.time, place.id);
    text.bytes().fold(LAYOUT.to_owned(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// Reads a cursor that a client sent back.
pub fn read(text: Option<&str>) -> Result<Option<Place>, Problem> {
    let Some(text) = text else { return Ok(None) };
    parse(text).map(Some).ok_or_else(|| {
        Problem::new(code::INVALID_CURSOR, "the cursor is none that this gateway gave")
            .hint("send `next_cursor` of the page before as it is, or none for the first page")
    })
}

fn parse(text: &str) -> Option<Place> {
    let digits = text.strip_prefix(LAYOUT)?.as_bytes();
    let bytes: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
            }
            _ => None,
        })
        .collect();
    let text = String::from_utf8(bytes?).ok()?;
    let (time, id) = text.split_once('/')?;
    Some(Place { time: time.parse().ok()?, id: id.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let place = Place { time: 1_763_700_000_123, id: "0199.step-1".into() };
        assert_eq!(read(Some(&write(&place))).unwrap(), Some(place));
        assert_eq!(read(None).unwrap(), None);
    }

    #[test]
    fn anything_else_is_a_problem_and_no_panic() {
        for text in ["", "1", "2aa", "1zz", "1a", "1é", "131", "1ff", "nonsense", "12f2f"] {
            let problem = read(Some(text)).expect_err(text);
            assert_eq!(problem.code, "invalid-cursor", "{text}");
        }
    }
}
