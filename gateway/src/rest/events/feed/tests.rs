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

/// How many events a client gets that has all up to `after`, and whether the end is among them.
async fn sent(events: &[(&str, &str)], after: u64, end: u64, follow: bool) -> (usize, bool) {
    let stored: Vec<_> =
        (1..).zip(events).map(|(sequence, (entity, name))| Ok(stored(sequence, entity, name))).collect();
    let mut feed = Feed {
        entity: "task/t".parse().unwrap(),
        events: stream::iter(stored).boxed(),
        output: stream::pending().boxed(),
        after: (after > 0)
            .then(|| "0.0.0".parse::<Cursor>().unwrap())
            .map(|cursor| Cursor { record: LogSequence(after), ..cursor }),
        end,
        follow,
        is_final: false,
        is_done: false,
    };
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

#[test]
fn a_body_is_sent_as_it_lies_in_the_log_and_can_not_forge_fields() {
    let mut odd = stored(1, "task/t", "submitted");
    odd.event.body = "{\"big\": 12345678901234567890123, \"b\":1,\n\"a\":2}".into();
    let text = format!("{:?}", event(&odd));
    assert!(text.contains("12345678901234567890123"), "{text}");
    odd.event.body = vec![0xff, b'\n', b'i', b'd', b':', b'9'].into();
    // An escaped line feed within JSON is no line feed of the protocol.
    let text = format!("{:?}", event(&odd)).replace("\\\\n", "");
    assert!(!text.contains("\\nid:9") && text.contains("0.1.0"), "{text}");
}
