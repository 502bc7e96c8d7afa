//! Monitoring: every alert has a page for three in the morning and every page an alert; rules ask for
//! metrics that the code makes; pages name commands that the command line has.

use std::collections::{BTreeMap, BTreeSet};

use crate::files::{self, File, Findings};

/// The rules.
const ALERTS: &str = "deploy/monitoring/alerts.yaml";
/// The pages.
const PAGES: &str = "docs/runbooks/";
/// The headings of a page, in their order.
const HEADINGS: [&str; 6] =
    ["## What it means", "## How bad it is", "## Look", "## Do", "## Over when", "## Do not"];
/// What Prometheus makes of a histogram.
const OF_HISTOGRAMS: [&str; 3] = ["_bucket", "_sum", "_count"];
/// Options that every verb has.
const EVERYWHERE: [&str; 5] = ["data-dir", "config", "as", "json", "verbose"];

/// An alert: its name, its line, and what it says.
#[derive(Debug, Default)]
struct Alert {
    name: String,
    line: usize,
    expression: String,
    runbook: String,
    severity: String,
    summary: String,
}

/// The alerts of a file of rules, written as ours is: one field a line.
fn alerts(file: &File) -> Vec<Alert> {
    let mut found: Vec<Alert> = Vec::new();
    for (line, text) in file.lines().filter(|(_, text)| !text.trim_start().starts_with('#')) {
        let text = text.trim_start();
        if let Some(name) = text.strip_prefix("- alert: ") {
            found.push(Alert { name: name.trim().to_owned(), line, ..Alert::default() });
        }
        let Some(alert) = found.last_mut() else { continue };
        for (field, value) in [
            ("expr: ", &mut alert.expression),
            ("runbook: ", &mut alert.runbook),
            ("labels: {severity: ", &mut alert.severity),
            ("summary: ", &mut alert.summary),
        ] {
            if let Some(said) = text.strip_prefix(field) {
                *value = said.trim_end_matches('}').to_owned();
            }
        }
    }
    found
}

/// The page of an alert: `OrreryLagGrows` has `lag-grows`.
fn page(alert: &str) -> String {
    let name = alert.strip_prefix("Orrery").unwrap_or(alert);
    let mut slug = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !slug.is_empty() {
            slug.push('-');
        }
        slug.push(letter.to_ascii_lowercase());
    }
    format!("{PAGES}{slug}.md")
}

fn pages() -> impl Iterator<Item = &'static File> {
    files::with("md").filter(|file| file.path.starts_with(PAGES))
}

fn hold_alerts(file: &File, findings: &mut Findings) {
    for alert in alerts(file) {
        let mut wrong = |wrong: String, fix: &str| findings.add(&file.path, alert.line, wrong, fix);
        let page = page(&alert.name);
        if alert.runbook != page {
            wrong(format!("`{}` does not name `{page}`", alert.name), "write `runbook: ` with that path");
        }
        if !files::exists(&page) {
            wrong(format!("`{page}` is not there"), "write what to do at three in the morning");
        }
        if !["page", "ticket"].contains(&alert.severity.as_str()) {
            wrong(format!("the severity is `{}`", alert.severity), "`page` wakes somebody, `ticket` waits");
        }
        if alert.summary.is_empty() {
            wrong("no summary".to_owned(), "say in a sentence what is wrong, with the figure");
        }
    }
}

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
    let mut findings = Findings::default();
    let rules = files::at(ALERTS);
    hold_alerts(rules, &mut findings);
    let named: BTreeMap<String, String> =
        alerts(rules).into_iter().map(|alert| (page(&alert.name), alert.name)).collect();
    for file in pages() {
        let Some(alert) = named.get(&file.path) else {
            findings.add(&file.path, 0, "no alert has this page", "remove it, or write the alert");
            continue;
        };
        let headings: Vec<&str> = file.text.lines().filter(|line| line.starts_with('#')).collect();
        if headings.first() != Some(&format!("# {alert}").as_str()) || headings[1..] != HEADINGS {
            let fix = format!("`# {alert}`, then {}", HEADINGS.join(", "));
            findings.add(&file.path, 1, "its headings are others", fix);
        }
    }
    findings.assert_none();
    assert!(named.len() >= 15, "the rules are not where they were: {} alerts", named.len());

    let specimen = "  - alert: OrreryNoSuchThing\n    expr: up == 0\n    labels: {severity: loud}\n";
    let mut found = Findings::default();
    hold_alerts(&File::specimen("x.yaml", specimen), &mut found);
    assert_eq!(found.count(), 4, "no page named, no page there, no such severity, no summary");
    assert_eq!(page("OrreryNoSuchThing"), "docs/runbooks/no-such-thing.md");
}

/// Sources of the product, without tests.
fn sources() -> impl Iterator<Item = &'static File> {
    files::with("rs").filter(|file| !file.is_test() && file.path.contains("/src/"))
}

