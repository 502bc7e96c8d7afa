//! Callers: each sends a command, waits for the reply, and sends the next.
//!
//! Orrery and the bare loop are called by the same code over one connection that neither of them uses, so
//! that a caller costs the same on both sides.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{Client, HeaderMap, Request};
use bare_loop::BareLoop;
use bus_client::Bus;
use bus_schemas::commands::probe::Command as Probe;
use bus_schemas::envelope::header;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Caller, EntityAddress, Key};
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use crate::error::Error;

/// Bytes of a command.
const COMMAND_BYTES: usize = 128;
/// The beginning of every accepted reply, Orrery's and the bare loop's: reading more would measure a JSON
/// parser.
pub(crate) const ACCEPTED: &[u8] = b"{\"status\":\"accepted\"";
/// The beginning of the server's acknowledgement of a stored message.
const STORED: &[u8] = b"{\"stream\":";
/// Timeout of a reply, after which the benchmark fails. There is no retry: a lost command would be a defect,
/// not slowness.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// How long callers go on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// How long they call before it counts.
    pub warm_up: Duration,
    pub duration: Duration,
}

/// The result of some callers.
pub(crate) struct Outcome {
    /// The duration of each call that began after the warm-up, in microseconds.
    pub latencies: Vec<u64>,
    /// The end of the warm-up.
    pub began: Instant,
}

/// Runs `callers` loops of `act`: first for the warm-up, which is not counted, then for the duration, at least
/// once. Returns when all of them have their last reply.
///
/// Each call gets a number that is unique within `numbers`.
pub(crate) async fn closed_loop<F, Fut>(
    callers: usize,
    times: Times,
    numbers: &Arc<AtomicU64>,
    act: F,
) -> Result<Outcome, Error>
where
    F: Fn(u64) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<(), Error>> + Send,
{
    let Times { warm_up, duration } = times;
    let began = Instant::now() + warm_up;
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (numbers, act) = (Arc::clone(numbers), act.clone());
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let started = Instant::now();
                // A call may take longer than the slice: then one call is enough, and the slice ends later.
                if started >= began + duration && !latencies.is_empty() {
                    return Ok::<_, Error>(latencies);
                }
                act(numbers.fetch_add(1, Ordering::Relaxed)).await?;
                if started >= began {
                    latencies.push(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
                }
            }
        });
    }
    let mut latencies = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        latencies.extend(ended.map_err(|error| Error::answer("running a caller", error))??);
    }
    Ok(Outcome { latencies, began })
}

/// The entities that are called.
#[derive(Clone)]
pub(crate) struct Target {
    client: Client,
    /// The subjects of all entities.
    subjects: Arc<Vec<String>>,
    /// The header with the command's id.
    id_header: &'static str,
    payload: Bytes,
    /// The beginning of a successful reply.
    expected: &'static [u8],
}

/// The address of a probe.
pub(crate) fn probe(prefix: &str, number: u64) -> Result<EntityAddress, Error> {
    let key = Key::parse(&format!("{prefix}-{number}")).map_err(|error| Error::answer("making a key", error));
    Ok(EntityAddress::new(Probe::KIND, key?))
}

/// A command of [`COMMAND_BYTES`] bytes that makes one event.
fn payload() -> Bytes {
    let command = |length| serde_json::to_vec(&Probe::Touch { note: "x".repeat(length) });
    let bare = command(0).expect("a command has string keys").len();
    command(COMMAND_BYTES.saturating_sub(bare)).expect("a command has string keys").into()
}

impl Target {
    /// `entities` probes of an installation, whose keys begin with `prefix`.
    pub fn orrery(client: Client, bus: &Bus, prefix: &str, entities: u64) -> Result<Self, Error> {
        let (subjects, partitions) = (bus.subjects(), bus.topology().partitions);
        let asks = (0..entities).map(|number| {
            probe(prefix, number)
                .map(|entity| subjects.ask(entity.partition(partitions), &Caller::UNNAMED, &entity))
        });
        let subjects = Arc::new(asks.collect::<Result<_, _>>()?);
        Ok(Self { client, subjects, id_header: header::COMMAND_ID, payload: payload(), expected: ACCEPTED })
    }

