//! `orrery explain`: the entry of an error code, from the table that is built into the program.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use gateway_api::errors::{self, Entry};

use crate::called;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show};

/// Similar codes that are suggested for an unknown one: a longer list would not be read.
const NEAR_MAX: usize = 3;

/// The code to explain.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The code, as in `error[CODE]: …` or in the field `code` of a gateway's problem.
    code: String,
}

impl Show for Entry {
    fn text(&self) -> String {
        called::advice(self.page().trim_end())
    }
}

/// The next step of a failure that has no hint.
pub fn advice(code: &str) -> String {
    format!("`orrery explain {code}` says what to do")
}

/// Prints the entry of a code.
pub fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let code = &arguments.code;
    let entry = errors::find(code).ok_or_else(|| {
        let near = near(code).map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", ");
        let next = match near.as_str() {
            "" => "agents may fail with codes of their own: ask the author of the agent".to_owned(),
            near => format!("similar codes: {near}"),
        };
        Failure::new("code-not-found", format!("no error code is called `{code}`"))
            .next(next)
            .exit(exit::NOT_FOUND)
    })?;
    output.show(entry);
    Ok(())
}

/// The codes that share at least half of their letter pairs with the typed word, the most similar first.
fn near(typed: &str) -> impl Iterator<Item = &'static str> {
    let pairs = |word: &str| -> BTreeSet<(char, char)> { word.chars().zip(word.chars().skip(1)).collect() };
    let wanted = pairs(typed);
    let percent = |code: &str| {
        let found = pairs(code);
        200 * found.intersection(&wanted).count() / (found.len() + wanted.len()).max(1)
    };
    let all = errors::ALL.iter().map(|entry| (percent(entry.code), entry.code));
    let mut near: Vec<_> = all.filter(|(percent, _)| *percent >= 50).collect();
    near.sort_by_key(|(percent, _)| Reverse(*percent));
    near.into_iter().map(|(_, code)| code).take(NEAR_MAX)
}

#[cfg(test)]
mod tests {
    use super::near;

    #[test]
    fn a_misspelled_code_is_recognised() {
        for (typed, meant) in [
            ("bussy", "busy"),
            ("task-not-foud", "task-not-found"),
            ("TaskNotFound", "task-not-found"),
            ("quux", ""),
        ] {
            assert_eq!(near(typed).next().unwrap_or_default(), meant, "{typed}");
        }
        assert!(near("not-found").all(|code| code.ends_with("-not-found")));
        assert_eq!(near("").count(), 0);
    }
}