/// The constants that name metrics, with the name: `pub const LAG: &str = "orrery_…";`.
fn constants(file: &File) -> Vec<(String, String)> {
    let lines = file.text.lines().filter_map(|line| {
        let (_, rest) = line.split_once("const ")?;
        let (constant, value) = rest.split_once(": &str = \"")?;
        let name = value.strip_suffix("\";")?;
        name.starts_with("orrery_").then(|| (constant.to_owned(), name.to_owned()))
    });
    lines.collect()
}

/// Whether a source sets, counts or records the metric of a constant.
fn measures(file: &File, constant: &str) -> bool {
    let macros = ["metrics::counter!(", "metrics::gauge!(", "metrics::histogram!("];
    file.text.match_indices("metrics::").any(|(at, _)| {
        let rest = &file.text[at..];
        let Some(arguments) = macros.iter().find_map(|each| rest.strip_prefix(each)) else { return false };
        let first = arguments.split([',', ')']).next().unwrap_or_default().trim();
        first.rsplit("::").next() == Some(constant)
    })
}

/// The names of all metrics that the code makes.
fn made() -> BTreeSet<String> {
    let known = sources().flat_map(constants);
    let made = known.filter(|(constant, _)| sources().any(|file| measures(file, constant)));
    made.map(|(_, name)| name).collect()
}

/// The metrics of ours that an expression asks for.
fn asked(expression: &str) -> Vec<String> {
    let words = expression.split(|each: char| !(each.is_ascii_alphanumeric() || each == '_'));
    words.filter(|word| word.starts_with("orrery_")).map(str::to_owned).collect()
}

/// A metric as the code names it.
fn base<'a>(name: &'a str, made: &BTreeSet<String>) -> &'a str {
    let of_histogram = OF_HISTOGRAMS.iter().find_map(|suffix| name.strip_suffix(suffix));
    of_histogram.filter(|base| made.contains(*base)).unwrap_or(name)
}

#[test]
fn rules_ask_for_metrics_that_are_made() {
    let made = made();
    let mut findings = Findings::default();
    let rules = files::at(ALERTS);
    for alert in alerts(rules) {
        let ours = asked(&alert.expression);
        if ours.is_empty() && !alert.expression.contains("up{job=\"orrery\"}") {
            findings.add(&rules.path, alert.line, "it asks for nothing of ours", "ask for a metric of ours");
        }
        for name in ours.iter().filter(|name| !made.contains(base(name, &made))) {
            let fix = "name a metric that the code makes";
            findings.add(&rules.path, alert.line, format!("nobody makes `{name}`"), fix);
        }
    }
    // Pages and the guide speak of metrics as well.
    for file in pages().chain(files::with("md").filter(|file| file.path == "docs/guides/monitor.md")) {
        for (line, text) in file.lines() {
            for name in asked(text).iter().filter(|name| !made.contains(base(name, &made))) {
                let fix = "name a metric that the code makes";
                findings.add(&file.path, line, format!("nobody makes `{name}`"), fix);
            }
        }
    }
    findings.assert_none();
    assert!(made.len() >= 40, "the metrics are not where they were: {made:?}");

    let source = File::specimen(
        "a/src/b.rs",
        "pub const MADE: &str = \"orrery_made\";\nconst IDLE: &str = \"orrery_idle\";\nfn f() {\n    metrics::describe_gauge!(IDLE, \"\");\n    metrics::gauge!(metric::MADE, \"a\" => b()).set(1.0);\n}\n",
    );
    let constants: Vec<String> = constants(&source).into_iter().map(|(constant, _)| constant).collect();
    assert_eq!(constants, ["MADE", "IDLE"]);
    assert!(measures(&source, "MADE") && !measures(&source, "IDLE"));
    assert_eq!(asked("rate(orrery_x_total[5m]) / orrery_y{a=\"b\"}"), ["orrery_x_total", "orrery_y"]);
}

#[test]
fn the_guide_names_every_metric_that_is_made() {
    let guide = files::at("docs/guides/monitor.md");
    let mut findings = Findings::default();
    for name in made().iter().filter(|name| !guide.text.contains(&format!("`{name}`"))) {
        findings.add(&guide.path, 0, format!("`{name}` is not in it"), "say in its table what it measures");
    }
    findings.assert_none();
}

/// A Rust name as it is typed: `SinceWhen` and `since_when` are `since-when`.
fn typed(name: &str) -> String {
    let mut typed = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !typed.is_empty() {
            typed.push('-');
        }
        typed.push(if letter == '_' { '-' } else { letter.to_ascii_lowercase() });
    }
    typed
}

