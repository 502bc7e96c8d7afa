//! Damage that no program of ours does: it is named, what it cannot touch stays, and what derives
//! from the log comes back.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use bus_schemas::PartitionId;
use bus_schemas::topology::PARTITIONS_DEFAULT;
use serde_json::Value;

use crate::world::{Ended, World, eventually, orrery, program};

/// The Python with nats-py that `make tools` obtained, with a connection `nc` and its JetStream `js`, which may do
/// whatever the system on this data directory may, and `append`, which adds to a log as a host does.
pub fn python(data_dir: &Path, nats_url: &str, script: &str) {
    let password = std::fs::read_to_string(data_dir.join("nats/password")).expect("the server's password");
    let nats_url = nats_url.replacen("nats://", &format!("nats://orrery:{}@", password.trim()), 1);
    let found = std::env::var_os("ORRERY_PYTHON").map(std::path::PathBuf::from);
    let python =
        found.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/venv/bin/python"));
    let indented: String = script.trim().lines().map(|line| format!("    {line}\n")).collect();
    let whole = format!(
        "import asyncio, sys, nats\nasync def main():\n    nc = await nats.connect(sys.argv[1])\n    \
         js = nc.jetstream()\n    async def append(partition, record):\n        \
         last = (await js.stream_info(f\"ORRERY_LOG_{{partition}}\")).state.last_seq\n        \
         expected = {{\"Nats-Expected-Last-Subject-Sequence\": str(last)}}\n        \
         await js.publish(f\"orrery.log.{{partition}}\", record, headers=expected)\n{indented}    await nc.drain()\nasyncio.run(main())\n"
    );
    let done = Command::new(python).args(["-c", &whole, &nats_url]).status().expect("run `make tools` first");
    assert!(done.success(), "the script runs: {whole}");
}

/// The server alone, on the store of a system that is down: opened by somebody who follows its events.
struct Opened {
    follower: Child,
    nats_url: String,
}

impl Opened {
    fn new(data_dir: &Path) -> Self {
        let follower = Command::new(program())
            .arg("--data-dir")
            .arg(data_dir)
            .args(["events", "--follow"])
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary runs");
        let ports: Value = eventually("the server", || {
            let files = std::fs::read_dir(data_dir.join("nats")).ok()?;
            let file =
                files.flatten().find(|file| file.path().extension().is_some_and(|end| end == "ports"))?;
            serde_json::from_str(&std::fs::read_to_string(file.path()).ok()?).ok()
        });
        Self { follower, nats_url: ports["nats"][0].as_str().expect("an address").to_owned() }
    }
    /// Ctrl-C: the follower ends as one that was interrupted, and takes its server with it.
    fn close(mut self) {
        let pid = self.follower.id().to_string();
        let told = Command::new("kill").args(["-INT", &pid]).status().expect("`kill` is everywhere");
        assert!(told.success());
        let ended = self.follower.wait().expect("it was our child");
        assert_eq!(ended.code(), Some(130), "it was interrupted");
    }
}

/// Does something to the store of a system that is down.
pub fn tamper(data_dir: &Path, script: &str) {
    let opened = Opened::new(data_dir);
    python(data_dir, &opened.nats_url, script);
    opened.close();
}

/// A system that has done a task with a large input, and is down again.
fn past() -> tempfile::TempDir {
    let world = World::start();
    let input = format!("{{\"text\": \"{}\"}}", "x".repeat(100_000));
    let submit = ["tasks", "submit", "x", "--id", "one", "--skill", "noop", "--wait", "--input", &input];
    world.orrery(&submit).good();
    world.stop()
}

/// The findings of a verification that has some.
fn findings(data_dir: &Path) -> Vec<(String, String)> {
    let text = |line: &Value, field: &str| line[field].as_str().unwrap_or_default().to_owned();
    let lines = orrery(data_dir, &["verify", "--json"]).failed("verification-failed", 1).lines();
    let found = lines.iter().filter(|line| line["finding"].is_string());
    found.map(|line| (text(line, "finding"), text(line, "place"))).collect()
}

fn names(found: &[(String, String)]) -> Vec<&str> {
    found.iter().map(|(finding, _)| finding.as_str()).collect()
}

