//! Posts dead letters to a webhook as they are recorded. An effect: a durable consumer that all hosts share,
//! so one host posts each, and none is lost with a host.
//!
//! What the receiver does not accept is retried with growing pauses, by whichever host gets the event then.
//! What it never accepts becomes a dead letter itself, of class `notification-failed`: that one is not
//! posted, so there is no loop, and its redrive is a new post.
//!
//! The breaker `webhook.<host>` stands between: an unreachable receiver is left alone, and what it missed is
//! redriven when it is back.

mod post;

use std::sync::Arc;
use std::time::Duration;

use actors_worker::Breakers;
use actors_worker::breaker::Outcome as Called;
use bus_client::watch::Watched;
use bus_client::{Ask, Bus, StoredEvent, now};
use bus_schemas::commands::dead_letter::{Command, Entry, Outcome, class};
use bus_schemas::events::dead_letter::Event;
use bus_schemas::payload::Payload;
use bus_schemas::wire::WireCommand;
use bus_schemas::{
    Body, Caller, CommandId, ContentType, EntityAddress, Key, Revision, Timestamp, chain, upcast,
};
use futures::StreamExt;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use http_client::UrlError;
pub use post::check;
use post::{Poster, Rejection};

/// The name of the durable consumer of the event stream.
const PLACE: &str = "dead-letter-webhook";
/// Dead letters posted at once: one that the receiver cannot accept holds up no other.
const AT_ONCE: usize = 16;
/// Deliveries of one event, with pauses that double: about two minutes. A receiver that is away for longer
/// finds the dead letters, and the failed notifications among them.
const DELIVERIES_MAX: u64 = 8;
/// The first pause before a retry.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Older dead letters are not posted: after a rebuild of the event stream, all of them arrive again.
const NEWS: Duration = Duration::from_secs(24 * 3_600);
/// The kind and the key under which a failed notification is recorded.
const MEANT_FOR: (&str, &str) = ("webhook", "dead-letters");
/// The source of the entry of a failed notification.
const SOURCE: &str = "webhook";

