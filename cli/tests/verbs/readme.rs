//! The first steps of the README, as somebody copies them.

use std::path::Path;
use std::process::Command;

use orrery_cli::usage;

use crate::world::{World, repository};

const README: &str = include_str!("../../../README.md");

/// The lines of the README's fenced code of a language.
fn code(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}");
    let mut inside = false;
    let code = README.lines().filter(|line| {
        if line.starts_with("```") {
            inside = *line == fence;
            return false;
        }
        inside
    });
    code.collect()
}

/// The words of a line behind the program, as a shell makes them; comments are none.
fn words(line: &str) -> Option<Vec<String>> {
    let line = line.strip_prefix("target/debug/orrery ")?.split(" #").next()?.trim();
    let quoted = line.split('"').enumerate();
    let words = quoted.flat_map(|(index, part)| match index % 2 {
        1 => vec![part.to_owned()],
        _ => part.split_whitespace().map(str::to_owned).collect(),
    });
    Some(words.collect())
}

/// Goal: whoever copies the README line by line gets what it promises. Method: its lines in their
/// order against a system; the one that starts it is only read, as a test needs ports of its own.
#[test]
fn the_steps_of_the_readme_work() {
    let world = World::start();
    let repo = repository(world.data_dir()).display().to_string();
    let mut done = 0;
    for words in code("sh").into_iter().filter_map(words) {
        let typed = std::iter::once("orrery").chain(words.iter().map(String::as_str));
        usage::read(typed.map(Into::into).collect()).unwrap_or_else(|stop| panic!("{words:?}: {stop:?}"));
        if ["up", "down"].contains(&words[0].as_str()) {
            continue;
        }
        // The README's own repository would take longer, and says no more.
        let here = |word: &'_ String| if word == "." { repo.clone() } else { word.clone() };
        let words: Vec<String> = words.iter().map(here).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert!(!world.orrery(&words).good().stdout.is_empty(), "{words:?}");
        done += 1;
    }
    assert!(done >= 7, "the steps are not where they were: {done} lines");
}

/// Goal: the service in the README is a whole program that ends. Method: it is run as it stands, but
/// for the port.
#[test]
fn the_service_of_the_readme_runs() {
    let world = World::start();
    let program = code("python").join("\n");
    assert!(program.contains("nats://127.0.0.1:4222"), "where the README's `up` listens");
    let program = program.replace("nats://127.0.0.1:4222", world.address("nats_url"));
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/venv/bin/python");
    let python = std::env::var_os("ORRERY_PYTHON").map_or(python, Into::into);
    let ran = Command::new(&python).arg("-c").arg(&program).output();
    let ran = ran.unwrap_or_else(|error| panic!("{}: {error}; run `make tools`", python.display()));
    let (told, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && told.contains("completed"), "{told}{complained}");
}
