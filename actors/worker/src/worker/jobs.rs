//! Taking jobs: claims for all free places, none after the stop, and a drain with a deadline.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bus_client::claims::{ClaimConnection, Heard, Word};
use bus_schemas::claims::{Claim, PLACES_MAX, WAIT_MS};
use bus_schemas::jobs::Job;
use bus_schemas::{CommandId, Hash, Refusal, TraceContext, chain};
use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::attempt;
use super::{WorkerContext, WorkerError, presence};

/// The pause before hosts are asked again after an error, or when there are none.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest pause after a refusal.
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(5);
/// A claim without an answer for this long is sent again: a host answers each one sooner.
const SILENCE: Duration = Duration::from_millis(WAIT_MS + 1_000);
/// The interval of checks for unanswered claims, and after takeovers.
const LOOK: Duration = Duration::from_millis(100);
/// How long to wait for answers under way when the worker stops: a round trip to the server.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
/// The number of claims that the free places are split into, so that several partitions receive some at once.
const CLAIMS: usize = 8;

/// An open claim, with the places that it is for.
struct Open {
    claim: Claim,
    places: Vec<OwnedSemaphorePermit>,
    sent: Instant,
}

/// Takes jobs until `halt`, then waits up to `drain` for running jobs, and gives back the rest. Ends early
/// when the agent's entity no longer accepts this worker.
pub(super) async fn take(
    context: &Arc<WorkerContext>,
    halt: &CancellationToken,
    stop: &CancellationToken,
    drain: Duration,
) -> Result<(), WorkerError> {
    let mut attempts = JoinSet::new();
    let free = Arc::new(Semaphore::new(context.capacity));
    let mut ended = Ok(());
    while !halt.is_cancelled() && ended.is_ok() {
        let opened = tokio::select! {
            biased;
            () = halt.cancelled() => break,
            opened = open(context) => opened,
        };
        match opened {
            Ok((connection, words)) => {
                let mut taking =
                    Taking { context, connection, open: HashMap::new(), free: &free, again: false };
                ended = taking.run(halt, words, &mut attempts).await;
                taking.leave(&mut attempts).await;
            }
            Err(error) => {
                tracing::warn!(agent = %context.card.name, error = chain(&error), "opening the claim connection; trying again");
                pause(halt, PAUSE).await;
            }
        }
    }
    // A retired worker finishes what it has, until its process stops.
    let deadline = async {
        if context.retired.is_cancelled() {
            stop.cancelled().await;
        }
        tokio::time::sleep(drain).await;
    };
    finish(context, attempts, deadline).await;
    ended
}

type Words = futures::stream::BoxStream<'static, Word>;

async fn open(context: &WorkerContext) -> Result<(ClaimConnection, Words), bus_client::Error> {
    let connection = ClaimConnection::open(&context.bus, &context.card.name).await?;
    let words = context.bus.words(&context.card.name, &context.name).await?.boxed();
    // The subscription must be active before anything is claimed.
    context.bus.flush().await;
    Ok((connection, words))
}

struct Taking<'a> {
    context: &'a Arc<WorkerContext>,
    connection: ClaimConnection,
    open: HashMap<CommandId, Open>,
    free: &'a Arc<Semaphore>,
    /// A partition has a new owner: open claims are sent again.
    again: bool,
}

