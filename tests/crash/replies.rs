//! Replies come only after the commit, on a real server: a host that stands still between its decision
//! and the log has told nobody, and one that dies behind the log has told what the log says.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, Subject};
use bus_client::{Ask, Bus, Profile};
use bus_schemas::envelope::header;
use bus_schemas::record::{CommitRecord, Turn};
use bus_schemas::{LogSequence, Reply};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use system_tests::check::whole;
use system_tests::process::Process;
use system_tests::{PATIENCE, Server, touch};

/// The first append that is no takeover: a host alone takes eight partitions over.
const FIRST_COMMAND: u32 = 9;
/// How long the host stands still before it dies: far longer than an answer takes to arrive.
const STANDS: Duration = Duration::from_millis(1_500);

/// The word that a caller says to itself.
const END: &str = "that was all";

/// A caller that hears everything that is said to it, also while nobody waits.
struct Caller {
    client: Client,
    heard: async_nats::Subscriber,
    reply_to: Subject,
}

impl Caller {
    async fn connect(server: &Server) -> Self {
        let client = server.client().await;
        let reply_to: Subject = client.new_inbox().into();
        let heard = client.subscribe(reply_to.clone()).await.expect("an inbox");
        Self { client, heard, reply_to }
    }

    /// Sends a command, and does not wait.
    async fn tell(&self, bus: &Bus, ask: &Ask) {
        let subject = bus.subjects().ask(ask.to.partition(bus.topology().partitions), &ask.caller, &ask.to);
        let mut headers = HeaderMap::new();
        headers.insert(header::COMMAND_ID, ask.id.to_string());
        let (reply_to, body) = (self.reply_to.clone(), ask.body.bytes.clone());
        let sent = self.client.publish_with_reply_and_headers(subject, reply_to, headers, body).await;
        sent.expect("a subject");
        self.client.flush().await.expect("the server listens");
    }

    /// Everything that was said since the last look: what comes before a word of our own.
    async fn heard(&mut self) -> Vec<Message> {
        self.client.publish(self.reply_to.clone(), END.into()).await.expect("a subject");
        let mut heard = Vec::new();
        loop {
            let next = tokio::time::timeout(PATIENCE, self.heard.next()).await.expect("our own word");
            let message = next.expect("the subscription is open");
            if message.payload == END {
                return heard;
            }
            heard.push(message);
        }
    }
}

/// The turns in the log that a command led to.
async fn turns_of(bus: &Bus, ask: &Ask) -> Vec<Turn> {
    let partition = ask.to.partition(bus.topology().partitions);
    let records = bus.records_after(partition, LogSequence(0)).await.expect("the log");
    let records: Vec<_> = records.try_collect().await.expect("records");
    let records = records.iter().map(|entry| CommitRecord::decode(&entry.record).expect("a readable record"));
    records.flat_map(|record| record.turns).filter(|turn| turn.command.id == ask.id).collect()
}

/// Sends a command to a host that dies at `place` when it commits the command. What the caller heard
/// until then, the turns that are in the log then, and the answer to the repeat of another host.
async fn dies_at(place: &str, pass: u32) -> (Vec<Message>, Vec<Turn>, Bytes) {
    let server = Server::start(Profile::Durable).await;
    let place = format!("{place}:{pass}:{}", STANDS.as_millis());
    let mut host = Process::begin(&server, "host", false, Some(&place)).until_ready().await;
    let bus = server.bus().await;
    let mut caller = Caller::connect(&server).await;
    let ask = touch("p");
    caller.tell(&bus, &ask).await;
    assert!(host.aborted().await, "`{place}` was passed and killed the host: {}", host.log());
    let (heard, logged) = (caller.heard().await, turns_of(&bus, &ask).await);
    host.restart().await;
    let repeated = bus.ask(&ask, PATIENCE).await.expect("an answer");
    assert!(matches!(repeated, Reply::Accepted { .. }), "{repeated:?}");
    let late = caller.heard().await;
    assert!(late.is_empty(), "the dead host is heard: {late:?}");
    let [turn] = &turns_of(&bus, &ask).await[..] else { panic!("the command is in the log once") };
    let said = serde_json::from_slice::<Reply>(&turn.reply).expect("a reply");
    assert_eq!(format!("{said:?}"), format!("{repeated:?}"), "the answer is the log's");
    let once = whole(&bus).await;
    assert_eq!(once.applied[&ask.id], 1);
    (heard, logged, turn.reply.clone())
}

/// Goal: nobody hears of what is decided and not in the log. Method: the host stands still in front of
/// the append while everything else in it goes on, and dies; the caller has heard nothing, the log holds
/// nothing, and the repeat is done once.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_before_the_append_has_told_nobody() {
    let (heard, logged, _) = dies_at("before-append", FIRST_COMMAND).await;
    assert!(heard.is_empty(), "answered before the commit: {heard:?}");
    assert!(logged.is_empty(), "{logged:?}");
}

/// Goal: what is in the log stands, heard or not. Method: the host stands still and dies behind the
/// append and before the answer; the log holds the command once, and the repeat gets its first answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_after_the_append_leaves_its_answer() {
    let (heard, logged, answer) = dies_at("after-append", FIRST_COMMAND).await;
    assert!(heard.is_empty(), "the answer is sent behind this place: {heard:?}");
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert_eq!(logged[0].reply, answer);
}

/// Goal: silence in the tests above is no deafness. Method: the host stands still and dies behind its
/// first answer; the caller has heard it meanwhile, and it is what the log says.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_sent_is_heard_while_the_host_stands_still() {
    let (heard, logged, answer) = dies_at("after-reply", 1).await;
    let heard: Vec<_> = heard.into_iter().map(|message| message.payload).collect();
    assert_eq!(heard, [answer]);
    assert_eq!(logged.len(), 1, "{logged:?}");
}
