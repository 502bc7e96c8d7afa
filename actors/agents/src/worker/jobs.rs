//! Taking jobs: claims for all places that are free, none after the halt, and a drain with a deadline.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bus_client::claims::{ClaimLine, Heard, Word};
use bus_schemas::claims::{Claim, PLACES_MAX, WAIT_MS};
use bus_schemas::jobs::Job;
use bus_schemas::{CommandId, Refusal, TraceContext};
use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::attempt;
use super::{Crew, WorkerError, presence};
use crate::contract::chain;

/// Before hosts are tried again after an error, or when none is there.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest pause after a refusal.
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(5);
/// A claim of which nothing was heard for so long is sent again: a host answers each one in less.
const SILENCE: Duration = Duration::from_millis(WAIT_MS + 1_000);
/// How often it is looked for claims of which nothing is heard, and after takeovers.
const LOOK: Duration = Duration::from_millis(100);
/// How long answers may take that are on their way when the worker stops: a round trip to the server.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
/// The free places are split into so many claims, so that several partitions find some at once.
const CLAIMS: usize = 8;

/// A claim under way, with the places that it is for.
struct Open {
    claim: Claim,
    places: Vec<OwnedSemaphorePermit>,
    sent: Instant,
}

/// Takes jobs until `halt`, then waits up to `drain` for those that run, and gives back the rest. Ends early
/// when the agent's entity takes this worker no longer.
pub(super) async fn take(
    crew: &Arc<Crew>,
    halt: &CancellationToken,
    drain: Duration,
) -> Result<(), WorkerError> {
    let mut attempts = JoinSet::new();
    let free = Arc::new(Semaphore::new(crew.capacity));
    let mut ended = Ok(());
    while !halt.is_cancelled() && ended.is_ok() {
        let opened = tokio::select! {
            biased;
            () = halt.cancelled() => break,
            opened = open(crew) => opened,
        };
        match opened {
            Ok((line, words)) => {
                let mut taking = Taking { crew, line, open: HashMap::new(), free: &free, again: false };
                ended = taking.run(halt, words, &mut attempts).await;
                taking.leave(&mut attempts).await;
            }
            Err(error) => {
                tracing::warn!(agent = %crew.card.name, error = chain(&error), "opening a line; trying again");
                pause(halt, PAUSE).await;
            }
        }
    }
    finish(crew, attempts, drain).await;
    ended
}

type Words = futures::stream::BoxStream<'static, Word>;

async fn open(crew: &Crew) -> Result<(ClaimLine, Words), bus_client::Error> {
    let line = ClaimLine::open(&crew.bus, &crew.card.name).await?;
    let words = crew.bus.words(&crew.card.name, &crew.name).await?.boxed();
    // Heard before anything is claimed.
    crew.bus.flush().await;
    Ok((line, words))
}

struct Taking<'a> {
    crew: &'a Arc<Crew>,
    line: ClaimLine,
    open: HashMap<CommandId, Open>,
    free: &'a Arc<Semaphore>,
    /// A partition has a new owner: what is open is sent again.
    again: bool,
}

