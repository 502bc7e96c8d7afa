//! decide: poison, malformed and unknown commands are answered and kept, and block nobody.

use bus_client::Profile;
use bus_schemas::commands::probe::Command;
use bus_schemas::{Body, EntityAddress, Key, Kind, Revision};
use system_tests::{Server, accepted, command, eventually, probe, refused, touch, until_revision};

/// Goal: a panicking decision hurts only its own command. Method: poison between two good ones.
#[tokio::test(flavor = "multi_thread")]
async fn poison_becomes_a_dead_letter_and_blocks_nobody() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = host.bus();
    accepted(bus, &touch("p")).await;
    let poison = command("p", &Command::Panic);
    assert_eq!(refused(bus, &poison).await, "poison");
    assert_eq!(accepted(bus, &touch("p")).await, Revision(2));
    let entry = poison.id.0.simple().to_string();
    let payload =
        eventually("the dead letter", || async { bus.dead_payload("probe", &entry).await.ok()? }).await;
    assert_eq!(payload, poison.body.bytes);
    let letter = EntityAddress::new(Kind::from_static("dead-letter"), Key::parse(&entry).unwrap());
    until_revision(bus, &letter, Revision(1)).await;
    host.stop().await;
}

/// Goal: whatever is wrong with a command, the caller hears a code. Method: one ask a mistake.
#[tokio::test(flavor = "multi_thread")]
async fn bad_commands_are_refused_with_a_code() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let bus = host.bus();
    let with = |bytes: &'static [u8]| {
        let mut ask = touch("p");
        ask.body.bytes = bytes.into();
        ask
    };
    assert_eq!(refused(bus, &with(b"{\"type\":")).await, "malformed-command");
    assert_eq!(refused(bus, &with(b"{\"type\":\"fly\"}")).await, "malformed-command");
    assert_eq!(refused(bus, &with(b"{\"type\":\"touch\",\"extra\":1}")).await, "malformed-command");
    let mut msgpack = with(b"\xc1");
    msgpack.body.content_type = bus_schemas::ContentType::Msgpack;
    assert_eq!(refused(bus, &msgpack).await, "malformed-command");
    let mut unknown = touch("p");
    unknown.to.kind = Kind::from_static("unicorn");
    assert_eq!(refused(bus, &unknown).await, "unknown-kind");
    let large = command("p", &Command::Touch { note: "x".repeat(300 * 1024) });
    assert_eq!(refused(bus, &large).await, "too-large");
    assert!(bus.history(&probe("p"), Revision(0), 0).await.unwrap().is_empty(), "nothing happened");
    host.stop().await;
}

/// Goal: MessagePack is taken as JSON is. Method: the same command in both.
#[tokio::test(flavor = "multi_thread")]
async fn commands_are_taken_as_messagepack() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", false).await;
    let mut ask = touch("p");
    let bytes = rmp_serde::to_vec_named(&Command::Touch { note: "packed".into() }).unwrap();
    ask.body = Body { content_type: bus_schemas::ContentType::Msgpack, bytes: bytes.into() };
    assert_eq!(accepted(host.bus(), &ask).await, Revision(1));
    host.stop().await;
}
