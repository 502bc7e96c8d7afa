//! The store alone: applied once, all or nothing, persistent, and recreated when the stream is another.

use bus_client::events::Cursor;
use bus_schemas::commands::task::Submit;
use bus_schemas::events::task::Event;
use bus_schemas::{Hash, LogSequence, PartitionId, Revision, record};

use super::*;

/// Event number `revision` of task `t`, which lies at ten times that sequence.
fn stored(revision: u64, event: &Event) -> Item {
    let body = serde_json::to_vec(event).unwrap();
    let event_type = event.event_type().into();
    let hash = Hash::default().link(Revision(revision), event.event_type(), 1, &body);
    Item::Event(Box::new(StoredEvent {
        stream_sequence: revision * 10,
        entity: "task/t".parse().unwrap(),
        event: record::Event { revision: Revision(revision), event_type, schema: 1, hash, body: body.into() },
        cursor: Cursor { partition: PartitionId(0), record: LogSequence(revision), index: 0 },
        time: "2026-11-21T00:00:00.123Z".into(),
        cause: None,
        correlation: None,
        traceparent: None,
    }))
}

fn submitted() -> Item {
    stored(1, &Event::Submitted { submission: Submit::new("count"), at: Timestamp(5) })
}

fn canceled(revision: u64) -> Item {
    stored(revision, &Event::Canceled { reason: "enough".into(), at: Timestamp(6) })
}

/// Everything in the file that readers see.
fn dump(store: &Store) -> Vec<(String, u64, u64, String)> {
    let mut select = store.connection.prepare("SELECT id, revision, sequence, view FROM tasks").unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn unreadable(store: &Store) -> Vec<String> {
    let mut select = store.connection.prepare("SELECT reason FROM unreadable ORDER BY sequence").unwrap();
    select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn an_event_that_comes_again_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut store = Store::open(&home.path().join("deep/down/file")).unwrap();
    store.apply(&[submitted(), canceled(2), Item::Mark(25)]).unwrap();
    let (rows, place) = (dump(&store), store.place().clone());
    assert_eq!((rows.len(), rows[0].1, rows[0].2), (1, 2, 20));
    assert!(rows[0].3.contains("\"canceled\"") && rows[0].3.contains("1795219200123"), "{rows:?}");
    assert_eq!((place.sequence, place.event_sequence), (25, 20));

    store.apply(&[submitted()]).unwrap();
    store.apply(&[canceled(2)]).unwrap();
    assert_eq!((dump(&store), unreadable(&store)), (rows, vec![]));
    assert_eq!(store.place().sequence, 25, "the place never goes back");
}

#[test]
fn a_file_is_remembered_and_one_of_another_version_is_made_anew() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("file");
    let mut store = Store::open(&path).unwrap();
    store.apply(&[submitted()]).unwrap();
    let (rows, place) = (dump(&store), store.place().clone());
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!((dump(&store), store.place()), (rows, &place));
    store.connection.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
    drop(store);
    let mut store = Store::open(&path).unwrap();
    assert_eq!((dump(&store).len(), store.place()), (0, &Place::default()));
    store.apply(&[submitted()]).unwrap();
    store.reset().unwrap();
    assert_eq!((dump(&store).len(), store.place()), (0, &Place::default()));
}

#[test]
fn a_gap_and_a_missing_beginning_are_noted() {
    let home = tempfile::tempdir().unwrap();
    let mut store = Store::open(&home.path().join("file")).unwrap();
    store.apply(&[canceled(2)]).unwrap();
    assert_eq!(dump(&store).len(), 0);
    store.apply(&[submitted(), canceled(4)]).unwrap();
    assert_eq!(dump(&store)[0].1, 4);
    let reasons = unreadable(&store);
    assert!(reasons[0].contains("before the entity's first event"), "{reasons:?}");
    assert!(reasons[1].contains("revision 4 follows 1"), "{reasons:?}");
}
