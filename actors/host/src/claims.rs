//! The claims of workers: validated on arrival, kept in the host's pool, passed on to hosts that have work
//! for them, and answered with a request to come again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actors_runtime::claims::{Arrived, ClaimPool, Offer, Opening};
use actors_runtime::inbox::refusal_reply;
use actors_runtime::partition::steady;
use actors_runtime::supervision::{Child, Failed, Restart, Work, spawn};
use bus_client::asks::Incoming;
use bus_client::claims::{HeardWorkers, Need, Passed, WasUsed};
use bus_client::{Ask, Bus, Error};
use bus_schemas::claims::{Answer, Claim, LANES_MAX, PLACES_MAX, SKILLS_MAX};
use bus_schemas::commands::agent::{Command, Query, Registration};
use bus_schemas::envelope::code;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, Caller, CommandId, EntityAddress, Key, Refusal, Reply, chain, text};
use futures::StreamExt;
use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Bytes of a validation error in a refusal: the parser repeats words of the claim.
const MISTAKE_BYTES_MAX: usize = 1_024;
/// The interval of looking at waiting claims and announcing work without places: work on one host begins in a
/// place claimed at another within a few of these.
const LOOK: Duration = Duration::from_millis(50);
/// The pause between two looks at work that a gate withheld: so much later the end of a halt is seen at the latest.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Milliseconds after which work without a place is announced to other hosts.
const UNMET_MS: u64 = 20;
/// Milliseconds for which an agent's registration is cached.
const KNOWN_MS: u64 = 10_000;
/// Timeout of a query for an agent's registration.
const PATIENCE: Duration = Duration::from_secs(2);
/// Timeout of a query to partitions whether a repeated claim was used.
const USED_PATIENCE: Duration = Duration::from_millis(150);
/// The interval at which hosts share which workers they have heard of.
const TELL_HEARD: Duration = Duration::from_secs(5);
/// Milliseconds after which a worker that no host has heard of is lost: claims come every five seconds and
/// renewals every ten.
const LOST_MS: u64 = 30_000;

/// The dependencies of the claims endpoint.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) bus: Bus,
    pub(crate) host: String,
    pub(crate) pool: ClaimPool,
    known: Arc<Mutex<HashMap<Key, (Registration, u64)>>>,
}

impl Door {
    pub(crate) fn new(bus: &Bus, host: &str, pool: ClaimPool) -> Self {
        Self { bus: bus.clone(), host: host.to_owned(), pool, known: Arc::default() }
    }

    /// The supervised worker that receives claims. `lost` are the server's notices that an answer had no
    /// receiver.
    pub(crate) fn child(self, lost: futures::stream::BoxStream<'static, String>) -> Child {
        let lost = Arc::new(Mutex::new(lost));
        let work: Work = Arc::new(move |stop| {
            let (door, lost) = (self.clone(), Arc::clone(&lost));
            Box::pin(async move { door.keep(&stop, &lost).await.map_err(|error| Failed::by(&error)) })
        });
        Child { name: "claims".into(), restart: Restart::Always, work }
    }

