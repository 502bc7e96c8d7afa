//! Parsing of the command line, with usage errors reported as every other failure.

use std::ffi::OsString;

use clap::Parser;
use clap::error::{Error, ErrorKind};

use crate::arguments::Arguments;
use crate::failure::{Failure, exit};

/// Why no verb is run: help or the version was asked for, or the usage is wrong.
#[derive(Debug)]
pub enum Stop {
    /// The help or the version, ready to be printed.
    Help(Error),
    /// The usage is wrong; with `--json`, wherever it stands, the failure is one object.
    Wrong {
        /// The failure, with the next step.
        failure: Failure,
        /// Whether the output is JSON.
        json: bool,
    },
}

/// Reads the command line.
pub fn read(typed: Vec<OsString>) -> Result<Arguments, Stop> {
    // A mistake before `--json` must not change how the mistake is reported.
    let json = typed.iter().skip(1).take_while(|word| *word != "--").any(|word| word == "--json");
    Arguments::try_parse_from(&typed).map_err(|error| match error.use_stderr() {
        false => Stop::Help(error),
        true => Stop::Wrong { failure: failure(&error), json },
    })
}

fn failure(error: &Error) -> Failure {
    let text = error.render().to_string();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let usage = text.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap_or("orrery VERB");
        return Failure::new("bad-argument", "a verb is missing")
            .next(format!("usage: {usage}; `--help` explains all of it"))
            .exit(exit::USAGE);
    }
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let (message, rest) = text.split_once("\n\nUsage: ").unwrap_or((text, ""));
    // clap gives its advice in separate paragraphs.
    let (message, advice) = message.split_once("\n\n").unwrap_or((message, ""));
    let message = message.split("\n\nFor more information").next().unwrap_or(message);
    let usage = rest.lines().next().unwrap_or_default();
    let mut next: Vec<String> = advice
        .lines()
        .map(|line| line.trim().trim_start_matches("tip: ").to_owned())
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
        .collect();
    if !usage.is_empty() {
        next.push(format!("usage: {usage}"));
    }
    next.push("`--help` explains every argument".to_owned());
    Failure::new("bad-argument", one_line(message)).next(next.join("; ")).exit(exit::USAGE)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
