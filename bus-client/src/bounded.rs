//! Headers from outside: names in any case, and bounded values. The server accepts 64 KiB of headers per
//! message; a message with more would be retried forever.

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bus_schemas::text;

/// The most bytes of a reason in a header: some sentences.
pub(crate) const REASON_BYTES_MAX: usize = 4 * 1024;

/// A header value: on one line, and at most `bytes_max` long.
pub(crate) fn header(value: &str, bytes_max: usize) -> String {
    text::cut(value, bytes_max).replace(|sign: char| sign.is_control(), " ")
}

/// The value of a header whose name may be in any case: NATS keeps names as they are, and clients and proxies
/// write them as in HTTP.
pub(crate) fn in_any_case<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    // A static name is neither checked nor copied.
    let exact = headers.get(HeaderName::from_static(name));
    let same = |(other, values): (&HeaderName, &'a Vec<HeaderValue>)| {
        let other: &str = other.as_ref();
        other.eq_ignore_ascii_case(name).then(|| values.first()).flatten()
    };
    exact.or_else(|| headers.iter().find_map(same)).map(HeaderValue::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_any_case_and_first_as_it_is_written() {
        let mut headers = HeaderMap::new();
        headers.insert("orrery-CORRELATION", "other");
        assert_eq!(in_any_case(&headers, "Orrery-Correlation"), Some("other"));
        headers.insert("Orrery-Correlation", "own");
        assert_eq!(in_any_case(&headers, "Orrery-Correlation"), Some("own"));
        assert_eq!(in_any_case(&headers, "traceparent"), None);
    }

    #[test]
    fn a_value_stays_on_one_line_and_within_its_bound() {
        assert_eq!(header("one\r\ntwo\u{0}", 100), "one  two ");
        let long = header(&"ä\n".repeat(70_000), REASON_BYTES_MAX);
        assert!(long.len() <= REASON_BYTES_MAX && long.ends_with('…'), "{}", long.len());
    }
}
