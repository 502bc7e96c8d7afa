//! What all views have in common: folding events, and their rows.

use bus_schemas::wire::WireEvent;
use bus_schemas::{Key, Revision, Timestamp};
use rusqlite::types::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A view of one entity: a row with its JSON and the columns by which it is found.
pub trait View: Serialize + DeserializeOwned {
    /// The events that the view is folded from.
    type Event: WireEvent;
    /// The view's table. The first columns of every table are `id`, `revision`, `sequence`, `view`.
    const TABLE: &'static str;
    /// The columns beside those that every table has, each with its type in SQL.
    const COLUMNS: &'static [(&'static str, &'static str)];
    /// The columns of each index.
    const INDEXES: &'static [&'static str] = &[];

    /// Folds an event into the view. Total and without a clock; before the first event there is no view.
    fn fold(view: &mut Option<Self>, id: &Key, event: &Self::Event, at: Timestamp, revision: Revision);
    /// The number of events folded so far.
    fn revision(&self) -> Revision;
    /// The values of [`View::COLUMNS`].
    fn columns(&self) -> Vec<Value>;

    /// The statements that create the table.
    fn schema() -> String {
        let table = Self::TABLE;
        let columns: String = Self::COLUMNS.iter().map(|(name, of)| format!(", {name} {of}")).collect();
        let index = |(number, columns): (usize, &&str)| {
            format!("CREATE INDEX {table}_{number} ON {table} ({columns});")
        };
        let indexes: String = Self::INDEXES.iter().enumerate().map(index).collect();
        format!(
            "CREATE TABLE {table} (id TEXT PRIMARY KEY, revision INTEGER NOT NULL, sequence INTEGER NOT NULL, \
             view TEXT NOT NULL{columns});{indexes}"
        )
    }
}

/// The value of a time column.
pub fn time(at: Timestamp) -> Value {
    Value::Integer(i64::try_from(at.0).unwrap_or(i64::MAX))
}