impl Taking<'_> {
    /// Claims, and takes what comes, until the halt or until the line breaks.
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
                () = self.crew.chaos.until_awake() => {}
            }
            tokio::select! {
                biased;
                () = halt.cancelled() => return Ok(()),
                Some(ended) = attempts.join_next() => note(ended),
                heard = self.line.next() => match heard {
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

    /// Claims no more, and gives back the jobs that come all the same.
    async fn leave(mut self, attempts: &mut JoinSet<()>) {
        self.line.close().await;
        let rest = async {
            while let Some((id, heard)) = self.line.next().await {
                let (Heard::Jobs { jobs, .. }, true) = (heard, self.open.contains_key(&id)) else { continue };
                for (job, trace) in jobs {
                    let Some(hold) = self.crew.hold(&job.id) else { continue };
                    let crew = self.crew.clone();
                    attempts.spawn(async move { attempt::give_back(&crew, &hold, job, trace).await });
                }
            }
        };
        if timeout(CLOSE_PATIENCE, rest).await.is_err() {
            tracing::debug!(agent = %self.crew.card.name, "closing a line; the jobs on their way come again");
        }
    }

    /// Claims for this place and all others that are free.
    async fn claim(&mut self, first: OwnedSemaphorePermit) {
        let mut places = vec![first];
        while let Ok(place) = self.free.clone().try_acquire_owned() {
            places.push(place);
        }
        let size = places.len().div_ceil(CLAIMS).min(PLACES_MAX as usize);
        while !places.is_empty() {
            let rest = places.split_off(size.min(places.len()));
            let claim = Claim {
                worker: self.crew.name.clone(),
                incarnation: self.crew.incarnation,
                skills: self.crew.card.skills.iter().map(|skill| skill.id.clone()).collect(),
                places: u32::try_from(places.len()).unwrap_or(PLACES_MAX),
                repeated: false,
                lanes: self.crew.lanes.clone(),
            };
            let id = CommandId(Uuid::now_v7());
            self.line.send(id, &claim).await;
            self.open.insert(id, Open { claim, places, sent: Instant::now() });
            places = rest;
        }
    }

    /// Sends claims again of which nothing was heard, and all of them after a takeover.
    async fn repeat(&mut self) {
        let all = std::mem::take(&mut self.again);
        for (id, open) in &mut self.open {
            if all || open.sent.elapsed() >= SILENCE {
                open.sent = Instant::now();
                open.claim.repeated = true;
                self.line.send(*id, &open.claim).await;
            }
        }
    }

    fn take_word(&mut self, word: &Word) {
        match word {
            Word::Stop(job) => self.crew.nudge(Some(job)),
            Word::TakenOver => {
                self.again = true;
                self.crew.nudge(None);
            }
        }
    }

    /// Takes what became of a claim.
    async fn hear(
        &mut self,
        id: CommandId,
        heard: Heard,
        halt: &CancellationToken,
        attempts: &mut JoinSet<()>,
    ) -> Result<(), WorkerError> {
        // What was answered before is answered a second time after a repeat.
        let Some(mut open) = self.open.remove(&id) else { return Ok(()) };
        match heard {
            Heard::Jobs { jobs, more } => {
                for (job, trace) in jobs {
                    // More jobs than places are nobody's: their leases lapse.
                    let Some(place) = open.places.pop() else { break };
                    self.begin(attempts, place, (job, trace));
                }
                if more {
                    self.open.insert(id, open);
                }
            }
            Heard::ComeAgain => {}
            Heard::Nobody => {
                // Kept, so that it is the same claim when somebody is there.
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
        (job, trace): (Job, Option<TraceContext>),
    ) {
        // A second copy while the first is being done.
        let Some(hold) = self.crew.hold(&job.id) else { return };
        let crew = self.crew.clone();
        attempts.spawn(async move {
            let _place = place;
            attempt::attempt(&crew, &hold, job, trace).await;
        });
    }

    /// A claim is refused: who is not known registers, and everybody else waits.
    async fn refused(&mut self, refusal: Refusal, halt: &CancellationToken) -> Result<(), WorkerError> {
        let unknown = ["unknown-worker", "agent-not-found", "unknown-skill"];
        if unknown.contains(&refusal.code.as_str()) {
            tracing::info!(agent = %self.crew.card.name, code = %refusal.code, "a claim was refused; registering");
            tokio::select! {
                biased;
                () = halt.cancelled() => return Ok(()),
                joined = presence::join(self.crew) => joined?,
            }
        } else {
            let reason = refusal.message;
            tracing::warn!(agent = %self.crew.card.name, code = %refusal.code, reason, "a claim was refused");
        }
        let wait = refusal.retry_after_ms.map_or(PAUSE, Duration::from_millis);
        pause(halt, wait.min(REFUSED_PAUSE_MAX)).await;
        Ok(())
    }
}

/// Waits for the running attempts; after `drain` they are told to stop.
async fn finish(crew: &Crew, mut attempts: JoinSet<()>, drain: Duration) {
    let deadline = tokio::time::sleep(drain);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            ended = attempts.join_next() => match ended {
                Some(ended) => note(ended),
                None => return,
            },
            () = &mut deadline, if !crew.drained.is_cancelled() => crew.drained.cancel(),
        }
    }
}

/// An attempt catches the agent's panics, so one that comes through is ours. Its lease lapses.
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
