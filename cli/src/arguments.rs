//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::commands;

/// Teams of software agents as durable actors on NATS JetStream.
///
/// Exit codes: 0 done; 1 it ran and the answer is no; 64 wrong arguments or settings; 65 bad input;
/// 66 not found; 69 nothing runs or answers; 70 a fault of the program; 73 a file can not be
/// written; 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "orrery", version, propagate_version = true, max_term_width = 100)]
pub struct Arguments {
    /// Where everything of this installation lies [default: .orrery].
    #[arg(long, global = true, env = "ORRERY_DATA_DIR", value_name = "DIR", help_heading = "Everywhere")]
    pub data_dir: Option<PathBuf>,
    /// A TOML file with settings; the environment (`ORRERY__SECTION__KEY`) wins over it.
    #[arg(long, global = true, env = "ORRERY_CONFIG", value_name = "FILE", help_heading = "Everywhere")]
    pub config: Option<PathBuf>,
    /// One JSON object a line instead of text for people.
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub json: bool,
    /// More on stderr: once for what happens, twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Everywhere")]
    pub verbose: u8,
    /// What to do.
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
    /// Give a goal, watch it done, and get the result.
    Run(commands::run::Arguments),
    /// List, show, watch, cancel, retry and answer tasks.
    Task(commands::task::Arguments),
    /// Show events, as they were or as they come.
    Events(commands::events::Arguments),
    /// Show an entity's state after each event, or decide its commands again.
    Replay(commands::replay::Arguments),
    /// Check hash chains, gaps, and derived streams against the log.
    Verify(commands::verify::Arguments),
    /// Write derived streams or read models again from the log.
    Rebuild(commands::rebuild::Arguments),
    /// Write everything into a directory, while the system runs or while it is down.
    Backup(commands::backup::Arguments),
    /// Bring a backup into an installation that has nothing yet, and verify it.
    Restore(commands::restore::Arguments),
    /// Move the events of task trees that ended long ago into files.
    Archive(commands::archive::Arguments),
    /// Show who can do what, and whether they live.
    Agents(commands::agents::Arguments),
    /// Show what starts by itself, and when.
    Schedules(commands::schedules::Arguments),
    /// Show what could not be done, and why.
    Dead(commands::dead::Arguments),
    /// Stop everything, a lane, an agent or a task, before its next effect.
    Halt(commands::halt::Arguments),
    /// Show what is halted, why, by whom and since when.
    Halts(commands::halt::List),
    /// Let what was halted go on, in stages.
    Resume(commands::halt::Resume),
    /// Show what waits and runs in each lane and what limits it; change its rules, pause it.
    Lanes(commands::lanes::Arguments),
    /// Show what may be called and what may not; open or close it by hand.
    Breakers(commands::breakers::Arguments),
    /// Show what the system did to keep itself well, and why.
    Heal(commands::heal::Arguments),
    /// Disturb the system on purpose, for a bounded time; where the settings allow it.
    Chaos(commands::chaos::Arguments),
    /// Check everything here; each check with a verdict and a fix.
    Doctor(commands::doctor::Arguments),
    /// Measure, beside a bare loop on the same server.
    Bench(commands::bench::Arguments),
    /// Show and check the settings, and change those that hold while the system runs.
    Config(commands::config::Arguments),
    /// Print completions for a shell.
    Completions(commands::completions::Arguments),
}
