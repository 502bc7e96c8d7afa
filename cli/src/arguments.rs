//! The command-line arguments.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::commands;

/// Teams of software agents as durable actors on NATS JetStream.
///
/// Exit codes: 0 success; 1 the command ran and the result is negative (a task failed, a check found
/// something); 64 invalid arguments or settings; 65 invalid input; 66 not found; 69 the system does not run
/// or does not answer; 70 internal error; 73 a file cannot be written; 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "orrery", version, propagate_version = true, max_term_width = 100)]
pub struct Arguments {
    /// The directory with all data of the installation [default: .orrery].
    #[arg(long, global = true, env = "ORRERY_DATA_DIR", value_name = "DIR", help_heading = "Everywhere")]
    pub data_dir: Option<PathBuf>,
    /// A TOML file with settings. Environment variables (`ORRERY__SECTION__KEY`) override it.
    #[arg(long, global = true, env = "ORRERY_CONFIG", value_name = "FILE", help_heading = "Everywhere")]
    pub config: Option<PathBuf>,
    /// The caller's name, recorded in events: letters, digits, `-` and `_` [default: the user's name].
    #[arg(
        long = "as",
        global = true,
        env = "ORRERY_CALLER",
        value_name = "NAME",
        help_heading = "Everywhere"
    )]
    pub caller: Option<String>,
    /// Print one JSON object per line instead of text.
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub json: bool,
    /// Log more to stderr: `-v` for what happens, `-vv` for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Everywhere")]
    pub verbose: u8,
    /// The verb to run.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs, in the order in which a newcomer needs them.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start the system and run until told to stop.
    Up(commands::up::Arguments),
    /// Stop the system that runs on the data directory.
    Down(commands::down::Arguments),
    /// Submit a goal, watch its progress, and get the result.
    Run(commands::run::Arguments),
    /// List, show, watch, cancel, retry and answer tasks.
    Task(commands::task::Arguments),
    /// Show past events, or follow new ones.
    Events(commands::events::Arguments),
    /// Show an entity's state after each event, or decide its recorded commands again and compare.
    Replay(commands::replay::Arguments),
    /// Check hash chains, gaps, and the derived streams against the log.
    Verify(commands::verify::Arguments),
    /// Rebuild derived streams or read models from the log.
    Rebuild(commands::rebuild::Arguments),
    /// Back up the installation into a directory, while the system runs or while it is down.
    Backup(commands::backup::Arguments),
    /// Restore a backup into an empty installation, and verify it.
    Restore(commands::restore::Arguments),
    /// Move the events of task trees that ended long ago into archive files.
    Archive(commands::archive::Arguments),
    /// Show agents: their skills, and which of their workers are alive.
    Agents(commands::agents::Arguments),
    /// Show schedules and when each fires next; add, pause, resume and remove them.
    Schedules(commands::schedules::Arguments),
    /// Show dead letters: what could not be processed, and why; edit, redrive or drop them.
    DeadLetters(commands::dead_letters::Arguments),
    /// Redrive many dead letters at a rate; show progress, pause, resume or cancel.
    Redrives(commands::redrives::Arguments),
    /// Halt everything, a lane, an agent or a task: no effect begins after it.
    Halt(commands::halt::Arguments),
    /// Show what is halted, why, by whom and since when.
    Halts(commands::halt::List),
    /// Lift a halt: work resumes gradually.
    Resume(commands::halt::Resume),
    /// Show what waits and runs in each lane and what limits it; change its rules, pause it.
    Lanes(commands::lanes::Arguments),
    /// Show circuit breakers and why each is open or closed; open or close one by hand.
    Breakers(commands::breakers::Arguments),
    /// Show what the system did to heal itself, and why; release an entity from quarantine.
    Heal(commands::heal::Arguments),
    /// Run chaos experiments for a bounded time, where the settings allow it.
    Chaos(commands::chaos::Arguments),
    /// Check the machine, the server and the system: a verdict for each check, and a fix for each problem.
    Doctor(commands::doctor::Arguments),
    /// Explain an error code: what happened, why, and what to do.
    Explain(commands::explain::Arguments),
    /// Run benchmarks, each compared with a bare loop on the same server.
    Bench(commands::bench::Arguments),
    /// Show and change the settings that apply while the system runs.
    Settings(commands::settings::Arguments),
    /// Show and check a process's configuration, from its file and the environment.
    Config(commands::config::Arguments),
    /// Print a shell completion script.
    Completions(commands::completions::Arguments),
}
