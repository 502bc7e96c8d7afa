//! Asks that arrive without a partition: sent on to the partition's own subject, and the replies back.
//!
//! A caller in another account of the server has a reply subject of the server's making, which no client may pass
//! on in a message of its own. So replies come to an inbox of the forwarding connection, with the caller's reply
//! subject as the last tokens.

use async_nats::{Message, StatusCode, Subscriber};
use bus_schemas::envelope::{code, header};
use bus_schemas::{Body, Caller, CommandId, EntityAddress, Refusal, Reply};
use futures::StreamExt;
use futures::stream::BoxStream;
use uuid::Uuid;

use crate::asks::{Ask, Incoming};
use crate::{Bus, Error, ReplyTo};

/// The longest reply subject of a forwarded ask, in bytes: the server ends a connection that sends a longer line
/// than 4,096 bytes.
const REPLY_SUBJECT_BYTES_MAX: usize = 512;
/// When to ask a partition without an owner again, in milliseconds.
const RETRY_MS: u64 = 100;
/// The content type that is forwarded for one that is neither JSON nor MessagePack.
const UNSUPPORTED: &str = "application/octet-stream";

/// Forwards the asks of one subject, shared by all hosts.
pub struct Forwarder {
    asks: BoxStream<'static, Incoming>,
    replies: Subscriber,
    route: Route,
}

/// The way to the partitions and back.
struct Route {
    bus: Bus,
    inbox: String,
}

impl Bus {
    /// Subscribes to asks or queries without a partition.
    pub async fn forwarder(&self, subject: String) -> Result<Forwarder, Error> {
        let inbox = self.client().new_inbox();
        let replies = self.client().subscribe(format!("{inbox}.>")).await;
        let replies = replies.map_err(|error| Error::call("subscribing to replies", error))?;
        let asks = self.incoming(subject, Some("hosts")).await?.boxed();
        Ok(Forwarder { asks, replies, route: Route { bus: self.clone(), inbox } })
    }
}

impl Forwarder {
    /// Forwards until a subscription ends.
    pub async fn run(self) {
        let Self { mut asks, mut replies, route } = self;
        loop {
            tokio::select! {
                ask = asks.next() => {
                    let Some(ask) = ask else { return };
                    route.bus.ready().await;
                    route.forward(ask).await;
                }
                reply = replies.next() => {
                    let Some(reply) = reply else { return };
                    route.send_back(reply).await;
                }
            }
        }
    }
}

impl Route {
    async fn forward(&self, incoming: Incoming) {
        let Some(reply_to) = incoming.reply_to.clone() else { return };
        let id = incoming.id.unwrap_or_else(|| CommandId(Uuid::now_v7()));
        match self.bus.subjects().spoken(&incoming.subject) {
            Ok((caller, to)) if reply_to.as_str().len() <= REPLY_SUBJECT_BYTES_MAX => {
                self.send(id, caller, to, &reply_to, incoming).await;
            }
            Ok(_) => {
                let limit = format!("the reply subject has more than {REPLY_SUBJECT_BYTES_MAX} bytes");
                self.refuse(id, reply_to, Refusal::new(code::BAD_SUBJECT, limit)).await;
            }
            Err(error) => {
                let id = incoming.id.unwrap_or_else(|| CommandId::from_text(&incoming.subject));
                self.refuse(id, reply_to, Refusal::new(code::BAD_SUBJECT, bus_schemas::chain(&error))).await;
            }
        }
    }

    async fn send(
        &self,
        id: CommandId,
        caller: Caller,
        to: EntityAddress,
        reply_to: &ReplyTo,
        incoming: Incoming,
    ) {
        let (bus, partition) = (&self.bus, to.partition(self.bus.topology().partitions));
        let subject = match bus.subjects().is_query(&incoming.subject) {
            true => bus.subjects().view(partition, &caller, &to),
            false => bus.subjects().ask(partition, &caller, &to),
        };
        let ask = Ask {
            id,
            to,
            body: Body { content_type: incoming.content_type.unwrap_or_default(), bytes: incoming.payload },
            caller,
            correlation: incoming.correlation,
            trace: incoming.trace,
        };
        let (mut headers, payload) = (ask.headers(), ask.body.bytes);
        if incoming.content_type.is_none() {
            // The partition refuses it in its own words.
            headers.insert(header::CONTENT_TYPE, UNSUPPORTED);
        }
        let back_to = format!("{}.{}.{}", self.inbox, id.0.simple(), reply_to.as_str());
        let sent = bus.client().publish_with_reply_and_headers(subject, back_to, headers, payload).await;
        if let Err(error) = sent {
            tracing::warn!(%error, "forwarding an ask");
        }
    }

    async fn send_back(&self, reply: Message) {
        let Some((id, reply_to)) = addressed(&self.inbox, &reply.subject) else { return };
        if reply.status == Some(StatusCode::NO_RESPONDERS) {
            let refusal = Refusal::new(code::NOT_OWNER, "no host owns the partition");
            self.refuse(id, reply_to, Refusal { retry_after_ms: Some(RETRY_MS), ..refusal }).await;
        } else {
            self.bus.answer(reply_to, reply.payload).await;
        }
    }

    async fn refuse(&self, command_id: CommandId, reply_to: ReplyTo, refusal: Refusal) {
        let reply = Reply::Refused { command_id, refusal };
        self.bus.answer(reply_to, serde_json::to_vec(&reply).expect("a reply has string keys").into()).await;
    }
}

/// The id and the caller's reply subject in a subject below the inbox.
fn addressed(inbox: &str, subject: &str) -> Option<(CommandId, ReplyTo)> {
    let (id, reply_to) = subject.strip_prefix(inbox)?.strip_prefix('.')?.split_once('.')?;
    Some((CommandId(Uuid::try_parse(id).ok()?), reply_to.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_finds_its_caller() {
        let id = CommandId(Uuid::now_v7());
        for reply_to in ["_R_.a.b", "_INBOX.x"] {
            let subject = format!("_INBOX_orrery.y.{}.{reply_to}", id.0.simple());
            assert_eq!(addressed("_INBOX_orrery.y", &subject), Some((id, reply_to.into())));
        }
        for strange in ["_INBOX_orrery.y", "_INBOX_orrery.y.1.x", "_INBOX_orrery.yy.x.z"] {
            assert_eq!(addressed("_INBOX_orrery.y", strange), None);
        }
    }
}
