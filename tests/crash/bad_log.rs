//! A log that holds what no host wrote: its partition stops and says why; the others go on.

use actors_runtime::takeover;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::{HeaderMap, jetstream};
use bus_client::log::LogEntry;
use bus_client::{Bus, EventQuery, Profile};
use bus_schemas::commands::healer::Command as Healer;
use bus_schemas::record::{CommitRecord, RECORD_VERSION};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Hash, LogSequence, PartitionId};
use futures::TryStreamExt;
use system_tests::raw::Raw;
use system_tests::{PATIENCE, Server, accepted, eventually, probe, refused, touch};

use crate::process::Process;

/// A kind of damage: whose log, what lies at its end, and what the host must say of it.
struct Damage {
    partition: PartitionId,
    bytes: fn(CommitRecord) -> Vec<u8>,
    cause: &'static str,
}

/// Bytes that are no record, and a record out of the chain.
const DAMAGES: [Damage; 2] = [
    Damage { partition: PartitionId(2), bytes: |_| b"rubbish".to_vec(), cause: "reading record" },
    Damage {
        partition: PartitionId(3),
        bytes: |record| CommitRecord { previous: Hash::of(b"another"), ..record }.encode(),
        cause: "does not follow the one before it",
    },
];
/// A record of a later program.
const LATER: Damage = Damage {
    partition: PartitionId(4),
    bytes: |record| CommitRecord { version: RECORD_VERSION + 1, ..record }.encode(),
    cause: "program-outdated",
};
/// A partition that nobody damages.
const SOUND: PartitionId = PartitionId(5);

/// A key in a partition.
fn key_in(partition: PartitionId) -> String {
    let lies = |key: &String| probe(key).partition(8) == partition;
    (0..).map(|number| format!("p{number}")).find(lies).expect("the hash reaches every partition")
}

/// The end of a log.
async fn end_of(bus: &Bus, partition: PartitionId) -> (LogSequence, CommitRecord) {
    let last = bus.last_record(partition).await.expect("the log").expect("a record");
    (last.sequence, CommitRecord::decode(&last.record).expect("the host's own"))
}

/// Puts the damage at the end of its log behind everybody's back; its sequence.
async fn damage(server: &Server, bus: &Bus, damage: &Damage) -> LogSequence {
    let (end, record) = end_of(bus, damage.partition).await;
    let context = jetstream::new(server.client().await);
    append(&context, bus, damage.partition, end, (damage.bytes)(record).into()).await
}

/// Appends to a log as a host does: behind a record, which it expects to be the last one.
async fn append(
    context: &jetstream::Context,
    bus: &Bus,
    partition: PartitionId,
    end: LogSequence,
    bytes: bytes::Bytes,
) -> LogSequence {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, end.0.to_string());
    let sent = context.publish_with_headers(bus.subjects().log(partition), headers, bytes).await;
    LogSequence(sent.expect("sent").await.expect("stored").sequence)
}

/// Goal: damage is named and never skipped, and stays where it is. Method: two logs damaged in two
/// ways; their partitions must not answer or write, the host must say why, and another must go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_stops_its_partition_and_is_named() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("before", false).await;
    let bus = server.bus().await;
    let sound = touch(&key_in(SOUND));
    accepted(&bus, &sound).await;
    for Damage { partition, .. } in &DAMAGES {
        accepted(&bus, &touch(&key_in(*partition))).await;
    }
    host.stop().await;
    let mut ends = Vec::new();
    for one in &DAMAGES {
        ends.push(damage(&server, &bus, one).await);
    }
    let mut after = Process::begin(&server, "after", false, None);
    assert_eq!(accepted(&bus, &touch(&key_in(SOUND))).await.0, 2, "the other partitions go on");
    for (Damage { partition, cause, .. }, end) in DAMAGES.iter().zip(&ends) {
        let named = format!("partition-{partition}");
        eventually(&format!("a line on {named} and `{cause}`"), || async {
            let log = after.log();
            let failed = |line: &str| line.contains("worker failed") && line.contains(&named);
            let line = log.lines().find(|line| failed(line))?.to_owned();
            let place = format!("record {end} of partition {partition}");
            assert!(line.contains(cause) && line.contains(&place), "{line}");
            Some(())
        })
        .await;
    }
    let said = tokio::time::timeout(2 * PATIENCE, after.said()).await.expect("it gives up waiting");
    assert_eq!(said["code"], "not-ready", "{said}");
    assert!(said["message"].as_str().is_some_and(|text| text.starts_with("2 partitions")), "{said}");
    for (Damage { partition, .. }, end) in DAMAGES.iter().zip(&ends) {
        let silent = bus.ask(&touch(&key_in(*partition)), std::time::Duration::from_secs(2)).await;
        assert!(silent.is_err(), "a damaged partition must not answer: {silent:?}");
        let last = bus.last_record(*partition).await.expect("the log").expect("a record");
        assert_eq!(last.sequence, *end, "nobody wrote behind the damage");
    }
    assert!(after.is_running(), "damage of some partitions does not end the process: {}", after.log());
    assert_eq!(accepted(&bus, &touch(&key_in(SOUND))).await.0, 3, "the other partitions go on");
}

