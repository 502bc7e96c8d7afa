//! The view of a schedule.

use bus_schemas::commands::schedule::Recurrence;
use bus_schemas::commands::task::Submit;
use bus_schemas::events::schedule::Event;
use bus_schemas::{Key, Revision, Timestamp};
use rusqlite::types::Value;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::{View, time};

/// A schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Schedule {
    /// Its name.
    #[schema(value_type = String)]
    pub name: Key,
    /// When it fires.
    #[schema(value_type = Object)]
    pub recurrence: Recurrence,
    /// What it submits.
    #[schema(value_type = Object)]
    pub task: Submit,
    /// Whether it waits to be resumed.
    pub paused: bool,
    /// Whether it will never fire again. Deleted schedules are not listed.
    pub deleted: bool,
    /// Milliseconds since 1970: when it fires next.
    #[schema(value_type = Option<u64>)]
    pub next: Option<Timestamp>,
    /// How often it fired since it was made.
    pub fired: u64,
    /// The task that it submitted last.
    #[schema(value_type = Option<String>)]
    pub last_task: Option<Key>,
    /// Milliseconds since 1970: when it last changed.
    #[schema(value_type = u64)]
    pub updated_at: Timestamp,
    /// How many events it has.
    #[schema(value_type = u64)]
    pub revision: Revision,
}

impl View for Schedule {
    type Event = Event;
    const TABLE: &'static str = "schedules";
    const COLUMNS: &'static [&'static str] = &["deleted", "updated_at"];

    fn fold(view: &mut Option<Self>, id: &Key, event: &Event, at: Timestamp, revision: Revision) {
        if let Event::Created { recurrence, task, .. } = event {
            let fresh = Self {
                name: id.clone(),
                recurrence: recurrence.clone(),
                task: task.clone(),
                paused: false,
                deleted: false,
                next: None,
                fired: 0,
                last_task: None,
                updated_at: at,
                revision,
            };
            // A schedule that is replaced keeps what it did; one that is made again starts anew.
            *view = Some(match view.take() {
                Some(old) if !old.deleted => Self { fired: old.fired, last_task: old.last_task, ..fresh },
                _ => fresh,
            });
        }
        let Some(schedule) = view else { return };
        schedule.updated_at = at;
        schedule.revision = revision;
        schedule.change(event);
    }
    fn revision(&self) -> Revision {
        self.revision
    }
    fn columns(&self) -> Vec<Value> {
        vec![Value::Integer(i64::from(self.deleted)), time(self.updated_at)]
    }
}

impl Schedule {
    fn change(&mut self, event: &Event) {
        match event {
            Event::Created { next, .. } => self.next = *next,
            Event::Fired { task, next, .. } => {
                self.fired += 1;
                self.last_task = Some(task.clone());
                self.next = *next;
            }
            Event::Paused => {
                self.paused = true;
                self.next = None;
            }
            Event::Resumed { next } => {
                self.paused = false;
                self.next = *next;
            }
            Event::Deleted => {
                self.deleted = true;
                self.next = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_fires_waits_goes_and_comes_back() {
        let key = |text| Key::parse(text).unwrap();
        let created = Event::Created {
            recurrence: Recurrence::Every { every_ms: 1_000 },
            task: Submit::new("count"),
            next: Some(Timestamp(5)),
        };
        let fired = Event::Fired { due: Timestamp(5), task: key("t"), next: Some(Timestamp(6)) };
        let mut view = None;
        let mut seen = Vec::new();
        for (number, event) in
            (1..).zip([created.clone(), fired, Event::Paused, created.clone(), Event::Deleted, created])
        {
            Schedule::fold(&mut view, &key("s"), &event, Timestamp(number), Revision(number));
            let now = view.as_ref().unwrap();
            seen.push((now.fired, now.paused, now.deleted, now.next.map(|next| next.0)));
        }
        assert_eq!(
            seen,
            [
                (0, false, false, Some(5)),
                (1, false, false, Some(6)),
                (1, true, false, None),
                (1, false, false, Some(5)),
                (1, false, true, None),
                (0, false, false, Some(5)),
            ]
        );
    }
}