/// Goal: a log that cannot be read is named with its place, and costs nothing else: the verification
/// goes on, and rebuilding refuses before it deletes anything. Method: a record that is none.
#[test]
fn a_damaged_log_is_named_and_the_event_stream_stays() {
    let past = past();
    let before = orrery(past.path(), &["events", "--json"]).good().lines();
    tamper(past.path(), r#"await append(3, b"rubbish")"#);
    let found = findings(past.path());
    assert_eq!(names(&found), ["record-unreadable"], "{found:?}");
    assert!(found[0].1.starts_with("partition 3 record "), "{found:?}");
    orrery(past.path(), &["rebuild", "events"]).failed("record-unreadable", 65);
    let after = orrery(past.path(), &["events", "--json"]).good().lines();
    assert_eq!(before, after);
}

/// Goal: what lies beside the logs is held against them too. Method: a snapshot of nothing, a snapshot
/// of an entity that never was, and a store without its large bodies.
#[test]
fn snapshots_and_blobs_are_held_against_the_log() {
    let past = past();
    tamper(
        past.path(),
        r#"
kv = await js.key_value("orrery_snapshots")
await kv.put("entity.task.one", b"\xc1")
await kv.put("entity.task.never", b"\x95\x07\xc4\x20" + bytes(32) + b"\x01\xc0\xc0")
"#,
    );
    let found = findings(past.path());
    let places: Vec<&str> = found.iter().map(|(_, place)| place.as_str()).collect();
    assert_eq!(names(&found), ["snapshot-differs"; 2], "{found:?}");
    assert!(places.contains(&"task/one") && places.contains(&"task/never"), "{found:?}");
    orrery(past.path(), &["rebuild", "events"]).good();
    orrery(past.path(), &["verify"]).good();

    tamper(past.path(), r#"await js.purge_stream("OBJ_orrery_blobs")"#);
    let found = findings(past.path());
    let missing = |place: &str| {
        found.iter().any(|(finding, found)| finding == "blob-missing" && found.starts_with(place))
    };
    assert!(missing("ORRERY_EVENTS") && missing("partition "), "the reading goes on behind: {found:?}");
    orrery(past.path(), &["replay", "task/one"]).failed("blob-missing", 65);
}

/// Goal: a rebuild that was interrupted needs no second one. Method: the event stream as it is right
/// after it was cleared; the next host completes it from its logs before it serves.
#[test]
fn a_host_completes_what_a_rebuild_began() {
    let past = past();
    let before = orrery(past.path(), &["verify", "--json"]).good().line();
    tamper(past.path(), r#"await js.purge_stream("ORRERY_EVENTS")"#);
    let found = findings(past.path());
    assert!(found.len() > 4 && names(&found).iter().all(|name| *name == "event-missing"), "{found:?}");
    let world = World::start_in(past);
    let after = world.orrery(&["verify", "--json"]).good().line();
    assert!(after["events_in_stream"].as_u64() >= before["events_in_stream"].as_u64(), "{after}");
    assert_eq!(world.orrery(&["replay", "task/one", "--json"]).good().line()["revision"], 4);
    world.orrery(&["tasks", "submit", "x", "--id", "two", "--skill", "noop", "--wait"]).good();
}

/// Goal: where the event stream is lost, or is of another history, the doctor says what to do, and that does
/// it. Method: the stream of a running system is emptied, deleted, or has a mark beyond the log; then what
/// the doctor says, word for word.
#[test]
fn the_doctor_sends_who_lost_the_event_stream_to_the_logs() {
    let other = format!(
        "await js.publish(\"orrery.mark.{}\", b\"999999.0\")",
        PartitionId::of("one", PARTITIONS_DEFAULT)
    );
    for (check, loss) in [
        ("fanout", r#"await js.purge_stream("ORRERY_EVENTS")"#),
        ("topology", r#"await js.delete_stream("ORRERY_EVENTS")"#),
        ("fanout", &other),
    ] {
        let world = World::start();
        world.orrery(&["tasks", "submit", "x", "--id", "one", "--skill", "noop", "--wait"]).good();
        python(world.data_dir(), world.address("nats_url"), loss);
        let lines = world.orrery(&["doctor", "--json"]).failed("checks-failed", 1).lines();
        let failed = lines.iter().find(|line| line["check"] == check && line["verdict"] == "fail");
        let failed = failed.unwrap_or_else(|| panic!("{loss}: {lines:?}"));
        let fix = failed["fix"].as_str().unwrap_or_default();
        assert!(fix.starts_with("stop the hosts and run `orrery rebuild events`"), "{loss}: {failed}");
        let past = world.stop();
        orrery(past.path(), &["rebuild", "events"]).good();
        orrery(past.path(), &["verify", "--all"]).good();
        let world = World::start_in(past);
        let one = world.orrery(&["events", "--tree", "one", "--json"]).good().lines();
        assert_eq!(one.len(), 4, "{loss}: {one:?}");
        world.orrery(&["doctor"]).good();
    }
}

/// Goal: deciding again is silent about what no entity decided, and about what failed then and fails
/// now. Method: durable commands that are poison, malformed, for nobody, or under a used id; traced.
#[test]
fn what_could_not_be_done_is_decided_again_alike() {
    let world = World::start();
    python(
        world.data_dir(),
        world.address("nats_url"),
        r#"
trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
async def give(entity, body, id):
    await js.publish("orrery.do.test." + entity, body, headers={"Orrery-Command-Id": id, **trace})
await give("probe.p", b'{"type":"touch"}', "first")
await give("probe.p", b'{"type":"touch","note":"another"}', "first")
await give("probe.p", b'{"type":"panic"}', "poison")
await give("probe.p", b'{"type":"fly"}', "malformed")
await give("probe.p.q", b'{"type":"forward","to":"elsewhere"}', "path")
await give("unicorn.p", b"{}", "nobody")
await give("probe.p", b'{"type":"touch"}', "last")
"#,
    );
    let dead = || world.orrery(&["dead-letters", "list", "--json"]).good().line();
    eventually("the dead letters", || {
        let entries = dead()["dead_letters"].as_array().map_or(0, Vec::len);
        (entries == 4).then_some(())
    });
    eventually("the last touch", || {
        let ended = world.orrery(&["replay", "probe/p", "--at", "2"]);
        (ended.status == 0).then_some(())
    });
    let again = world.orrery(&["replay", "--redecide", "--all", "--json"]).good().line();
    assert!(again["diverged"] == 0 && again["skipped"] == 0, "{again}");
    world.orrery(&["verify"]).good();
}

/// Goal: settings that the promises rest on are looked after. Method: a stream less, and a limit that
/// would take dead letters away.
#[test]
fn the_doctor_names_streams_that_are_not_as_they_were_made() {
    let world = World::start();
    let well = topology(&world.orrery(&["doctor", "--json"]).good());
    assert_eq!(well.iter().map(|check| &check["verdict"]).collect::<Vec<_>>(), ["ok"]);
    python(
        world.data_dir(),
        world.address("nats_url"),
        r#"
await js.delete_stream("ORRERY_OUTPUT")
config = (await js.stream_info("ORRERY_DEAD")).config
config.max_bytes = 1_000_000
await js.update_stream(config)
"#,
    );
    let ill = topology(&world.orrery(&["doctor", "--json"]).failed("checks-failed", 1));
    let about = |stream: &str, setting: &str| {
        ill.iter().any(|check| {
            let detail = check["detail"].as_str().unwrap_or_default();
            check["verdict"] == "fail" && detail.starts_with(&format!("{stream}: {setting} "))
        })
    };
    assert!(about("ORRERY_OUTPUT", "stream") && about("ORRERY_DEAD", "max_bytes"), "{ill:?}");
}

fn topology(ended: &Ended) -> Vec<Value> {
    ended.lines().into_iter().filter(|line| line["check"] == "topology").collect()
}

/// Goal: a damaged log costs its partition and nothing else, at a start too. Method: rubbish at the end of
/// one log; the system starts, serves its gateway and the other partitions, and the doctor names the one.
#[test]
fn a_system_with_a_damaged_log_starts_and_serves_the_rest() {
    let past = World::start().stop();
    tamper(past.path(), r#"await append(3, b"rubbish")"#);
    let world = World::start_in(past);
    assert!(world.address("http").starts_with("http://"), "{}", world.banner);
    let lines = world.orrery(&["doctor", "--json"]).failed("checks-failed", 1).lines();
    let partitions = lines.iter().find(|line| line["check"] == "partitions").expect("a check");
    assert_eq!(partitions["detail"], "no answer from 3", "{partitions}");
    let done = |id: &String| {
        world.orrery(&["tasks", "submit", "nothing", "--id", id, "--skill", "noop"]).status == 0
    };
    let ids: Vec<String> = (0..8).map(|number| format!("t{number}")).collect();
    assert!(ids.iter().any(done), "another partition takes work");
}

/// Goal: who writes looks first whose streams those are. Method: settings with other partitions, and a stream of
/// the right name that has another installation's subjects; each verb that writes, and nothing has changed.
#[test]
fn verbs_that_write_refuse_what_is_of_another_installation() {
    let past = past();
    let before = orrery(past.path(), &["events", "--json"]).good().lines();
    let path = |name: &str| past.path().join(name).to_str().expect("UTF-8").to_owned();
    let (settings, backup, other) = (path("other.toml"), path("backup"), path("other"));
    orrery(past.path(), &["backup", &backup]).good();
    std::fs::write(&settings, "[nats]\npartitions = 4\n").expect("a file");
    let verbs = [&["archive", "--older-than", "0s"][..], &["backup", &other], &["rebuild", "events"]];
    for verb in verbs {
        let verb = [&["--config", settings.as_str()][..], verb].concat();
        orrery(past.path(), &verb).failed("installation-mismatch", 69);
    }
    tamper(
        past.path(),
        r#"
await js.delete_stream("ORRERY_OUTPUT")
await js.add_stream(name="ORRERY_OUTPUT", subjects=["other.out.>"])
"#,
    );
    let restore = ["restore", backup.as_str()];
    for verb in verbs.into_iter().chain([&restore[..]]) {
        orrery(past.path(), verb).failed("installation-mismatch", 69);
    }
    assert!(!Path::new(&other).exists() && !past.path().join("archive").exists(), "nothing was made");
    assert_eq!(orrery(past.path(), &["events", "--json"]).good().lines(), before);
}