/// Goal: what a later program wrote is left to it, and stays. Method: its record at the end of a log; the
/// host must say so at once, must not answer for the partition or write, and must go on with another.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_a_later_program_is_left_to_it() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("before", false).await;
    let bus = server.bus().await;
    let (sound, later) = (touch(&key_in(SOUND)), touch(&key_in(LATER.partition)));
    accepted(&bus, &sound).await;
    accepted(&bus, &later).await;
    host.stop().await;
    let end = damage(&server, &bus, &LATER).await;
    let mut after = Process::begin(&server, "after", false, None);
    let said = tokio::time::timeout(2 * PATIENCE, after.said()).await.expect("it gives up waiting");
    assert_eq!(said["code"], LATER.cause, "{said}");
    assert_eq!(accepted(&bus, &touch(&key_in(SOUND))).await.0, 2, "the other partitions go on");
    let silent = bus.ask(&touch(&key_in(LATER.partition)), std::time::Duration::from_secs(2)).await;
    assert!(silent.is_err(), "the partition must not answer: {silent:?}");
    let last = bus.last_record(LATER.partition).await.expect("the log").expect("a record");
    assert_eq!(last.sequence, end, "nobody wrote behind it");
    assert!(after.log().contains(LATER.cause), "{}", after.log());
}

/// Goal: a log that was cut is never taken for a short one. Method: its beginning is gone, and so are
/// snapshot and base; the host must say so, must not answer for the partition or write, and goes on with
/// it when a base is there again.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_log_without_snapshot_and_base_waits_for_one() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("before", false).await;
    let bus = server.bus().await;
    let (partition, cut) = (SOUND, touch(&key_in(SOUND)));
    accepted(&bus, &cut).await;
    host.stop().await;
    let (end, _) = end_of(&bus, partition).await;
    let name = takeover::snapshot_name(partition);
    let snapshot = bus.get_named(&name).await.expect("the blob store").expect("the drain has written it");
    bus.delete_named(&name).await.expect("deleted");
    assert_eq!(bus.cut_log(partition, LogSequence(end.0 - 1)).await.expect("cut"), end.0 - 1);
    let after = Process::begin(&server, "after", false, None);
    eventually("a line on the cut", || async {
        let log = after.log();
        log.lines().any(|line| line.contains("its log was cut") && line.contains("record 1")).then_some(())
    })
    .await;
    assert_eq!(end_of(&bus, partition).await.0, end, "nobody wrote behind it");
    bus.put_named(&takeover::base_name(partition), &snapshot).await.expect("stored");
    assert_eq!(accepted(&bus, &touch(&key_in(SOUND))).await.0, 2, "the partition goes on");
}

/// Reads a whole log, which must come to its end.
async fn whole(bus: &Bus, partition: PartitionId) -> Vec<LogEntry> {
    let read = async {
        let records = bus.records_after(partition, LogSequence(0)).await.expect("the log");
        records.try_collect().await.expect("records")
    };
    tokio::time::timeout(PATIENCE, read).await.expect("reading ends where the log ends")
}

/// Waits until a host says why a partition of its does not run.
async fn says(host: &Process, partition: PartitionId, cause: &str) {
    let named = format!("partition-{partition}");
    eventually(&format!("a line on {named} and `{cause}`"), || async {
        host.log().lines().any(|line| line.contains(&named) && line.contains(cause)).then_some(())
    })
    .await;
}

