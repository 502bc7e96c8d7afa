//! The commands that the documentation and the Makefile type for people.

use clap::Parser;
use orrery_cli::arguments::Arguments;

/// What a shell would make of a line's words; variables become a word.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().expect("there is always one").push(character),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Goal: the first command that a newcomer types works. Method: every line of the Makefile that
/// starts the program, with its variables replaced, is parsed as the program would.
#[test]
fn the_makefile_types_commands_that_exist() {
    let makefile = include_str!("../../../Makefile");
    let mut found = 0;
    for line in makefile.lines().map(str::trim) {
        let Some((_, arguments)) =
            ["target/debug/orrery ", "target/release/orrery "].iter().find_map(|name| line.split_once(name))
        else {
            continue;
        };
        let arguments = arguments.split(" || ").next().expect("there is a first part");
        let arguments = arguments
            .replace("$(DATA)", "data")
            .replace("$(REPO)", "repo")
            .replace("$(GOAL)", "goal")
            .replace("$$which", "turn")
            .replace("$$profile", "fast");
        assert!(!arguments.contains('$'), "a variable that this test does not know: {line}");
        let parsed = Arguments::try_parse_from([vec!["orrery".to_owned()], words(&arguments)].concat());
        assert!(parsed.is_ok(), "{line}\n{}", parsed.unwrap_err());
        found += 1;
    }
    assert!(found >= 3, "`run`, `up` and `bench` start the program: {found} lines found");
}
