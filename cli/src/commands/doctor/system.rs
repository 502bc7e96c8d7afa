//! Checks of the server and the system on it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bus_client::events::Mark;
use bus_client::{Ask, Bus};
use bus_schemas::topology::Store;
use bus_schemas::{Body, ContentType, EntityAddress, Key, Kind, PartitionId, Timestamp};
use bytes::Bytes;
use futures::TryStreamExt;
use gateway_api::agents::Worker;
use gateway_api::dead_letters::{DeadLetterState, ListDeadLetters};
use gateway_api::routes;
use serde_json::Value;

use super::Check;
use crate::client::{Client, fetch};
use crate::failure::Failure;
use crate::session::Session;

/// Timeout of a partition's answer: longer than a flush on a busy disk.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// A difference of clocks, in milliseconds, above which timers and deadlines are visibly wrong.
const SKEW_MS_WARN: u64 = 1_000;
/// A difference of clocks, in milliseconds, above which timers and deadlines are useless.
const SKEW_MS_FAIL: u64 = 60_000;
/// Percent of JetStream's storage above which it will soon be full.
const STORAGE_PERCENT_WARN: u64 = 80;
/// Percent of JetStream's storage above which writes may be refused at any moment.
const STORAGE_PERCENT_FAIL: u64 = 95;
/// Waiting durable commands: more than a takeover leaves behind.
const BACKLOG_WARN: u64 = 10_000;
/// The polling interval while events are published.
const LOOK: Duration = Duration::from_millis(100);
/// Events that are committed but not yet in the event stream: more than some seconds of work.
const LAG_WARN: u64 = 10_000;

/// What to do where the event stream is gone, empty or another one's.
const EVENTS_LOST: &str =
    "stop the hosts and run `orrery rebuild events`: it writes the event stream again from the logs";
/// Dead letters that are counted: one page of the read model. An exact number above it is of no use.
const DEAD_COUNTED_MAX: u32 = 200;

/// The checks, in order.
pub async fn checks(session: &Session) -> Vec<Check> {
    let bus = &session.bus;
    let mut checks = vec![server(session).await];
    checks.extend(clock(session).await);
    checks.extend(storage(session).await);
    if let Err(error) = bus.check_installation().await {
        checks.push(Check::of("installation", error.into()));
    }
    checks.extend(settings(bus).await);
    match streams(bus).await {
        Ok(found) => checks.extend(found),
        Err(error) => {
            checks.push(Check::of("streams", error.into()));
            return checks;
        }
    }
    checks.extend(cut_logs(bus).await.unwrap_or_else(|failure| Some(Check::of("base", failure))));
    checks.push(owners(bus).await);
    checks.extend(host_clocks(bus).await);
    checks.push(answers(bus).await);
    checks.push(lag(bus).await.unwrap_or_else(|error| Check::of("fanout", error)));
    checks.push(super::versions::check(bus).await);
    checks.extend(edge(session).await);
    checks
}

/// Checks the version, JetStream, and whether the server's fsync matches the profile.
async fn server(session: &Session) -> Check {
    let (bus, profile) = (&session.bus, session.bus.profile());
    match bus_client::server::check(bus, &session.config.nats).await {
        Ok(()) => {
            let version = bus.server_version();
            Check::ok(
                "server",
                format!("{version} at {}, profile {profile} (fsync {})", bus.url(), profile.fsync()),
            )
        }
        Err(error) => Check::of("server", Failure::from(error)),
    }
}

/// Compares the server's clock with this machine's; `None` where its monitoring address is not known.
async fn clock(session: &Session) -> Option<Check> {
    let monitor = session.config.nats.monitor_url.as_deref()?.split(',').next()?.trim_end_matches('/');
    let varz: Value = fetch(&format!("{monitor}/varz")).await.ok()?.1;
    let theirs = Timestamp::parse_rfc3339(varz["now"].as_str()?)?;
    let skew = bus_client::now().0.abs_diff(theirs.0);
    Some(by_skew("clock", skew, format!("the server's differs by {skew} ms")))
}