    /// As many probes, to which commands are handed over.
    pub fn handed_over(client: Client, bus: &Bus, prefix: &str, entities: u64) -> Result<Self, Error> {
        let subjects = (0..entities)
            .map(|number| probe(prefix, number).map(|to| bus.subjects().hand_over(&Caller::UNNAMED, &to)));
        let subjects = Arc::new(subjects.collect::<Result<_, _>>()?);
        Ok(Self { client, subjects, id_header: header::MESSAGE_ID, payload: payload(), expected: STORED })
    }

    /// As many subjects below `prefix`, whose second token is a partition.
    pub fn stored(client: Client, partitions: u16, prefix: &str, entities: u64) -> Result<Self, Error> {
        let subjects = (0..entities).map(|number| {
            let entity = probe(prefix, number)?;
            Ok(format!("{prefix}.{}.{}", entity.partition(partitions), entity.key))
        });
        let subjects = Arc::new(subjects.collect::<Result<_, Error>>()?);
        Ok(Self { client, subjects, id_header: header::MESSAGE_ID, payload: payload(), expected: STORED })
    }

    /// As many entities of the bare loop, with the same keys and in the same partitions.
    pub fn bare_loop(client: Client, partitions: u16, prefix: &str, entities: u64) -> Result<Self, Error> {
        let asks = (0..entities).map(|number| {
            let entity = probe(prefix, number)?;
            Ok(BareLoop::subject(entity.partition(partitions).0, entity.key.as_str()))
        });
        let subjects = Arc::new(asks.collect::<Result<_, Error>>()?);
        Ok(Self {
            client,
            subjects,
            id_header: bare_loop::COMMAND_ID,
            payload: payload(),
            expected: ACCEPTED,
        })
    }

    /// Calls the entity that a number selects, and waits for the reply.
    pub async fn ask(self, number: u64) -> Result<(), Error> {
        // A multiplicative hash: consecutive numbers must not fall into one partition.
        let index = (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % self.subjects.len() as u64;
        self.touch(index as usize).await
    }

    /// Calls one entity, and waits for the reply.
    pub async fn touch(&self, index: usize) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        headers.insert(self.id_header, Uuid::now_v7().to_string());
        let subject = self.subjects[index].clone();
        let request = Request::new().headers(headers).payload(self.payload.clone());
        let request = request.timeout(Some(ANSWER_DEADLINE));
        let answer = self
            .client
            .send_request(subject, request)
            .await
            .map_err(|error| Error::answer("waiting for an answer", error))?;
        if answer.payload.starts_with(self.expected) {
            return Ok(());
        }
        Err(Error::answer("reading an answer", String::from_utf8_lossy(&answer.payload)))
    }

    /// Calls every entity of a range once, with concurrency. Returns the durations in microseconds.
    pub async fn touch_all(&self, entities: std::ops::Range<u64>, callers: usize) -> Result<Vec<u64>, Error> {
        let next = Arc::new(AtomicU64::new(entities.start));
        let mut tasks = JoinSet::new();
        for _ in 0..callers {
            let (target, next, end) = (self.clone(), Arc::clone(&next), entities.end);
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return Ok::<_, Error>(latencies);
                    }
                    let started = Instant::now();
                    target.touch(number as usize).await?;
                    latencies.push(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
                }
            });
        }
        let mut latencies = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            latencies.extend(ended.map_err(|error| Error::answer("running a caller", error))??);
        }
        Ok(latencies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_the_size_that_the_benchmark_promises() {
        let bytes = payload();
        assert_eq!(bytes.len(), COMMAND_BYTES);
        assert!(matches!(serde_json::from_slice(&bytes).unwrap(), Probe::Touch { .. }));
    }

    #[tokio::test]
    async fn what_began_in_the_warm_up_is_not_counted() {
        let numbers = Arc::new(AtomicU64::new(0));
        let times = Times { warm_up: Duration::from_millis(50), duration: Duration::from_millis(50) };
        let pause = |_| async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok(())
        };
        let outcome = closed_loop(2, times, &numbers, pause).await.unwrap();
        let calls = numbers.load(Ordering::Relaxed) as usize;
        assert!(!outcome.latencies.is_empty() && outcome.latencies.len() < calls);
    }
}
