//! The feed alone: what is left out, and where it ends.

use bus_client::events::Cursor;
use bus_schemas::{Hash, LogSequence, PartitionId, Revision, record};
use futures::stream;

use super::*;

/// An event at a sequence, which is its log record too.
fn stored(sequence: u64, entity: &str, event_type: &str) -> StoredEvent {
    StoredEvent {
        stream_sequence: sequence,
        entity: entity.parse().unwrap(),
        event: record::Event {
            revision: Revision(sequence),
            event_type: event_type.into(),
            schema: 1,
            hash: Hash::default(),
            body: format!("{{\"number\":{sequence}}}").into(),
        },
        cursor: Cursor { partition: PartitionId(0), record: LogSequence(sequence), index: 0 },
        time: String::new(),
        cause: None,
        correlation: None,
        traceparent: None,
    }
}

/// The feed of a client that has all up to `after`; 0 for one that has nothing.
fn feed(stored: Vec<Result<StoredEvent, Error>>, after: u64, end: u64, follow: bool) -> Feed {
    let cursor = |record| Cursor { partition: PartitionId(0), record: LogSequence(record), index: 0 };
    let (events, output) = (stream::iter(stored).boxed(), stream::pending().boxed());
    Feed::new("task/t".parse().unwrap(), events, output, (after > 0).then(|| cursor(after)), end, follow)
}

/// How many events a client gets that has all up to `after`, and whether the end is among them.
async fn sent(events: &[(&str, &str)], after: u64, end: u64, follow: bool) -> (usize, bool) {
    let stored: Vec<_> =
        (1..).zip(events).map(|(sequence, (entity, name))| Ok(stored(sequence, entity, name))).collect();
    let mut feed = feed(stored, after, end, follow);
    assert!(feed.skip().await.unwrap());
    let (mut count, mut is_last_end) = (0, false);
    while let Some(event) = feed.next().await {
        count += 1;
        is_last_end = format!("{event:?}").contains("event: end");
    }
    (count, is_last_end)
}

#[tokio::test]
async fn a_feed_ends_at_the_final_event_that_was_not_taken_back() {
    let retried = [
        ("task/t", "submitted"),
        ("task/t", "failed"),
        ("task/t", "retried"),
        ("task/t.a", "completed"),
        ("task/t", "completed"),
        ("task/t.a", "never-read"),
    ];
    // All five and the end, whatever was there when the client asked.
    assert_eq!(sent(&retried, 0, 5, true).await, (6, true));
    assert_eq!(sent(&retried, 0, 3, true).await, (6, true));
    // A live client sees the first ending: nobody knew of the second.
    assert_eq!(sent(&retried, 0, 1, true).await, (3, true));
    // What the client has is left out, and the end still comes.
    assert_eq!(sent(&retried, 2, 5, true).await, (4, true));
    assert_eq!(sent(&retried, 5, 5, true).await, (1, true));
    // Without following: what exists, and no end before the end.
    assert_eq!(sent(&retried, 0, 4, false).await, (4, false));
    assert_eq!(sent(&retried, 0, 5, false).await, (6, true));
}

/// Goal: an id of which nothing is known is refused, and one from before what is left is not. Method: the events
/// 3, 5 and 6, with each id around them.
#[tokio::test]
async fn an_event_that_is_none_of_the_task_is_told_apart() {
    let known = async |after, end| {
        let events = [(3, "submitted"), (5, "failed"), (6, "retried")];
        let stored = events.map(|(sequence, name)| Ok(stored(sequence, "task/t", name)));
        let mut feed = feed(stored.into(), after, end, true);
        let known = feed.skip().await.unwrap();
        let mut left = 0;
        while feed.next().await.is_some() {
            left += 1;
        }
        (known, left)
    };
    assert_eq!(known(0, 6).await, (true, 3));
    assert_eq!(known(1, 6).await, (true, 3), "an archived task has only its last events");
    assert_eq!(known(3, 6).await, (true, 2));
    assert_eq!(known(5, 6).await, (true, 1));
    assert_eq!(known(6, 6).await, (true, 0));
    for none in [4, 7, 999_999_999] {
        assert!(!known(none, 6).await.0, "{none}");
    }
}

#[test]
fn a_body_is_sent_as_it_lies_in_the_log_and_can_not_forge_fields() {
    let mut odd = stored(1, "task/t", "submitted");
    odd.event.body = "{\"big\": 12345678901234567890123, \"b\":1,\n\"a\":2}".into();
    let text = format!("{:?}", super::sent(&odd));
    assert!(text.contains("12345678901234567890123"), "{text}");
    odd.event.body = vec![0xff, b'\n', b'i', b'd', b':', b'9'].into();
    // An escaped line feed within JSON is no line feed of the protocol.
    let text = format!("{:?}", super::sent(&odd)).replace("\\\\n", "");
    assert!(!text.contains("\\nid:9") && text.contains("id:9"), "{text}");
}
