//! What comes from outside and is too much: headers and reasons that a server would not take, and readers
//! that come by the thousand. None of it stops a partition.

use std::time::{Duration, Instant};

use async_nats::jetstream;
use bus_client::Profile;
use bus_schemas::commands::probe::Command as Probe;
use bus_schemas::topology::Store;
use bus_schemas::{CommandId, Hash, PartitionId, Revision};
use futures::StreamExt;
use system_tests::process::Process;
use system_tests::raw::{Answer, Raw, dead_letter, dead_payload};
use system_tests::{Server, accepted, command, eventually, touch, until_held};

/// Letters of a word that no command has: its refusal names it, and passes what a header may have.
const WORD_LETTERS: usize = 70_000;
/// Blobs of which each is read so often that the reads are more than a stream takes consumers.
const BLOBS: usize = 30;
const READS_EACH: usize = 50;

/// Goal: a hand-over that cannot be understood stops nothing, however long its words are. Method: one of
/// 70,000 letters for each way to be wrong, another bad one behind it in the same partition, and an ask.
#[tokio::test(flavor = "multi_thread")]
async fn a_word_of_seventy_thousand_letters_stops_nothing() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("host", false).await;
    let (bus, raw) = (server.bus().await, Raw::connect(&server).await);
    let word = "A".repeat(WORD_LETTERS);
    let bad = [
        format!("{{\"type\":\"{word}\"}}"),
        format!("{{\"type\":\"touch\",\"note\":\"\",\"{word}\":1}}"),
        format!("{{\"type\":\"{word}ä\"}}"),
        "{\"type\":\"short\"}".to_owned(),
    ];
    for (index, body) in bad.iter().enumerate() {
        let id = format!("bad-{index}");
        let stored = raw.store("orrery.do.test.probe.bad", &[("Nats-Msg-Id", &id)], body.clone()).await;
        assert!(stored.is_some(), "it is handed over");
        let entry = dead_letter(&bus, CommandId::from_text(&id)).await;
        assert!(entry.reason.len() <= 4 * 1024, "{} bytes", entry.reason.len());
        assert_eq!(entry.reason.ends_with('…'), body.len() > WORD_LETTERS, "{}", entry.reason);
        let letter = CommandId::from_text(&id).0.simple().to_string();
        assert_eq!(dead_payload(&bus, "probe", &letter).await, body.as_bytes(), "its payload is kept");
    }
    let correlation = "ä".repeat(20_000);
    let headers = [("Orrery-Correlation", correlation.as_str())];
    let asked = raw.request("orrery.request.test.probe.bad", &headers, touch_body()).await;
    assert_eq!(asked.code(), "accepted", "{asked:?}");
    assert!(bus.leases().await.expect("the leases").stuck().is_empty());
    host.stop().await;
    let again = server.host("host", false).await;
    assert_eq!(accepted(&bus, &touch("bad")).await, Revision(2), "and it starts again");
    again.stop().await;
}

fn touch_body() -> Vec<u8> {
    serde_json::to_vec(&Probe::Touch { note: String::new() }).expect("plain data")
}

/// How many consumers the streams have that nobody follows without end.
async fn consumers(server: &Server) -> usize {
    let client = server.client().await;
    let context = jetstream::new(client);
    let mut count = 0;
    let mut streams = context.streams();
    while let Some(stream) = streams.next().await {
        let stream = stream.expect("a stream");
        let name = stream.config.name.clone();
        if ["OBJ_", "KV_"].iter().any(|start| name.starts_with(start)) || name.contains("_LOG_") {
            count += stream.state.consumer_count;
        }
    }
    count
}

/// Goal: a blob whose content is gone is as missing as one that was never stored. Method: its pieces are purged, and
/// what the store knows of it stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_without_its_pieces_is_missing() {
    let server = Server::start(Profile::Fast).await;
    let bus = server.bus().await;
    let hash = bus.put_blob(&vec![7; 100_000]).await.expect("it is stored");
    let bucket = bus.topology().objects(Store::Blobs);
    let store = jetstream::new(server.client().await).get_stream(format!("OBJ_{bucket}")).await;
    store.expect("the store").purge().filter(format!("$O.{bucket}.C.>")).await.expect("its pieces go");
    let error = bus.get_blob(hash).await.expect_err("it has no content");
    assert_eq!((error.code(), error.to_string().contains(&hash.to_hex())), ("blob-missing", true), "{error}");
}

