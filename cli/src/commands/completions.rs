//! `orrery completions`: for bash, zsh, fish, elvish and PowerShell.

use clap::CommandFactory;

use crate::failure::Failure;

/// For which shell.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The shell.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Prints the script. Never fails, and answers as every verb does.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut command = crate::arguments::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "orrery", &mut std::io::stdout());
    Ok(())
}
