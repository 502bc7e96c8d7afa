//! The repository is of no machine and of no company's network: no absolute paths of somebody's disk,
//! no private hosts.

use std::net::Ipv4Addr;

use crate::files::{self, File, Findings};

/// Where somebody's files are. In two parts, or this file would break its own rule.
const PLACES: [&str; 5] = [
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/mn", "t/"),
];

/// The hosts that files may name: public ones that stay, and names that are examples by RFC 2606.
const HOSTS: [&str; 22] = [
    "127.0.0.1",
    "localhost",
    "0.0.0.0",
    "[::1]",
    "example.com",
    "example.org",
    "evil.example",
    "www.w3.org",
    "www.rfc-editor.org",
    "json-schema.org",
    "github.com",
    "docs.rs",
    "maven.apache.org",
    "www.apache.org",
    "api.openai.com",
    "platform.openai.com",
    "api.anthropic.com",
    "platform.claude.com",
    "docs.ollama.com",
    "docs.searxng.org",
    "osv.dev",
    "osv-vulnerabilities.storage.googleapis.com",
];

/// Copies of other people's files, as they are.
const FOREIGN: [&str; 1] = ["bus-schemas/schemas/vendor/"];

/// Endings of names that only a private network knows.
const PRIVATE_ENDINGS: [&str; 5] = [".internal", ".corp", ".lan", ".intranet", ".localdomain"];

fn machine_paths(file: &File, findings: &mut Findings) {
    for (number, line) in file.lines() {
        for place in PLACES {
            let stands = line.match_indices(place).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|before| before.is_alphanumeric() || "._-*>}".contains(before))
            });
            if stands {
                let fix = "use a path from the root, a temporary directory, or `/srv/…` in an example";
                findings.add(&file.path, number, format!("a path of one machine, `{place}`"), fix);
            }
        }
    }
}

/// The hosts of the addresses in a line. Placeholders such as `{host}` are none.
fn hosts(line: &str) -> Vec<&str> {
    let addresses = line.match_indices("://").map(|(at, separator)| &line[at + separator.len()..]);
    let hosts = addresses.filter_map(|rest| {
        let end = rest.find(|each: char| !(each.is_ascii_alphanumeric() || ".-_@:[]".contains(each)));
        let authority = &rest[..end.unwrap_or(rest.len())];
        let host = authority.rsplit('@').next()?;
        let host =
            if host.starts_with('[') { host.split_inclusive(']').next()? } else { host.split(':').next()? };
        // One word is the placeholder of an example, as in `nats://host:4222`; a name has a dot.
        (host.contains(['.', ':'])).then_some(host.trim_end_matches('.'))
    });
    hosts.filter(|host| !host.is_empty()).collect()
}

fn unknown_hosts(file: &File, findings: &mut Findings) {
    for (number, line) in file.lines() {
        for host in hosts(line).into_iter().filter(|host| !HOSTS.contains(host)) {
            let fix = "use `example.com`, or add the host to `HOSTS` in tests/tidy/machine.rs if everybody can reach it";
            findings.add(&file.path, number, format!("the host `{host}`"), fix);
        }
        let words = line.split(|each: char| !(each.is_ascii_alphanumeric() || ".-".contains(each)));
        for word in words.filter(|word| PRIVATE_ENDINGS.iter().any(|ending| word.ends_with(ending))) {
            // A method call and a field look alike: a host's name has letters and dots before it alone.
            if word.split('.').count() > 2 {
                findings.add(&file.path, number, format!("the private host `{word}`"), "use `example.com`");
            }
        }
        let private = |word: &&str| word.parse::<Ipv4Addr>().is_ok_and(|address| address.is_private());
        let words = line.split(|each: char| !(each.is_ascii_digit() || each == '.'));
        for address in words.filter(private).filter(|_| !file.is_test() && !file.is("lock")) {
            // 10.0.0.1 is what tests of origins use as somebody else's machine.
            if address != "10.0.0.1" {
                let fix = "use 192.0.2.1, which RFC 5737 keeps for examples";
                findings.add(&file.path, number, format!("the private address `{address}`"), fix);
            }
        }
    }
}

#[track_caller]
fn hold(rule: impl Fn(&File, &mut Findings)) {
    let mut findings = Findings::default();
    let ours = files::all().iter().filter(|file| !FOREIGN.iter().any(|folder| file.path.starts_with(folder)));
    for file in ours.filter(|file| !file.path.contains("/fixtures/")) {
        rule(file, &mut findings);
    }
    findings.assert_none();
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    hold(machine_paths);
    let mut findings = Findings::default();
    let text = format!("see {}main\nhttps://example.com/docs{}x\n", PLACES[0], PLACES[1]);
    machine_paths(&File::specimen("x.md", &text), &mut findings);
    assert_eq!(findings.count(), 1);
}

#[test]
fn no_file_names_a_host_that_others_can_not_reach() {
    hold(unknown_hosts);
    let mut findings = Findings::default();
    let text = concat!(
        "https:/",
        "/crates.company.net/index\nmirror.a.inter",
        "nal\nat 192.168",
        ".1.7\nnats://host:1\n"
    );
    unknown_hosts(&File::specimen("x.md", text), &mut findings);
    assert_eq!(findings.count(), 3);
}
