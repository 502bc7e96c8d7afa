//! The SQLite file: its schema, its position in the event stream, and applying a burst of messages.

use std::collections::HashMap;
use std::path::Path;

use bus_client::StoredEvent;
use bus_schemas::kinds::kinds;
use bus_schemas::views::task::Task;
use bus_schemas::wire::WireEvent;
use bus_schemas::{Key, Timestamp, upcast};
use gateway_api::agents::Agent;
use gateway_api::approvals::Approval;
use gateway_api::changes::Change;
use gateway_api::dead_letters::DeadLetter;
use gateway_api::halts::Halt;
use gateway_api::redrives::Redrive;
use gateway_api::schedules::Schedule;
use rusqlite::{Connection, OptionalExtension, Transaction, params, params_from_iter};

use super::Error;
use super::breaker::Breaker;

use super::lane::Lane;
use super::source::{Item, Unreadable};
use super::view::View;

/// Raised whenever a table or a view changes; a file of another version is recreated.
const SCHEMA_VERSION: i64 = 8;
/// Records of unreadable events are for people: more than these would say nothing new.
const UNREADABLE_MAX: i64 = 1_000;

const SCHEMA: &str = "
CREATE TABLE place (one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL,
  event_sequence INTEGER NOT NULL, event_hash TEXT NOT NULL);
INSERT INTO place VALUES (1, 0, 0, '');
CREATE TABLE unreadable (sequence INTEGER PRIMARY KEY, subject TEXT NOT NULL, reason TEXT NOT NULL);
";

/// The file's position in the event stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The sequence of the last message.
    pub sequence: u64,
    /// The sequence of the last event among the messages; 0 when there is none.
    pub event_sequence: u64,
    /// That event's chain hash: a different hash there means another stream.
    pub event_hash: String,
}

/// The writer of the file.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    place: Place,
}

impl Store {
    /// Opens the file; recreates it when it is missing, of another version, or no database.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .map_err(|source| Error::Directory { path: directory.to_owned(), source })?;
        }
        match Self::open_existing(path) {
            Ok(Some(store)) => return Ok(store),
            Ok(None) => {}
            Err(error) => tracing::warn!(path = %path.display(), %error, "the read model is made anew"),
        }
        for suffix in ["", "-wal", "-shm"] {
            let mut file = path.as_os_str().to_owned();
            file.push(suffix);
            // A missing file needs no removal; a file that cannot be removed fails right below.
            let _ = std::fs::remove_file(file);
        }
        let connection = connect(path).map_err(Error::sqlite("creating"))?;
        connection
            .execute_batch(&format!(
                "BEGIN; {SCHEMA} {} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;",
                schemas()
            ))
            .map_err(Error::sqlite("creating"))?;
        Ok(Self { connection, place: Place::default() })
    }

    fn open_existing(path: &Path) -> Result<Option<Self>, Error> {
        if !path.exists() {
            return Ok(None);
        }
        let connection = connect(path).map_err(Error::sqlite("opening"))?;
        let version: i64 = connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(Error::sqlite("opening"))?;
        if version != SCHEMA_VERSION {
            tracing::info!(found = version, wanted = SCHEMA_VERSION, "the read model has another version");
            return Ok(None);
        }
        let place = connection
            .query_row("SELECT sequence, event_sequence, event_hash FROM place", [], |row| {
                Ok(Place { sequence: row.get(0)?, event_sequence: row.get(1)?, event_hash: row.get(2)? })
            })
            .map_err(Error::sqlite("opening"))?;
        Ok(Some(Self { connection, place }))
    }

    /// The file's position in the event stream.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Deletes everything, to be rebuilt from the event stream.
    pub fn reset(&mut self) -> Result<(), Error> {
        let views: String = TABLES.iter().map(|table| format!("DELETE FROM {table}; ")).collect();
        let forget = format!(
            "BEGIN; {views} DELETE FROM unreadable;
             UPDATE place SET sequence = 0, event_sequence = 0, event_hash = ''; COMMIT;"
        );
        self.connection.execute_batch(&forget).map_err(Error::sqlite("emptying"))?;
        self.place = Place::default();
        Ok(())
    }

    /// Applies messages, all or none, and moves the position behind them.
    pub fn apply(&mut self, items: &[Item]) -> Result<(), Error> {
        let mut place = self.place.clone();
        let transaction = self.connection.transaction().map_err(Error::sqlite("writing"))?;
        let mut burst = Burst::default();
        for item in items {
            place.sequence = place.sequence.max(item.sequence());
            match item {
                Item::Mark(_) => {}
                Item::Unreadable(unreadable) => note(&transaction, unreadable)?,
                Item::Event(event) => {
                    place.event_sequence = event.stream_sequence;
                    place.event_hash = event.event.hash.to_hex();
                    burst.event(&transaction, event)?;
                }
            }
        }
        burst.write(&transaction)?;
        transaction
            .prepare_cached("UPDATE place SET sequence = ?1, event_sequence = ?2, event_hash = ?3")
            .and_then(|mut update| {
                update.execute(params![place.sequence, place.event_sequence, place.event_hash])
            })
            .map_err(Error::sqlite("writing"))?;
        transaction.commit().map_err(Error::sqlite("writing"))?;
        self.place = place;
        Ok(())
    }

    /// Folds the write-ahead log into the file, so that a copy of the file alone is complete.
    pub fn close(&self) {
        if let Err(error) = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);") {
            tracing::debug!(%error, "closing the read model");
        }
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // Derived data: after a power failure the position and the views are behind together.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.busy_timeout(super::read::BUSY_TIMEOUT)?;
    Ok(connection)
}

