//! Tells a webhook about dead letters as they arrive. An effect: its place is a durable consumer that
//! all hosts share, so each arrival is told by one of them, and none is lost with a host.
//!
//! What the receiver does not take is tried again, later and later, by whoever has the event then.
//! What it never takes becomes a dead letter itself, of class `notification-failed`: of that one nobody
//! is told, so there is no loop, and a redrive of it is told once more.
//!
//! Between the two stands the breaker `webhook.<host>`: a receiver that is away is left alone, and what
//! it missed is redriven when it is back.

mod post;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actors_agents::Breakers;
use actors_agents::breaker::Outcome as Called;
use actors_runtime::lease::chain;
use bus_client::watch::Watched;
use bus_client::{Ask, Bus, StoredEvent};
use bus_schemas::commands::deadletter::{Command, Entry, Outcome, class};
use bus_schemas::events::deadletter::Event;
use bus_schemas::payload::Payload;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, CommandId, ContentType, EntityAddress, Key, Revision, Timestamp, upcast};
use futures::StreamExt;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use post::{Poster, Rejection};
pub use post::{UrlError, check};

/// The name of the place among the event stream's consumers.
const PLACE: &str = "dead-letter-webhook";
/// Arrivals that are told at once: one that its receiver can not take holds up no other.
const AT_ONCE: usize = 16;
/// Deliveries of one arrival, with pauses that double: about two minutes. A receiver that is away for
/// longer finds the dead letters, and the notifications among them.
const DELIVERIES_MAX: u64 = 8;
/// The first pause before it is told again.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// An arrival that is older is no news: after the event stream was written anew, all of them come again.
const NEWS: Duration = Duration::from_secs(24 * 3_600);
/// The kind and the key under which a notification that was not taken is recorded.
const MEANT_FOR: (&str, &str) = ("webhook", "dead-letters");
/// Who records and settles.
const CALLER: &str = "webhook";

/// Why nobody is told for now: what is under way comes again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The events can not be read or finished.
    #[error("following the events of dead letters")]
    Bus(#[from] bus_client::Error),
    /// What came of a notification was not stored.
    #[error("handing over what came of a notification")]
    HandOver(#[from] bus_client::PublishError),
}

/// Tells a URL about dead letters.
#[derive(Debug)]
pub struct Webhook {
    bus: Bus,
    poster: Poster,
    breakers: Breakers,
    /// The receiver's breaker, where its name is none that is too long for one.
    breaker: Option<Key>,
}

/// What is to be told.
struct Notification {
    /// Names it for the receiver, which may get it twice.
    id: String,
    body: Vec<u8>,
    /// The redrive that wants it, if one does.
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
    /// Prepares it. The URL must be one that [`check`] takes; `reporter` is who says how calls went.
    pub fn new(bus: Bus, url: &str, reporter: &str) -> Result<Self, UrlError> {
        let poster = Poster::new(url)?;
        let (breakers, breaker) = (Breakers::new(bus.clone(), reporter), poster.breaker());
        Ok(Self { bus, poster, breakers, breaker })
    }

    /// Tells until `stop`. What is under way then is delivered again.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let breakers = self.breakers.clone();
        // Breakers are told of the last calls, also where following ends with an error.
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
                tracing::warn!(error = chain(error), "an event of a dead letter can not be read");
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

    /// Posts it, unless the receiver's breaker is open.
    async fn post(&self, notification: &Notification) -> Result<(), Rejection> {
        let permit = match &self.breaker {
            Some(breaker) => Some(self.breakers.permit(breaker).await.map_err(Rejection::of_breaker)?),
            None => None,
        };
        let posted = self.poster.post(&notification.id, notification.body.clone()).await;
        let called = match &posted {
            Err(rejection) if rejection.may_pass => Called::Failed(rejection.reason()),
            // Who refuses it for good is there, and answers.
            Ok(()) | Err(_) => Called::Succeeded,
        };
        if let Some(permit) = permit {
            permit.record(called);
        }
        posted
    }

    /// What an event has to be told, if anything.
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
                tracing::warn!(error = chain(&error), "an event of a dead letter can not be read");
                Ok(None)
            }
        }
    }

    /// What a dead letter sends when it is redriven.
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

    /// Says what came of a redrive; a first arrival has nobody who waits.
    async fn settle(&self, notification: &Notification, outcome: Outcome) -> Result<(), Error> {
        let Some(redrive) = notification.redrive else { return Ok(()) };
        let settle = Command::SettleRedrive { redrive: Some(redrive), outcome, task: None };
        self.hand_over(notification.about.entity.key.clone(), &settle).await
    }

    /// Keeps what its receiver never took.
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
        // Named by what it is about: one that is given up twice is one entry.
        let id = CommandId::from_text(&format!("webhook {}", notification.id));
        let ids = (id, notification.about.correlation);
        let entry = Entry {
            attempts: u32::try_from(deliveries).unwrap_or(u32::MAX),
            causes: vec![format!("the dead letter `{}` arrived", entity.key)],
            hint: Some("mend the receiver, then redrive this one".to_owned()),
            source: Some(CALLER.into()),
            // What its receiver was away for goes out by itself when it is back.
            dependency: self.breaker.clone().filter(|_| rejection.may_pass),
            payload: Some(Payload::written(ContentType::Json, &notification.body)),
            ..Entry::new(class::NOTIFICATION_FAILED, reason, MEANT_FOR, ids, notification.about.at)
        };
        let key = Key::parse(&id.0.simple().to_string()).expect("32 hexadecimal digits are a key");
        self.hand_over(key, &Command::Record(entry)).await
    }

    async fn hand_over(&self, key: Key, command: &Command) -> Result<(), Error> {
        let ask = Ask::new(EntityAddress::new(Command::KIND, key), Body::json(command)).caller(CALLER);
        Ok(self.bus.hand_over(&ask).await.map(drop)?)
    }
}

/// What is told of an arrival: everything but the payload, which may be anybody's secret.
fn arrival(stored: &StoredEvent, entry: &Entry) -> Notification {
    let id = format!("{}/{}", stored.entity, stored.event.revision);
    let body = json!({
        "type": "orrery.deadletter.recorded",
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

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
