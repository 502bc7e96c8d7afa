//! Reading the views: by name, and page by page.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_schemas::views::task::{Task, TaskState};
use bus_schemas::{Key, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params_from_iter};
use tokio::sync::Semaphore;

use super::Error;
use super::agent::Agent;
use super::breaker::Breaker;
use super::campaign::Campaign;
use super::dead_letter::{DeadLetter, DeadLetterState};
use super::halt::Halt;
use super::lane::Lane;
use super::schedule::Schedule;
use super::source::Unreadable;
use super::view::{View, time};

/// Readers at once: each holds a thread, and SQLite's readers do not wait for each other.
const READERS_MAX: usize = 8;
/// How long SQLite waits for a lock. Only opening and checkpoints take one that readers feel.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Agents and schedules that are listed: more are a fault of whoever makes them.
const LIST_MAX: u32 = 10_000;

/// Asks the read model; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

/// The place of a row in a list that is ordered by time: where the next page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Milliseconds since 1970.
    pub time: u64,
    /// The row's key.
    pub id: String,
}

/// One page of a list, and where the next one begins.
#[derive(Debug)]
pub struct Page<V> {
    /// The rows, in the order that was asked for.
    pub items: Vec<V>,
    /// None at the end.
    pub next: Option<Place>,
}

/// Which tasks.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// In this state.
    pub state: Option<TaskState>,
    /// Of this owner.
    pub owner: Option<String>,
    /// In this lane.
    pub lane: Option<String>,
    /// Directly below this task.
    pub parent: Option<String>,
    /// Without a parent (true), or with one (false).
    pub root: Option<bool>,
}

/// Which end of a list comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As people read it.
    NewestFirst,
    /// As it is worked off.
    OldestFirst,
}

/// Which dead letters: those for which all of these hold.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterFilter {
    /// In this state.
    pub state: Option<DeadLetterState>,
    /// Of this class.
    pub class: Option<String>,
    /// Meant for this kind.
    pub kind: Option<String>,
    /// Meant for a key that begins so.
    pub key: Option<String>,
    /// Failed by this dependency.
    pub dependency: Option<String>,
    /// Given up at this time or later.
    pub since: Option<Timestamp>,
    /// Given up before this time.
    pub before: Option<Timestamp>,
}

/// What is open, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// States of tasks that are not final, with how many tasks are in them and when the one that has
    /// stood still for longest last changed.
    pub open_tasks: Vec<(String, u64, Timestamp)>,
    /// Classes of dead letters that wait, with how many there are and when the oldest was given up.
    pub waiting_letters: Vec<(String, u64, Timestamp)>,
    /// Dead letters that are on their way again.
    pub redriving_letters: u64,
}

/// Conditions of a list, with their values.
#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn equal(&mut self, column: &str, value: Option<impl Into<String>>) {
        if let Some(value) = value {
            self.sql.push(format!("{column} = ?"));
            self.values.push(Value::Text(value.into()));
        }
    }
    fn with(&mut self, sql: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.sql.push(sql.to_owned());
            self.values.push(value);
        }
    }
}

impl Reader {
    pub(super) fn new(path: PathBuf) -> Self {
        let permits = Semaphore::new(READERS_MAX);
        Self { inner: Arc::new(Inner { path, idle: Mutex::default(), permits }) }
    }

    /// A task.
    pub async fn task(&self, id: &Key) -> Result<Option<Task>, Error> {
        Ok(self.get::<Task>(id).await?.map(Task::shown))
    }
    /// A schedule, also a deleted one.
    pub async fn schedule(&self, name: &Key) -> Result<Option<Schedule>, Error> {
        self.get(name).await
    }
    /// A dead letter.
    pub async fn dead_letter(&self, entry: &Key) -> Result<Option<DeadLetter>, Error> {
        self.get(entry).await
    }
    /// A halt, also one that was lifted.
    pub async fn halt(&self, scope: &Key) -> Result<Option<Halt>, Error> {
        self.get(scope).await
    }
    /// All halts that stand, by scope.
    pub async fn halts(&self) -> Result<Vec<Halt>, Error> {
        self.list("halted = 1").await
    }
    /// A lane.
    pub async fn lane(&self, name: &Key) -> Result<Option<Lane>, Error> {
        self.get(name).await
    }
    /// All lanes, by name.
    pub async fn lanes(&self) -> Result<Vec<Lane>, Error> {
        self.list("TRUE").await
    }
    /// All breakers of which something was heard, by name.
    pub async fn breakers(&self) -> Result<Vec<Breaker>, Error> {
        self.list("TRUE").await
    }
    /// All agents, by name.
    pub async fn agents(&self) -> Result<Vec<Agent>, Error> {
        self.list("TRUE").await
    }
    /// All schedules that are not deleted, by name.
    pub async fn schedules(&self) -> Result<Vec<Schedule>, Error> {
        self.list("deleted = 0").await
    }