/// Compares the hosts' clocks with the server's, from their last renewals; `None` where no host reports its
/// clock.
async fn host_clocks(bus: &Bus) -> Option<Check> {
    let offsets = bus.leases().await.ok()?.offsets;
    let (host, offset) = offsets.iter().max_by_key(|(_, offset)| offset.unsigned_abs())?;
    let side = if *offset < 0 { "behind" } else { "before" };
    let skew = offset.unsigned_abs();
    Some(by_skew("host-clocks", skew, format!("the clock of host {host} is {skew} ms {side} the server's")))
}

fn by_skew(check: &str, skew: u64, detail: String) -> Check {
    let fix = "run NTP on both machines: see docs/runbooks/clock-offset.md";
    match skew {
        ..SKEW_MS_WARN => Check::ok(check, detail),
        SKEW_MS_WARN..SKEW_MS_FAIL => Check::warn(check, detail, fix),
        _ => Check::fail(check, detail, fix),
    }
}

/// Checks how full JetStream's storage is; nothing where monitoring is not known: the server check says so.
async fn storage(session: &Session) -> Vec<Check> {
    let found = bus_client::server::storage(&session.config.nats).await.unwrap_or_default();
    let check = |server: bus_client::server::Storage| {
        let used = server.used_bytes;
        let Some(most) = server.bytes_max else {
            return Check::ok("storage", format!("{} MiB used, without a limit", used >> 20));
        };
        let detail = format!("{} of {} MiB used", used >> 20, most >> 20);
        let fix = "raise `max_file_store` on the server, or give it a larger disk";
        match used.saturating_mul(100) / most {
            STORAGE_PERCENT_FAIL.. => Check::fail("storage", detail, fix),
            STORAGE_PERCENT_WARN.. => Check::warn("storage", detail, fix),
            _ => Check::ok("storage", detail),
        }
    };
    found.into_iter().map(check).collect()
}

/// Checks the settings of streams and buckets that the guarantees depend on.
async fn settings(bus: &Bus) -> Vec<Check> {
    let deviations = match bus.deviations().await {
        Ok(deviations) => deviations,
        Err(error) => return vec![Check::of("topology", error.into())],
    };
    if deviations.is_empty() {
        return vec![Check::ok("topology", "every stream and bucket is as it was made")];
    }
    let check = |deviation: bus_client::inspect::Deviation| {
        let bus_client::inspect::Deviation { stream, setting, found, wanted, grave } = deviation;
        let detail = format!("{stream}: {setting} is {found}, not {wanted}");
        let fix = match setting {
            "stream" if stream == bus.topology().events() => EVENTS_LOST.to_owned(),
            "stream" => "`orrery up` makes what is missing; what it held is gone".to_owned(),
            _ => format!("set it back: `nats stream edit {stream}`"),
        };
        if grave { Check::fail("topology", detail, fix) } else { Check::warn("topology", detail, fix) }
    };
    deviations.into_iter().map(check).collect()
}

/// Checks that every stream and bucket exists, and how much waits in them.
async fn streams(bus: &Bus) -> Result<Vec<Check>, bus_client::Error> {
    let topology = bus.topology();
    let mut names: Vec<String> = topology.all_partitions().map(|partition| topology.log(partition)).collect();
    names.extend(topology.inboxes());
    names.extend([topology.events(), topology.output(), topology.dead()]);
    names.extend(
        [topology.leases(), topology.settings(), topology.snapshots(), topology.cache()]
            .map(|name| format!("KV_{name}")),
    );
    names.extend(Store::ALL.map(|store| format!("OBJ_{}", topology.objects(store))));
    let mut states = BTreeMap::new();
    for name in names {
        states.insert(name.clone(), bus.state_of(&name).await?);
    }
    let bytes: u64 = states.values().map(|state| state.bytes).sum();
    let mut checks = vec![Check::ok("streams", format!("{} of them, {} MiB", states.len(), bytes >> 20))];
    let messages = |name: String| states.get(&name).map_or(0, |state| state.messages);
    let waiting: u64 = topology.inboxes().map(messages).sum();
    checks.push(match waiting {
        ..BACKLOG_WARN => Check::ok("inbox", format!("{waiting} durable commands wait")),
        _ => Check::warn(
            "inbox",
            format!("{waiting} durable commands wait"),
            "start more hosts, or find what blocks a partition",
        ),
    });
    Ok(checks)
}

