//! Claims: workers ask for jobs, hosts answer, and hosts hand claims without local work to each other. All of
//! it is core NATS: a lost message is sent again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::{HeaderMap, StatusCode, Subscriber};
use bus_schemas::claims::{Answer, Claim, Issued};
use bus_schemas::envelope::header;
use bus_schemas::jobs::Job;
use bus_schemas::{CommandId, Hash, Key, Refusal, Reply, TraceContext};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt, stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use uuid::Uuid;

use crate::ReplyTo;
use crate::asks::{Incoming, is_inbox};
use crate::bus::Bus;
use crate::error::Error;

/// The answer to a claim, as a worker receives it.
#[derive(Debug)]
pub enum Heard {
    /// Jobs. If `more` is true, another message with jobs follows.
    Jobs { jobs: Vec<(Job, Option<TraceContext>)>, more: bool },
    /// No job came in time: claim again.
    ComeAgain,
    /// The claim is refused.
    Refused(Refusal),
    /// No host runs.
    Nobody,
}

/// The length of a token in hexadecimal digits: 128 bits.
const TOKEN_DIGITS: usize = 32;

type Reading = BoxFuture<'static, Result<Heard, String>>;

/// A worker's connection to the hosts: sends claims and receives the answers.
pub struct ClaimConnection {
    bus: Bus,
    agent: Key,
    inbox: String,
    /// From which the tokens of the claims are made.
    secret: Uuid,
    answers: Subscriber,
    /// The answer that is being read: large jobs are fetched from the blob store. The mutex is never locked;
    /// it only makes the type `Sync`.
    reading: Option<(CommandId, Mutex<Reading>)>,
}

impl std::fmt::Debug for ClaimConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClaimConnection").field("inbox", &self.inbox).finish_non_exhaustive()
    }
}

impl ClaimConnection {
    /// Opens a connection with an inbox of the agent, below that of the NATS connection.
    pub async fn open(bus: &Bus, agent: &Key) -> Result<Self, Error> {
        let inbox = format!("{}.{agent}.{}", bus.inbox_prefix(), Uuid::now_v7().simple());
        let answers = bus.client().subscribe(format!("{inbox}.*")).await;
        let answers = answers.map_err(|error| Error::call("subscribing to answers of claims", error))?;
        let (bus, agent, secret) = (bus.clone(), agent.clone(), Uuid::new_v4());
        Ok(Self { bus, agent, inbox, secret, answers, reading: None })
    }

    /// The token of the jobs of a claim: 128 bits that nobody but this connection has.
    fn token(&self, id: CommandId) -> SmolStr {
        let mut token = Hash::of(format!("{} {id}", self.secret).as_bytes()).to_hex();
        token.truncate(TOKEN_DIGITS);
        token.into()
    }

    /// Sends a claim, with the hash of the token of its jobs. A claim with the same id is a repeat.
    pub async fn send(&self, id: CommandId, claim: &Claim) {
        let mut headers = HeaderMap::new();
        headers.insert(header::COMMAND_ID, id.to_string());
        let reply_to = format!("{}.{}", self.inbox, id.0.simple());
        let claim = Claim { token: Hash::of_token(&self.token(id)), ..claim.clone() };
        let payload = serde_json::to_vec(&claim).expect("a claim is plain data").into();
        let subject = self.bus.subjects().claim(&self.agent);
        let sent = self.bus.client().publish_with_reply_and_headers(subject, reply_to, headers, payload);
        if let Err(error) = sent.await {
            tracing::debug!(%error, "sending a claim; it is sent again");
        }
    }

    /// The next answer. `None` if this was closed or the NATS connection is gone for good. A cancelled call
    /// loses nothing: the next call returns the answer.
    pub async fn next(&mut self) -> Option<(CommandId, Heard)> {
        loop {
            if let Some((id, reading)) = &mut self.reading {
                let (id, read) = (*id, reading.get_mut().unwrap_or_else(PoisonError::into_inner).await);
                self.reading = None;
                match read {
                    Ok(heard) => return Some((id, heard)),
                    Err(reason) => tracing::warn!(reason, "the answer to a claim cannot be read"),
                }
            }
            let message = self.answers.next().await?;
            let id = message.subject.rsplit('.').next().map(CommandId::from_text)?;
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                return Some((id, Heard::Nobody));
            }
            let reading: Reading = Box::pin(read(self.bus.clone(), self.token(id), message.payload));
            self.reading = Some((id, Mutex::new(reading)));
        }
    }

    /// Receives only answers that are in transit; then [`next`](Self::next) returns `None`.
    pub async fn close(&mut self) {
        // The client library ends a draining subscription although the server's last messages are not read yet. When
        // the server answers this question, what it sent before has been read.
        if let Err(error) = self.bus.events_state().await {
            tracing::debug!(%error, "closing the claim connection; answers on their way are lost");
        }
        if let Err(error) = self.answers.drain().await {
            tracing::debug!(%error, "closing the claim connection; it is gone");
        }
    }
}