fn note(transaction: &Transaction<'_>, unreadable: &Unreadable) -> Result<(), Error> {
    let Unreadable { sequence, subject, reason } = unreadable;
    tracing::error!(sequence, subject, reason, "an event cannot be applied to the read model");
    metrics::counter!(crate::metric::UNREADABLE).increment(1);
    transaction
        .execute(
            "INSERT OR REPLACE INTO unreadable SELECT ?1, ?2, ?3
             WHERE (SELECT count(*) FROM unreadable) < ?4",
            params![sequence, subject, reason, UNREADABLE_MAX],
        )
        .map(drop)
        .map_err(Error::sqlite("writing"))
}

/// Declares the views: their tables, and how a burst of events changes them.
macro_rules! views {
    ($($field:ident: $view:ty),* $(,)?) => {
        /// The tables of all views.
        const TABLES: &[&str] = &[$(<$view>::TABLE),*];

        /// The statements that create them.
        fn schemas() -> String {
            [$(<$view>::schema()),*].concat()
        }

        /// The views that a burst changes: each is read once and written once.
        #[derive(Default)]
        struct Burst {
            $($field: Rows<$view>,)*
        }

        impl Burst {
            fn event(&mut self, transaction: &Transaction<'_>, event: &StoredEvent) -> Result<(), Error> {
                let kind = &event.entity.kind;
                let folded = match () {
                    $(() if *kind == <$view as View>::Event::KIND => self.$field.fold(transaction, event)?,)*
                    // Its events show in the views of other kinds.
                    () if kinds().any(|known| known == *kind) => Ok(()),
                    () => Err(format!("this program knows no kind `{kind}`")),
                };
                let Err(reason) = folded else { return Ok(()) };
                let subject = format!("{}/{}", event.entity, event.event.revision);
                note(transaction, &Unreadable { sequence: event.stream_sequence, subject, reason })
            }

            fn write(self, transaction: &Transaction<'_>) -> Result<(), Error> {
                $(self.$field.write(transaction)?;)*
                Ok(())
            }
        }
    };
}

