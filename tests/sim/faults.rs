//! What goes wrong and how often, and the defects that mutation checks put into the model.

use crate::random::Random;

/// Probabilities in thousandths. A seed draws its own, many of them zero, so that rare combinations
/// meet in some runs and single faults act alone in others.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// An append does not reach the log.
    pub append_lost: u32,
    /// An append is written and its answer is lost.
    pub append_answer_lost: u32,
    /// An append arrives after its sender gave up waiting.
    pub append_late: u32,
    /// The server refuses an append for now.
    pub append_refused: u32,
    /// The host dies at a named place of the flow.
    pub dies_at_point: u32,
    /// The host dies at any moment (drawn once for each renewal of leases).
    pub host_dies: u32,
    /// A partition's loop ends with a fault, and its host takes the partition over again.
    pub loop_dies: u32,
    /// The host stands still for longer than its leases.
    pub host_freezes: u32,
    /// A renewal of a lease is lost.
    pub renewal_lost: u32,
    /// A host gives a partition away.
    pub rebalances: u32,
    /// A host's clock is set anew.
    pub clock_set: u32,
    /// Everything stands still, and time goes on.
    pub time_jumps: u32,
    /// An ask is lost.
    pub ask_lost: u32,
    /// An answer is lost.
    pub answer_lost: u32,
    /// A parcel or a receipt is lost.
    pub mail_lost: u32,
    /// A parcel arrives twice.
    pub mail_twice: u32,
    /// A parcel or a receipt overtakes others.
    pub mail_late: u32,
    /// A batch of events does not reach the stream.
    pub batch_lost: u32,
    /// A batch of events is stored and its answer is lost.
    pub batch_answer_lost: u32,
    /// A dead letter does not reach its stream.
    pub dead_lost: u32,
    /// A dead letter is stored and its answer is lost.
    pub dead_answer_lost: u32,
    /// A claim does not reach a host.
    pub claim_lost: u32,
    /// The answer to a claim is lost, and nobody hears so.
    pub claim_answer_lost: u32,
    /// What hosts tell each other of claims and of work without places is lost.
    pub word_lost: u32,
    /// A snapshot is not stored.
    pub snapshot_lost: u32,
    /// A snapshot is stored late, perhaps over a newer one.
    pub snapshot_late: u32,
    /// An entity cannot be loaded for now.
    pub load_fails: u32,
    /// The inbox is read again from an earlier place.
    pub inbox_again: u32,
    /// The acknowledgement of a hand-over is lost.
    pub hand_over_unheard: u32,
    /// A worker dies.
    pub worker_dies: u32,
    /// A worker reports twice.
    pub reports_twice: u32,
    /// A worker forgets to renew.
    pub worker_silent: u32,
    /// A worker is started again while its former process goes on.
    pub worker_doubles: u32,
    /// A host or worker hears late of a halt or a breaker.
    pub halt_late: u32,
    /// A dependency falls ill: the calls of jobs fail.
    pub dependency_ill: u32,
    /// An operator halts something, or resumes what stands still.
    pub operator_halts: u32,
}

impl Faults {
    /// The faults of one run.
    pub fn drawn(random: &mut Random) -> Self {
        let mut often = |most: u64| if random.chance(600) { random.between(1, most) as u32 } else { 0 };
        Self {
            append_lost: often(80),
            append_answer_lost: often(120),
            append_late: often(60),
            append_refused: often(80),
            dies_at_point: often(12),
            host_dies: often(60),
            loop_dies: often(60),
            host_freezes: often(60),
            renewal_lost: often(300),
            rebalances: often(60),
            clock_set: often(60),
            time_jumps: often(8),
            ask_lost: often(150),
            answer_lost: often(150),
            mail_lost: often(250),
            mail_twice: often(250),
            mail_late: often(250),
            batch_lost: often(150),
            batch_answer_lost: often(150),
            dead_lost: often(150),
            dead_answer_lost: often(150),
            claim_lost: often(200),
            claim_answer_lost: often(200),
            word_lost: often(250),
            snapshot_lost: often(400),
            snapshot_late: often(400),
            load_fails: often(100),
            inbox_again: often(150),
            hand_over_unheard: often(250),
            worker_dies: often(250),
            reports_twice: often(250),
            worker_silent: often(250),
            worker_doubles: often(60),
            halt_late: often(300),
            dependency_ill: often(30),
            operator_halts: often(40),
        }
    }
}

/// A deliberate defect of the modelled surroundings: each must be noticed by the invariant that is
/// there for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// The log takes a record whatever last sequence it expects.
    LogIgnoresExpectation,
    /// Callers hear of a record that is only on its way.
    RepliesBeforeCommit,
    /// A host takes a conflict for its own success.
    ConflictTakenForSuccess,
    /// The mark says one record more than the batch holds.
    MarkMovesAhead,
    /// The event stream takes a batch whatever mark it expects.
    StreamIgnoresMark,
    /// A successor does not know which mail was applied.
    TakeoverForgetsMail,
    /// A successor does not know which commands were applied.
    TakeoverForgetsIds,
    /// A successor does not know one entity that has events.
    TakeoverForgetsAnEntity,
    /// A partition's snapshot holds no timers.
    SnapshotLosesTimers,
    /// The loop looks for the quiet moment of a snapshot only after it has decided what waits.
    SnapshotAfterDeciding,
    /// An entity's snapshot claims that the events up to now are in it, and holds an older state.
    SnapshotClaimsMore,
    /// An entity is what its snapshot says, whatever its last event is.
    StaleSnapshotsTakenForCurrent,
    /// An entity's snapshot holds a turn that is not committed.
    SnapshotsBeforeCommit,
    /// The inbox is trimmed up to what was read.
    InboxTrimmedEarly,
    /// Dead letters count as out before they are.
    DeadCountedOutEarly,
    /// The network gives a parcel that arrives again new numbers.
    ParcelsRenumbered,
    /// A receiver confirms mail that is only queued.
    ReceiptBeforeCommit,
    /// The inbox acknowledges a hand-over that it does not store.
    HandOversNotStored,
    /// An owner refuses an id that it knows, instead of giving the first answer.
    RepeatsRefused,
    /// An entity is loaded without its last event.
    LoadsLoseAnEvent,
    /// An entity is loaded at its revision, and with the state of one that nothing happened to.
    LoadsLoseState,
    /// An entity whose history is sound is taken for one that cannot be read.
    LoadsStopEntities,
    /// A record holds durable commands in another order than the inbox.
    RecordsReorderInbox,
    /// A timer stays set when it has fired.
    FiredTimersStay,
    /// No owner ever hears that a timer is due.
    TimersNeverFire,
    /// The stream of dead letters acknowledges one that it does not store.
    DeadLettersNotStored,
    /// A host whose lease is over answers queries.
    TenureNeverEnds,
    /// A query is answered with what is not committed.
    ViewsAtOnce,
    /// The clock that never goes back stands still.
    SteadyClockStands,
    /// A claim stays in the pool when it is used.
    ClaimsStayInPool,
    /// No host passes a claim on.
    ClaimsStayAtTheirHost,
    /// A worker begins its jobs without asking whether they are its own.
    WorkersBeginAtOnce,
    /// Workers hear of halts, and go on.
    WorkersIgnoreHalts,
    /// Hosts hear of halts, and go on.
    HostsIgnoreHalts,
}
