//! A log that holds what no host wrote: its partition stops and says why; the others go on.

use async_nats::HeaderMap;
use bus_client::Profile;
use bus_schemas::record::{CommitRecord, RECORD_VERSION};
use bus_schemas::{LogSequence, PartitionId};
use system_tests::{PATIENCE, Server, accepted, probe, touch};

use crate::process::Process;

/// A key in a partition.
fn key_in(partition: PartitionId) -> String {
    let lies = |key: &String| probe(key).partition(8) == partition;
    (0..).map(|number| format!("p{number}")).find(lies).expect("the hash reaches every partition")
}

/// Puts a message at the end of a log behind everybody's back, starts a host, and returns what the
/// host said; other partitions must answer meanwhile.
async fn said_with(change: impl FnOnce(Option<CommitRecord>) -> Vec<u8>) -> String {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("before", false).await;
    let (broken, sound) = (key_in(PartitionId(3)), key_in(PartitionId(4)));
    let bus = server.bus().await;
    accepted(&bus, &touch(&broken)).await;
    accepted(&bus, &touch(&sound)).await;
    host.stop().await;
    let last = bus.last_record(PartitionId(3)).await.expect("the log").expect("a record");
    let payload = change(CommitRecord::decode(&last.record).ok());
    let client = async_nats::connect(&server.listening.nats_url).await.expect("the server");
    let jetstream = async_nats::jetstream::new(client);
    let subject = bus.subjects().log(PartitionId(3));
    let published = jetstream.publish_with_headers(subject, HeaderMap::new(), payload.into()).await;
    published.expect("sent").await.expect("stored");
    let mut after = Process::begin(&server, "after", false, None);
    assert_eq!(accepted(&bus, &touch(&sound)).await.0, 2, "the other partitions go on");
    let said = after.said().await;
    let silent = bus.ask(&touch(&broken), std::time::Duration::from_secs(2)).await;
    assert!(silent.is_err(), "the broken partition must not answer: {silent:?}");
    let end = bus.last_record(PartitionId(3)).await.expect("the log").expect("a record");
    assert_eq!(end.sequence, LogSequence(last.sequence.0 + 1), "nobody wrote behind the damage");
    accepted(&bus, &touch(&sound)).await;
    said
}

/// Goal: damage is named and never skipped. Method: bytes that are no record.
#[tokio::test(flavor = "multi_thread")]
async fn a_corrupted_record_stops_its_partition_and_names_it() {
    let said = tokio::time::timeout(2 * PATIENCE, said_with(|_| b"rubbish".to_vec())).await.expect("it ends");
    assert!(said.starts_with("error[not-ready]"), "{said}");
    assert!(said.contains("partition 3"), "{said}");
}

/// Goal: a chain is followed. Method: a well-formed record whose `previous` is another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_out_of_the_chain_stops_its_partition() {
    let said = said_with(|record| {
        let mut record = record.expect("the host's own");
        record.previous = bus_schemas::Hash::of(b"another");
        record.encode()
    });
    let said = tokio::time::timeout(2 * PATIENCE, said).await.expect("it ends");
    assert!(said.contains("does not follow"), "{said}");
}

/// Goal: a later program's record is not guessed at. Method: a record of the next version.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_later_version_stops_its_partition() {
    let said = said_with(|record| {
        let mut record = record.expect("the host's own");
        record.version = RECORD_VERSION + 1;
        record.encode()
    });
    let said = tokio::time::timeout(2 * PATIENCE, said).await.expect("it ends");
    assert!(said.contains("version"), "{said}");
}