/// Why posting stopped for now: what is under way is delivered again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The events cannot be read or acknowledged.
    #[error("following the events of dead letters")]
    Bus(#[from] bus_client::Error),
    /// The result of a notification could not be stored.
    #[error("handing over what came of a notification")]
    HandOver(#[from] bus_client::PublishError),
}

/// Posts dead letters to a URL.
#[derive(Debug)]
pub struct Webhook {
    bus: Bus,
    poster: Poster,
    breakers: Breakers,
    /// The receiver's breaker; `None` when its name is too long for one.
    breaker: Option<Key>,
}

/// A notification to post.
struct Notification {
    /// The id for the receiver, which may get the notification twice.
    id: String,
    body: Vec<u8>,
    /// The redrive that it belongs to, if any.
    redrive: Option<CommandId>,
    about: Arrival,
}

/// The dead letter that a notification is about.
struct Arrival {
    entity: EntityAddress,
    correlation: CommandId,
    at: Timestamp,
}

impl Webhook {
    /// Prepares the client. The URL must pass [`check`]; `reporter` is the name under which outcomes of calls
    /// are reported.
    pub fn new(bus: Bus, url: &str, reporter: &str) -> Result<Self, UrlError> {
        let poster = Poster::new(url)?;
        let (breakers, breaker) = (Breakers::new(bus.clone(), reporter), poster.breaker());
        Ok(Self { bus, poster, breakers, breaker })
    }

    /// Posts until `stop`. What is under way then is delivered again.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let breakers = self.breakers.clone();
        // The last outcomes are reported to breakers, also when following ends with an error.
        let ended = stop.child_token();
        let follow = async {
            let followed = self.follow(stop).await;
            ended.cancel();
            followed
        };
        tokio::join!(follow, breakers.run(ended.clone())).0
    }

    async fn follow(self, stop: CancellationToken) -> Result<(), Error> {
        let this = Arc::new(self);
        let every_letter = vec![this.bus.subjects().events(Some(&Command::KIND))];
        let mut events = this.bus.watch(PLACE, every_letter, AT_ONCE).await?;
        let mut telling = JoinSet::new();
        loop {
            let next = tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = telling.join_next() => {
                    note(ended);
                    continue;
                }
                next = events.next(), if telling.len() < AT_ONCE => next,
            };
            let Some(watched) = next else { break };
            let (this, watched) = (Arc::clone(&this), watched?);
            telling.spawn(async move {
                if let Err(error) = this.deal_with(&watched).await {
                    tracing::warn!(error = chain(&error), "telling of a dead letter; it comes again");
                }
            });
        }
        Ok(())
    }

    async fn deal_with(&self, watched: &Watched) -> Result<(), Error> {
        let notification = match &watched.event {
            Ok(stored) => self.notification(stored).await?,
            Err(error) => {
                tracing::warn!(error = chain(error), "an event of a dead letter cannot be read");
                None
            }
        };
        let Some(notification) = notification else { return Ok(watched.finish().await?) };
        match self.post(&notification).await {
            Ok(()) => self.settle(&notification, Outcome::Accepted).await?,
            Err(rejection) if rejection.may_pass && watched.delivered < DELIVERIES_MAX => {
                let doublings = u32::try_from(watched.delivered - 1).unwrap_or(u32::MAX).min(16);
                let pause = PAUSE_MIN.saturating_mul(1 << doublings).min(PAUSE_MAX);
                return Ok(watched.give_back(pause).await?);
            }
            Err(rejection) => self.give_up(&notification, &rejection, watched.delivered).await?,
        }
        Ok(watched.finish().await?)
    }

    /// Posts a notification, unless the receiver's breaker is open.
    async fn post(&self, notification: &Notification) -> Result<(), Rejection> {
        let permit = match &self.breaker {
            Some(breaker) => Some(self.breakers.permit(breaker).await.map_err(Rejection::of_breaker)?),
            None => None,
        };
        let posted = self.poster.post(&notification.id, notification.body.clone()).await;
        let called = match &posted {
            Err(rejection) if rejection.may_pass => Called::Failed(rejection.reason()),
            // A receiver that refuses for good is up, and answers.
            Ok(()) | Err(_) => Called::Succeeded,
        };
        if let Some(permit) = permit {
            permit.record(called);
        }
        posted
    }

    /// The notification for an event, if it needs one.
    async fn notification(&self, stored: &StoredEvent) -> Result<Option<Notification>, Error> {
        let event = &stored.event;
        let read = upcast::read::<Event>(&event.event_type, event.schema, &event.body);
        match read {
            Ok(Event::Recorded { entry }) if entry.class != class::NOTIFICATION_FAILED => {
                let is_news = now().0.saturating_sub(entry.at.0) < NEWS.as_millis() as u64;
                Ok(is_news.then(|| arrival(stored, &entry)))
            }
            Ok(Event::RedriveStarted { redrive, to, at, .. }) if to.kind.as_str() == MEANT_FOR.0 => {
                let Some(body) = self.payload(&stored.entity).await? else { return Ok(None) };
                let id = format!("{}/{}", stored.entity, event.revision);
                let about = Arrival {
                    entity: stored.entity.clone(),
                    correlation: stored.correlation.unwrap_or(redrive),
                    at,
                };
                Ok(Some(Notification { id, body, redrive: Some(redrive), about }))
            }
            Ok(_) => Ok(None),
            Err(error) => {
                tracing::warn!(error = chain(&error), "an event of a dead letter cannot be read");
                Ok(None)
            }
        }
    }

    /// The payload that a redrive of the dead letter sends.
    async fn payload(&self, letter: &EntityAddress) -> Result<Option<Vec<u8>>, Error> {
        let mut latest: Option<Payload> = None;
        for stored in self.bus.history(letter, Revision(0), 0).await? {
            let event = &stored.event;
            match upcast::read::<Event>(&event.event_type, event.schema, &event.body) {
                Ok(Event::Recorded { entry }) => latest = entry.payload,
                Ok(Event::Edited { payload, .. }) => latest = Some(payload),
                _ => {}
            }
        }
        Ok(latest.and_then(|payload| payload.body()).map(|body| body.bytes.to_vec()))
    }

    /// Reports the result of a redrive; a first notification has no redrive to report to.
    async fn settle(&self, notification: &Notification, outcome: Outcome) -> Result<(), Error> {
        let Some(redrive) = notification.redrive else { return Ok(()) };
        let settle = Command::SettleRedrive { redrive: Some(redrive), outcome, task: None };
        self.hand_over(notification.about.entity.key.clone(), &settle).await
    }

    /// Records a notification that the receiver never accepted as a dead letter.
    async fn give_up(
        &self,
        notification: &Notification,
        rejection: &Rejection,
        deliveries: u64,
    ) -> Result<(), Error> {
        let (entity, reason) = (&notification.about.entity, rejection.to_string());
        tracing::warn!(dead_letter = %entity, reason, "nobody was told of a dead letter");
        if notification.redrive.is_some() {
            let refused = Outcome::Refused { code: class::NOTIFICATION_FAILED.into(), message: reason };
            return self.settle(notification, refused).await;
        }
        // The id is derived from the notification: given up twice, it is one entry.
        let id = CommandId::from_text(&format!("webhook {}", notification.id));
        let ids = (id, notification.about.correlation);
        let entry = Entry {
            attempts: u32::try_from(deliveries).unwrap_or(u32::MAX),
            causes: vec![format!("the dead letter `{}` arrived", entity.key)],
            hint: Some("mend the receiver, then redrive this one".to_owned()),
            source: Some(SOURCE.into()),
            // What was missed while the receiver was away is redriven when it is back.
            dependency: self.breaker.clone().filter(|_| rejection.may_pass),
            payload: Some(Payload::written(ContentType::Json, &notification.body)),
            ..Entry::new(class::NOTIFICATION_FAILED, reason, MEANT_FOR, ids, notification.about.at)
        };
        let key = Key::parse(&id.0.simple().to_string()).expect("32 hexadecimal digits are a key");
        self.hand_over(key, &Command::Record(entry)).await
    }

    async fn hand_over(&self, key: Key, command: &Command) -> Result<(), Error> {
        let ask = Ask::new(EntityAddress::new(Command::KIND, key), Body::json(command))
            .caller(Caller::SYSTEM.as_str());
        Ok(self.bus.hand_over(&ask).await.map(drop)?)
    }
}

/// The notification for a dead letter: everything but the payload, which may be secret.
fn arrival(stored: &StoredEvent, entry: &Entry) -> Notification {
    let id = format!("{}/{}", stored.entity, stored.event.revision);
    let body = json!({
        "type": "orrery.dead_letter.recorded",
        "id": id,
        "entry": stored.entity.key,
        "class": entry.class,
        "reason": entry.reason,
        "causes": entry.causes,
        "hint": entry.hint,
        "kind": entry.kind,
        "key": entry.key,
        "dependency": entry.dependency,
        "attempts": entry.attempts,
        "command_id": entry.command_id,
        "correlation": entry.correlation,
        "traceparent": entry.traceparent,
        "at": entry.at,
    });
    let about = Arrival { entity: stored.entity.clone(), correlation: entry.correlation, at: entry.at };
    Notification { id, body: body.to_string().into_bytes(), redrive: None, about }
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = chain(&error), "telling of a dead letter ended early; it comes again");
    }
}