/// Goal: a log that somebody emptied is neither waited for nor taken for a new one. Method: it is purged
/// under its owner, who must say so and must not answer or write; nor may a host that starts; readers come to
/// their end, and another partition goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_emptied_stops_its_partition_and_is_named() {
    let server = Server::start(Profile::Fast).await;
    let mut owner = Process::start(&server, "owner", false).await;
    let bus = server.bus().await;
    let (sound, emptied) = (touch(&key_in(PartitionId(2))), touch(&key_in(SOUND)));
    accepted(&bus, &sound).await;
    accepted(&bus, &emptied).await;
    let (end, _) = end_of(&bus, SOUND).await;
    assert_eq!(bus.cut_log(SOUND, end).await.expect("cut"), end.0);
    assert!(whole(&bus, SOUND).await.is_empty());
    let silent = bus.ask(&touch(&key_in(SOUND)), std::time::Duration::from_secs(2)).await;
    assert!(silent.is_err(), "the partition must not answer: {silent:?}");
    let cause = format!("has had {end} records, and its log was cut behind all of them");
    says(&owner, SOUND, &cause).await;
    eventually("the healer to note it", || async {
        let query = EventQuery { subjects: vec![bus.subjects().events(Some(&Healer::KIND))], from: 0 };
        let events = bus.events_until_now(query).await.expect("the event stream");
        let events: Vec<_> = events.try_collect().await.expect("readable events");
        let noted = |body: &[u8]| String::from_utf8_lossy(body).contains(&cause);
        events.iter().any(|stored| noted(&stored.event.body)).then_some(())
    })
    .await;
    assert_eq!(accepted(&bus, &touch(&key_in(PartitionId(2)))).await.0, 2, "another partition goes on");
    owner.kill().await;
    let after = Process::begin(&server, "after", false, None);
    says(&after, SOUND, &cause).await;
    assert!(bus.last_record(SOUND).await.expect("the log").is_none(), "nobody wrote behind it");
}

/// Goal: a record that lacks in the middle is missed where it is needed. Method: a record before the snapshot
/// is taken out; who repeats its command must be told that nobody knows; then the snapshot is gone as well,
/// and the host must name the record and not answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_lacks_is_missed_where_it_is_needed() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("before", false).await;
    let bus = server.bus().await;
    let commands: Vec<_> = (0..3).map(|_| touch(&key_in(SOUND))).collect();
    for command in &commands {
        accepted(&bus, command).await;
    }
    host.stop().await;
    let records = whole(&bus, SOUND).await;
    let client = server.client().await;
    let context = jetstream::new(client);
    let name = bus.topology().log(SOUND);
    let config = context.get_stream(&name).await.expect("the log").cached_info().config.clone();
    context.delete_stream(&name).await.expect("deleted");
    let config = jetstream::stream::Config { deny_delete: false, ..config };
    let stream = context.create_stream(config).await.expect("made again");
    let mut end = LogSequence(0);
    for entry in &records {
        end = append(&context, &bus, SOUND, end, entry.record.clone()).await;
    }
    assert!(stream.delete_message(2).await.expect("answered"), "it is taken out");
    let with = server.host("with-snapshot", false).await;
    assert_eq!(refused(&bus, &commands[0]).await, "command-id-stale", "its record is gone");
    assert_eq!(accepted(&bus, &commands[1]).await.0, 2, "the first answer again");
    with.stop().await;
    bus.delete_named(&takeover::snapshot_name(SOUND)).await.expect("deleted");
    let last = end_of(&bus, SOUND).await.0;
    let after = Process::begin(&server, "after", false, None);
    says(&after, SOUND, "needs record 2, and its log was cut").await;
    let silent = bus.ask(&touch(&key_in(SOUND)), std::time::Duration::from_secs(2)).await;
    assert!(silent.is_err(), "the partition must not answer: {silent:?}");
    assert_eq!(end_of(&bus, SOUND).await.0, last, "nobody wrote behind it");
}

