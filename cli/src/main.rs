//! The `orrery` binary: reads arguments and settings, runs one verb, and ends with its exit code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use actors_host::Config;
use actors_host::telemetry::{self, Logs};
use orrery_cli::arguments::{Arguments, Verb};
use orrery_cli::commands;
use orrery_cli::failure::{Failure, exit};
use orrery_cli::output::Output;
use orrery_cli::session::Session;
use orrery_cli::usage::{self, Stop};

/// A third of a host's time went into the C library's allocator, and its memory was scattered over threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if actors_host::parsed_instead() {
        return ExitCode::SUCCESS;
    }
    // What is written here, and by the server that is started, holds what tasks are about: it is its owner's alone.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let arguments = match usage::read(std::env::args_os().collect()) {
        Ok(arguments) => arguments,
        Err(Stop::Help(text)) => {
            // Nothing can be done when even this can not be printed.
            let _ = text.print();
            return ExitCode::SUCCESS;
        }
        Err(Stop::Wrong { failure, json }) => return ended(Err(failure), Output::new(json)),
    };
    let output = Output::new(arguments.json);
    let (mut config, mistakes) = Config::read(arguments.config.as_deref(), std::env::vars());
    if let Some(data_dir) = &arguments.data_dir {
        config.data_dir.clone_from(data_dir);
    }
    if !mistakes.is_empty() {
        if let Verb::Config(verb) = &arguments.verb
            && verb.shows()
        {
            commands::config::run(&config, verb, output);
        }
        return ended(commands::config::refuse(&mistakes, output), output);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a process can start threads");
    let guard = telemetry::init(&config, logs(&config, &arguments));
    actors_host::panics::install(&config);
    let result = catch_unwind(AssertUnwindSafe(|| runtime.block_on(run(config, arguments.verb, output))));
    runtime.shutdown_background();
    drop(guard);
    // What panicked and where was logged, and the log names the report.
    let fault = |_| {
        Err(Failure::new("internal-error", "the program met a fault of its own and stopped")
            .next("report it with the crash report that the log names")
            .exit(exit::SOFTWARE))
    };
    ended(result.unwrap_or_else(fault), output)
}

fn ended(result: Result<(), Failure>, output: Output) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.fail(&failure);
            ExitCode::from(failure.exit)
        }
    }
}

async fn run(config: Config, verb: Verb, output: Output) -> Result<(), Failure> {
    match verb {
        Verb::Up(arguments) => commands::up::run(config, &arguments, output).await,
        Verb::Down(_) => commands::down::run(&config, output).await,
        Verb::Run(arguments) => commands::run::run(config, arguments, output).await,
        Verb::Task(arguments) => {
            live(&config, async |session| commands::task::run(session, arguments, output).await).await
        }
        Verb::Agents(arguments) => {
            live(&config, async |session| commands::agents::run(session, arguments, output).await).await
        }
        Verb::Schedules(arguments) => {
            live(&config, async |session| commands::schedules::run(session, arguments, output).await).await
        }
        Verb::Dead(arguments) => {
            live(&config, async |session| commands::dead::run(session, arguments, output).await).await
        }
        Verb::Breakers(arguments) => {
            live(&config, async |session| commands::breakers::run(session, arguments, output).await).await
        }
        Verb::Halt(arguments) => {
            live(&config, async |session| commands::halt::halt(session, arguments, output).await).await
        }
        Verb::Halts(_) => live(&config, async |session| commands::halt::list(session, output).await).await,
        Verb::Resume(arguments) => {
            live(&config, async |session| commands::halt::resume(session, arguments, output).await).await
        }
        Verb::Lanes(arguments) => {
            live(&config, async |session| commands::lanes::run(session, arguments, output).await).await
        }
        Verb::Chaos(arguments) => {
            let reads = arguments.reads();
            either(reads, &config, async |session| commands::chaos::run(session, arguments, output).await)
                .await
        }
        Verb::Heal(arguments) => {
            let reads = arguments.reads();
            either(reads, &config, async |session| commands::heal::run(session, arguments, output).await)
                .await
        }
        Verb::Events(arguments) => {
            stored(&config, async |session| commands::events::run(session, arguments, output).await).await
        }
        Verb::Replay(arguments) if arguments.against().is_some() => {
            commands::replay::against::check(&config, arguments, output).await
        }
        Verb::Replay(arguments) => {
            stored(&config, async |session| commands::replay::run(session, arguments, output).await).await
        }
        Verb::Verify(arguments) => {
            stored(&config, async |session| commands::verify::run(session, arguments, output).await).await
        }
        Verb::Rebuild(arguments) => {
            stored(&config, async |session| commands::rebuild::run(session, arguments, output).await).await
        }
        Verb::Backup(arguments) => {
            stored(&config, async |session| commands::backup::run(session, arguments, output).await).await
        }
        Verb::Restore(arguments) => commands::restore::run(&config, arguments, output).await,
        Verb::Archive(arguments) => {
            stored(&config, async |session| commands::archive::run(session, arguments, output).await).await
        }
        Verb::Doctor(arguments) => commands::doctor::run(&config, arguments, output).await,
        Verb::Bench(arguments) => commands::bench::run(&config, arguments, output).await,
        Verb::Config(arguments) => settings(&config, &arguments, output).await,
        Verb::Completions(arguments) => commands::completions::run(&arguments),
    }
}

/// Settings of the process, or those that change while the system runs.
async fn settings(
    config: &Config,
    arguments: &commands::config::Arguments,
    output: Output,
) -> Result<(), Failure> {
    let Some(verb) = arguments.live() else {
        commands::config::run(config, arguments, output);
        return Ok(());
    };
    live(config, async |session| commands::settings::run(session, verb, output).await).await
}

/// For verbs that need a system that runs.
async fn live(
    config: &Config,
    verb: impl AsyncFnOnce(&Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    verb(&Session::connect(config).await?).await
}

/// For verbs that can do with the store of a system that does not run.
async fn stored(
    config: &Config,
    verb: impl AsyncFnOnce(&Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let session = Session::open(config).await?;
    let result = session.unless_interrupted(verb(&session)).await;
    session.close().await;
    result
}

/// For verbs that need a system that runs unless they only read.
async fn either(
    reads: bool,
    config: &Config,
    verb: impl AsyncFnOnce(&Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if reads { stored(config, verb).await } else { live(config, verb).await }
}

/// `up` logs to stderr. Everything else is short, and a person reads its stderr: only trouble is
/// logged there, and `run` logs into a file, since it draws its progress.
fn logs(config: &Config, arguments: &Arguments) -> Logs {
    let filter = match (arguments.verbose, &arguments.verb) {
        (0, Verb::Up(_) | Verb::Run(_)) => None,
        // What is waited for is said: a verb that says nothing for a minute looks as if it hung.
        (0, _) => Some("error,bus_client::trouble=warn"),
        (1, _) => Some("info"),
        _ => Some("debug"),
    };
    let file = match arguments.verb {
        Verb::Run(_) if arguments.verbose == 0 => commands::run::log_file(&config.data_dir),
        _ => None,
    };
    Logs { json: arguments.json, file, filter }
}
