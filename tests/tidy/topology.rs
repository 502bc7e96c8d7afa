//! Documents and the server's configuration name streams, buckets and partitions as the program does.

use std::collections::BTreeSet;

use bus_schemas::subjects::Subjects;
use bus_schemas::topology::{PARTITIONS_DEFAULT, Store, Topology};

use crate::files::{self, Findings};

/// The names of an installation's streams and buckets; the log of any partition as `LOG_<p>`.
fn names(subjects: Subjects) -> BTreeSet<String> {
    let topology = Topology { subjects, partitions: 1 };
    let partition = topology.all_partitions().next().expect("there is one");
    let log = topology.log(partition);
    let log = log.strip_suffix('0').expect("the name of a log ends with its partition");
    let inbox = topology.inbox(partition);
    let inbox = inbox.strip_suffix('0').expect("the name of an inbox ends with its partition");
    [
        format!("{log}<p>"),
        topology.events(),
        format!("{inbox}<p>"),
        topology.output(),
        topology.dead(),
        topology.leases(),
        topology.settings(),
        topology.snapshots(),
        topology.cache(),
        topology.objects(Store::Blobs),
        topology.objects(Store::Private),
    ]
    .into()
}

/// The names in a line that begin like a stream or a bucket.
fn named<'a>(line: &'a str, opening: &str) -> Vec<&'a str> {
    let words = line.split(|each: char| !(each.is_ascii_alphanumeric() || "_<>".contains(each)));
    words.filter(|word| word.starts_with(opening) && word.len() > opening.len()).collect()
}

#[test]
fn documents_name_the_streams_and_buckets_that_exist() {
    let ours = names(Subjects::default());
    let any = |name: &str| name.replacen("<PREFIX>", "ORRERY", 1).replacen("<prefix>", "orrery", 1);
    let mut findings = Findings::default();
    for file in files::with("md").filter(|file| file.path.starts_with("docs/") || file.path == "README.md") {
        for (number, line) in file.lines() {
            let found =
                ["ORRERY_", "<PREFIX>_", "<prefix>_"].into_iter().flat_map(|opening| named(line, opening));
            // Settings of the environment look like streams: `ORRERY_DATA_DIR`, `ORRERY__NATS__URL`.
            let is_setting = |name: &str| {
                let quoted = format!("\"{name}\"");
                name.starts_with("ORRERY__")
                    || files::with("rs").any(|source| source.text.contains(&quoted))
                    || files::at("Makefile").text.contains(&format!("$({name})"))
            };
            for name in found.filter(|name| !ours.contains(&any(name)) && !is_setting(name)) {
                let fix = "name it as bus-schemas/src/topology.rs does";
                findings.add(&file.path, number, format!("there is no `{name}`"), fix);
            }
        }
    }
    findings.assert_none();
}

#[test]
fn the_architecture_lists_every_stream_and_bucket() {
    let text = &files::at("docs/architecture.md").text;
    let missing: Vec<String> =
        names(Subjects::default()).into_iter().filter(|name| !text.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/architecture.md does not list {missing:?}: add them to its table");
}

#[test]
fn the_shipped_server_configuration_fits_the_program() {
    let text = &files::at("nats.conf").text;
    let [root, path] =
        Subjects::mappings(PARTITIONS_DEFAULT).map(|(from, to)| format!("\"{from}\": \"{to}\""));
    let settings = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let settings: Vec<&str> = settings.collect();
    for wanted in
        [root.as_str(), path.as_str(), "sync_interval: always", "max_payload: 8MB", "max_pending: 256MB"]
    {
        assert!(settings.contains(&wanted), "nats.conf: write `{wanted}`");
    }
    let loopback = settings.iter().any(|line| line.starts_with("http: \"127.0.0.1:"));
    assert!(loopback, "nats.conf: monitoring has no password and listens on loopback only");
}