async fn read(bus: Bus, token: SmolStr, payload: Bytes) -> Result<Heard, String> {
    if let Ok(answer) = serde_json::from_slice::<Answer>(&payload) {
        return match answer {
            Answer::ComeAgain { .. } => Ok(Heard::ComeAgain),
            Answer::Issued { jobs, more, .. } => {
                let mut read = Vec::with_capacity(jobs.len());
                for job in jobs {
                    let (job, trace) = read_job(&bus, job).await?;
                    read.push((Job { token: token.clone(), ..job }, trace));
                }
                Ok(Heard::Jobs { jobs: read, more })
            }
        };
    }
    match serde_json::from_slice::<Reply>(&payload) {
        Ok(Reply::Refused { refusal, .. }) => Ok(Heard::Refused(refusal)),
        Ok(Reply::Accepted { .. }) => Err("the message answers something else".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

async fn read_job(bus: &Bus, issued: Issued) -> Result<(Job, Option<TraceContext>), String> {
    let Issued { job, blob, traceparent } = issued;
    let trace = traceparent.as_deref().and_then(TraceContext::parse);
    let job = match job {
        Some(job) => *job,
        None => {
            let blob = blob.ok_or("the answer holds neither a job nor the hash of one")?;
            let bytes = bus.get_blob(blob).await.map_err(|error| error.to_string())?;
            serde_json::from_slice(&bytes).map_err(|error| error.to_string())?
        }
    };
    Ok((job, trace))
}

/// A message to a worker beside its jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// The job may stop.
    Stop(SmolStr),
    /// A partition has a new owner: claims and renewals that it may have missed are sent again.
    TakenOver,
}

/// A claim that one host hands to another.
#[derive(Debug, Serialize, Deserialize)]
pub struct Passed {
    /// The claim's id.
    pub id: CommandId,
    /// The agent.
    pub agent: Key,
    /// The claim.
    pub claim: Claim,
    /// The worker's reply subject.
    pub reply_to: String,
    /// How long it has waited, in milliseconds.
    pub waited_ms: u64,
}

/// Open work for which a host has no claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// The host.
    pub host: String,
    /// The lane.
    pub lane: Key,
    /// The skill.
    pub skill: SmolStr,
    /// The agent that the work is for; `None` for any agent.
    pub agent: Option<Key>,
    /// The rank of the work: the lowest goes first.
    pub rank: (u64, bus_schemas::Timestamp),
}

/// The workers that a host has heard of recently, each with the milliseconds since then.
pub type HeardWorkers = Vec<(Key, SmolStr, u64)>;

/// A host's question to all partitions: was a claim used?
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WasUsed {
    /// The claim.
    pub claim: CommandId,
    /// The worker's reply subject, to which its jobs are sent once more.
    pub reply_to: String,
}

/// A [`WasUsed`] with the subject for a positive answer.
#[derive(Debug)]
pub struct Question {
    /// The question.
    pub was_used: WasUsed,
    /// The subject for a positive answer.
    pub yes_to: Option<ReplyTo>,
}

impl Bus {
    /// The messages that were published to `subject`, or below it where it ends with `.*`. A consumer whose
    /// creator chose `subject` for its deliveries delivers stored messages there too; these keep the subject
    /// under which they were stored, and are dropped.
    pub(crate) async fn listen(
        &self,
        subject: String,
    ) -> Result<impl Stream<Item = async_nats::Message> + Send + Unpin + use<>, Error> {
        let doing = format!("subscribing to `{subject}`");
        let messages =
            self.client().subscribe(subject.clone()).await.map_err(|error| Error::call(doing, error))?;
        Ok(messages.filter(move |message| {
            let published_to = message.subject.as_str();
            let is_ours = match subject.strip_suffix('*') {
                Some(above) => published_to.starts_with(above),
                None => published_to == subject,
            };
            futures::future::ready(is_ours)
        }))
    }

    async fn say<T: Serialize>(&self, subject: String, value: &T) {
        // With field names, because some types leave fields out.
        let payload = rmp_serde::to_vec_named(value).expect("it is plain data");
        if let Err(error) = self.client().publish(subject, payload.into()).await {
            tracing::debug!(%error, "telling hosts; it is said again");
        }
    }

    /// The claims of all workers, shared by the hosts.
    pub async fn claims(&self) -> Result<impl Stream<Item = Incoming> + Send + Unpin + use<>, Error> {
        self.incoming(self.subjects().claims(), Some("hosts")).await
    }

    /// The messages to a worker beside its jobs.
    pub async fn words(
        &self,
        agent: &Key,
        worker: &str,
    ) -> Result<impl Stream<Item = Word> + Send + Unpin + use<>, Error> {
        let stops = self.listen(self.subjects().stop(agent, worker)).await?;
        let takeovers = self.listen(self.subjects().taken_over()).await?;
        let stop = |message: async_nats::Message| {
            Word::Stop(SmolStr::new(String::from_utf8_lossy(&message.payload)))
        };
        Ok(stream::select(stops.map(stop), takeovers.map(|_| Word::TakenOver)))
    }

    /// Tells a worker that it may stop a job.
    pub async fn stop_job(&self, agent: &Key, worker: &str, job: &str) {
        let sent = self.client().publish(self.subjects().stop(agent, worker), job.to_owned().into()).await;
        if let Err(error) = sent {
            tracing::debug!(%error, "stopping a job; its next renewal is refused");
        }
    }

    /// Announces that a partition has a new owner.
    pub async fn tell_taken_over(&self) {
        if let Err(error) = self.client().publish(self.subjects().taken_over(), Bytes::new()).await {
            tracing::debug!(%error, "telling of a takeover");
        }
    }

    /// Answers a claim. If the answer has no receiver, the server reports that on `undelivered_to`.
    pub async fn answer_claim(&self, reply_to: ReplyTo, undelivered_to: String, payload: Bytes) {
        if !is_inbox(reply_to.as_str()) {
            return;
        }
        if let Err(error) = self.client().publish_with_reply(reply_to.subject, undelivered_to, payload).await
        {
            tracing::warn!(%error, "answering a claim");
        }
    }

    /// A subject prefix for reports of answers without a receiver, and the reports: the last token of each
    /// subject.
    pub async fn undelivered(
        &self,
    ) -> Result<(String, impl Stream<Item = String> + Send + Unpin + use<>), Error> {
        let inbox = self.client().new_inbox();
        let words = self.listen(format!("{inbox}.*")).await?;
        let words = words.filter_map(|message| {
            let is_lost = message.status == Some(StatusCode::NO_RESPONDERS);
            let token = message.subject.rsplit('.').next().map(str::to_owned);
            futures::future::ready(token.filter(|_| is_lost))
        });
        Ok((inbox, words.boxed()))
    }

    /// Announces the open work for which this host has no claim.
    pub async fn tell_needs(&self, needs: &[Need]) {
        self.say(self.subjects().needs(), &needs).await;
    }

    /// The open work for which hosts have no claims.
    pub async fn needs(&self) -> Result<impl Stream<Item = Vec<Need>> + Send + Unpin + use<>, Error> {
        let needs = self.listen(self.subjects().needs()).await?;
        Ok(needs.filter_map(|message| futures::future::ready(said(&message))).boxed())
    }

    /// Announces the workers that this host has heard of.
    pub async fn tell_heard(&self, heard: &HeardWorkers) {
        self.say(self.subjects().heard(), heard).await;
    }

    /// The workers that hosts have heard of.
    pub async fn heard(&self) -> Result<impl Stream<Item = HeardWorkers> + Send + Unpin + use<>, Error> {
        let heard = self.listen(self.subjects().heard()).await?;
        Ok(heard.filter_map(|message| futures::future::ready(said(&message))).boxed())
    }

    /// Hands a claim to another host.
    pub async fn pass_claim(&self, host: &str, passed: &Passed) {
        self.say(self.subjects().places(host), passed).await;
    }

    /// The claims that other hosts hand to this one.
    pub async fn passed_claims(
        &self,
        host: &str,
    ) -> Result<impl Stream<Item = Passed> + Send + Unpin + use<>, Error> {
        let passed = self.listen(self.subjects().places(host)).await?;
        Ok(passed.filter_map(|message| futures::future::ready(said(&message))).boxed())
    }

    /// Asks all partitions whether one of them has used a claim; that one sends its jobs once more. `false`
    /// if none answers within `patience`.
    pub async fn was_used(&self, was_used: &WasUsed, patience: Duration) -> bool {
        let payload = rmp_serde::to_vec_named(was_used).expect("it is plain data").into();
        let asked = self.client().request(self.subjects().claimed(), payload);
        matches!(tokio::time::timeout(patience, asked).await, Ok(Ok(_)))
    }

    /// Answers that this partition has used the claim.
    pub async fn say_was_used(&self, yes_to: ReplyTo) {
        if let Err(error) = self.client().publish(yes_to.subject, Bytes::from_static(b"yes")).await {
            tracing::debug!(%error, "saying that a claim was used; its worker asks again");
        }
    }

    /// The questions whether a claim was used.
    pub async fn was_used_questions(
        &self,
    ) -> Result<impl Stream<Item = Question> + Send + Unpin + use<>, Error> {
        let questions = self.listen(self.subjects().claimed()).await?;
        let question = |message: async_nats::Message| {
            let was_used = said(&message)?;
            Some(Question { was_used, yes_to: message.reply.map(ReplyTo::from) })
        };
        Ok(questions.filter_map(move |message| futures::future::ready(question(message))).boxed())
    }
}

/// A decoded message of another host; logs one that cannot be read.
fn said<T: DeserializeOwned>(message: &async_nats::Message) -> Option<T> {
    let read = rmp_serde::from_slice(&message.payload);
    read.inspect_err(
        |error| tracing::warn!(%error, subject = %message.subject, "what a host says is unreadable"),
    )
    .ok()
}