/// Checks that a log that was cut can be taken over without its snapshot; `None` where no log was cut.
async fn cut_logs(bus: &Bus) -> Result<Option<Check>, Failure> {
    let (mut cut, mut lacking) = (0, Vec::new());
    for partition in bus.topology().all_partitions() {
        let log = bus.state_of(&bus.topology().log(partition)).await?;
        cut += u32::from(log.first_sequence > 1);
        let mark = bus.mark(partition).await?.upto;
        if let Some((finding, detail)) = orrery_storage::verify::lacking(bus, partition, &log, mark).await? {
            lacking.push(format!("partition {partition}: {finding}: {detail}"));
        }
    }
    let fix = "`orrery archive --logs` makes a base again; docs/runbooks/partition-stopped.md has the rest";
    Ok(match (cut, lacking.is_empty()) {
        (0, _) => None,
        (_, true) => Some(Check::ok("base", format!("{cut} logs were cut, and each has its base"))),
        (_, false) => Some(Check::warn("base", lacking.join("; "), fix)),
    })
}

/// Counts waiting dead letters. Not every one has a payload, so the stream of payloads says less.
async fn dead(client: &Client) -> Check {
    let state = Some(DeadLetterState::Waiting);
    let query = ListDeadLetters { state, limit: Some(DEAD_COUNTED_MAX), ..ListDeadLetters::default() };
    let page = match client.list(routes::ListDeadLetters, &query).await {
        Ok(page) => page,
        Err(failure) => return Check::of("dead-letters", failure),
    };
    let name = "dead-letters";
    match (page.dead_letters.len(), page.next_cursor) {
        (0, None) => Check::ok(name, "none waits"),
        (1, None) => Check::warn(name, "1 waits", "`orrery dead-letters` shows it"),
        (waiting, more) => {
            let more = if more.is_some() { " and more" } else { "" };
            Check::warn(name, format!("{waiting}{more} wait"), "`orrery dead-letters` shows them")
        }
    }
}

/// Checks that every partition has an owner.
async fn owners(bus: &Bus) -> Check {
    let leases = match bus.leases().await {
        Ok(leases) => leases,
        Err(error) => return Check::of("lease", error.into()),
    };
    let mut hosts: BTreeMap<&str, usize> = leases.hosts.iter().map(|host| (host.as_str(), 0)).collect();
    leases.holders.values().for_each(|holder| *hosts.entry(holder).or_default() += 1);
    let orphans: Vec<String> = bus
        .topology()
        .all_partitions()
        .filter(|partition| !leases.holders.contains_key(partition))
        .map(|partition| partition.to_string())
        .collect();
    let held: Vec<String> = hosts.iter().map(|(host, count)| format!("{host}: {count}")).collect();
    if let Some((partition, why)) = leases.stuck().into_iter().next() {
        let fix = "docs/runbooks/partition-stopped.md says what to do";
        return Check::fail("lease", format!("partition {partition} does not go on: {why}"), fix);
    }
    if orphans.is_empty() {
        return Check::ok("lease", format!("{} partitions: {}", leases.holders.len(), held.join(", ")));
    }
    let mut left =
        leases.presences.iter().flat_map(|(host, said)| said.leaves.iter().map(move |left| (host, left)));
    if let Some((host, (partition, reason))) = left.find(|(_, (of, _))| !leases.holders.contains_key(of)) {
        let what = format!(
            "nobody owns partitions {}: {host} cannot read {partition}: {reason}",
            orphans.join(", ")
        );
        return Check::fail(
            "lease",
            what,
            "start a host with the newer program: `orrery explain program-outdated` has the steps",
        );
    }
    let fix = "start a host (`orrery up`); after a host was killed this takes 4 seconds";
    Check::fail("lease", format!("nobody owns partitions {}", orphans.join(", ")), fix)
}

