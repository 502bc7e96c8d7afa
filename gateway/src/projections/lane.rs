//! The view of a lane: that it exists, which rules it runs, and whether it was paused by hand. What waits and
//! runs in it changes with each job, so it is queried from the lane itself.

use bus_schemas::events::lane::Event;
use bus_schemas::{Key, Revision, Timestamp};
use rusqlite::types::Value;
use serde::{Deserialize, Serialize};

use super::view::{View, time};

/// A lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// The lane's name.
    pub name: Key,
    /// The version of the settings `lanes` that the lane runs; `None` before it was told one.
    pub version: Option<u64>,
    /// Whether it was paused by hand.
    pub paused: bool,
    /// The time of the last change.
    pub updated_at: Timestamp,
    /// The lane's revision.
    pub revision: Revision,
}

impl View for Lane {
    type Event = Event;
    const TABLE: &'static str = "lanes";
    const COLUMNS: &'static [(&'static str, &'static str)] = &[("updated_at", "INTEGER NOT NULL")];

    fn fold(view: &mut Option<Self>, id: &Key, event: &Event, at: Timestamp, revision: Revision) {
        let lane = view.get_or_insert_with(|| Self {
            name: id.clone(),
            version: None,
            paused: false,
            updated_at: at,
            revision,
        });
        (lane.updated_at, lane.revision) = (at, revision);
        match event {
            Event::Configured { version, .. } => lane.version = Some(*version),
            Event::Paused { .. } => lane.paused = true,
            Event::Resumed { .. } => lane.paused = false,
            Event::Joined { .. }
            | Event::GoverningBegun { .. }
            | Event::GoverningEnded { .. }
            | Event::Reported { .. }
            | Event::Adopted(_)
            | Event::Enqueued(_)
            | Event::Assigned { .. }
            | Event::Released { .. }
            | Event::AgentOffered { .. }
            | Event::CapSet { .. }
            | Event::LimitsSet { .. }
            | Event::PoliciesSet { .. }
            | Event::Held { .. }
            | Event::Eased { .. }
            | Event::EasingEnded { .. }
            | Event::ProbesAllowed { .. } => {}
        }
    }
    fn revision(&self) -> Revision {
        self.revision
    }
    fn columns(&self) -> Vec<Value> {
        vec![time(self.updated_at)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_known_from_its_first_event_and_remembers_its_rules() {
        let key = Key::parse("default").unwrap();
        let paused = Event::Paused { reason: "disk".into(), by: String::new(), at: Timestamp(2) };
        let told =
            Event::Configured { version: 4, limits: Default::default(), paused: false, at: Timestamp(3) };
        let resumed =
            Event::Resumed { reason: String::new(), by: String::new(), per_minute: None, at: Timestamp(4) };
        let mut view = None;
        let mut seen = Vec::new();
        for (number, event) in (1..).zip([Event::CapSet { concurrent: None }, paused, told, resumed]) {
            Lane::fold(&mut view, &key, &event, Timestamp(number), Revision(number));
            let now = view.as_ref().unwrap();
            seen.push((now.version, now.paused, now.updated_at.0));
        }
        assert_eq!(seen, [(None, false, 1), (None, true, 2), (Some(4), true, 3), (Some(4), false, 4)]);
    }
}