    /// Tasks, newest first.
    pub async fn tasks(
        &self,
        filter: TaskFilter,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Page<Task>, Error> {
        let mut conditions = Conditions::default();
        conditions.equal("state", filter.state.map(<&'static str>::from));
        conditions.equal("owner", filter.owner);
        conditions.equal("lane", filter.lane);
        conditions.equal("parent", filter.parent);
        if let Some(root) = filter.root {
            conditions.sql.push(if root { "parent IS NULL" } else { "parent IS NOT NULL" }.into());
        }
        let page = self.page("submitted_at", conditions, (Order::NewestFirst, after), limit).await?;
        let Page { items, next } = page;
        Ok(Page { items: items.into_iter().map(Task::shown).collect(), next })
    }

    /// Dead letters.
    pub async fn dead_letters(
        &self,
        filter: DeadLetterFilter,
        order: Order,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Page<DeadLetter>, Error> {
        let mut conditions = Conditions::default();
        conditions.equal("state", filter.state.map(DeadLetterState::as_str));
        conditions.equal("class", filter.class);
        conditions.equal("kind", filter.kind);
        conditions.equal("dependency", filter.dependency);
        conditions.with("instr(key, ?) = 1", filter.key.map(Value::Text));
        conditions.with("at >= ?", filter.since.map(time));
        conditions.with("at < ?", filter.before.map(time));
        self.page("at", conditions, (order, after), limit).await
    }

    /// A campaign.
    pub async fn campaign(&self, id: &Key) -> Result<Option<Campaign>, Error> {
        self.get(id).await
    }

    /// Campaigns, newest first.
    pub async fn campaigns(&self, after: Option<Place>, limit: u32) -> Result<Page<Campaign>, Error> {
        self.page("started_at", Conditions::default(), (Order::NewestFirst, after), limit).await
    }

    /// The campaigns whose entries are still being looked for, by name.
    pub async fn gathering(&self) -> Result<Vec<Campaign>, Error> {
        self.list("gathering = 1").await
    }

    /// The stream sequence of the last event of a task and of everything below it.
    pub async fn tree_end(&self, id: &Key) -> Result<Option<u64>, Error> {
        // `.` is the only separator, and `/` is the character behind it.
        let bounds = [id.to_string(), format!("{id}."), format!("{id}/")];
        let sql = "SELECT max(sequence) FROM tasks WHERE id = ?1 OR (id > ?2 AND id < ?3)";
        self.with(move |connection| connection.query_row(sql, bounds, |row| row.get(0))).await
    }

    /// Events that could not be applied: how many are noted, and the first of them.
    pub async fn unreadable(&self, limit: u32) -> Result<(u64, Vec<Unreadable>), Error> {
        self.with(move |connection| {
            let count = connection.query_row("SELECT count(*) FROM unreadable", [], |row| row.get(0))?;
            let mut select = connection
                .prepare("SELECT sequence, subject, reason FROM unreadable ORDER BY sequence LIMIT ?1")?;
            let rows = select.query_map([limit], |row| {
                Ok(Unreadable { sequence: row.get(0)?, subject: row.get(1)?, reason: row.get(2)? })
            })?;
            Ok((count, rows.collect::<Result<_, _>>()?))
        })
        .await
    }

    /// How many tasks are open and how many dead letters wait. Reads what is open, not what was.
    pub async fn figures(&self) -> Result<Figures, Error> {
        self.with(|connection| {
            let grouped = |sql: &str| {
                let mut select = connection.prepare_cached(sql)?;
                let rows =
                    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, Timestamp(row.get(2)?))))?;
                rows.collect::<rusqlite::Result<Vec<(String, u64, Timestamp)>>>()
            };
            let open_tasks = grouped(
                "SELECT state, count(*), min(updated_at) FROM tasks
                 WHERE state IN ('submitted', 'working', 'input-required', 'auth-required') GROUP BY state",
            )?;
            let waiting_letters = grouped(
                "SELECT class, count(*), min(at) FROM dead_letters WHERE state = 'waiting' GROUP BY class",
            )?;
            let redriving = "SELECT count(*) FROM dead_letters WHERE state = 'redriving'";
            let redriving_letters = connection.query_row(redriving, [], |row| row.get(0))?;
            Ok(Figures { open_tasks, waiting_letters, redriving_letters })
        })
        .await
    }

    async fn get<V: View + Send + 'static>(&self, id: &Key) -> Result<Option<V>, Error> {
        let (sql, id) = (format!("SELECT view FROM {} WHERE id = ?1", V::TABLE), id.to_string());
        let json: Option<String> = self
            .with(move |connection| {
                connection.prepare_cached(&sql)?.query_row([id], |row| row.get(0)).optional()
            })
            .await?;
        json.map(|json| view(&json)).transpose()
    }

