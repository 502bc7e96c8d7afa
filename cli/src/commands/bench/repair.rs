//! `orrery bench repair`: how many seeded bugs the loop repairs.

use std::path::PathBuf;
use std::sync::Arc;

use actors_host::Config;
use orrery_bench::{PARALLEL_MAX, RepairOptions, RepairReport, SeededBug, repair, seeded_bugs};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{failed, stopped};
use crate::commands::up::interrupted;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show, table};
use crate::tools;

/// What to repair, and with what.
#[derive(Debug, clap::Args)]
pub struct RepairArguments {
    /// For `repair`: the file of the models to ask, instead of the setting `models`; with neither, answers are scripted
    #[arg(long, value_name = "FILE")]
    models: Option<PathBuf>,
    /// For `repair`: names of bugs or packages, instead of the whole set
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    only: Vec<String>,
    /// For `repair`: list the bugs and repair none
    #[arg(long)]
    list: bool,
    /// For `repair`: bugs at once, 1 to 3
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = parallel)]
    parallel: usize,
    /// For `repair`: the folder of the packages
    #[arg(long, value_name = "DIR", default_value = ".tools/packages")]
    packages: PathBuf,
}

fn parallel(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=PARALLEL_MAX).contains(number));
    number.ok_or_else(|| format!("a number from 1 to {PARALLEL_MAX}"))
}

/// The bugs of the set.
#[derive(Debug, Serialize, JsonSchema)]
pub struct List {
    /// The bugs, in order.
    bugs: Vec<SeededBug>,
}

impl Show for List {
    fn text(&self) -> String {
        let row = |bug: &SeededBug| vec![bug.bug.clone(), bug.file.clone(), bug.fails.to_string()];
        table(&["BUG", "FILE", "FAILING TESTS"], &self.bugs.iter().map(row).collect::<Vec<_>>())
    }
}

impl Show for RepairReport {
    fn text(&self) -> String {
        let heading = ["BUG", "REPAIRED", "VERDICT", "ROUNDS", "REFUSED", "TESTS", "SECONDS", "WHY NOT"];
        let rows: Vec<Vec<String>> = self.results.iter().map(row).collect();
        let who = match self.answers {
            "scripted" => "scripted answers (a figure of the loop, and of no model)".to_owned(),
            _ => format!("answers of {}", self.providers.join(", ")),
        };
        let Self { repaired, bugs, rounds, seconds, cores, load, .. } = self;
        let sum = format!(
            "{who}: {repaired} of {bugs} repaired in {rounds} rounds; refused: {}\n{seconds} s, {cores} cores, load {} → {}",
            counted(&self.refused),
            load[0],
            load[1]
        );
        [table(&heading, &rows), sum].join("\n")
    }
}

fn row(result: &orrery_bench::RepairResult) -> Vec<String> {
    vec![
        result.bug.clone(),
        if result.repaired { "yes" } else { "no" }.to_owned(),
        result.verdict.clone(),
        result.rounds.to_string(),
        counted(&result.refused),
        result.tests.to_string(),
        result.seconds.to_string(),
        result.wrong.clone().unwrap_or_default(),
    ]
}

fn counted(refused: &std::collections::BTreeMap<String, u64>) -> String {
    let each: Vec<String> = refused.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    if each.is_empty() { "none".to_owned() } else { each.join(", ") }
}

/// Repairs on a private server, and reports.
pub async fn run(config: &Config, arguments: RepairArguments, output: Output) -> Result<(), Failure> {
    if arguments.list {
        let bugs = seeded_bugs(&arguments.only).map_err(|error| failed(&error))?;
        output.show(&List { bugs });
        return Ok(());
    }
    if config.sandbox.images.is_none() && config.sandbox.keeper.is_none() {
        let message = "the bugs are repaired in the sandbox, and there is none";
        return Err(Failure::new("no-sandbox", message)
            .next("`make tools` builds the images; name their folder in ORRERY__SANDBOX__IMAGES")
            .exit(exit::USAGE));
    }
    let models = arguments.models.or_else(|| config.models.clone());
    // A name of its own: a system of the same data directory keeps its containers.
    let installation = format!("bench-{}", Uuid::new_v4().simple());
    let tools = tools::load_as(&Config { models, ..config.clone() }, installation);
    let tools = tools.map_err(|mistakes| crate::commands::config::refused(&mistakes))?;
    let options = RepairOptions {
        tools: tools.clone(),
        packages: arguments.packages,
        only: arguments.only,
        parallel: arguments.parallel,
        nats_server: config.nats_server.clone(),
        progress: Some(Arc::new(move |line: &str| output.say(line))),
    };
    let repaired = tokio::select! {
        repaired = repair(options) => repaired.map_err(|error| failed(&error)),
        () = interrupted() => Err(stopped("`--only` makes it shorter")),
    };
    tools.sandboxes.close().await;
    output.show(&repaired?);
    Ok(())
}
