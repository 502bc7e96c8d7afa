//! `orrery doctor`: what could be wrong here, each with a verdict and a fix.

use crate::failure::Failure;
use crate::output::Output;

/// Arguments of the verb.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs the verb.
pub async fn run(config: &actors_host::Config, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let _ = (config, arguments, output);
    Err(Failure::new("not-written", "this verb is not written yet"))
}
