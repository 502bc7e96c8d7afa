//! The `orrery` binary: reads arguments and settings, runs one verb, and exits with its code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use actors_host::Config;
use actors_host::telemetry::{self, Logs};
use orrery_cli::arguments::{Arguments, Verb};
use orrery_cli::client::{self, Client};
use orrery_cli::commands;
use orrery_cli::failure::{Failure, exit};
use orrery_cli::output::{self, Output};
use orrery_cli::session::Session;
use orrery_cli::usage::{self, Stop};

/// With the C library's allocator a host spent a third of its time allocating, and its memory was fragmented
/// by threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if actors_report::parsed_instead() || actors_sandbox::kept_instead() {
        return ExitCode::SUCCESS;
    }
    // Files written here and by the server hold what tasks are about: only their owner may read them.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let arguments = match usage::read(std::env::args_os().collect()) {
        Ok(arguments) => arguments,
        Err(Stop::Help(text)) => {
            // Nothing can be done when even this cannot be printed.
            let _ = text.print();
            return ExitCode::SUCCESS;
        }
        Err(Stop::Wrong { failure, json }) => return ended(Err(failure), Output::new(json)),
    };
    let output = Output::new(arguments.json);
    client::call_as(arguments.caller.as_deref());
    let (mut config, mistakes) = Config::read(arguments.config.as_deref(), std::env::vars());
    if let Some(data_dir) = &arguments.data_dir {
        config.data_dir.clone_from(data_dir);
    }
    if !mistakes.is_empty() {
        match &arguments.verb {
            Verb::Config(verb) if verb.shows() => {
                // The mistakes follow.
                let _ = commands::config::run(&config, verb, output);
            }
            // A user may look up the code of the mistakes before correcting them.
            Verb::Explain(verb) => return ended(commands::explain::run(verb, output), output),
            _ => {}
        }
        return ended(commands::config::refuse(&mistakes, output), output);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a process can start threads");
    let guard = telemetry::init(&config, logs(&config, &arguments));
    actors_host::panics::install(&config);
    let result = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            tokio::select! {
                result = run(config, arguments.verb, output) => result,
                // A server that the verb has started ends with it.
                () = output::closed() => Ok(()),
            }
        })
    }));
    runtime.shutdown_background();
    drop(guard);
    // The panic's message and place were logged, and the log names the report.
    let fault = |_| {
        Err(Failure::new("internal-error", "the program met a fault of its own and stopped")
            .next("report it with the crash report that the log names")
            .exit(exit::SOFTWARE))
    };
    ended(result.unwrap_or_else(fault), output)
}

fn ended(result: Result<(), Failure>, output: Output) -> ExitCode {
    if let Some(code) = output::closed_with() {
        return ExitCode::from(code);
    }
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.fail(&failure);
            ExitCode::from(failure.exit)
        }
    }
}

async fn run(config: Config, verb: Verb, output: Output) -> Result<(), Failure> {
    let client = || Client::connect(&config);
    match verb {
        Verb::Up(arguments) => commands::up::run(config, &arguments, output).await,
        Verb::Down(_) => commands::down::run(&config, output).await,
        Verb::Run(arguments) => commands::run::run(config, arguments, output).await,
        Verb::Plan(arguments) => commands::run::plan(config, arguments, output).await,
        Verb::Tasks(arguments) => commands::tasks::run(&client()?, arguments, output).await,
        Verb::Fork(arguments) => commands::tasks::fork::run(&client()?, arguments, output).await,
        Verb::Agents(arguments) => commands::agents::run(&client()?, arguments, output).await,
        Verb::Schedules(arguments) => commands::schedules::run(&client()?, arguments, output).await,
        Verb::Approvals(arguments) => commands::approvals::run(&client()?, arguments, output).await,
        Verb::Changes(arguments) => commands::changes::run(&client()?, arguments, output).await,
        Verb::DeadLetters(arguments) => commands::dead_letters::run(&client()?, arguments, output).await,
        Verb::Redrives(arguments) => commands::redrives::run(&client()?, arguments, output).await,
        Verb::Breakers(arguments) => commands::breakers::run(&client()?, arguments, output).await,
        Verb::Halt(arguments) => commands::halt::halt(&config, arguments, output).await,
        Verb::Halts(page) => commands::halt::list(&client()?, page, output).await,
        Verb::Resume(arguments) => commands::halt::resume(&config, arguments, output).await,
        Verb::Lanes(arguments) => commands::lanes::run(&client()?, arguments, output).await,
        Verb::Settings(arguments) => commands::settings::run(&client()?, arguments, output).await,
        Verb::Chaos(arguments) if arguments.reads() => {
            stored(&config, async |session| commands::chaos::run(session, arguments, output).await).await
        }
        Verb::Chaos(arguments) => {
            commands::chaos::run(&Session::connect(&config).await?, arguments, output).await
        }
        Verb::Heal(arguments) => commands::heal::run(&config, arguments, output).await,
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
        Verb::Ledger(arguments) => commands::ledger::run(&config, arguments, output).await,
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
        Verb::Explain(arguments) => commands::explain::run(&arguments, output),
        Verb::Manifest(arguments) => commands::manifest::run(&config, arguments, output).await,
        Verb::Sandbox(arguments) => commands::sandbox::run(&config, arguments, output).await,
        Verb::Bench(arguments) => commands::bench::run(&config, arguments, output).await,
        Verb::Prompts(arguments) => commands::prompts::run(&config, &arguments, output),
        Verb::Config(arguments) => commands::config::run(&config, &arguments, output),
        Verb::Completions(arguments) => commands::completions::run(&arguments, output),
    }
}

/// Runs a verb that can also read the store of a system that does not run.
async fn stored(
    config: &Config,
    verb: impl AsyncFnOnce(&Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let session = Session::open(config).await?;
    let result = session.unless_interrupted(verb(&session)).await;
    session.close().await;
    result
}

/// `up` logs to stderr. All other verbs are short and a person reads their stderr: only errors are logged
/// there. `run` logs into a file, since it draws its progress.
fn logs(config: &Config, arguments: &Arguments) -> Logs {
    let filter = match (arguments.verbose, &arguments.verb) {
        (0, Verb::Up(_) | Verb::Run(_) | Verb::Plan(_)) => None,
        (0, Verb::Sandbox(arguments)) if arguments.serves() => None,
        // Waiting is said: a verb that is silent for a minute looks as if it hung.
        (0, _) => Some("error,bus_client::trouble=warn"),
        (1, _) => Some("info"),
        _ => Some("debug"),
    };
    let file = match arguments.verb {
        Verb::Run(_) | Verb::Plan(_) if arguments.verbose == 0 => commands::run::log_file(&config.data_dir),
        _ => None,
    };
    Logs { json: arguments.json, file, filter }
}
