//! One thing has one name: in the registry of kinds, in the paths of the HTTP interface, on the command line and
//! in the vocabulary. Words that were given up do not come back.

use crate::files::{self, File, Findings, is_word_at};

/// Things that people address: the kind, the path of the HTTP interface, the verb, and the term of the vocabulary.
const THINGS: [(&str, &str, &str, &str); 11] = [
    ("task", "/v1/tasks", "Tasks(", "| task |"),
    ("agent", "/v1/agents", "Agents(", "| agent |"),
    ("lane", "/v1/lanes", "Lanes(", "| lane |"),
    ("schedule", "/v1/schedules", "Schedules(", "| schedule |"),
    ("breaker", "/v1/breakers", "Breakers(", "| breaker |"),
    ("halt", "/v1/halts", "Halts(", "| halt |"),
    ("approval", "/v1/approvals", "Approvals(", "| approval |"),
    ("change", "/v1/changes", "Changes(", "| change |"),
    ("dead-letter", "/v1/dead-letters", "DeadLetters(", "| dead letter |"),
    ("redrive", "/v1/redrives", "Redrives(", "| redrive |"),
    ("settings", "/v1/settings", "Settings(", "| settings |"),
];
/// Words that one of these things had before, and where they may stand: as rejected words.
const GIVEN_UP: [&str; 3] = ["broker", "campaign", "deadletter"];
/// Names that types had before.
const GIVEN_UP_TYPES: [&str; 9] =
    ["Line", "Crew", "Desk", "Deed", "Told", "Again", "Whole", "Valve", "Standing"];
/// Where words that were given up are told, and the test that looks for them.
const TELL: [&str; 4] =
    ["docs/vocabulary.md", "docs/changes/", "tests/tidy/names.rs", "bus-schemas/schemas/vendor/"];

#[test]
fn a_thing_is_called_the_same_everywhere() {
    let kinds: Vec<String> = actors_logic::registry().kinds().map(ToString::to_string).collect();
    let text = |path: &str| files::at(path).text.as_str();
    let (routes, verbs) = (text("gateway/api/src/routes.rs"), text("cli/src/arguments.rs"));
    let vocabulary = text("docs/vocabulary.md");
    for (kind, path, verb, term) in THINGS {
        assert!(kinds.iter().any(|known| known == kind), "the registry has no kind `{kind}`");
        assert!(routes.contains(&format!("\"{path}\"")) || routes.contains(&format!("\"{path}/")), "{path}");
        assert!(verbs.contains(verb), "no verb for `{kind}` in cli/src/arguments.rs");
        assert!(vocabulary.contains(term), "docs/vocabulary.md has no `{term}`");
    }
}

#[test]
fn words_that_were_given_up_do_not_come_back() {
    let mut findings = Findings::default();
    let told = |path: &str| TELL.iter().any(|folder| path.starts_with(folder));
    let text = ["rs", "md", "json", "py", "toml", "yml"];
    for file in files::all().iter().filter(|file| text.iter().any(|kind| file.is(kind)) && !told(&file.path))
    {
        for (number, line) in file.lines() {
            let word = GIVEN_UP
                .iter()
                .find(|word| line.match_indices(**word).any(|(at, _)| is_word_at(line, at, word)));
            if let Some(word) = word {
                findings.add(&file.path, number, format!("`{word}`"), "say the word of docs/vocabulary.md");
            }
        }
    }
    findings.assert_none();
    assert!(is_word_at("a broker of", 2, "broker"));
}

/// The given-up names of types that a source file declares.
fn types(file: &File, findings: &mut Findings) {
    for (number, line) in file.lines() {
        let words: Vec<&str> = line
            .split(|sign: char| !sign.is_alphanumeric() && sign != '_')
            .filter(|word| !word.is_empty())
            .collect();
        let declared = words.windows(2).filter(|pair| ["struct", "enum", "type"].contains(&pair[0]));
        for pair in declared.filter(|pair| GIVEN_UP_TYPES.contains(&pair[1])) {
            findings.add(&file.path, number, format!("a type `{}`", pair[1]), "name it by what it holds");
        }
    }
}

#[test]
fn names_of_types_that_were_given_up_do_not_come_back() {
    let mut findings = Findings::default();
    for file in files::with("rs").filter(|file| !TELL.iter().any(|folder| file.path.starts_with(folder))) {
        types(file, &mut findings);
    }
    findings.assert_none();

    let text =
        "pub(crate) struct Line<'a> {\nenum Again {\ntype Told = u8;\nstruct Lines;\nlet x = Line::new();\n";
    let mut found = Findings::default();
    types(&File::specimen("a/src/b.rs", text), &mut found);
    assert_eq!(found.count(), 3);
}
