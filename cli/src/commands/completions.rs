//! `orrery completions`: scripts for bash, zsh, fish, elvish and PowerShell.

use clap::CommandFactory;

use crate::failure::Failure;
use crate::output::Output;

/// The shell to complete for.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The shell.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Prints the script. Never fails; the result is that of every verb.
pub fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut crate::arguments::Arguments::command(),
        "orrery",
        &mut script,
    );
    output.bytes(&script);
    Ok(())
}