    async fn list<V: View>(&self, condition: &'static str) -> Result<Vec<V>, Error> {
        let sql = format!("SELECT view FROM {} WHERE {condition} ORDER BY id LIMIT {LIST_MAX}", V::TABLE);
        let rows: Vec<String> = self
            .with(move |connection| {
                connection.prepare_cached(&sql)?.query_map([], |row| row.get(0))?.collect()
            })
            .await?;
        rows.iter().map(|json| view(json)).collect()
    }

    async fn page<V: View>(
        &self,
        time: &'static str,
        mut conditions: Conditions,
        (order, after): (Order, Option<Place>),
        limit: u32,
    ) -> Result<Page<V>, Error> {
        let (behind, direction) = match order {
            Order::NewestFirst => ("<", "DESC"),
            Order::OldestFirst => (">", "ASC"),
        };
        if let Some(Place { time: at, id }) = after {
            conditions.sql.push(format!("({time}, id) {behind} (?, ?)"));
            conditions.values.push(Value::Integer(i64::try_from(at).unwrap_or(i64::MAX)));
            conditions.values.push(Value::Text(id));
        }
        let condition =
            if conditions.sql.is_empty() { "TRUE".to_owned() } else { conditions.sql.join(" AND ") };
        // One row more than asked for tells whether there is a next page.
        let sql = format!(
            "SELECT view, {time}, id FROM {} WHERE {condition} ORDER BY {time} {direction}, id {direction} LIMIT {}",
            V::TABLE,
            limit + 1
        );
        let rows: Vec<(String, u64, String)> = self
            .with(move |connection| {
                connection
                    .prepare_cached(&sql)?
                    .query_map(params_from_iter(conditions.values), |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                    })?
                    .collect()
            })
            .await?;
        let limit = limit as usize;
        let next = (rows.len() > limit).then(|| rows.get(limit.saturating_sub(1))).flatten();
        let next = next.map(|(_, time, id)| Place { time: *time, id: id.clone() });
        let items = rows.iter().take(limit).map(|(json, _, _)| view(json)).collect::<Result<_, _>>()?;
        Ok(Page { items, next })
    }

    /// Works on a connection of its own, on a thread that may block.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self.inner.permits.acquire().await;
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || {
            let idle = inner.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = idle.map_or_else(|| connect(&inner.path), Ok)?;
            let done = work(&connection);
            inner.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            done
        })
        .await;
        drop(permit);
        done.map_err(|error| Error::Thread(error.to_string()))?.map_err(Error::sqlite("reading"))
    }
}

fn connect(path: &std::path::Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.pragma_update(None, "query_only", true)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

fn view<V: View>(json: &str) -> Result<V, Error> {
    serde_json::from_str(json).map_err(|source| Error::Row { table: V::TABLE, source })
}
