//! `orrery dead`: what could not be done, and why.

use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;

/// Arguments of the verb.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs the verb.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let _ = (session, arguments, output);
    Err(Failure::new("not-written", "this verb is not written yet"))
}