/// The variants of the enums of subcommands in a file, with what is in their brackets.
fn variants(file: &File) -> Vec<(String, String)> {
    let enums = file.text.match_indices("Subcommand)]").filter_map(|(at, _)| {
        let block = &file.text[at..];
        Some(&block[block.find('{')? + 1..block.find("\n}")?])
    });
    let lines = enums.flat_map(str::lines).filter_map(|line| {
        let variant = line.strip_prefix("    ").filter(|rest| rest.starts_with(char::is_uppercase))?;
        let name: String = variant.chars().take_while(char::is_ascii_alphanumeric).collect();
        let inside = variant[name.len()..].trim_matches(['(', ')', ',', ' ', '{', '}']);
        Some((name, inside.to_owned()))
    });
    lines.collect()
}

/// Other names of subcommands: `#[command(visible_alias = "answer")]`.
fn aliases(file: &File) -> impl Iterator<Item = String> {
    let named = file.text.split("alias = \"").skip(1);
    named.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
}

/// A verb: the words behind it, where it has such, and the sources with its options.
#[derive(Debug, Default)]
struct Verb {
    words: BTreeSet<String>,
    sources: Vec<&'static File>,
}

/// The verbs of the command line, as its sources have them.
fn verbs() -> BTreeMap<String, Verb> {
    let top = variants(files::at("cli/src/arguments.rs")).into_iter().map(|(name, inside)| {
        let module = inside.strip_prefix("commands::").and_then(|path| path.split("::").next());
        let module = module.unwrap_or_else(|| panic!("`{name}` has no module: {inside}"));
        let folder = format!("cli/src/commands/{module}/");
        let front = format!("cli/src/commands/{module}.rs");
        let of_verb = |file: &&File| file.path == front || file.path.starts_with(&folder);
        let mut sources: Vec<&File> = files::with("rs").filter(of_verb).collect();
        let mut words: BTreeSet<String> = aliases(files::at(&front)).collect();
        words.extend(variants(files::at(&front)).iter().map(|(word, _)| typed(word)));
        // Options that another verb has too, as in `use super::dead_letters::filter::Filter`.
        let shared = files::at(&front).text.split("use super::").skip(1);
        let shared: Vec<String> = shared
            .filter_map(|rest| rest.split(';').next()?.rsplit_once("::"))
            .map(|(path, _)| format!("cli/src/commands/{}.rs", path.replace("::", "/")))
            .collect();
        sources.extend(files::with("rs").filter(|file| shared.contains(&file.path)));
        (typed(&name), Verb { words, sources })
    });
    top.collect()
}

/// The commands of a page, as they are typed: lines of shell, and what is quoted.
fn commands(file: &File) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut is_shell = false;
    for (line, text) in file.lines() {
        if text.starts_with("```") {
            is_shell = text == "```sh";
        } else if is_shell {
            found.push((line, text.to_owned()));
        } else {
            found.extend(text.split('`').skip(1).step_by(2).map(|quoted| (line, quoted.to_owned())));
        }
    }
    found.retain(|(_, command)| command.starts_with("orrery "));
    found
}

/// Why a command cannot be typed.
fn wrong(command: &str, verbs: &BTreeMap<String, Verb>) -> Option<String> {
    let mut words = command.split_whitespace().skip(1);
    let verb = words.next().unwrap_or_default();
    let Some(known) = verbs.get(verb) else { return Some(format!("`orrery {verb}` is no verb")) };
    let rest: Vec<&str> = words.collect();
    let second = rest.first().filter(|word| !word.starts_with('-'));
    if let Some(second) = second.filter(|word| !known.words.is_empty() && !known.words.contains(**word)) {
        return Some(format!("`orrery {verb} {second}` is no verb"));
    }
    let options = rest.iter().filter_map(|word| word.strip_prefix("--"));
    for option in options.filter(|option| !EVERYWHERE.contains(option)) {
        let field = format!("{}:", option.replace('-', "_"));
        let long = format!("long = \"{option}\"");
        if !known.sources.iter().any(|file| file.text.contains(&field) || file.text.contains(&long)) {
            return Some(format!("`orrery {verb}` has no option `--{option}`"));
        }
    }
    None
}

#[test]
fn runbooks_name_commands_that_exist() {
    let verbs = verbs();
    let mut findings = Findings::default();
    let mut count = 0;
    for file in pages() {
        for (line, command) in commands(file) {
            count += 1;
            if let Some(wrong) = wrong(&command, &verbs) {
                findings.add(&file.path, line, wrong, "look it up in docs/cli.md");
            }
        }
        if commands(file).is_empty() {
            findings.add(&file.path, 0, "it names no command", "say what to look at, to be typed as it is");
        }
    }
    findings.assert_none();
    assert!(count >= 60, "the commands are not where they were: {count}");

    let specimen = "```sh\norrery doctor\norrery fly\norrery dead-letters shoot X\norrery dead-letters redrive X --quickly\norrery dead-letters redrive X --watch\n```\n\n`orrery dead-letters list` and `df -h`.\n";
    let wrong: Vec<bool> = commands(&File::specimen("docs/x.md", specimen))
        .iter()
        .map(|(_, command)| wrong(command, &verbs).is_some())
        .collect();
    assert_eq!(wrong, [false, true, true, true, false, false]);
}
