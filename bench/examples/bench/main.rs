//! Runs one benchmark and prints its report, or all of them as the tables of `docs/benchmarks.md`:
//! `cargo run --release -p orrery-bench --example bench -- turn --profile fast --callers 1,64`,
//! `cargo run --release -p orrery-bench --example bench -- tables`.

mod tables;

use std::ffi::OsString;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use orrery_bench::{Bench, Options, run, run_owner};

/// The hidden argument with which the example starts itself as an owner.
const OWNER: &str = "--owner";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let verb =
        arguments.next().context("which one: turn, task, replay, resume, idle, halt, baseline or tables?")?;
    if verb == OWNER {
        return Ok(run_owner(&arguments.next().context("an owner needs its settings")?).await?);
    }
    let mut options =
        Options { progress: Some(Arc::new(|line: &str| eprintln!("{line}"))), ..Options::default() };
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("`{name}` needs a value"))?;
        match name.as_str() {
            "--profile" => options.profile = value.parse().map_err(anyhow::Error::msg)?,
            "--seconds" => options.seconds = value.parse().context("reading the seconds")?,
            "--data-dir" => options.data_dir = Some(value.into()),
            "--callers" => {
                let callers = value.split(',').map(str::parse).collect::<Result<_, _>>();
                options.callers = Some(callers.context("reading the numbers of callers")?);
            }
            _ => bail!("`{name}` is no option"),
        }
    }
    let program = std::env::current_exe().context("finding this program")?;
    let owner_command = vec![program.into_os_string(), OsString::from(OWNER)];
    let bench = match verb.as_str() {
        "tables" => return tables::print(&options, &owner_command).await,
        "turn" => Bench::Turn,
        "task" => Bench::Task,
        "replay" => Bench::Replay,
        "resume" => Bench::Resume { owner_command },
        "idle" => Bench::Idle { owner_command },
        "halt" => Bench::Halt,
        "baseline" => Bench::Baseline,
        _ => bail!("`{verb}` is no benchmark"),
    };
    println!("{}", serde_json::to_string(&run(bench, options).await?)?);
    Ok(())
}
