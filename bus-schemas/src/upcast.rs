//! The one place where stored events of older schema versions are lifted to the current version.
//!
//! An event is never rewritten in the log: it is lifted each time it is read. Unknown types and later
//! versions are errors that stop the entity; no event is skipped.

use serde_json::Value;

use crate::ids::Kind;
use crate::wire::WireEvent;

/// Why a stored event could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A later program wrote it.
    #[error(
        "`{kind}` event `{event_type}` has schema version {found}; this program knows versions up to {known}"
    )]
    Future { kind: Kind, event_type: String, found: u16, known: u16 },
    /// The body does not match its schema, or this program does not know the type.
    #[error("`{kind}` event `{event_type}` of schema version {schema} cannot be read: {source}")]
    Unreadable { kind: Kind, event_type: String, schema: u16, source: serde_json::Error },
}

/// Lifts `body` from one schema version to the next.
pub type Lift = fn(event_type: &str, body: &mut Value);

/// For each kind: the step from version n (counted from 1) to n + 1.
const LIFTS: &[(&str, &[Lift])] = &[];

/// The steps of a kind.
pub fn lifts(kind: &Kind) -> &'static [Lift] {
    LIFTS.iter().find(|(of, _)| *of == kind.as_str()).map_or(&[][..], |(_, lifts)| lifts)
}

/// Decodes a stored event.
pub fn read<E: WireEvent>(event_type: &str, schema: u16, body: &[u8]) -> Result<E, Error> {
    read_with::<E>(E::lifts(), event_type, schema, body)
}

fn read_with<E: WireEvent>(lifts: &[Lift], event_type: &str, schema: u16, body: &[u8]) -> Result<E, Error> {
    let unreadable =
        |source| Error::Unreadable { kind: E::KIND, event_type: event_type.to_owned(), schema, source };
    if schema == E::SCHEMA {
        return serde_json::from_slice(body).map_err(unreadable);
    }
    if schema > E::SCHEMA || schema == 0 {
        return Err(Error::Future {
            kind: E::KIND,
            event_type: event_type.to_owned(),
            found: schema,
            known: E::SCHEMA,
        });
    }
    let mut value: Value = serde_json::from_slice(body).map_err(unreadable)?;
    for lift in lifts.iter().skip(usize::from(schema) - 1) {
        lift(event_type, &mut value);
    }
    serde_json::from_value(value).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};

    /// A kind that evolved: version 1 called the field `n`, version 2 `number`, version 3 `count`.
    #[derive(Debug, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
    #[serde(tag = "type", rename_all = "kebab-case")]
    #[strum(serialize_all = "kebab-case")]
    enum Event {
        Counted { count: u64 },
    }
    crate::wire::wire_event!(Event, "grown", 3);

    fn rename(body: &mut Value, from: &str, to: &str) {
        if let Some(object) = body.as_object_mut()
            && let Some(value) = object.remove(from)
        {
            object.insert(to.to_owned(), value);
        }
    }

    const STEPS: &[Lift] =
        &[|_, body| rename(body, "n", "number"), |_, body| rename(body, "number", "count")];

    #[test]
    fn an_event_of_any_older_version_is_lifted() {
        for (schema, body) in [
            (1, r#"{"type":"counted","n":7}"#),
            (2, r#"{"type":"counted","number":7}"#),
            (3, r#"{"type":"counted","count":7}"#),
        ] {
            let event: Event = read_with(STEPS, "counted", schema, body.as_bytes()).unwrap();
            assert_eq!(event, Event::Counted { count: 7 }, "schema {schema}");
        }
    }

    #[test]
    fn a_later_version_and_an_unknown_type_are_errors_that_name_the_cause() {
        let future = read_with::<Event>(STEPS, "counted", 4, b"{}").unwrap_err().to_string();
        assert!(future.contains("schema version 4") && future.contains("up to 3"), "{future}");
        let unknown =
            read_with::<Event>(STEPS, "vanished", 3, br#"{"type":"vanished"}"#).unwrap_err().to_string();
        assert!(unknown.contains("vanished"), "{unknown}");
    }
}
