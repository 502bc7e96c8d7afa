//! The runtime and the bus client know no kind of entity: what is of a kind comes to them from the host. The
//! kinds are those of the registry.

use crate::files::{self, File, Findings, is_word_at};

/// The sources that know none.
const KNOW_NONE: [&str; 2] = ["actors/runtime/src/", "bus-client/src/"];

/// What is wrong with a line of code, if it names a kind.
fn named(line: &str, kinds: &[String]) -> Option<String> {
    if line.trim_start().starts_with("//") {
        return None;
    }
    for opening in ["bus_schemas::commands", "bus_schemas::events", "commands::{", "Kind::from_static("] {
        if line.contains(opening) {
            return Some(format!("`{opening}`"));
        }
    }
    let paths = kinds.iter().flat_map(|kind| {
        let kind = kind.replace('-', "_");
        let modules = ["commands", "events", "bus_schemas"].map(|module| format!("{module}::{kind}"));
        modules.into_iter().chain([format!("bus_schemas::{kind}s")])
    });
    let mut paths = paths.filter(|path| line.match_indices(path).any(|(at, _)| is_word_at(line, at, path)));
    let path = paths.next().map(|path| format!("`{path}`"));
    path.or_else(|| {
        let kind = kinds.iter().find(|kind| line.contains(&format!("\"{kind}\"")))?;
        Some(format!("the kind `{kind}`"))
    })
}

fn names(file: &File, kinds: &[String], findings: &mut Findings) {
    for (number, line) in file.lines().take_while(|(_, line)| line.trim() != "#[cfg(test)]") {
        if let Some(wrong) = named(line, kinds) {
            let fix = "let the host say it: a gate, a policy of the registry, or a fold of events";
            findings.add(&file.path, number, wrong, fix);
        }
    }
}

#[test]
fn the_runtime_and_the_bus_client_know_no_kind() {
    let kinds: Vec<String> = actors_logic::registry().kinds().map(ToString::to_string).collect();
    assert!(kinds.iter().any(|kind| kind == "task"), "the registry has kinds: {kinds:?}");
    let mut findings = Findings::default();
    let sources =
        files::with("rs").filter(|file| KNOW_NONE.iter().any(|folder| file.path.starts_with(folder)));
    for file in sources {
        names(file, &kinds, &mut findings);
    }
    findings.assert_none();

    for line in [
        "use bus_schemas::commands::task::Submit;",
        "use bus_schemas::{events::halt::Event, upcast};",
        "use bus_schemas::halts::Halts;",
        "let kind = Kind::from_static(\"memory\");",
        "    \"dead-letter\" => {}",
    ] {
        assert!(named(line, &kinds).is_some(), "{line}");
    }
    for line in ["/// a `task`, as \"task\" says", "use bus_schemas::jobs::Job;", "let text = \"a task\";"] {
        assert_eq!(named(line, &kinds), None, "{line}");
    }
}