    async fn keep(
        &self,
        stop: &CancellationToken,
        lost: &Mutex<futures::stream::BoxStream<'static, String>>,
    ) -> Result<(), Error> {
        let mut claims = self.bus.claims().await?;
        let mut passed = self.bus.passed_claims(&self.host).await?;
        let mut needs = self.bus.needs().await?;
        let mut heard = self.bus.heard().await?;
        self.expect_registered().await?;
        let [mut look, mut again, mut tell] = [LOOK, LOOK_AGAIN, TELL_HEARD].map(interval);
        for timer in [&mut look, &mut again, &mut tell] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut lost = lost.lock().await;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(claim) = claims.next() => self.receive(claim),
                Some(passed) = passed.next() => self.take_over(passed).await,
                Some(needs) = needs.next() => self.pass_on(&needs).await,
                Some(heard) = heard.next() => self.hear(heard),
                Some(claim) = lost.next() => self.pool.undelivered(CommandId::from_text(&claim)),
                _ = look.tick() => self.look().await,
                _ = again.tick() => self.pool.look_again(),
                _ = tell.tick() => self.tell_heard().await,
            }
        }
        for offer in self.pool.drain() {
            self.come_again(offer).await;
        }
        Ok(())
    }

    /// Receives a claim, in a task of its own where a query comes first.
    fn receive(&self, incoming: Incoming) {
        let door = self.clone();
        spawn("claim", async move {
            let Some(reply_to) = incoming.reply_to.clone() else { return };
            let id = incoming.id.unwrap_or_else(|| CommandId(Uuid::now_v7()));
            if let Err(refusal) = door.admit(id, incoming).await {
                door.bus.answer(reply_to, refusal_reply(id, refusal)).await;
            }
        });
    }

    async fn admit(&self, id: CommandId, incoming: Incoming) -> Result<(), Refusal> {
        let agent = self.bus.subjects().claimant(&incoming.subject);
        let agent = agent.map_err(|error| Refusal::new(code::BAD_SUBJECT, chain(&error)))?;
        let claim = read(&incoming)?;
        check(&claim)?;
        self.check_known(&agent, &claim).await?;
        let Some(reply_to) = incoming.reply_to else { return Ok(()) };
        if claim.repeated {
            let was_used = WasUsed { claim: id, reply_to: reply_to.as_str().to_owned() };
            if self.bus.was_used(&was_used, USED_PATIENCE).await {
                return Ok(());
            }
        }
        match self.pool.arrive(Offer { id, agent, claim, reply_to, since: steady() }) {
            Arrived::Waits => Ok(()),
            Arrived::Refused(refusal) => Err(refusal),
        }
    }

    /// Checks that the agent knows this worker and has the claimed skills.
    async fn check_known(&self, agent: &Key, claim: &Claim) -> Result<(), Refusal> {
        let cached = self.known.lock().await.get(agent).cloned();
        let is_fresh = |at: u64| steady() < at + KNOWN_MS;
        if let Some((registration, at)) = cached
            && is_fresh(at)
            && unknown(&registration, agent, claim).is_none()
        {
            return Ok(());
        }
        let registration = self.ask(agent).await?;
        if let Some(refusal) = unknown(&registration, agent, claim) {
            return Err(refusal);
        }
        self.known.lock().await.insert(agent.clone(), (registration, steady()));
        Ok(())
    }

    async fn ask(&self, agent: &Key) -> Result<Registration, Refusal> {
        let to = EntityAddress::new(Command::KIND, agent.clone());
        let ask = Ask::new(to, Body::json(&Query::Describe)).caller(&self.host);
        let silent = |reason: String| Refusal {
            retry_after_ms: Some(500),
            ..Refusal::new("no-answer", format!("agent `{agent}` does not answer: {reason}"))
        };
        match self.bus.query(&ask, PATIENCE).await {
            Ok(Reply::Accepted { result, .. }) => {
                serde_json::from_value(result).map_err(|error| silent(error.to_string()))
            }
            Ok(Reply::Refused { refusal, .. }) => Err(refusal),
            Err(error) => Err(silent(chain(&error))),
        }
    }

    async fn take_over(&self, passed: Passed) {
        let Passed { id, agent, claim, reply_to, waited_ms } = passed;
        let since = steady().saturating_sub(waited_ms);
        let offer = Offer { id, agent, claim, reply_to: reply_to.clone().into(), since };
        if let Arrived::Refused(refusal) = self.pool.arrive(offer) {
            self.bus.answer(reply_to.into(), refusal_reply(id, refusal)).await;
        }
    }

    /// Passes claims on to a host that has work for them.
    async fn pass_on(&self, needs: &[Need]) {
        for need in needs.iter().filter(|need| need.host != self.host) {
            let Need { host, lane, skill, agent, rank } = need.clone();
            let Some(offer) = self.pool.pass_on(&Opening { lane, skill, agent, rank }) else { continue };
            let waited_ms = steady().saturating_sub(offer.since);
            let Offer { id, agent, claim, reply_to, .. } = offer;
            let passed = Passed { id, agent, claim, reply_to: reply_to.as_str().to_owned(), waited_ms };
            self.bus.pass_claim(&host, &passed).await;
        }
    }

    async fn look(&self) {
        let now = steady();
        for offer in self.pool.expired(now) {
            self.come_again(offer).await;
        }
        let unmet = self.pool.unmet(now.saturating_sub(UNMET_MS));
        if unmet.is_empty() {
            return;
        }
        let needs: Vec<Need> = unmet
            .into_iter()
            .map(|Opening { lane, skill, agent, rank }| Need {
                host: self.host.clone(),
                lane,
                skill,
                agent,
                rank,
            })
            .collect();
        self.bus.tell_needs(&needs).await;
    }

    async fn come_again(&self, offer: Offer) {
        let answer = Answer::ComeAgain { claim: offer.id };
        let payload = serde_json::to_vec(&answer).expect("an answer is plain data");
        self.bus.answer(offer.reply_to, payload.into()).await;
    }

    /// Expects to hear of workers that were registered before this host started.
    async fn expect_registered(&self) -> Result<(), Error> {
        let mut agents = Vec::new();
        for last in self.bus.latest_events(&self.bus.subjects().events(Some(&Command::KIND))).await? {
            agents.push(last.entity.key);
        }
        let door = self.clone();
        spawn("registered workers", async move {
            for agent in agents {
                let known = door.ask(&agent).await.map(|known| known.workers).unwrap_or_default();
                for worker in known.keys() {
                    door.pool.hear(&agent, worker, steady());
                }
            }
        });
        Ok(())
    }

    fn hear(&self, heard: HeardWorkers) {
        let now = steady();
        for (agent, worker, ago) in heard {
            let known = self.pool.heard();
            let at = now.saturating_sub(ago);
            if known.iter().any(|(a, w, since)| *a == agent && *w == worker && *since < at) {
                self.pool.hear(&agent, &worker, at);
            }
        }
    }

    /// Tells the other hosts which workers this one has heard of, and the agents which of their workers are
    /// lost.
    async fn tell_heard(&self) {
        let now = steady();
        let (mut told, mut lost) = (HeardWorkers::new(), Vec::new());
        for (agent, worker, at) in self.pool.heard() {
            match now.saturating_sub(at) {
                ago if ago < LOST_MS => told.push((agent, worker, ago)),
                _ => lost.push((agent, worker)),
            }
        }
        self.bus.tell_heard(&told).await;
        for (agent, worker) in lost {
            let to = EntityAddress::new(Command::KIND, agent.clone());
            let lose = Command::LoseWorker { worker: worker.clone() };
            let ask = Ask::new(to, Body::json(&lose)).caller(Caller::SYSTEM.as_str());
            match self.bus.ask(&ask, PATIENCE).await {
                Ok(_) => self.pool.forget(&agent, &worker),
                Err(error) => tracing::debug!(error = chain(&error), "telling an agent of a lost worker"),
            }
        }
    }
}

