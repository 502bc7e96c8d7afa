//! The view of a schedule.

use bus_schemas::events::schedule::Event;
use bus_schemas::{Key, Revision, Timestamp};
use gateway_api::schedules::Schedule;
use rusqlite::types::Value;

use super::view::{View, time};

impl View for Schedule {
    type Event = Event;
    const TABLE: &'static str = "schedules";
    const COLUMNS: &'static [(&'static str, &'static str)] =
        &[("deleted", "INTEGER NOT NULL"), ("updated_at", "INTEGER NOT NULL")];

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
            // A replaced schedule keeps its history, and stays paused; a deleted one that is created again
            // starts anew.
            *view = Some(match view.take() {
                Some(Self { fired, last_task, paused, deleted: false, .. }) => {
                    Self { fired, last_task, paused, ..fresh }
                }
                _ => fresh,
            });
        }
        let Some(schedule) = view else { return };
        schedule.updated_at = at;
        schedule.revision = revision;
        change(schedule, event);
    }
    fn revision(&self) -> Revision {
        self.revision
    }
    fn columns(&self) -> Vec<Value> {
        vec![Value::Integer(i64::from(self.deleted)), time(self.updated_at)]
    }
}

fn change(schedule: &mut Schedule, event: &Event) {
    match event {
        Event::Created { next, .. } | Event::Moved { next } => schedule.next = *next,
        Event::Fired { task, next, .. } => {
            schedule.fired += 1;
            schedule.last_task = Some(task.clone());
            schedule.next = *next;
        }
        Event::Paused => {
            schedule.paused = true;
            schedule.next = None;
        }
        Event::Resumed { next } => {
            schedule.paused = false;
            schedule.next = *next;
        }
        Event::Deleted => {
            schedule.deleted = true;
            schedule.next = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use bus_schemas::commands::schedule::Recurrence;
    use bus_schemas::commands::task::Submit;

    use super::*;

    #[test]
    fn a_schedule_fires_waits_goes_and_comes_back() {
        let key = |text| Key::parse(text).unwrap();
        let created = |next: Option<u64>| Event::Created {
            recurrence: Recurrence::Every { every_ms: 1_000 },
            task: Submit::new("count"),
            next: next.map(Timestamp),
        };
        let fired = Event::Fired { due: Timestamp(5), task: key("t"), next: Some(Timestamp(6)) };
        let mut view = None;
        let mut seen = Vec::new();
        let resumed = Event::Resumed { next: Some(Timestamp(7)) };
        let events = [
            created(Some(5)),
            fired,
            Event::Paused,
            created(None),
            resumed,
            created(Some(7)),
            Event::Paused,
            Event::Deleted,
            created(Some(5)),
        ];
        for (number, event) in (1..).zip(events) {
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
                (1, true, false, None),
                (1, false, false, Some(7)),
                (1, false, false, Some(7)),
                (1, true, false, None),
                (1, true, true, None),
                (0, false, false, Some(5)),
            ]
        );
    }
}
