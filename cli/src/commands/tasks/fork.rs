//! `orrery fork`: a new task goes on from what another one had at a revision.

use gateway_api::routes;
use gateway_api::tasks::ForkTask;

use super::changed;
use crate::client::{Client, id};
use crate::failure::Failure;
use crate::output::Output;

/// What to fork, and where.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The task's id
    task: String,
    /// The revision up to which the new task has what this one had, as `orrery events --tree ID` prints it
    #[arg(long, value_name = "REVISION")]
    at: u64,
    /// The id of the new task [default: `<id>-at-<revision>`]
    #[arg(long, value_name = "ID")]
    name: Option<String>,
}

/// Runs the verb.
pub async fn run(client: &Client, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { task, at, name } = arguments;
    let name = name.as_deref().map(id).transpose()?;
    let task = client.send(routes::ForkTask, &[id(&task)?.as_str()], &ForkTask { at, name }).await?;
    changed(&task, output);
    Ok(())
}