/// Checks that every partition answers. Sends a query that no kind knows: the owner refuses it, and nothing
/// is recorded.
async fn answers(bus: &Bus) -> Check {
    let started = Instant::now();
    let asked = bus.topology().all_partitions().map(|partition| async move {
        let body = Body { content_type: ContentType::Json, bytes: Bytes::from_static(b"{}") };
        let to = EntityAddress::new(Kind::from_static("probe"), key_in(partition, bus.topology().partitions));
        let answer = bus.query(&Ask::new(to, body).caller("doctor"), ANSWER_PATIENCE).await;
        answer.is_err().then(|| partition.to_string())
    });
    let silent: Vec<String> = futures::future::join_all(asked).await.into_iter().flatten().collect();
    if silent.is_empty() {
        let slowest = started.elapsed().as_millis();
        return Check::ok("partitions", format!("all answer, the slowest within {slowest} ms"));
    }
    let fix =
        "the owner's log and `orrery heal log` say what keeps it: see docs/runbooks/partition-stopped.md";
    Check::fail("partitions", format!("no answer from {}", silent.join(", ")), fix)
}

/// A key that lies in the partition.
fn key_in(partition: PartitionId, partitions: u16) -> Key {
    let key = |number: u32| Key::parse(&format!("doctor-{number}")).expect("letters and digits");
    let lies = |key: &Key| {
        EntityAddress::new(Kind::from_static("probe"), key.clone()).partition(partitions) == partition
    };
    (0..).map(key).find(lies).expect("the hash reaches every partition")
}

/// Checks for events that are committed but not in the stream. Events on their way are fine; events still
/// missing after some seconds are not.
async fn lag(bus: &Bus) -> Result<Check, Failure> {
    let fix = "the event stream takes no writes, or a host cannot read its log: see the hosts' logs";
    let mut total = 0;
    for partition in bus.topology().all_partitions() {
        let deadline = Instant::now() + ANSWER_PATIENCE;
        let (mark, mut behind) = not_out(bus, partition).await?;
        total += behind;
        // After the mark was read: a log that is well has at least what the mark says.
        let log = bus.state_of(&bus.topology().log(partition)).await?.last_sequence;
        if mark.upto.0 > log {
            let detail = format!(
                "the event stream has events of partition {partition} up to record {}, and its log ends at {log}",
                mark.upto
            );
            return Ok(Check::fail("fanout", detail, EVENTS_LOST));
        }
        while behind > 0 && bus.mark(partition).await? == mark {
            if Instant::now() > deadline {
                if mark == Mark::default() {
                    let detail = format!(
                        "the event stream has nothing of partition {partition}, and its log has events"
                    );
                    return Ok(Check::fail("fanout", detail, EVENTS_LOST));
                }
                let detail = format!(
                    "{behind} events of partition {partition} are not published after {ANSWER_PATIENCE:?}"
                );
                return Ok(Check::fail("fanout", detail, fix));
            }
            tokio::time::sleep(LOOK).await;
            behind = not_out(bus, partition).await?.1;
        }
        if total >= LAG_WARN {
            return Ok(Check::warn("fanout", format!("{LAG_WARN} events and more are not out"), fix));
        }
    }
    Ok(Check::ok("fanout", format!("{total} events are on their way")))
}

