//! The nine words of the flow: each is a module, a group of tests and a line of the architecture.

use crate::files::{self, Findings};

/// The words, with the file that a newcomer opens to see the stage.
const STAGES: [(&str, &str); 9] = [
    ("lease", "actors/runtime/src/lease.rs"),
    ("inbox", "actors/runtime/src/inbox.rs"),
    ("decide", "actors/runtime/src/decide.rs"),
    ("journal", "actors/runtime/src/journal.rs"),
    ("fold", "actors/runtime/src/fold.rs"),
    ("fanout", "actors/runtime/src/fanout.rs"),
    ("effects", "actors/worker/src/worker.rs"),
    ("projections", "gateway/src/projections.rs"),
    ("gateway", "gateway/src/rest.rs"),
];

/// Files that are generated, with the test that holds them against their source.
const GENERATED: [(&str, &str); 8] = [
    ("gateway/api/openapi.json", "gateway/api/src/openapi.rs"),
    ("bus-schemas/schemas/asyncapi.json", "bus-schemas/tests/schemas.rs"),
    ("bus-schemas/schemas/job.v1.json", "bus-schemas/tests/schemas.rs"),
    ("bus-schemas/schemas/reply.v1.json", "bus-schemas/tests/schemas.rs"),
    ("bus-schemas/schemas/refusal.v1.json", "bus-schemas/tests/schemas.rs"),
    ("bus-schemas/schemas/commands/task.v1.json", "bus-schemas/tests/schemas.rs"),
    ("bus-schemas/schemas/events/task.v1.json", "bus-schemas/tests/schemas.rs"),
    ("bus-schemas/schemas/views/task.v1.json", "bus-schemas/tests/schemas.rs"),
];

#[test]
fn every_stage_is_a_module_and_a_group_of_tests() {
    let binary = files::at("tests/flow/main.rs");
    let mut findings = Findings::default();
    for (stage, module) in STAGES {
        if !files::exists(module) {
            let fix = "keep the stage where docs/architecture.md shows it";
            findings.add(module, 0, format!("the stage `{stage}` is not here"), fix);
        }
        let tests = format!("tests/flow/{stage}.rs");
        let has_tests = files::exists(&tests) && {
            let text = &files::at(&tests).text;
            text.contains("#[test]") || text.contains("#[tokio::test")
        };
        if !has_tests {
            findings.add(
                &tests,
                0,
                format!("no test of the stage `{stage}`"),
                "write what its users would miss",
            );
        }
        if !binary.lines().any(|(_, line)| line == format!("mod {stage};")) {
            findings.add(&binary.path, 0, format!("`{stage}` is not run"), format!("write `mod {stage};`"));
        }
    }
    findings.assert_none();
}

#[test]
fn the_architecture_tells_the_stages_in_their_order() {
    let file = files::at("docs/architecture.md");
    let told: Vec<(usize, &str)> = file
        .lines()
        .filter_map(|(number, line)| {
            let (place, rest) = line.split_once(". **")?;
            place.parse::<usize>().ok()?;
            Some((number, rest.split_once("**")?.0))
        })
        .collect();
    let words: Vec<&str> = told.iter().map(|(_, word)| *word).collect();
    assert_eq!(words, STAGES.map(|(stage, _)| stage), "docs/architecture.md, `The flow`");
    let mut findings = Findings::default();
    for ((number, word), (_, module)) in told.iter().zip(STAGES) {
        let line = file.text.lines().nth(number - 1).unwrap_or_default();
        // The links are relative to the folder `docs`.
        if !line.contains(&format!("](../{module})")) {
            let wrong = format!("`{word}` does not point at `{module}`");
            findings.add(&file.path, *number, wrong, "link the file that shows the stage");
        }
    }
    findings.assert_none();
}

#[test]
fn generated_files_are_there_with_the_test_that_keeps_them_fresh() {
    let mut findings = Findings::default();
    for (generated, test) in GENERATED {
        if !files::exists(generated) {
            let fix = format!("generate it again: `{test}` says how");
            findings.add(generated, 0, "it is not checked in", fix);
        }
        if !files::exists(test) || !files::at(test).text.contains("UPDATE") {
            let fix = "keep a test that compares the file and writes it when asked to";
            findings.add(test, 0, format!("nothing keeps `{generated}` fresh"), fix);
        }
    }
    findings.assert_none();
}
