//! Which tasks are archived: those of trees in which every task has ended long ago.

use std::collections::{BTreeMap, HashMap};

use bus_client::{Bus, EventQuery};
use bus_schemas::record::Event;
use bus_schemas::{EntityAddress, Hash, Kind, Revision, Timestamp};
use futures::TryStreamExt;

use super::files::Archive;
use crate::history::Error;

/// The kind that is archived: no other kind comes to an end.
pub const KIND: Kind = Kind::from_static("task");
/// The events that end a task. A later event reopens it.
const ENDS: [&str; 4] = ["completed", "failed", "canceled", "rejected"];

/// A finished task, as in the event stream.
#[derive(Debug, Clone, Copy)]
pub struct Finished {
    /// The task's last revision.
    pub last: Revision,
    /// The chain hash of the last event.
    pub hash: Hash,
    /// The stream sequence of the last event.
    pub last_sequence: u64,
    /// The last revision in the archive.
    pub kept: Revision,
    /// The first revision in the event stream.
    first: Revision,
    ended: bool,
}

/// A tree while it is being read.
#[derive(Default)]
struct Tree {
    tasks: Vec<EntityAddress>,
    /// The time of the last event, in milliseconds since 1970.
    last: Timestamp,
}

/// The tasks to archive, and the number of their trees.
pub async fn finished(
    bus: &Bus,
    before: Timestamp,
    archive: &Archive,
) -> Result<(u64, BTreeMap<EntityAddress, Finished>), Error> {
    let kept = archive.last_revisions()?;
    let (trees, tasks) = read(bus, archive, &kept).await?;
    let beyond = tasks.iter().find(|(_, task)| task.kept > task.last);
    if let Some((entity, task)) = beyond {
        let (kept, last) = (task.kept, task.last);
        let reason = format!("the archive has event {kept} of `{entity}`, which ends with event {last} here");
        return Err(archive.foreign(reason));
    }
    Ok(chosen(trees, &tasks, before))
}

/// Why an event contradicts the archived history of its entity.
fn contradiction(kept: (Revision, Hash), event: &Event) -> Option<String> {
    let (revision, hash) = kept;
    let same = match event.revision {
        at if at == revision => event.hash == hash,
        at if at == revision.next() => {
            hash.link(at, &event.event_type, event.schema, &event.body) == event.hash
        }
        _ => true,
    };
    (!same)
        .then(|| format!("event {} does not go on with what it has up to event {revision}", event.revision))
}

/// Reads every tree of the event stream with its tasks. Fails where the archive disagrees.
async fn read(
    bus: &Bus,
    archive: &Archive,
    kept: &HashMap<EntityAddress, (Revision, Hash)>,
) -> Result<(HashMap<String, Tree>, HashMap<EntityAddress, Finished>), Error> {
    let mut trees: HashMap<String, Tree> = HashMap::new();
    let mut tasks: HashMap<EntityAddress, Finished> = HashMap::new();
    let subjects = vec![bus.subjects().events(Some(&KIND))];
    let mut events = bus.events_until_now(EventQuery { subjects, from: 0 }).await?;
    while let Some(stored) = events.try_next().await? {
        let event = &stored.event;
        let tree = trees.entry(stored.entity.key.root().to_owned()).or_default();
        // An event without a readable time keeps its tree in the stream.
        tree.last = tree.last.max(Timestamp::parse_rfc3339(&stored.time).unwrap_or(Timestamp(u64::MAX)));
        let first = tasks.get(&stored.entity).map_or(event.revision, |task| task.first);
        if first == event.revision {
            tree.tasks.push(stored.entity.clone());
        }
        let archived = kept.get(&stored.entity).copied();
        if let Some(reason) = archived.and_then(|kept| contradiction(kept, event)) {
            return Err(archive.foreign(format!("of `{}`, {reason}", stored.entity)));
        }
        tasks.insert(
            stored.entity.clone(),
            Finished {
                last: event.revision,
                hash: event.hash,
                last_sequence: stored.stream_sequence,
                kept: archived.map_or(Revision(0), |(revision, _)| revision),
                first,
                ended: ENDS.contains(&event.event_type.as_str()),
            },
        );
    }
    Ok((trees, tasks))
}

/// The trees that ended before the given time, and their number.
fn chosen(
    trees: HashMap<String, Tree>,
    tasks: &HashMap<EntityAddress, Finished>,
    before: Timestamp,
) -> (u64, BTreeMap<EntityAddress, Finished>) {
    let (mut count, mut chosen) = (0, BTreeMap::new());
    for tree in trees.into_values() {
        let ended = tree.tasks.iter().all(|task| tasks[task].ended);
        if !ended || tree.last > before {
            continue;
        }
        // A task with a single event has none to remove; between the archive and the stream none may be
        // missing.
        let gives = |task: &Finished| task.first < task.last && task.first <= task.kept.next();
        let giving: Vec<_> = tree
            .tasks
            .into_iter()
            .map(|task| (task.clone(), tasks[&task]))
            .filter(|(_, task)| gives(task))
            .collect();
        count += u64::from(!giving.is_empty());
        chosen.extend(giving);
    }
    (count, chosen)
}