impl Taking<'_> {
    /// Claims jobs and starts them, until the halt or until the claim connection breaks.
    async fn run(
        &mut self,
        halt: &CancellationToken,
        mut words: impl Stream<Item = Word> + Unpin,
        attempts: &mut JoinSet<()>,
    ) -> Result<(), WorkerError> {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // A host that is paused takes nothing.
            tokio::select! {
                () = halt.cancelled() => return Ok(()),
                () = self.context.bus.ready() => {}
            }
            tokio::select! {
                biased;
                () = halt.cancelled() => return Ok(()),
                Some(ended) = attempts.join_next() => note(ended),
                heard = self.connection.next() => match heard {
                    Some((id, heard)) => self.hear(id, heard, halt, attempts).await?,
                    None => return Ok(()),
                },
                Some(word) = words.next() => self.take_word(&word),
                place = self.free.clone().acquire_owned() => {
                    self.claim(place.expect("the semaphore is never closed")).await;
                }
                _ = look.tick() => self.repeat().await,
            }
        }
    }

    /// Stops claiming, and gives back the jobs that still arrive.
    async fn leave(mut self, attempts: &mut JoinSet<()>) {
        self.connection.close().await;
        let rest = async {
            while let Some((id, heard)) = self.connection.next().await {
                let (Heard::Jobs { jobs, .. }, true) = (heard, self.open.contains_key(&id)) else { continue };
                for (job, trace) in jobs {
                    let Some(hold) = self.context.hold(&job.id) else { continue };
                    let context = self.context.clone();
                    attempts.spawn(async move { attempt::give_back(&context, &hold, job, trace).await });
                }
            }
        };
        if timeout(CLOSE_PATIENCE, rest).await.is_err() {
            tracing::debug!(agent = %self.context.card.name, "closing the claim connection; the jobs on their way come again");
        }
    }

    /// Claims jobs for this place and all other free ones.
    async fn claim(&mut self, first: OwnedSemaphorePermit) {
        let mut places = vec![first];
        while let Ok(place) = self.free.clone().try_acquire_owned() {
            places.push(place);
        }
        let size = places.len().div_ceil(CLAIMS).min(PLACES_MAX as usize);
        while !places.is_empty() {
            let rest = places.split_off(size.min(places.len()));
            let claim = Claim {
                worker: self.context.name.clone(),
                incarnation: self.context.incarnation,
                skills: self.context.card.skills.iter().map(|skill| skill.id.clone()).collect(),
                // The connection knows it.
                token: Hash::default(),
                places: u32::try_from(places.len()).unwrap_or(PLACES_MAX),
                repeated: false,
                lanes: self.context.lanes.clone(),
            };
            let id = CommandId(Uuid::now_v7());
            self.connection.send(id, &claim).await;
            self.open.insert(id, Open { claim, places, sent: Instant::now() });
            places = rest;
        }
    }

    /// Sends unanswered claims again, and all open claims after a takeover.
    async fn repeat(&mut self) {
        let all = std::mem::take(&mut self.again);
        for (id, open) in &mut self.open {
            if all || open.sent.elapsed() >= SILENCE {
                open.sent = Instant::now();
                open.claim.repeated = true;
                self.connection.send(*id, &open.claim).await;
            }
        }
    }

    fn take_word(&mut self, word: &Word) {
        match word {
            Word::Stop(job) => self.context.nudge(Some(job)),
            Word::TakenOver => {
                self.again = true;
                self.context.nudge(None);
            }
        }
    }

    /// Handles the answer to a claim.
    async fn hear(
        &mut self,
        id: CommandId,
        heard: Heard,
        halt: &CancellationToken,
        attempts: &mut JoinSet<()>,
    ) -> Result<(), WorkerError> {
        // A repeated claim may be answered a second time.
        let Some(mut open) = self.open.remove(&id) else { return Ok(()) };
        match heard {
            Heard::Jobs { jobs, more } => {
                for (job, trace) in jobs {
                    // Jobs beyond the number of places are ignored: their leases lapse.
                    let Some(place) = open.places.pop() else { break };
                    self.begin(attempts, place, job, trace);
                }
                if more {
                    self.open.insert(id, open);
                }
            }
            Heard::ComeAgain => {}
            Heard::Nobody => {
                // Kept, so that it is the same claim when a host is there.
                open.sent = Instant::now() - SILENCE + PAUSE;
                self.open.insert(id, open);
            }
            Heard::Refused(refusal) => return self.refused(refusal, halt).await,
        }
        Ok(())
    }

    fn begin(
        &self,
        attempts: &mut JoinSet<()>,
        place: OwnedSemaphorePermit,
        job: Job,
        trace: Option<TraceContext>,
    ) {
        // A second copy of a job that is already running.
        let Some(hold) = self.context.hold(&job.id) else { return };
        let context = self.context.clone();
        attempts.spawn(async move {
            let _place = place;
            attempt::attempt(&context, &hold, job, trace).await;
        });
    }

    /// Handles the refusal of a claim: an unknown worker registers, any other waits.
    async fn refused(&mut self, refusal: Refusal, halt: &CancellationToken) -> Result<(), WorkerError> {
        let unknown = ["unknown-worker", "agent-not-found", "unknown-skill"];
        if unknown.contains(&refusal.code.as_str()) {
            tracing::info!(agent = %self.context.card.name, code = %refusal.code, "a claim was refused; registering");
            tokio::select! {
                biased;
                () = halt.cancelled() => return Ok(()),
                joined = presence::join(self.context) => joined?,
            }
        } else {
            let reason = refusal.message;
            tracing::warn!(agent = %self.context.card.name, code = %refusal.code, reason, "a claim was refused");
        }
        let wait = refusal.retry_after_ms.map_or(PAUSE, Duration::from_millis);
        pause(halt, wait.min(REFUSED_PAUSE_MAX)).await;
        Ok(())
    }
}

/// Waits for the running attempts; at the deadline they are told to stop.
async fn finish(context: &WorkerContext, mut attempts: JoinSet<()>, deadline: impl Future<Output = ()>) {
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            ended = attempts.join_next() => match ended {
                Some(ended) => note(ended),
                None => return,
            },
            () = &mut deadline, if !context.drained.is_cancelled() => context.drained.cancel(),
        }
    }
}

/// The attempt catches the agent's panics, so a panic that comes through is the worker's. Its lease lapses.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = chain(&error), "an attempt ended early");
    }
}

async fn pause(halt: &CancellationToken, pause: Duration) {
    tokio::select! {
        () = halt.cancelled() => {}
        () = tokio::time::sleep(pause) => {}
    }
}
