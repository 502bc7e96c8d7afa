//! A client that knows nothing of Orrery but its protocol: subjects, headers and bytes, right or wrong.

use async_nats::jetstream;
use async_nats::{Client, HeaderMap, Request, client::RequestErrorKind};
use bus_client::Bus;
use bus_schemas::commands::dead_letter::Entry;
use bus_schemas::events::dead_letter::Event;
use bus_schemas::topology::Store;
use bus_schemas::{CommandId, EntityAddress, Key, Kind, Reply, Revision, upcast};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{PATIENCE, Server, eventually};

/// Headers as a test writes them.
pub type Headers<'a> = &'a [(&'a str, &'a str)];

/// A connection of an outsider.
pub struct Raw {
    /// The connection.
    pub client: Client,
    url: String,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Somebody answered.
    Reply(Reply),
    /// The subject reached nobody.
    Nobody,
    /// The client library does not send such a subject.
    Unsendable,
}

impl Answer {
    /// The code of the refusal, or what it is instead.
    pub fn code(&self) -> String {
        match self {
            Self::Reply(Reply::Refused { refusal, .. }) => refusal.code.to_string(),
            Self::Reply(Reply::Accepted { .. }) => "accepted".into(),
            Self::Nobody => "nobody".into(),
            Self::Unsendable => "unsendable".into(),
        }
    }
}

fn headers(pairs: Headers<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.insert(*name, *value);
    }
    headers
}

impl Raw {
    /// Connects to a server as whoever comes without credentials.
    pub async fn connect(server: &Server) -> Self {
        let url = server.listening.nats_url.clone();
        let client = async_nats::connect(&url).await.expect("the server takes connections");
        Self { client, url }
    }

    /// Connects with all that a host may do.
    pub async fn insider(server: &Server) -> Self {
        Self { client: server.client().await, url: server.listening.nats_url.clone() }
    }

    /// Sends a request whose answer is to go to a subject of the sender's choice.
    pub async fn request_to(&self, subject: &str, reply_to: &str, payload: impl Into<Bytes>) {
        let sent = self.client.publish_with_reply(subject.to_owned(), reply_to.to_owned(), payload.into());
        sent.await.expect("a subject");
        self.client.flush().await.expect("the server listens");
    }

    /// Sends a request once and waits for what comes.
    pub async fn request(&self, subject: &str, pairs: Headers<'_>, payload: impl Into<Bytes>) -> Answer {
        let request = Request::new().headers(headers(pairs)).payload(payload.into()).timeout(Some(PATIENCE));
        match self.client.send_request(subject.to_owned(), request).await {
            Ok(message) => Answer::Reply(serde_json::from_slice(&message.payload).expect("a reply")),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Answer::Nobody,
            Err(error) if error.kind() == RequestErrorKind::InvalidSubject => Answer::Unsendable,
            Err(error) => panic!("no answer on `{subject}`: {error}"),
        }
    }

    /// Publishes to a stream and waits until the server has it; none when it was not taken.
    pub async fn store(&self, subject: &str, pairs: Headers<'_>, payload: impl Into<Bytes>) -> Option<u64> {
        let context = jetstream::new(self.client.clone());
        let sent =
            context.publish_with_headers(subject.to_owned(), headers(pairs), payload.into()).await.ok()?;
        sent.await.ok().map(|stored| stored.sequence)
    }

    /// The first message of a subject behind a sequence: its sequence and its bytes; none while there is none.
    pub async fn next_after(&self, stream: &str, subject: &str, sequence: u64) -> Option<(u64, Bytes)> {
        let request = format!(r#"{{"seq":{},"next_by_subj":"{subject}"}}"#, sequence + 1);
        let get = format!("$JS.API.DIRECT.GET.{stream}");
        let message = self.client.request(get, request.into()).await.expect("an answer");
        let headers = message.headers?;
        Some((headers.get("Nats-Sequence")?.as_str().parse().ok()?, message.payload))
    }

    /// Publishes without waiting for anything but the server's ear.
    pub async fn publish(&self, subject: &str, payload: impl Into<Bytes>) {
        self.client.publish(subject.to_owned(), payload.into()).await.expect("a subject");
        self.client.flush().await.expect("the server listens");
    }

    /// Writes protocol lines that no client library would send; what the server says to them.
    ///
    /// `PING` comes last, so that the server's answer to it, or the end of the connection, ends the
    /// reading.
    pub async fn protocol(&self, lines: impl AsRef<[u8]>) -> String {
        let address = self.url.trim_start_matches("nats://");
        let mut socket = TcpStream::connect(address).await.expect("the server takes connections");
        let hello = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n";
        let lines = [hello.as_bytes(), lines.as_ref(), b"PING\r\n"].concat();
        socket.write_all(&lines).await.expect("a socket");
        let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
        let reading = async {
            loop {
                let count = socket.read(&mut buffer).await.unwrap_or(0);
                said.extend_from_slice(&buffer[..count]);
                if count == 0 || said.windows(6).any(|window| window == b"PONG\r\n") {
                    return String::from_utf8_lossy(&said).into_owned();
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("the server answers a PING")
    }

    /// Deletes the snapshot of a partition, as somebody would who tidies up.
    pub async fn delete_object(&self, bus: &Bus, name: &str) {
        let context = jetstream::new(self.client.clone());
        let store =
            context.get_object_store(bus.topology().objects(Store::Private)).await.expect("the object store");
        store.delete(name).await.expect("the object is there");
    }
}

/// The dead letter of a command, once it is recorded.
pub async fn dead_letter(bus: &Bus, id: CommandId) -> Entry {
    let key = Key::parse(&id.0.simple().to_string()).expect("digits are a key");
    let letter = EntityAddress::new(Kind::from_static("dead-letter"), key);
    eventually(&format!("the dead letter {id}"), || async {
        let events = bus.history(&letter, Revision(0), 0).await.ok()?;
        let event = &events.first()?.event;
        let recorded = upcast::read(&event.event_type, event.schema, &event.body).ok()?;
        let Event::Recorded { entry } = recorded else { return None };
        Some(entry)
    })
    .await
}

/// The kept payload of a dead letter, once it is there.
pub async fn dead_payload(bus: &Bus, kind: &str, entry: &str) -> Bytes {
    eventually(&format!("the payload of `{entry}`"), || async { bus.dead_payload(kind, entry).await.ok()? })
        .await
}