/// Goal: reading blobs takes nothing from anybody. Method: 1,500 reads at once leave no consumer, every
/// byte is right, and when the host is killed the next one takes its partitions over.
#[tokio::test(flavor = "multi_thread")]
async fn fifteen_hundred_blob_reads_leave_nothing_behind() {
    let server = Server::start(Profile::Fast).await;
    let mut first = Process::start(&server, "first", false).await;
    let bus = server.bus().await;
    accepted(&bus, &touch("p")).await;
    let blobs: Vec<Vec<u8>> =
        (0..BLOBS).map(|index| vec![u8::try_from(index).expect("few"); 100_000 + 40_000 * index]).collect();
    for blob in &blobs {
        bus.put_blob(blob).await.expect("it is stored");
    }
    let reads = blobs.iter().cycle().take(BLOBS * READS_EACH).map(|blob| {
        let bus = bus.clone();
        async move { assert_eq!(bus.get_blob(Hash::of(blob)).await.expect("it is there"), blob[..]) }
    });
    let began = Instant::now();
    futures::stream::iter(reads).buffer_unordered(32).collect::<Vec<()>>().await;
    let took = began.elapsed();
    assert_eq!(consumers(&server).await, 0, "after {took:?}");
    assert!(bus.get_blob(Hash::of(b"lost")).await.is_err_and(|error| error.code() == "blob-missing"));
    first.kill().await;
    let mut second = Process::begin(&server, "second", false, None);
    until_held(&bus, "second", 8).await;
    assert_eq!(second.said().await["ready"], true, "{}", second.log());
    assert_eq!(accepted(&bus, &touch("p")).await, Revision(2));
    second.kill().await;
}

/// Goal: who follows a stream takes its consumer along. Method: many readers of events, each for a moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_takes_its_consumer_along() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("host", false).await;
    let bus = server.bus().await;
    accepted(&bus, &touch("p")).await;
    let count = || async {
        let client = server.client().await;
        let stream = jetstream::new(client).get_stream("ORRERY_EVENTS").await.expect("the stream");
        stream.cached_info().state.consumer_count
    };
    let before = count().await;
    for _ in 0..50 {
        let mut events = bus.events(bus_client::EventQuery::default()).await.expect("the stream");
        assert!(events.next().await.expect("an event").is_ok());
    }
    let soon = Instant::now() + Duration::from_secs(10);
    eventually("the consumers to go", || async { (count().await <= before).then_some(()) }).await;
    assert!(Instant::now() < soon, "the server would have ended them by itself");
    host.stop().await;
}

/// Goal: names of headers are read in any case. Method: each that a caller may send, in small letters.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_headers_are_read_in_any_case() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("host", false).await;
    let (bus, raw) = (server.bus().await, Raw::connect(&server).await);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let packed = rmp_serde::to_vec_named(&serde_json::json!({"type": "touch", "note": ""})).expect("plain");
    let first =
        [("ORRERY-COMMAND-ID", "once"), ("content-type", "application/msgpack"), ("Traceparent", trace)];
    let Answer::Reply(told) = raw.request("orrery.request.test.probe.any", &first, packed.clone()).await
    else {
        panic!("nobody answered");
    };
    let again = [("nats-msg-id", "once"), ("CONTENT-TYPE", "application/msgpack")];
    let repeated = raw.request("orrery.request.test.probe.any", &again, packed).await;
    assert_eq!(repeated, Answer::Reply(told), "the same id gets the first answer");
    assert_eq!(accepted(&bus, &touch("any")).await, Revision(2));
    let events = eventually("the events", || async {
        let events = bus.history(&touch("any").to, Revision(0), 0).await.ok()?;
        (events.len() == 2).then_some(events)
    })
    .await;
    let found = events[0].traceparent.as_deref().expect("a trace");
    assert_eq!(found[..35], trace[..35], "the trace goes on");
    let bad = [("orrery-correlation", "together"), ("orrery-command-id", "lower")];
    raw.store("orrery.do.test.probe.any", &bad, "{\"type\":\"nothing\"}").await.expect("it is handed over");
    let entry = dead_letter(&bus, CommandId::from_text("lower")).await;
    assert_eq!(entry.correlation, CommandId::from_text("together"));
    host.stop().await;
}

/// Goal: what a host says of a partition in which something does not go on is what `/ready` reads. Method:
/// a record that the server does not take, for its store is too small for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_can_not_write_is_named() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("host", false).await;
    let bus = server.bus().await;
    let ask = command("p", &Probe::Touch { note: String::new() });
    accepted(&bus, &ask).await;
    let partition: PartitionId = ask.to.partition(8);
    // Its log refuses what is new from now on, as a full store does.
    let client = server.client().await;
    let context = jetstream::new(client);
    let mut log = context.get_stream(bus.topology().log(partition)).await.expect("the log");
    let mut config = log.info().await.expect("its settings").config.clone();
    let unlimited = config.max_messages;
    config.max_messages = i64::try_from(log.cached_info().state.messages).expect("few");
    context.update_stream(&config).await.expect("the server takes it");
    let more = touch("p");
    let asked = tokio::spawn({
        let (bus, more) = (bus.clone(), more.clone());
        async move { accepted(&bus, &more).await }
    });
    let named = eventually("the partition to be named", || async {
        bus.leases().await.ok()?.stuck().remove(&partition)
    })
    .await;
    assert!(named.contains("record cannot be written"), "{named}");
    config.max_messages = unlimited;
    context.update_stream(&config).await.expect("the server takes it");
    assert_eq!(asked.await.expect("it is answered"), Revision(2));
    eventually("it to go on", || async { bus.leases().await.ok()?.stuck().is_empty().then_some(()) }).await;
    host.stop().await;
}
