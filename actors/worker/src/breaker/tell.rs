//! Traffic between a worker and its breakers: events, reports, queries and probes.

use std::collections::HashMap;
use std::time::Duration;

use bus_client::{Ask, AskError};
use bus_schemas::commands::breaker::{BreakerStatus, Command, Description, Phase, ProbeAnswer, Query};
use bus_schemas::events::breaker::Event;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, Reply, chain};
use futures::StreamExt;
use futures::future::join_all;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Breakers;

/// The pause between two reports about one dependency, so that a busy worker causes one event a second.
const REPORT_PAUSE: Duration = Duration::from_secs(1);
/// The pause between two queries of a breaker that is not closed: the longest that a lost event matters.
const LOOK_PAUSE: Duration = Duration::from_secs(5);
/// The interval of checks for what is due.
const TICK: Duration = Duration::from_millis(250);
/// Timeout of a request for a probe: work that waits longer is better given back.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);
/// Timeout of one try to send a report; the same report is retried until it is too old.
const REPORT_PATIENCE: Duration = Duration::from_secs(2);
/// The age at which a report is given up: it is outside every sensible window.
const REPORT_AGE_MAX: Duration = Duration::from_secs(60);
/// The pause before listening for events again after an error.
const LISTEN_PAUSE: Duration = Duration::from_secs(1);

/// The result of asking a breaker.
enum Answer<T> {
    /// The breaker's reply.
    Said(T),
    /// The breaker refused, or its reply cannot be read; a retry would not help.
    Nothing,
    /// No reply in time.
    Silence,
}

impl<T> Answer<T> {
    fn said(self) -> Option<T> {
        match self {
            Self::Said(answer) => Some(answer),
            Self::Nothing | Self::Silence => None,
        }
    }
}

/// A report under way: the same bytes under the same id until it is answered.
struct Underway {
    ask: Ask,
    since: Instant,
}

/// Listens for events and sends reports until `stop`.
pub(super) async fn run(breakers: &Breakers, stop: CancellationToken) {
    tokio::join!(listen(breakers, &stop), report(breakers, &stop));
}

/// Applies the events of all breakers; events of breakers not tracked here are ignored.
async fn listen(breakers: &Breakers, stop: &CancellationToken) {
    let bus = &breakers.inner.bus;
    loop {
        let subject = bus.subjects().events(Some(&Command::KIND));
        match bus.incoming(subject, None).await {
            Ok(mut incoming) => loop {
                let message = tokio::select! {
                    () = stop.cancelled() => return,
                    message = incoming.next() => message,
                };
                let Some(message) = message else { break };
                let Ok(entity) = bus.subjects().entity(&message.subject) else { continue };
                // An event of a later version is covered by the next query.
                let Ok(event) = serde_json::from_slice::<Event>(&message.payload) else { continue };
                breakers.with(&entity.key, |local| local.follow(&event));
            },
            Err(error) => tracing::warn!(error = chain(&error), "listening for breakers; trying again"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LISTEN_PAUSE) => {}
        }
    }
}

/// Sends what was counted, and queries breakers that are not closed.
async fn report(breakers: &Breakers, stop: &CancellationToken) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told: HashMap<Key, Instant> = HashMap::new();
    let mut looked: HashMap<Key, Instant> = HashMap::new();
    let mut underway: HashMap<Key, Underway> = HashMap::new();
    loop {
        let stopping = tokio::select! {
            () = stop.cancelled() => true,
            () = breakers.inner.counted.notified() => false,
            _ = ticks.tick() => false,
        };
        take_due(breakers, &mut told, &mut underway, stopping);
        send(breakers, &mut underway).await;
        underway.retain(|_, sent| sent.since.elapsed() < REPORT_AGE_MAX);
        if stopping {
            return;
        }
        look_at_open(breakers, &mut looked).await;
        told.retain(|_, at| at.elapsed() < REPORT_PAUSE);
        looked.retain(|_, at| at.elapsed() < LOOK_PAUSE);
    }
}

/// Sends the reports under way; answered ones are removed.
async fn send(breakers: &Breakers, underway: &mut HashMap<Key, Underway>) {
    let sent = underway.iter().map(|(dependency, sent)| send_one(breakers, dependency.clone(), &sent.ask));
    for (dependency, answer) in join_all(sent).await {
        match answer {
            Answer::Silence => continue,
            Answer::Said(status) => drop(breakers.with(&dependency, |local| local.hear(&status))),
            Answer::Nothing => {}
        }
        underway.remove(&dependency);
    }
}

