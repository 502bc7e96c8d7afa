//! What the simulation has found of claims and places, as small tests of the core and the pool alone.

use std::sync::Arc;

use actors_core::Opening;
use actors_runtime::claims::{Arrived, ClaimPool, IssuedJob, Offer};
use actors_runtime::core::{Core, Settings};
use actors_runtime::fold::{self, Loaded};
use actors_runtime::inbox::Item;
use bus_client::asks::Incoming;
use bus_schemas::claims::Claim;
use bus_schemas::commands::task::{Command, Submit};
use bus_schemas::record::{CommitRecord, Source};
use bus_schemas::subjects::Subjects;
use bus_schemas::{
    Body, Caller, CommandId, ContentType, EntityAddress, Hash, Key, LogSequence, PartitionId, Timestamp,
};
use bytes::Bytes;

use super::moment;
use crate::registry;

fn key(text: &str) -> Key {
    Key::parse(text).expect("a constant")
}

fn offer(name: &str, places: u32) -> Offer {
    let claim = Claim {
        worker: "worker".into(),
        incarnation: 1,
        skills: vec!["code".into()],
        token: Hash::of(b"a token"),
        places,
        repeated: false,
        lanes: vec![key("default")],
    };
    let (agent, reply_to) = (key("agent"), "inbox".into());
    Offer { id: CommandId::from_text(name), agent, claim, reply_to, since: 1 }
}

fn opening(rank: u64) -> Opening {
    Opening { lane: key("default"), skill: "code".into(), agent: None, rank: (rank, Timestamp(1)) }
}

/// Whose the work is.
fn queue() -> EntityAddress {
    "queue/default".parse().expect("a constant")
}

/// A whole installation of one partition and its log.
struct Installation {
    core: Core,
    pool: ClaimPool,
    record_bytes_max: usize,
    log: Vec<Bytes>,
    in_flight: Bytes,
    now: u64,
}

impl Installation {
    fn new(record_bytes_max: usize) -> Self {
        let (pool, log, now) = (ClaimPool::default(), Vec::new(), 5_000);
        let core = core(&pool, record_bytes_max);
        let mut whole = Self { core, pool, record_bytes_max, log, in_flight: Bytes::new(), now };
        whole.take_over();
        whole
    }

    /// Another owner reads the log and goes on.
    fn is_taken_over(&mut self) {
        self.pool = ClaimPool::default();
        self.core = core(&self.pool, self.record_bytes_max);
        for (bytes, sequence) in self.log.iter().zip(1..) {
            let record = CommitRecord::decode(bytes).expect("a core wrote it");
            self.core.recover(LogSequence(sequence), Hash::of(bytes), &record).expect("it follows");
        }
        self.take_over();
    }

    fn take_over(&mut self) {
        self.in_flight = self.core.take_over(moment(self.now)).bytes;
        self.commit();
    }

    fn submit(&mut self, task: &str) {
        let to: EntityAddress = format!("task/{task}").parse().expect("a constant");
        let incoming = Incoming {
            subject: Subjects::default().ask(PartitionId(0), &Caller::UNNAMED, &to),
            reply_to: None,
            id: Some(CommandId::from_text(task)),
            content_type: Some(ContentType::Json),
            correlation: None,
            trace: None,
            payload: Body::json(&Command::Submit(Submit { skill: "code".into(), ..Submit::new("a goal") }))
                .bytes,
        };
        let fresh = CommandId::from_text(task);
        self.core.offer(Item::from_incoming(&Subjects::default(), Source::Ask, incoming, fresh));
        self.settle();
    }

    /// Decides what can be decided, and loads what it needs.
    fn decide(&mut self) {
        loop {
            self.core.decide_waiting(moment(self.now));
            let missing = self.core.missing();
            if missing.is_empty() {
                return;
            }
            for entity in missing {
                let (instance, _, snapshot) = fold::restore(&registry(), &entity, None);
                let records =
                    self.log.iter().map(|bytes| CommitRecord::decode(bytes).expect("a core wrote it"));
                let turns = records.flat_map(|record| record.turns).filter(|turn| turn.entity == entity);
                let events: Vec<_> = turns.flat_map(|turn| turn.events).collect();
                self.core.loaded(entity, Loaded { instance: fold::replay(instance, &events), snapshot });
            }
        }
    }

    /// Decides and commits until nothing is left.
    fn settle(&mut self) {
        self.decide();
        while self.close() {
            self.commit();
            self.decide();
        }
    }

    /// Sends a record to the log, if there is one.
    fn close(&mut self) -> bool {
        let commit = self.core.close_group(Timestamp(self.now));
        let is_some = commit.is_some();
        self.in_flight = commit.map(|commit| commit.bytes).unwrap_or_default();
        is_some
    }

    fn commit(&mut self) {
        self.log.push(std::mem::take(&mut self.in_flight));
        self.core.committed(LogSequence(self.log.len() as u64)).expect("a record was in flight");
    }