fn read(incoming: &Incoming) -> Result<Claim, Refusal> {
    let Some(content_type) = incoming.content_type else {
        return Err(Refusal::new(code::CONTENT_TYPE, "the content type is neither JSON nor MessagePack"));
    };
    let body = Body { content_type, bytes: incoming.payload.clone() };
    body.read_strictly::<Claim>().map_err(|error| {
        let mistake = text::cut(&text::one_line(&error.to_string()), MISTAKE_BYTES_MAX);
        Refusal::new(code::MALFORMED, mistake).hint("see the claim's JSON schema")
    })
}

fn check(claim: &Claim) -> Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal::new(code::INVALID_CLAIM, message));
    let Claim { worker, skills, places, lanes, .. } = claim;
    if let Err(error) = Caller::parse(worker) {
        return refuse(format!("the worker's name: {error}"));
    }
    if !(1..=PLACES_MAX).contains(places) {
        return refuse(format!("a claim is for 1 to {PLACES_MAX} places, not {places}"));
    }
    if !(1..=SKILLS_MAX).contains(&skills.len()) {
        return refuse(format!("a claim names 1 to {SKILLS_MAX} skills, not {}", skills.len()));
    }
    if !(1..=LANES_MAX).contains(&lanes.len()) {
        return refuse(format!("a claim names 1 to {LANES_MAX} lanes, not {}", lanes.len()));
    }
    Ok(())
}

/// Why an agent's registration does not cover a claim.
fn unknown(registration: &Registration, agent: &Key, claim: &Claim) -> Option<Refusal> {
    if registration.card.is_none() {
        let refusal = Refusal::new("agent-not-found", format!("no worker of agent `{agent}` has registered"));
        return Some(refusal.hint("send `register` first"));
    }
    let Some(skills) = registration.workers.get(&claim.worker) else {
        let message = format!("the worker `{}` of agent `{agent}` is not registered", claim.worker);
        return Some(Refusal::new("unknown-worker", message).hint("register, then claim"));
    };
    let strange = claim.skills.iter().find(|skill| !skills.contains(skill));
    strange.map(|skill| {
        let message =
            format!("the card of the worker `{}` of agent `{agent}` has no skill `{skill}`", claim.worker);
        Refusal::new("unknown-skill", message).hint("register with a card that has it")
    })
}