async fn send_one(breakers: &Breakers, dependency: Key, sent: &Ask) -> (Key, Answer<BreakerStatus>) {
    let answer = ask(breakers, &dependency, sent, REPORT_PATIENCE).await;
    (dependency, answer)
}

/// Takes the reports that are due. The outcome of a probe is due at once.
fn take_due(
    breakers: &Breakers,
    told: &mut HashMap<Key, Instant>,
    underway: &mut HashMap<Key, Underway>,
    stopping: bool,
) {
    let now = Instant::now();
    for (dependency, local) in breakers.lock().iter_mut() {
        let rested = told.get(dependency).is_none_or(|at| now.duration_since(*at) >= REPORT_PAUSE);
        if underway.contains_key(dependency) || !(rested || stopping || local.phase() == Phase::HalfOpen) {
            continue;
        }
        let Some(command) = local.take(&breakers.inner.reporter) else { continue };
        underway.insert(
            dependency.clone(),
            Underway { ask: to(dependency, Body::json(&command), breakers), since: now },
        );
        told.insert(dependency.clone(), now);
    }
}

async fn look_at_open(breakers: &Breakers, looked: &mut HashMap<Key, Instant>) {
    let due: Vec<Key> = {
        let known = breakers.lock();
        let ill = known.iter().filter(|(_, local)| local.phase() != Phase::Closed);
        ill.map(|(key, _)| key).filter(|key| !looked.contains_key(*key)).cloned().collect()
    };
    join_all(due.iter().map(|dependency| look(breakers, dependency))).await;
    let now = Instant::now();
    looked.extend(due.into_iter().map(|dependency| (dependency, now)));
}

/// Queries a breaker's status.
pub(super) async fn look(breakers: &Breakers, dependency: &Key) {
    let asked = to(dependency, Body::json(&Query::Describe), breakers);
    let answer = breakers.inner.bus.query(&asked, REPORT_PATIENCE).await;
    let answer = read(dependency, answer).said();
    let Some(Description { phase, since, reason, policy, .. }) = answer else { return };
    let status = BreakerStatus { phase, since, reason, slow_call_ms: policy.slow_call_ms };
    breakers.with(dependency, |local| local.hear(&status));
}

/// Asks a half-open breaker for a probe: leave to try one call. Without an answer there is none.
pub(super) async fn request_probe(breakers: &Breakers, dependency: &Key) -> bool {
    let command = Command::RequestProbe { reporter: breakers.inner.reporter.clone() };
    let asked = to(dependency, Body::json(&command), breakers);
    let answer = ask(breakers, dependency, &asked, PROBE_PATIENCE).await.said();
    let Some(ProbeAnswer { granted, status, .. }) = answer else { return false };
    breakers.with(dependency, |local| local.hear(&status));
    granted
}

fn to(dependency: &Key, body: Body, breakers: &Breakers) -> Ask {
    let entity = EntityAddress::new(Command::KIND, dependency.clone());
    Ask::new(entity, body).caller(&breakers.inner.reporter)
}

async fn ask<T: DeserializeOwned>(
    breakers: &Breakers,
    dependency: &Key,
    ask: &Ask,
    patience: Duration,
) -> Answer<T> {
    read(dependency, breakers.inner.bus.ask(ask, patience).await)
}

/// Reads a breaker's reply. A refusal or an unreadable reply is logged.
fn read<T: DeserializeOwned>(dependency: &Key, answer: Result<Reply, AskError>) -> Answer<T> {
    match answer {
        Ok(Reply::Accepted { result, .. }) => match serde_json::from_value(result) {
            Ok(answer) => Answer::Said(answer),
            Err(error) => {
                tracing::warn!(%dependency, %error, "a breaker's answer cannot be read");
                Answer::Nothing
            }
        },
        Ok(Reply::Refused { refusal, .. }) => {
            tracing::warn!(%dependency, code = %refusal.code, reason = refusal.message, "a breaker refuses");
            Answer::Nothing
        }
        Err(error) => {
            tracing::debug!(%dependency, error = chain(&error), "a breaker does not answer");
            Answer::Silence
        }
    }
}
