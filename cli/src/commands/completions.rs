//! `orrery completions`: for bash, zsh, fish, elvish and PowerShell.

use clap::CommandFactory;

/// For which shell.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The shell.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Prints the script.
pub fn run(arguments: &Arguments) {
    let mut command = crate::arguments::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "orrery", &mut std::io::stdout());
}
