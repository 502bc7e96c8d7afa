//! The entry point: the benchmarks and their options.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use bus_client::Profile;

use crate::error::Error;
use crate::installation::Installation;
use crate::report::{Figures, Report};
use crate::{budget, halt, handover, history, idle, machine, replay, resume, steps, task, turn, wake};

/// A benchmark.
#[derive(Debug, Clone)]
pub enum Bench {
    /// One command, one event, one reply; beside the bare loop.
    Turn,
    /// A task of one attempt with three recorded steps; beside the bare loop.
    Steps,
    /// A task of three steps, each done by the no-op agent; beside the bare loop.
    Task,
    /// Reading the log and the event stream back and folding it; beside a raw consumer.
    Replay,
    /// The time from the death of a partition's owner to the next reply.
    Resume {
        /// The command that starts an owner: a program with arguments, to which the owner's settings are
        /// appended as one more argument. The program passes that argument to [`crate::run_owner`].
        owner_command: Vec<OsString>,
    },
    /// The memory of idle entities.
    Idle {
        /// See [`Bench::Resume`].
        owner_command: Vec<OsString>,
    },
    /// The time from a halt of everything to the last effect that begins, under load.
    Halt,
    /// A tree of many jobs that uses up its budget.
    Budget,
    /// Entities that are woken from the streams, beside the same ones in memory.
    Wake {
        /// The number of entities.
        entities: u64,
    },
    /// Commands that are handed over, beside a bare publisher.
    Handover,
    /// The bytes that a run of a thousand tool calls stores for each of them.
    History,
    /// The bare loop only.
    Baseline,
}

/// Default number of entities of [`Bench::Wake`]: more than a host keeps in memory.
pub const WAKE_ENTITIES: u64 = 100_000;

/// The most hosts that share the partitions: one for each partition.
pub const HOSTS_MAX: usize = 8;

/// Receives progress lines.
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// The options of a benchmark.
#[derive(Clone)]
pub struct Options {
    /// The server's durability profile: `durable` or `fast`.
    pub profile: Profile,
    /// Seconds to measure each point, for Orrery and for the bare loop each.
    pub seconds: u64,
    /// Numbers of callers, instead of the benchmark's own.
    pub callers: Option<Vec<usize>>,
    /// The number of hosts that share the partitions in `turn`, `steps`, `task` and `handover`.
    pub hosts: usize,
    /// The `nats-server` program. Default: found as by `orrery up`.
    pub nats_server: Option<PathBuf>,
    /// The directory of the server's store. Default: a temporary directory, removed afterwards.
    pub data_dir: Option<PathBuf>,
    /// Receives progress lines.
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
    /// Sends a progress line.
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

/// The measurements of a benchmark, before the description of the machine is added.
pub(crate) struct Measured {
    pub results: Vec<Figures>,
    pub unit: &'static str,
    pub notes: Vec<&'static str>,
}

/// Runs a benchmark on a private server, and reports.
///
/// Fails when the server, the host or the bare loop fail, or when a reply is not the expected one: figures
/// measured beside an error are worthless.
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
        Bench::History => history::run(&installation, &options).await?,
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
    /// The benchmark's name on the command line.
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
            Self::History => "history",
            Self::Baseline => "baseline",
        }
    }
}