/// A partition's mark, and the number of events behind it, counted up to a bound.
async fn not_out(bus: &Bus, partition: PartitionId) -> Result<(Mark, u64), Failure> {
    let mark = bus.mark(partition).await?;
    let mut records = bus.records_after(partition, mark.upto).await?;
    let mut behind = 0;
    while behind < LAG_WARN
        && let Some(entry) = records.try_next().await?
    {
        let record = bus_schemas::record::CommitRecord::decode(&entry.record)
            .map_err(|error| Failure::of("record-unreadable", &error))?;
        behind += record.turns.iter().map(|turn| turn.events.len() as u64).sum::<u64>();
        if entry.sequence == mark.upto.next() {
            behind = behind.saturating_sub(u64::from(mark.partial));
        }
    }
    Ok((mark, behind))
}

/// What the gateway saw over some seconds, and one look at the leases does not show: hosts that no longer renew
/// them, as on a server whose disk is full.
fn stuck(partitions: &Value) -> Option<Check> {
    let stuck = partitions["stuck"].as_object().filter(|stuck| !stuck.is_empty())?;
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (partition, why) in stuck {
        reasons.entry(why.as_str().unwrap_or_default()).or_default().push(partition);
    }
    let said = |(why, partitions): (&str, Vec<&str>)| format!("partitions {}: {why}", partitions.join(", "));
    let detail: Vec<String> = reasons.into_iter().map(said).collect();
    let fix = "make room on the server's disk when it is full, and restart the server; docs/runbooks/disk-nearly-full.md and docs/runbooks/partition-stopped.md have the steps";
    Some(Check::fail("progress", detail.join("; "), fix))
}

/// Checks the agents and the gateway; without a gateway nothing is known about agents.
async fn edge(session: &Session) -> Vec<Check> {
    let Ok(client) = Client::connect(&session.config) else {
        let fix = "start one with `orrery up`, or set ORRERY_GATEWAY to `http://host:port`";
        return vec![Check::warn("gateway", "none is known", fix)];
    };
    let ready: Value = match fetch(&format!("{}/ready", client.address())).await {
        Ok((_, ready)) => ready,
        Err(failure) => return vec![Check::of("gateway", failure)],
    };
    let projection = &ready["projection"];
    let detail = format!("{}, {} messages behind", client.address(), projection["lag"]);
    let mut checks = vec![match projection["caught_up"] == true {
        true => Check::ok("gateway", detail),
        false => Check::warn("gateway", detail, "the gateway reads on; `orrery rebuild views` begins anew"),
    }];
    checks.extend(stuck(&ready["partitions"]));
    checks.push(dead(&client).await);
    if projection["unreadable"].as_u64().unwrap_or(0) > 0 {
        let detail = format!("{} events could not be read", projection["unreadable"]);
        checks.push(Check::fail("projections", detail, "`orrery verify --all` names them"));
    }
    let agents = client.all(routes::ListAgents, |page| page.next_cursor.clone()).await;
    checks.push(match agents {
        Err(failure) => Check::of("agents", failure),
        Ok(pages) => {
            let agents: Vec<_> = pages.iter().flat_map(|page| &page.agents).collect();
            let lost = |worker: &&Worker| worker.lost_at.is_some();
            let workers: Vec<_> = agents.iter().flat_map(|agent| &agent.workers).collect();
            let silent = workers.iter().filter(|worker| lost(worker)).count();
            let detail = format!("{} with {} workers", agents.len(), workers.len() - silent);
            match (workers.len() - silent, silent) {
                (0, _) => Check::warn("agents", detail, "start agents: `orrery up`, or your own"),
                (_, 0) => Check::ok("agents", detail),
                _ => Check::warn(
                    "agents",
                    format!("{detail}, {silent} lost"),
                    "`orrery agents show NAME` shows which",
                ),
            }
        }
    });
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Verdict;

    #[test]
    fn a_clock_that_is_off_is_said_as_badly_as_it_is() {
        for (skew, verdict) in
            [(0, Verdict::Ok), (999, Verdict::Ok), (1_000, Verdict::Warn), (3_600_000, Verdict::Fail)]
        {
            let check = by_skew("host-clocks", skew, String::new());
            assert_eq!((check.verdict, check.fix.is_some()), (verdict, verdict != Verdict::Ok), "{skew}");
        }
    }
}