views! {
    tasks: Task,
    agents: Agent,
    approvals: Approval,
    changes: Change,
    schedules: Schedule,
    dead_letters: DeadLetter,
    redrives: Redrive,
    halts: Halt,
    lanes: Lane,
    breakers: Breaker,
}

/// The rows of one table that a burst changes, with the sequence of each one's last event.
struct Rows<V> {
    rows: HashMap<Key, (Option<V>, u64)>,
}

impl<V> Default for Rows<V> {
    fn default() -> Self {
        Self { rows: HashMap::new() }
    }
}

impl<V: View> Rows<V> {
    /// Folds an event into its row, once. The inner error is the event's: it is recorded, and the next one
    /// follows.
    fn fold(
        &mut self,
        transaction: &Transaction<'_>,
        stored: &StoredEvent,
    ) -> Result<Result<(), String>, Error> {
        let key = &stored.entity.key;
        if !self.rows.contains_key(key) {
            self.rows.insert(key.clone(), (load::<V>(transaction, key)?, 0));
        }
        let Some((view, sequence)) = self.rows.get_mut(key) else { return Ok(Ok(())) };
        let (known, revision) = (view.as_ref().map_or(0, |view| view.revision().0), stored.event.revision);
        if revision.0 <= known {
            return Ok(Ok(()));
        }
        let event: V::Event =
            match upcast::read(&stored.event.event_type, stored.event.schema, &stored.event.body) {
                Ok(event) => event,
                Err(error) => return Ok(Err(error.to_string())),
            };
        V::fold(view, key, &event, time(stored), revision);
        *sequence = stored.stream_sequence;
        Ok(match view {
            None => Err(format!("`{}` came before the entity's first event", event.event_type())),
            Some(_) if revision.0 > known + 1 => {
                Err(format!("revision {revision} follows {known}: events between them are missing"))
            }
            Some(_) => Ok(()),
        })
    }

    fn write(self, transaction: &Transaction<'_>) -> Result<(), Error> {
        let columns: String = V::COLUMNS.iter().map(|(column, _)| format!(", {column}")).collect();
        let values: String = (0..V::COLUMNS.len()).map(|index| format!(", ?{}", index + 5)).collect();
        let table = V::TABLE;
        let sql = format!(
            "INSERT OR REPLACE INTO {table} (id, revision, sequence, view{columns})
             VALUES (?1, ?2, ?3, ?4{values})"
        );
        let mut insert = transaction.prepare_cached(&sql).map_err(Error::sqlite("writing"))?;
        for (key, (view, sequence)) in self.rows {
            // Sequence 0: every event of this burst was applied before.
            let (Some(view), true) = (view, sequence > 0) else { continue };
            let json = serde_json::to_string(&view).map_err(|source| Error::Row { table, source })?;
            let mut row: Vec<rusqlite::types::Value> =
                vec![key.to_string().into(), integer(view.revision().0), integer(sequence), json.into()];
            row.extend(view.columns());
            insert.execute(params_from_iter(row)).map_err(Error::sqlite("writing"))?;
        }
        Ok(())
    }
}

fn integer(number: u64) -> rusqlite::types::Value {
    rusqlite::types::Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn load<V: View>(transaction: &Transaction<'_>, key: &Key) -> Result<Option<V>, Error> {
    let sql = format!("SELECT view FROM {} WHERE id = ?1", V::TABLE);
    let json: Option<String> = transaction
        .prepare_cached(&sql)
        .and_then(|mut select| select.query_row([key.as_str()], |row| row.get(0)).optional())
        .map_err(Error::sqlite("reading"))?;
    json.map(|json| serde_json::from_str(&json))
        .transpose()
        .map_err(|source| Error::Row { table: V::TABLE, source })
}

/// The time of an event; a malformed one is the beginning of time, and the event still counts.
fn time(event: &StoredEvent) -> Timestamp {
    chrono::DateTime::parse_from_rfc3339(&event.time)
        .ok()
        .and_then(|time| u64::try_from(time.timestamp_millis()).ok())
        .map(Timestamp)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
