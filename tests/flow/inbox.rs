//! inbox: asks, durable commands, mail and timers are one queue; every command is applied once.

use bus_client::Profile;
use bus_schemas::commands::probe::Command;
use bus_schemas::{CommandId, Revision};
use system_tests::edge::Edge;
use system_tests::raw::{Raw, dead_letter};
use system_tests::{Server, accepted, command, eventually, probe, refused, touch, until_revision};

/// Goal: a repeated command is applied once and gets the first answer. Method: the same id as an ask
/// twice, and as a durable command.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_id_gets_the_first_answer() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = host.bus();
    let ask = touch("p");
    assert_eq!(accepted(bus, &ask).await, Revision(1));
    accepted(bus, &touch("p")).await;
    assert_eq!(accepted(bus, &ask).await, Revision(1), "the first answer again");
    bus.hand_over(&ask).await.unwrap();
    let other = touch("p");
    bus.hand_over(&other).await.unwrap();
    until_revision(bus, &probe("p"), Revision(3)).await;
    assert_eq!(accepted(bus, &other).await, Revision(3), "the handed-over repeat was not applied");
    host.stop().await;
}

/// Goal: an id is not a wild card. Method: the same id with another body.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_with_another_body_is_refused() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let ask = touch("p");
    accepted(host.bus(), &ask).await;
    let other = command("p", &Command::Touch { note: "other".into() }).with_id(ask.id);
    assert_eq!(refused(host.bus(), &other).await, "command-id-reused");
    host.stop().await;
}

/// Goal: an id names one command of one entity. Method: the id and body of a touch for another probe of the
/// same partition, asked and handed over; neither happens, and both are said.
#[tokio::test(flavor = "multi_thread")]
async fn one_id_for_two_entities_is_refused() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = host.bus();
    let first = touch("p.a");
    accepted(bus, &first).await;
    let other = touch("p.b").with_id(first.id);
    assert_eq!(refused(bus, &other).await, "command-id-reused");
    let letter = bus.hand_over(&other).await.unwrap();
    let letter =
        dead_letter(bus, CommandId::from_text(&format!("inbox {} {letter}", probe("p").partition(8)))).await;
    assert_eq!((letter.class.as_str(), letter.key.as_str()), ("command-id-reused", "p.b"));
    assert_eq!(accepted(bus, &touch("p.b")).await, Revision(1), "nothing happened to it");
    assert_eq!(accepted(bus, &first).await, Revision(1), "the first answer again");
    host.stop().await;
}

/// Goal: a `Nats-Msg-Id` that was used for another entity swallows no command. Method: two probes of one partition
/// are told something under one such id, the second one until the server takes it.
#[tokio::test(flavor = "multi_thread")]
async fn one_message_id_for_two_entities_leaves_a_dead_letter() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = host.bus();
    let client = async_nats::jetstream::new(server.client().await);
    let hand_over = async |key: &str| {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", "m1");
        let (subject, body) = (format!("orrery.do.shop.probe.{key}"), r#"{"type":"touch"}"#);
        let stored = client.publish_with_headers(subject, headers, body.into()).await.expect("it is sent");
        stored.await.expect("an acknowledgement")
    };
    assert!(!hand_over("p.a").await.duplicate);
    until_revision(bus, &probe("p.a"), Revision(1)).await;
    let stored = eventually("the server to take the second one", || async {
        let stored = hand_over("p.b").await;
        (!stored.duplicate).then_some(stored.sequence)
    })
    .await;
    let id = CommandId::from_text(&format!("inbox {} {stored}", probe("p").partition(8)));
    let letter = dead_letter(bus, id).await;
    assert_eq!((letter.class.as_str(), letter.key.as_str()), ("command-id-reused", "p.b"));
    host.stop().await;
}

/// Goal: an id belongs to its partition, and nobody has to guess where it was used. Method: one id for two entities of
/// two partitions, handed over by `Orrery-Command-Id` and repeated; each is applied once, and a gateway tells of both.
#[tokio::test(flavor = "multi_thread")]
async fn one_id_in_two_partitions_names_two_commands() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = host.bus();
    let raw = Raw::connect(&server).await;
    let edge = Edge::start(bus, &server.directory().join("gateway")).await;
    let keys = ["sb", "sa"];
    assert_ne!(probe("sa").partition(8), probe("sb").partition(8));
    for key in keys.into_iter().chain(keys) {
        let (subject, id) = (format!("orrery.do.shop.probe.{key}"), [("Orrery-Command-Id", "m1")]);
        raw.store(&subject, &id, r#"{"type":"touch"}"#).await.expect("the server takes it");
    }
    for key in keys {
        until_revision(bus, &probe(key), Revision(1)).await;
        assert_eq!(accepted(bus, &touch(key)).await, Revision(2), "`{key}` was touched once");
    }
    let (_, shown) = edge.get("/v1/commands/m1").await;
    let (first, others) = (&shown["entity"], shown["others"].as_array().expect("a list"));
    assert_eq!((first, others.len()), (&"probe/sb".into(), 1), "by partition: {shown}");
    assert_eq!((&others[0]["entity"], &others[0]["state"]), (&"probe/sa".into(), &"accepted".into()));
    for key in keys {
        let (_, shown) = edge.get(&format!("/v1/commands/m1?entity=probe/{key}")).await;
        assert_eq!(
            (&shown["entity"], &shown["others"]),
            (&format!("probe/{key}").into(), &serde_json::json!([]))
        );
    }
    edge.stop().await;
    host.stop().await;
}

/// Goal: what JetStream acknowledged while no host was there is applied when one comes, also after
/// the server was killed. Method: hand over, kill the server, then start a host.
#[tokio::test(flavor = "multi_thread")]
async fn durable_commands_wait_for_a_host() {
    let mut server = Server::start(Profile::Durable).await;
    let bus = server.bus().await;
    for _ in 0..20 {
        bus.hand_over(&touch("p")).await.unwrap();
    }
    server.crash().await;
    let host = server.host("a", false).await;
    until_revision(host.bus(), &probe("p"), Revision(20)).await;
    assert_eq!(accepted(host.bus(), &touch("p")).await, Revision(21));
    host.stop().await;
}

/// Goal: mail crosses partitions once. Method: probes that send to probes elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn mail_arrives_once() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = host.bus();
    for round in 0..40 {
        let to = bus_schemas::Key::parse("sink").unwrap();
        accepted(bus, &command(&format!("from-{}", round % 10), &Command::Forward { to })).await;
    }
    until_revision(bus, &probe("sink"), Revision(40)).await;
    assert_eq!(accepted(bus, &touch("sink")).await, Revision(41));
    host.stop().await;
}

/// Goal: a timer survives its host. Method: set it, drain the host, start another.
#[tokio::test(flavor = "multi_thread")]
async fn timers_survive_the_host() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    accepted(host.bus(), &command("p", &Command::TouchLater { after_ms: 1_500 })).await;
    host.stop().await;
    let host = server.host("b", false).await;
    until_revision(host.bus(), &probe("p"), Revision(1)).await;
    host.stop().await;
}
