//! Telling of dead letters as they arrive.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use actors_host::{Config, Running};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bus_client::{Bus, Profile};
use bus_schemas::commands::breaker;
use bus_schemas::events::dead_letter::Event;
use serde_json::Value;
use system_tests::{Server, command, eventually, query, view};

use super::{history, poison, redrive, until};

/// What a receiver was told: the id, the notification, and what it answered.
type Notice = (String, Value, u16);

/// A receiver of a test's own, which answers as its script for a key says: by default 204.
#[derive(Clone, Default)]
struct Receiver {
    told: Arc<Mutex<Vec<Notice>>>,
    script: Arc<Mutex<HashMap<String, Vec<u16>>>>,
    /// Whether it takes nothing at all.
    away: Arc<AtomicBool>,
}

impl Receiver {
    /// Starts it; its URL.
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/hook?for=tests", listener.local_addr().expect("an address"));
        let router = Router::new().route("/hook", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }
    /// What it answers next where it is told of this key.
    fn answers(&self, key: &str, answers: &[u16]) {
        self.script.lock().expect("no panic").insert(key.to_owned(), answers.to_vec());
    }
    /// Whether it was told of an entry.
    fn knows(&self, entry: &str) -> Option<()> {
        (!self.told_of(entry).is_empty()).then_some(())
    }
    /// What it was told of an entry.
    fn told_of(&self, entry: &str) -> Vec<Notice> {
        let told = self.told.lock().expect("no panic");
        told.iter().filter(|(_, told, _)| told["entry"] == entry).cloned().collect()
    }
}

async fn take(
    State(receiver): State<Receiver>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, &'static str) {
    let id = headers["orrery-event-id"].to_str().expect("text").to_owned();
    let told: Value = serde_json::from_str(&body).expect("JSON");
    let mut script = receiver.script.lock().expect("no panic");
    let answers = script.get_mut(told["key"].as_str().unwrap_or_default()).filter(|left| !left.is_empty());
    let status = answers.map_or(204, |answers| answers.remove(0));
    let status = if receiver.away.load(Ordering::SeqCst) { 503 } else { status };
    receiver.told.lock().expect("no panic").push((id, told, status));
    (StatusCode::from_u16(status).expect("a status"), if status < 300 { "" } else { "not now" })
}

/// A host that tells a URL.
async fn host(server: &Server, name: &str, url: &str) -> Running {
    let mut config = Config {
        data_dir: server.directory().join(name),
        nats: server.config(),
        host_name: Some(name.to_owned()),
        agents: false,
        ..Config::default()
    };
    config.dead_letters.webhook = Some(url.to_owned());
    let running = actors_host::start(&config, Vec::new()).await.expect("the host starts");
    running.ready().await.expect("every partition answers");
    running
}

/// Waits until a host tells: what arrived before it watched for the first time is no news.
async fn until_it_watches(receiver: &Receiver, bus: &Bus) {
    eventually("the host to watch", || async {
        let entry = poison(bus, "first").await;
        receiver.knows(&entry)
    })
    .await;
}

/// Goal: people hear of every dead letter, also where the receiver or the host was away. Method: a
/// receiver that fails once, then takes it; an arrival while no host tells, and a host that comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_is_told_of_every_arrival() {
    let server = Server::start(Profile::Fast).await;
    let receiver = Receiver::default();
    let url = receiver.start().await;
    let telling = host(&server, "a", &url).await;
    until_it_watches(&receiver, telling.bus()).await;
    receiver.answers("p", &[503, 429]);
    let entry = poison(telling.bus(), "p").await;
    let told = eventually("the third try", || async {
        let told = receiver.told_of(&entry);
        (told.len() == 3).then_some(told)
    })
    .await;
    assert_eq!(told.iter().map(|(_, _, status)| *status).collect::<Vec<_>>(), [503, 429, 204]);
    assert!(told.iter().all(|(id, _, _)| *id == format!("dead-letter/{entry}/1")), "{told:?}");
    let body = &told[0].1;
    assert_eq!((&body["class"], &body["key"]), (&"poison".into(), &"p".into()), "{body}");
    assert!(body.get("payload").is_none(), "what may be secret is not told: {body}");

    telling.stop().await;
    let silent = server.host("b", false).await;
    let missed = poison(silent.bus(), "p").await;
    silent.stop().await;
    assert!(receiver.told_of(&missed).is_empty());
    let telling = host(&server, "c", &url).await;
    eventually("what came while nobody told", || async { receiver.knows(&missed) }).await;
    telling.stop().await;
}

/// Goal: a notification that is not taken is kept once, and told of never. Method: a receiver that
/// refuses it for good; it becomes an entry, which is redriven when the receiver takes it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_refuses_is_kept_once() {
    let server = Server::start(Profile::Fast).await;
    let receiver = Receiver::default();
    let telling = host(&server, "a", &receiver.start().await).await;
    let bus = telling.bus();
    until_it_watches(&receiver, bus).await;
    receiver.answers("p", &[400]);
    let entry = poison(bus, "p").await;
    eventually("the refusal", || async { receiver.knows(&entry) }).await;
    let id = bus_schemas::CommandId::from_text(&format!("webhook dead-letter/{entry}/1"));
    let failed = super::entry_of(id);
    let recorded = until(bus, &failed, "recorded", |event| matches!(event, Event::Recorded { .. })).await;
    let Event::Recorded { entry: kept } = &recorded[0] else { panic!("{recorded:?}") };
    assert_eq!(kept.class, "notification-failed");
    assert!(kept.reason.contains("400") && kept.reason.contains("not now"), "{}", kept.reason);
    // The next arrival is told, and the entry about the notification is not.
    let next = poison(bus, "p").await;
    eventually("the next arrival", || async { receiver.knows(&next) }).await;
    assert!(receiver.told_of(&failed).is_empty(), "no notification of a notification");
    assert_eq!(receiver.told_of(&entry).len(), 1, "a refusal is final");
    system_tests::accepted(bus, &command(&failed, &redrive())).await;
    until(bus, &failed, "redriven", |event| matches!(event, Event::Redriven { .. })).await;
    assert_eq!(receiver.told_of(&entry).len(), 2);
    assert_eq!(history(bus, &failed).await.len(), 3);
    telling.stop().await;
}

/// Goal: a receiver that is away is left alone, and hears of everything when it is back. Method: it takes
/// nothing until its breaker is open, and everything from then on.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_away_is_left_alone_until_it_is_back() {
    let server = Server::start(Profile::Fast).await;
    let receiver = Receiver::default();
    let telling = host(&server, "a", &receiver.start().await).await;
    let bus = telling.bus();
    until_it_watches(&receiver, bus).await;
    let describe = || async {
        let describe = query("webhook.127.0.0.1", &breaker::Query::Describe);
        view::<breaker::Description>(bus, &describe).await.expect("a description")
    };
    let mut entries = Vec::new();
    receiver.away.store(true, Ordering::SeqCst);
    for number in 0..8 {
        entries.push(poison(bus, &format!("p{number}")).await);
    }
    eventually("an open breaker", || async {
        (describe().await.phase == breaker::Phase::Open).then_some(())
    })
    .await;
    receiver.away.store(false, Ordering::SeqCst);
    for entry in &entries {
        eventually("every arrival", || async {
            receiver.told_of(entry).last().is_some_and(|(_, _, status)| *status == 204).then_some(())
        })
        .await;
    }
    eventually("a closed breaker", || async {
        (describe().await.phase == breaker::Phase::Closed).then_some(())
    })
    .await;
    telling.stop().await;
}
