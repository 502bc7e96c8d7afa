//! What all views have in common: how they are folded and where their rows lie.

use bus_schemas::wire::WireEvent;
use bus_schemas::{Key, Revision, Timestamp};
use rusqlite::types::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A view of one entity: a row with its JSON and the columns by which it is found.
pub trait View: Serialize + DeserializeOwned {
    /// The events that it is made of.
    type Event: WireEvent;
    /// Its table. The first column of every table is `id`, then `revision`, `sequence`, `view`.
    const TABLE: &'static str;
    /// The columns beside those that every table has.
    const COLUMNS: &'static [&'static str];

    /// Folds an event in. Total and without a clock; before the first event there is no view.
    fn fold(view: &mut Option<Self>, id: &Key, event: &Self::Event, at: Timestamp, revision: Revision);
    /// How many events it has seen.
    fn revision(&self) -> Revision;
    /// The values of [`View::COLUMNS`].
    fn columns(&self) -> Vec<Value>;
}

/// A column of a time.
pub fn time(at: Timestamp) -> Value {
    Value::Integer(i64::try_from(at.0).unwrap_or(i64::MAX))
}
