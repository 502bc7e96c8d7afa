//! The front page: which benchmarks there are, and what can be chosen.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use bus_client::Profile;

use crate::error::Error;
use crate::installation::Installation;
use crate::report::{Line, Report};
use crate::{budget, halt, handover, idle, machine, replay, resume, steps, task, turn, wake};

/// What is measured.
#[derive(Debug, Clone)]
pub enum Bench {
    /// One command, one event, one answer; beside the bare loop.
    Turn,
    /// A task of one attempt with three recorded steps; beside the bare loop.
    Steps,
    /// A task of three steps, each done by the no-op agent; beside the bare loop.
    Task,
    /// Reading the log and the event stream back and folding it; beside a raw consumer.
    Replay,
    /// From the death of an owner to the next answer.
    Resume {
        /// Starts an owner: a program with arguments, to which the owner's settings are appended as
        /// one more argument. The program hands that argument to [`crate::run_owner`].
        owner_command: Vec<OsString>,
    },
    /// The memory that entities take which nobody uses.
    Idle {
        /// As in [`Bench::Resume`].
        owner_command: Vec<OsString>,
    },
    /// From a halt of everything to the last effect that begins, under load.
    Halt,
    /// A tree of many jobs that uses up its budget.
    Budget,
    /// Entities that are woken, beside the same ones in memory.
    Wake {
        /// How many entities there are.
        entities: u64,
    },
    /// Commands that are handed over; beside a bare publisher.
    Handover,
    /// The bare loop alone.
    Baseline,
}

/// Entities of [`Bench::Wake`] when nothing else is said: more than a host keeps in memory.
pub const WAKE_ENTITIES: u64 = 100_000;

/// Hosts that share the partitions: as many as there are partitions.
pub const HOSTS_MAX: usize = 8;

/// Where progress lines go.
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// What can be chosen.
#[derive(Clone)]
pub struct Options {
    /// The server's profile: `durable` or `fast`.
    pub profile: Profile,
    /// How long each point is measured, in seconds, for Orrery and for the bare loop each.
    pub seconds: u64,
    /// Numbers of callers, instead of the benchmark's own.
    pub callers: Option<Vec<usize>>,
    /// How many hosts share the partitions in `turn`, `steps`, `task` and `handover`.
    pub hosts: usize,
    /// The `nats-server` program; found as `orrery up` finds it when none is given.
    pub nats_server: Option<PathBuf>,
    /// Where the server keeps its store; a temporary directory, removed afterwards, when none is given.
    pub data_dir: Option<PathBuf>,
    /// Told what is being done.
    pub progress: Option<Progress>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            profile: Profile::Durable,
            seconds: 5,
            callers: None,
            hosts: 1,
            nats_server: None,
            data_dir: None,
            progress: None,
        }
    }
}

impl Options {
    /// Says what is being done.
    pub(crate) fn say(&self, line: &str) {
        if let Some(progress) = &self.progress {
            progress(line);
        }
    }
    /// The chosen numbers of callers, or the benchmark's own.
    pub(crate) fn callers_or(&self, own: &[usize]) -> Vec<usize> {
        self.callers.clone().unwrap_or_else(|| own.to_vec())
    }
    fn check(&self) -> Result<(), Error> {
        if self.profile == Profile::Replicated {
            let reason = "the benchmarks start one server of their own; choose `durable` or `fast`";
            return Err(Error::Option { option: "profile", reason });
        }
        if self.seconds == 0 {
            return Err(Error::Option { option: "seconds", reason: "at least 1" });
        }
        if !(1..=HOSTS_MAX).contains(&self.hosts) {
            return Err(Error::Option { option: "hosts", reason: "1 to 8" });
        }
        if self.callers.as_ref().is_some_and(|callers| callers.is_empty() || callers.contains(&0)) {
            return Err(Error::Option { option: "callers", reason: "at least one caller" });
        }
        Ok(())
    }
}

/// What a benchmark measured, before the machine is described.
pub(crate) struct Measured {
    pub results: Vec<Line>,
    pub unit: &'static str,
    pub notes: Vec<&'static str>,
}

/// Runs a benchmark on a server of its own and reports.
///
/// Fails when the server, the host or the bare loop fail, or when an answer is not the expected one:
/// a figure that was measured beside an error is none.
pub async fn run(bench: Bench, options: Options) -> Result<Report, Error> {
    options.check()?;
    let began = machine::load();
    let installation = Installation::start(&options).await?;
    let server_version = installation.server_version().await?;
    let measured = match &bench {
        Bench::Turn => turn::run(&installation, &options).await?,
        Bench::Steps => steps::run(&installation, &options).await?,
        Bench::Task => task::run(&installation, &options).await?,
        Bench::Replay => replay::run(&installation, &options).await?,
        Bench::Resume { owner_command } => resume::run(&installation, &options, owner_command).await?,
        Bench::Idle { owner_command } => idle::run(&installation, &options, owner_command).await?,
        Bench::Halt => halt::run(&installation, &options).await?,
        Bench::Budget => budget::run(&installation, &options).await?,
        Bench::Wake { entities } => wake::run(&installation, &options, *entities).await?,
        Bench::Handover => handover::run(&installation, &options).await?,
        Bench::Baseline => turn::run_baseline(&installation, &options).await?,
    };
    installation.stop().await;
    let mut notes = measured.notes;
    notes.extend((options.hosts > 1).then_some("several hosts in one process share the partitions"));
    Ok(Report {
        bench: bench.name(),
        profile: options.profile.as_str(),
        fsync: options.profile.fsync(),
        server_version,
        cores: machine::cores(),
        results: measured.results,
        unit: measured.unit,
        load: [began, machine::load()],
        notes,
    })
}

impl Bench {
    /// The word on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Steps => "steps",
            Self::Task => "task",
            Self::Replay => "replay",
            Self::Resume { .. } => "resume",
            Self::Idle { .. } => "idle",
            Self::Halt => "halt",
            Self::Budget => "budget",
            Self::Wake { .. } => "wake",
            Self::Handover => "handover",
            Self::Baseline => "baseline",
        }
    }
}
