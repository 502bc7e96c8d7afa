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
    /// Show the plan of a goal and why it is this one; nothing of it is done.
    Plan(commands::run::PlanArguments),
    /// List, show, watch, cancel, retry and answer tasks.
    Tasks(commands::tasks::Arguments),
    /// Fork a task: a new one goes on from what it had at a revision.
    Fork(commands::tasks::fork::Arguments),
    /// Show past events, or follow new ones.
    Events(commands::events::Arguments),
    /// Show an entity's state after each event, or decide its recorded commands again and compare.
    Replay(commands::replay::Arguments),
    /// Check hash chains, gaps, and the derived streams against the log.
    Verify(commands::verify::Arguments),
    /// Export the effects and approvals as a signed file that anybody can verify offline.
    Ledger(commands::ledger::Arguments),
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
    /// Show schedules and when each fires next; create, pause, resume and delete them.
    Schedules(commands::schedules::Arguments),
    /// Show what waits for a person; approve or reject it.
    Approvals(commands::approvals::Arguments),
    /// Show changes of repositories; schedule or cancel one.
    #[command(visible_alias = "change")]
    Changes(commands::changes::Arguments),
    /// Show dead letters: what could not be processed, and why; edit, redrive or drop them.
    DeadLetters(commands::dead_letters::Arguments),
    /// Redrive many dead letters at a rate; show progress, pause, resume or cancel.
    Redrives(commands::redrives::Arguments),
    /// Halt everything, a lane, an agent or a task: no effect begins after it.
    Halt(commands::halt::Arguments),
    /// Show what is halted, why, by whom and since when.
    Halts(commands::halt::List),
    /// Resume a halted scope: work begins again gradually.
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
    /// Check the manifest of a run: its artifacts, prompts, images and inputs.
    Manifest(commands::manifest::Arguments),
    /// Build and show the images of the sandbox, and run one program in it.
    Sandbox(commands::sandbox::Arguments),
    /// Run benchmarks, each compared with a bare loop on the same server.
    Bench(commands::bench::Arguments),
    /// Show the prompts of the agents of this process: the versions that ship, and the operator's.
    Prompts(commands::prompts::Arguments),
    /// Show and change the settings that apply while the system runs.
    Settings(commands::settings::Arguments),
    /// Show and check a process's configuration, from its file and the environment.
    Config(commands::config::Arguments),
    /// Print a shell completion script.
    Completions(commands::completions::Arguments),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use gateway_api::routes;

    use super::Arguments;

    /// Endpoints whose path does not end with the verb, each with its verb on the command line.
    const VERBS: [(&str, &str, &str); 19] = [
        ("Post", "/v1/tasks", "tasks submit"),
        ("Post", "/v1/tasks/{id}/fork", "fork"),
        ("Get", "/v1/tasks/{id}/artifacts/{name}", "tasks artifact"),
        ("Get", "/v1/tasks/{id}/events", "tasks watch"),
        ("Get", "/v1/events", "events"),
        ("Put", "/v1/schedules/{name}", "schedules create"),
        ("Put", "/v1/agents/{name}/manifest", "agents load"),
        ("Post", "/v1/agents/{name}/manifest/check", "agents load"),
        ("Delete", "/v1/agents/{name}/manifest", "agents unload"),
        ("Put", "/v1/changes/{id}", "changes schedule"),
        ("Put", "/v1/dead-letters/{id}/payload", "dead-letters edit"),
        ("Post", "/v1/redrives", "redrives start"),
        ("Put", "/v1/settings/{name}", "settings propose"),
        ("Post", "/v1/healer/release", "heal release"),
        ("Post", "/v1/halts", "halt"),
        ("Get", "/v1/halts", "halts"),
        ("Post", "/v1/halts/{scope}/resume", "resume"),
        ("Patch", "/v1/lanes/{lane}", "lanes set"),
        // What became of a command is for programs: a verb waits for the reply to its own.
        ("Get", "/v1/commands/{id}", ""),
    ];

    /// The verb of an endpoint: from the table, or by the rule that the table makes exceptions to.
    fn verb(method: &str, path: &str) -> String {
        if let Some((_, _, verb)) = VERBS.iter().find(|(at, of, _)| (*at, *of) == (method, path)) {
            return (*verb).to_owned();
        }
        let mut steps = path.trim_start_matches("/v1/").split('/');
        let noun = steps.next().expect("a resource");
        let last = steps.next_back();
        match (method, last) {
            ("Get", None) => format!("{noun} list"),
            ("Delete", _) => format!("{noun} delete"),
            ("Get", Some(last)) if last.starts_with('{') => format!("{noun} show"),
            (_, Some(last)) => format!("{noun} {last}"),
            (_, None) => format!("{noun} {method}"),
        }
    }

    /// The name of a command for the entity behind an endpoint that changes something.
    fn command(path: &str, verb: &str) -> Option<(String, String)> {
        let noun = path.trim_start_matches("/v1/").split('/').next()?;
        let kind = if noun == "settings" { noun } else { noun.trim_end_matches('s') };
        let name = verb.rsplit(' ').next()?;
        // A lane's rules are in the settings `lanes`: the verb proposes a version of them.
        (verb != "lanes set").then(|| (kind.to_owned(), name.to_owned()))
    }

    #[test]
    fn a_verb_has_one_name_over_http_on_the_command_line_and_on_the_bus() {
        let program = Arguments::command();
        let mut checked = 0;
        for endpoint in routes::ALL.iter().filter(|endpoint| endpoint.path.starts_with("/v1/")) {
            let (method, path) = (format!("{:?}", endpoint.method), endpoint.path);
            let verb = verb(&method, path);
            if verb.is_empty() || path == "/v1/openapi.json" {
                continue;
            }
            let mut place = Some(&program);
            for word in verb.split(' ') {
                place =
                    place.and_then(|place| place.get_subcommands().find(|known| known.get_name() == word));
            }
            assert!(place.is_some(), "{method} {path}: there is no `orrery {verb}`");
            if let Some((kind, name)) = command(path, &verb).filter(|_| method != "Get") {
                let schemas = concat!(env!("CARGO_MANIFEST_DIR"), "/../bus-schemas/schemas/commands");
                let schema = std::fs::read_to_string(format!("{schemas}/{kind}.v1.json")).expect("a schema");
                let is_known = schema.contains(&format!("\"const\": \"{name}\""));
                assert!(is_known, "{method} {path}: `{kind}` has no command `{name}`");
            }
            checked += 1;
        }
        assert!(checked > 40, "{checked} endpoints");
        for (method, path, _) in VERBS {
            let is_known =
                routes::ALL.iter().any(|known| known.path == path && format!("{:?}", known.method) == method);
            assert!(is_known, "no endpoint is {method} {path}");
        }
    }

    /// The commands of this program in backticks, with what stands behind their verbs.
    fn named(text: &str) -> impl Iterator<Item = &str> {
        text.split('`').skip(1).step_by(2).filter_map(|code| {
            let command = code.trim_start_matches("target/debug/").strip_prefix("orrery ")?;
            command.starts_with(|c: char| c.is_ascii_lowercase()).then_some(command)
        })
    }

    /// Goal: whoever is told what to do next is told a command that exists. Method: each command in backticks, in the
    /// program's texts and in the documents, is looked for among the verbs.
    #[test]
    fn every_command_that_texts_name_exists() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let listed = std::process::Command::new("git").args(["ls-files"]).current_dir(&root).output();
        let listed = String::from_utf8(listed.expect("git").stdout).expect("names are text");
        let is_told = |name: &&str| {
            let product = name.ends_with(".rs") && !name.contains("tests") || name.ends_with(".toml");
            // What changed names what there was.
            (product || name.ends_with(".md") || name.ends_with(".yaml"))
                && !name.starts_with("docs/changes/")
        };
        let (program, mut checked) = (Arguments::command(), 0);
        for name in listed.lines().filter(is_told) {
            let Ok(text) = std::fs::read_to_string(root.join(name)) else { continue };
            for command in text.lines().flat_map(named) {
                let (mut verb, mut words) = (&program, command.split_whitespace().peekable());
                while let Some(word) = words.peek()
                    && let Some(known) = verb.find_subcommand(word)
                {
                    verb = known;
                    words.next();
                }
                let is_word = |word: &str| word.starts_with(|c: char| c.is_ascii_alphabetic());
                let is_part = verb.has_subcommands() && words.next().is_some_and(is_word);
                assert!(!is_part, "{name}: there is no `orrery {command}`");
                checked += 1;
            }
        }
        assert!(checked > 200, "{checked} commands");
    }
}
