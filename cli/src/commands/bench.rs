//! `orrery bench`: throughput and latency on this machine, beside a bare loop on the same server.

pub mod repair;
pub mod sandbox;

use std::ffi::OsString;
use std::sync::Arc;

use actors_host::Config;
use bus_client::Profile;
use bus_schemas::chain;
use clap::ValueEnum;
use orrery_bench::{Bench, Figures, HOSTS_MAX, Options, Report, WAKE_ENTITIES};

use crate::commands::up::interrupted;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show, table};

/// What to measure, and how.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The benchmark to run
    #[arg(value_enum)]
    which: Which,
    /// The durability profile, which says what an acknowledgement means: `durable` or `fast`
    #[arg(long, default_value = "durable")]
    profile: Profile,
    /// Seconds to measure each point, for Orrery and for the bare loop each, 1 to 3600
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Numbers of concurrent callers, instead of the benchmark's own
    #[arg(long, value_delimiter = ',', value_name = "N,…")]
    callers: Option<Vec<usize>>,
    /// For `turn`, `steps`, `task` and `handover`: the number of hosts that share the partitions, 1 to 8
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = hosts)]
    hosts: usize,
    /// For `wake`: the number of entities
    #[arg(long, value_name = "N", default_value_t = WAKE_ENTITIES)]
    entities: u64,
    /// For `sandbox`: runs of each case, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    samples: u16,
    #[command(flatten)]
    repair: repair::RepairArguments,
    /// For `owner` only: what the benchmark passes to the process that it kills
    #[arg(hide = true)]
    settings: Option<String>,
}

fn hosts(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=HOSTS_MAX).contains(number));
    number.ok_or_else(|| format!("a number from 1 to {HOSTS_MAX}"))
}

/// A benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// One command, one event, one reply
    Turn,
    /// A task of one attempt with three recorded steps
    Steps,
    /// A plan of three steps, each a task of its own that the no-op agent does
    Task,
    /// Reading the whole log and folding it
    Replay,
    /// The time from the death of a partition's owner to the next reply
    Resume,
    /// The memory of idle entities
    Idle,
    /// The time from a halt of everything to the last effect that begins, under load
    Halt,
    /// A tree of many jobs that uses up its budget: the cost of a call, and how far the budget is exceeded
    Budget,
    /// Waking entities from the streams, beside the same entities in memory
    Wake,
    /// Commands that are stored before they are acknowledged, beside a bare publisher into as many streams
    Handover,
    /// The bytes that a run of a thousand tool calls stores for each of them
    History,
    /// Seeded bugs in packages of Python, repaired in the sandbox by a model or by scripted answers
    Repair,
    /// The bare loop only
    Baseline,
    /// Programs in containers: first output in a new one and in one that waited, and the time to kill it
    Sandbox,
    /// A host, for the benchmarks that kill one
    #[value(hide = true)]
    Owner,
}

impl Show for Report {
    fn text(&self) -> String {
        let Self { bench, profile, fsync, server_version, cores, unit, load, .. } = self;
        let head = format!(
            "{bench}: profile {profile}, fsync {fsync}, nats-server {server_version}, {cores} cores, load {} → {}\nper_s counts {unit}",
            load[0], load[1]
        );
        let rows: Vec<Vec<String>> = self.results.iter().map(row).collect();
        let heading = [
            "CALLERS",
            "CASE",
            "PER_S",
            "P50_US",
            "P99_US",
            "BARE_PER_S",
            "BARE_P50_US",
            "RATIO",
            "RATIO_P50",
        ];
        let mut lines = vec![head, table(&heading, &rows)];
        for line in self.results.iter().filter(|line| line.entities.is_some()) {
            let (entities, each) = (line.entities.unwrap_or(0), line.bytes_per_entity.unwrap_or(0.0));
            let rss = line.rss_bytes.unwrap_or(0);
            lines.push(format!("{entities} entities: {rss} bytes resident, {each} for each"));
        }
        for line in &self.results {
            let (case, calls) = (line.case.unwrap_or_default(), line.samples.unwrap_or_default());
            lines.extend(
                line.bytes_per_call.map(|bytes| format!("{case}: {bytes} bytes a call, {calls} calls")),
            );
        }
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines.join("\n")
    }
}

fn row(line: &Figures) -> Vec<String> {
    let figure = |figure: Option<f64>| figure.map(|figure| figure.to_string()).unwrap_or_default();
    vec![
        line.callers.map(|callers| callers.to_string()).unwrap_or_default(),
        line.case.unwrap_or_default().to_owned(),
        figure(line.per_s),
        figure(line.p50_us),
        figure(line.p99_us),
        figure(line.baseline_per_s),
        figure(line.baseline_p50_us),
        figure(line.ratio_per_s),
        figure(line.ratio_p50),
    ]
}

/// Measures on a private server.
pub async fn run(config: &Config, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(|error| {
        Failure::of("bench-failed", &error).next("call the program by a path that still exists")
    })?;
    let owner_command = vec![program.into_os_string(), OsString::from("bench"), OsString::from("owner")];
    let bench = match arguments.which {
        Which::Turn => Bench::Turn,
        Which::Steps => Bench::Steps,
        Which::Task => Bench::Task,
        Which::Replay => Bench::Replay,
        Which::Resume => Bench::Resume { owner_command },
        Which::Idle => Bench::Idle { owner_command },
        Which::Halt => Bench::Halt,
        Which::Budget => Bench::Budget,
        Which::Wake => Bench::Wake { entities: arguments.entities },
        Which::Handover => Bench::Handover,
        Which::History => Bench::History,
        Which::Repair => return repair::run(config, arguments.repair, output).await,
        Which::Baseline => Bench::Baseline,
        Which::Sandbox => return sandbox::run(config, usize::from(arguments.samples), output).await,
        Which::Owner => {
            let settings = arguments.settings.unwrap_or_default();
            return orrery_bench::run_owner(&settings).await.map_err(|error| failed(&error));
        }
    };
    let options = Options {
        profile: arguments.profile,
        seconds: arguments.seconds,
        callers: arguments.callers,
        hosts: arguments.hosts,
        nats_server: config.nats_server.clone(),
        progress: Some(Arc::new(move |line: &str| output.say(line))),
        ..Options::default()
    };
    // An interruption drops the server and the owners that were started: they end with it.
    let report = tokio::select! {
        report = orrery_bench::run(bench, options) => report.map_err(|error| failed(&error))?,
        () = interrupted() => return Err(stopped("`--seconds` makes it shorter")),
    };
    output.show(&report);
    Ok(())
}

fn stopped(shorter: &str) -> Failure {
    Failure::new("interrupted", "nothing was measured to its end")
        .next(format!("the same command measures anew; {shorter}"))
        .exit(exit::INTERRUPTED)
}

fn failed(error: &orrery_bench::Error) -> Failure {
    if matches!(error, orrery_bench::Error::Option { .. }) {
        let failure = Failure::new("bad-option", chain(error)).exit(exit::USAGE);
        return failure.next("`orrery bench --help` says what each option can be");
    }
    Failure::new("bench-failed", chain(error))
        .next("`orrery doctor` checks what the benchmarks need; a busy machine can also be the reason")
        .exit(exit::SOFTWARE)
}
