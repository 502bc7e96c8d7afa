//! Cursors of lists: opaque to clients, and valid for ever, since they hold a position and no offset.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway_api::code;
use gateway_api::paging::Paging;

use crate::projections::Place;

use super::problem::Problem;
use super::tasks::limit;

/// Writes a cursor.
pub fn write(place: &Place) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}/{}", place.time, place.id))
}

/// Reads a cursor that a client sent back.
pub fn read(text: Option<&str>) -> Result<Option<Place>, Problem> {
    let Some(text) = text else { return Ok(None) };
    parse(text).map(Some).ok_or_else(|| {
        Problem::new(code::INVALID_CURSOR, "the cursor is not one of this interface")
            .hint("send `next_cursor` of the page before as it is, or none for the first page")
    })
}

/// Where a page begins, and the number of its rows.
pub fn page(paging: &Paging) -> Result<(Option<Place>, u32), Problem> {
    Ok((read(paging.cursor.as_deref())?, limit(paging.limit)?))
}

fn parse(text: &str) -> Option<Place> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
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
        for text in ["", "1", "MS9", "é", "MTIz", "Ly9h", "_w", "nonsense", "MS9h=="] {
            let problem = read(Some(text)).expect_err(text);
            assert_eq!(problem.code, "invalid-cursor", "{text}");
        }
    }
}