    fn claim(&mut self, offer: Offer) {
        assert_eq!(self.pool.arrive(offer), Arrived::Waits);
        self.core.look_for_places();
    }
}

fn core(pool: &ClaimPool, record_bytes_max: usize) -> Core {
    let mut settings = Settings::new(PartitionId(0), 1, "host", record_bytes_max);
    settings.places = pool.clone();
    Core::new(settings, registry(), None)
}

fn names(jobs: &[IssuedJob]) -> Vec<String> {
    jobs.iter().map(|issued| issued.job.id.to_string()).collect()
}

/// Goal: work that came second for one place has the next one at once, and not when that claim comes again.
/// Method: of two partitions one has better work, takes one of two places, and has none left.
#[test]
fn a_partition_that_let_another_one_go_first_has_the_next_place() {
    let pool = ClaimPool::default();
    let (first, second) = (PartitionId(0), PartitionId(1));
    let wake = pool.wake(second);
    pool.set_openings(first, vec![opening(1)], 1);
    pool.set_openings(second, vec![opening(2)], 1);
    pool.arrive(offer("a", 1));
    pool.arrive(offer("b", 1));
    assert!(pool.take(second, &queue(), &opening(2)).is_none(), "the better work of the other comes first");
    assert!(pool.take(first, &queue(), &opening(1)).is_some());
    pool.set_openings(first, Vec::new(), 2);
    assert!(is_woken(&wake), "there is a place for it now");
    assert!(pool.take(second, &queue(), &opening(2)).is_some());
}

/// Goal: the same where it was not even told of the claims, because the other one comes first.
#[test]
fn a_place_that_the_first_one_does_not_need_is_told_to_the_next() {
    let pool = ClaimPool::default();
    let (first, second) = (PartitionId(0), PartitionId(1));
    let wake = pool.wake(second);
    pool.set_openings(first, vec![opening(1)], 1);
    pool.set_openings(second, vec![opening(2)], 1);
    pool.arrive(offer("a", 1));
    pool.arrive(offer("b", 1));
    assert!(!is_woken(&wake));
    assert!(pool.take(first, &queue(), &opening(1)).is_some());
    pool.set_openings(first, Vec::new(), 2);
    assert!(is_woken(&wake), "there is a place for it");
}

fn is_woken(wake: &Arc<tokio::sync::Notify>) -> bool {
    let notified = std::pin::pin!(wake.notified());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    std::future::Future::poll(notified, &mut context).is_ready()
}

/// Goal: work that a host has lost with its partition keeps no claim from the work that it has.
/// Method: a core with work that comes first ends as one that is fenced does, without draining.
#[test]
fn a_partition_that_is_lost_keeps_no_claim_from_others() {
    let mut lost = Installation::new(100_000);
    lost.submit("one");
    let (pool, other) = (lost.pool.clone(), PartitionId(7));
    pool.set_openings(other, vec![opening(u64::MAX)], 1);
    pool.arrive(offer("a", 1));
    assert!(
        pool.take(other, &queue(), &opening(u64::MAX)).is_none(),
        "the work of the partition comes first"
    );
    drop(lost);
    assert!(pool.take(other, &queue(), &opening(u64::MAX)).is_some());
}

/// Goal: a claim that its worker repeats is never used for other jobs: neither while what it was used for is
/// being committed, nor when it came into the pool again.
/// Method: two tasks wait, and a claim with one place is repeated at each moment.
#[test]
fn a_repeated_claim_is_used_once() {
    let mut whole = Installation::new(100_000);
    whole.submit("one");
    whole.submit("two");
    let claim = offer("a", 1);
    whole.claim(claim.clone());
    whole.decide();
    assert_eq!(whole.core.repeated(claim.id).map(|jobs| jobs.len()), Some(0), "it is decided");
    assert!(whole.close());
    assert_eq!(whole.core.repeated(claim.id).map(|jobs| jobs.len()), Some(0), "it is on its way");
    whole.commit();
    let issued = whole.core.take_issued();
    let jobs = names(&issued[0].jobs);
    assert_eq!(names(&whole.core.repeated(claim.id).expect("it was used")), jobs);
    whole.claim(claim);
    whole.settle();
    let again = whole.core.take_issued();
    assert_eq!(names(&again[0].jobs), jobs, "the same jobs, and no others");
}

/// Goal: a worker that repeats its claim gets the job also from an owner that issued it for its predecessor.
/// Method: with one turn in each record an owner dies when its queue has used a claim, and before the task
/// has issued the job.
#[test]
fn the_job_of_a_claim_is_known_to_the_next_owner() {
    let mut whole = Installation::new(1);
    whole.submit("one");
    let claim = offer("a", 1);
    whole.claim(claim.clone());
    whole.decide();
    assert!(whole.close());
    whole.commit();
    whole.is_taken_over();
    assert!(whole.core.repeated(claim.id).is_none(), "no job is issued");
    whole.settle();
    assert_eq!(names(&whole.core.repeated(claim.id).expect("it was used")), ["one/1"]);
}