/// Goal: what no host wrote into a log neither stops nor changes anything, whoever managed to put it there. Method:
/// messages in it under a running owner, before a takeover, at the beginning of an empty log, and by an answer that
/// a caller without credentials wants there; every command is answered, and every record is there once.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_host_wrote_is_passed_over() {
    let server = Server::start(Profile::Fast).await;
    let (bus, stranger) = (server.bus().await, Raw::connect(&server).await);
    let (log, other) = (bus.subjects().log(SOUND), bus.subjects().log(PartitionId(6)));
    let insider = jetstream::new(server.client().await);
    let stray = async |subject: &str| {
        let sent = insider.publish(subject.to_owned(), "stray".into()).await.expect("sent");
        sent.await.expect("stored").sequence
    };
    assert_eq!(stray(&other).await, 1, "the log is empty yet");
    let owner = server.host("owner", false).await;
    let (key, empty) = (key_in(SOUND), key_in(PartitionId(6)));
    assert_eq!(accepted(&bus, &touch(&empty)).await.0, 1);
    assert_eq!(accepted(&bus, &touch(&key)).await.0, 1);
    for revision in 2..5 {
        stray(&log).await;
        assert_eq!(accepted(&bus, &touch(&key)).await.0, revision, "the owner goes on behind it");
    }
    let before = bus.log_end(SOUND).await.expect("the log").last;
    let any = probe(&key_in(PartitionId(2)));
    let request = format!("orrery.request.stranger.{}.{}", any.kind, any.key);
    stranger.request_to(&request, &log, r#"{"type":"touch"}"#).await;
    eventually("the stranger's command", || async { bus.last_event(&any).await.ok().flatten() }).await;
    stranger.publish(&log, "rubbish").await;
    stranger.publish(&bus.subjects().mail(SOUND), "rubbish").await;
    stranger.publish(&bus.subjects().mark(SOUND), "7.0").await;
    assert_eq!(accepted(&bus, &touch(&key)).await.0, 5);
    let after = bus.log_end(SOUND).await.expect("the log");
    assert_eq!(after.record.map(|record| record.sequence), Some(after.last));
    assert_eq!(after.last, before.next(), "and nothing but its record is there");
    owner.stop().await;
    stray(&log).await;
    deliver(&insider, &bus, SOUND).await;
    let successor = server.host("successor", false).await;
    assert_eq!(accepted(&bus, &touch(&key)).await.0, 6, "so does the next owner");
    assert_eq!(accepted(&bus, &touch(&empty)).await.0, 2);
    successor.stop().await;
    let logged = system_tests::check::whole(&bus).await;
    assert_eq!(logged.events[&format!("probe/{key}")].len(), 6);
    let mut records = bus.records_after(SOUND, LogSequence(0)).await.expect("the log");
    let (mut last, mut foreign) = (LogSequence(0), 0);
    while let Some(entry) = records.try_next().await.expect("a record") {
        assert_eq!(entry.follows(), last, "what lies before record {} is counted", entry.sequence);
        (last, foreign) = (entry.sequence, foreign + entry.foreign);
    }
    assert_eq!(foreign, 4 + STRAYS);
}

/// How many messages are delivered into a log.
const STRAYS: u64 = 3;

/// Lets the server deliver messages of another stream into a log; they keep their own subject.
async fn deliver(insider: &jetstream::Context, bus: &Bus, partition: PartitionId) {
    let subjects = vec!["strays".to_owned()];
    let config = jetstream::stream::Config { name: "STRAYS".into(), subjects, ..Default::default() };
    let stream = insider.create_stream(config).await.expect("a stream");
    for _ in 0..STRAYS {
        insider.publish("strays", "stray".into()).await.expect("sent").await.expect("stored");
    }
    let log = bus.topology().log(partition);
    let before = bus.state_of(&log).await.expect("the log").last_sequence;
    let (deliver_subject, ack_policy) = (bus.subjects().log(partition), jetstream::consumer::AckPolicy::None);
    let config = jetstream::consumer::push::Config { deliver_subject, ack_policy, ..Default::default() };
    stream.create_consumer(config).await.expect("a consumer");
    eventually("all deliveries", || async {
        let after = bus.state_of(&log).await.ok()?.last_sequence;
        (after == before + STRAYS).then_some(())
    })
    .await;
}
