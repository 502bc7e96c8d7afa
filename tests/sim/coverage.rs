//! Which faults happened and which paths were reached, so that a quiet simulation is noticed.

use std::collections::BTreeMap;

/// Lists each variant once; [`Reached::ALL`] follows from it.
macro_rules! reached {
    ($($name:ident,)*) => {
        /// Something that the runs together must reach.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reached { $($name,)* }

        impl Reached {
            /// Everything that the default runs must reach.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

reached! {
    AppendLost,
    AppendAnswerLost,
    AppendLate,
    AppendRefused,
    DiedAtPoint,
    HostDied,
    LoopDied,
    HostFroze,
    RenewalLost,
    HostMissed,
    Rebalanced,
    ClockSet,
    TimeJumped,
    AskLost,
    AnswerLost,
    MailLost,
    MailTwice,
    MailLate,
    BatchLost,
    BatchAnswerLost,
    DeadLost,
    DeadAnswerLost,
    ClaimLost,
    ClaimAnswerLost,
    ClaimUndelivered,
    ClaimRepeated,
    ClaimAnsweredAgain,
    ClaimPassed,
    ClaimRefused,
    ClaimComeAgain,
    ClaimBySeveral,
    WordLost,
    WorkerDoubled,
    WorkerReplaced,
    WorkerLost,
    JobStopped,
    IssueReturned,
    IssuedTooOften,
    StepRecorded,
    ImpostorRefused,
    LaneGoverned,
    LaneOpened,
    JobAdopted,
    LeaveRevoked,
    TreeHeld,
    QueryAnswered,
    QueryParked,
    QueryComeAgain,
    QueryNotOwner,
    SnapshotLost,
    SnapshotLate,
    LoadFailed,
    InboxAgain,
    HandOverUnheard,
    WorkerDied,
    ReportedTwice,
    WorkerSilent,
    Takeover,
    TakeoverContested,
    TakeoverTooLate,
    TakeoverFromSnapshot,
    TakeoverCompletedFanout,
    TwoOwners,
    AmbiguousWritten,
    AmbiguousNotWritten,
    ZombieFenced,
    ZombieFannedOut,
    Drained,
    DuplicateAnswered,
    AnsweredFromLog,
    ReusedIdRefused,
    MailSentAgain,
    MailRefusedAsKnown,
    PartialMark,
    BatchConflict,
    EntityFromSnapshot,
    EntityFromSnapshotAlone,
    SnapshotOvertaken,
    Passivated,
    StartRefused,
    AttemptExpired,
    InputAsked,
    PlanByAgent,
    TaskCompleted,
    TaskFailed,
    TaskCanceled,
    ScheduleFired,
    // A clock was set back, and a schedule goes on from the right time.
    ScheduleMoved,
    LetterRedriven,
    LetterReturned,
    LetterSubmittedAnew,
    RedriveCompleted,
    RedrivePaused,
    DrainStarted,
    OperatorActed,
    Halted,
    FollowedLate,
    HaltedJobGivenBack,
    HaltedWorkWithdrawn,
    HaltedEffectNotBegun,
    SubmissionHalted,
    DependencyIll,
    BreakerOpened,
    BreakerHalfOpened,
    BreakerClosed,
    EffectReconciled,
    Swept,
    BudgetReserved,
    BudgetExceeded,
    ReservationLapsed,
    LapsedCallCounted,
    ProbeGranted,
    ProbeDenied,
    LaneProbed,
    Poisoned,
    Forwarded,
    CapacityFull,
    BodyDetached,
}

/// How often each was reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<Reached, u64>,
}

impl Coverage {
    /// Counts one.
    pub fn note(&mut self, reached: Reached) {
        *self.counts.entry(reached).or_default() += 1;
    }
    /// Adds what another run reached.
    pub fn add(&mut self, other: &Self) {
        for (reached, count) in &other.counts {
            *self.counts.entry(*reached).or_default() += count;
        }
    }
    /// What no run reached.
    pub fn missing(&self) -> Vec<Reached> {
        Reached::ALL.iter().copied().filter(|reached| !self.counts.contains_key(reached)).collect()
    }
}
