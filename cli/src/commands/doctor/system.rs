//! What the server and the system on it must be like.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bus_client::events::Mark;
use bus_client::{Ask, Bus};
use bus_schemas::{Body, ContentType, EntityAddress, Key, Kind, PartitionId, Timestamp};
use bytes::Bytes;
use futures::TryStreamExt;
use serde_json::Value;

use super::Check;
use crate::commands::agents::Agents;
use crate::commands::verify;
use crate::failure::Failure;
use crate::gateway::{get, read, view};
use crate::session::Session;

/// How long a partition may take to answer: longer than a flush on a busy disk.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// Clocks that differ by more make timers and deadlines visibly wrong.
const SKEW_MS_WARN: u64 = 1_000;
/// Clocks that differ by more make them useless.
const SKEW_MS_FAIL: u64 = 60_000;
/// Above this, JetStream's storage is full within days where it grew within weeks.
const STORAGE_PERCENT_WARN: u64 = 80;
/// Above this, writes may be refused at any moment.
const STORAGE_PERCENT_FAIL: u64 = 95;
/// Durable commands that wait: more than a takeover leaves behind.
const BACKLOG_WARN: u64 = 10_000;
/// How often it is looked whether events go out.
const LOOK: Duration = Duration::from_millis(100);
/// Events that are committed and not out: more than some seconds of work.
const LAG_WARN: u64 = 10_000;

/// Dead letters that are counted: a page of the read model. Whoever has more knows enough.
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
    checks.push(answers(bus).await);
    checks.push(lag(bus).await.unwrap_or_else(|error| Check::of("fanout", error)));
    checks.push(super::versions::check(bus).await);
    checks.extend(edge(session).await);
    checks
}

/// Version, JetStream, and whether an acknowledgement means what the profile says.
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

/// The server's clock beside this machine's; none where its monitoring is not known.
async fn clock(session: &Session) -> Option<Check> {
    let monitor = session.config.nats.monitor_url.as_deref()?.split(',').next()?.trim_end_matches('/');
    let varz: Value = get(monitor, "/varz").await.ok()?.1;
    let theirs = Timestamp::parse_rfc3339(varz["now"].as_str()?)?;
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let skew = u64::try_from(ours).unwrap_or(u64::MAX).abs_diff(theirs.0);
    let (detail, fix) = (format!("the server's differs by {skew} ms"), "run NTP on both machines");
    Some(match skew {
        ..SKEW_MS_WARN => Check::ok("clock", detail),
        SKEW_MS_WARN..SKEW_MS_FAIL => Check::warn("clock", detail, fix),
        _ => Check::fail("clock", detail, fix),
    })
}

/// How full JetStream's storage is; none where monitoring is not known: the server check says so.
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

/// Whether streams and buckets have the settings that the promises rest on.
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
            "stream" => "`orrery up` makes what is missing; what it held is gone".to_owned(),
            _ => format!("set it back: `nats stream edit {stream}`"),
        };
        if grave { Check::fail("topology", detail, fix) } else { Check::warn("topology", detail, fix) }
    };
    deviations.into_iter().map(check).collect()
}

/// Whether every stream and bucket is there, and what waits in them.
async fn streams(bus: &Bus) -> Result<Vec<Check>, bus_client::Error> {
    let topology = bus.topology();
    let mut names: Vec<String> = topology.all_partitions().map(|partition| topology.log(partition)).collect();
    names.extend(topology.inboxes());
    names.extend([topology.events(), topology.output(), topology.dead()]);
    names.extend(
        [topology.leases(), topology.settings(), topology.snapshots()].map(|name| format!("KV_{name}")),
    );
    names.push(format!("OBJ_{}", topology.blobs()));
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

/// Whether a log that was cut could be taken over without its snapshot; nothing where none was cut.
async fn cut_logs(bus: &Bus) -> Result<Option<Check>, Failure> {
    let (mut cut, mut lacking) = (0, Vec::new());
    for partition in bus.topology().all_partitions() {
        let log = bus.state_of(&bus.topology().log(partition)).await?;
        cut += u32::from(log.first_sequence > 1);
        let mark = bus.mark(partition).await?.upto;
        if let Some((finding, detail)) = verify::lacking(bus, partition, &log, mark).await? {
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

/// Dead letters that wait for somebody: those that `dead list` shows. Not every one has a payload, so
/// the stream of payloads says less.
async fn dead(session: &Session) -> Check {
    let page = match view(session, &format!("/v1/dead-letters?state=waiting&limit={DEAD_COUNTED_MAX}")).await
    {
        Ok(page) => page,
        Err(failure) => return Check::of("dead", failure),
    };
    let waiting = page["dead_letters"].as_array().map_or(0, Vec::len);
    let more = if page["next_cursor"].is_null() { "" } else { " and more" };
    match (waiting, more) {
        (0, "") => Check::ok("dead", "no dead letters"),
        (1, "") => Check::warn("dead", "1 dead letter", "`orrery dead list` shows it"),
        _ => Check::warn("dead", format!("{waiting}{more} dead letters"), "`orrery dead list` shows them"),
    }
}

/// Whether every partition has an owner.
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
            "nobody owns partitions {}: {host} can not read {partition}: {reason}",
            orphans.join(", ")
        );
        return Check::fail(
            "lease",
            what,
            "start a host with the newer program: see docs/errors/program-outdated.md",
        );
    }
    let fix = "start a host (`orrery up`); after a host was killed this takes 4 seconds";
    Check::fail("lease", format!("nobody owns partitions {}", orphans.join(", ")), fix)
}

/// Whether every partition answers. A query that nobody knows is refused by the owner, and leaves no trace.
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

/// Some key that lies in a partition.
fn key_in(partition: PartitionId, partitions: u16) -> Key {
    let key = |number: u32| Key::parse(&format!("doctor-{number}")).expect("letters and digits");
    let lies = |key: &Key| {
        EntityAddress::new(Kind::from_static("probe"), key.clone()).partition(partitions) == partition
    };
    (0..).map(key).find(lies).expect("the hash reaches every partition")
}

/// Events that are committed and not in the stream. What is on its way at this moment is no trouble;
/// what is still not out after some seconds is.
async fn lag(bus: &Bus) -> Result<Check, Failure> {
    let fix = "the event stream takes no writes, or a host can not read its log: see the hosts' logs";
    let mut total = 0;
    for partition in bus.topology().all_partitions() {
        let deadline = Instant::now() + ANSWER_PATIENCE;
        let (mark, mut behind) = not_out(bus, partition).await?;
        total += behind;
        while behind > 0 && bus.mark(partition).await? == mark {
            if Instant::now() > deadline {
                if bus.events_state().await?.messages == 0 {
                    let detail =
                        format!("the event stream is empty, and the log of partition {partition} has events");
                    let fix =
                        "stop the hosts and run `orrery rebuild events`: it writes them again from the logs";
                    return Ok(Check::fail("fanout", detail, fix));
                }
                let detail =
                    format!("{behind} events of partition {partition} are not out after {ANSWER_PATIENCE:?}");
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

/// A partition's mark, and how many events stand behind it: counted up to the bound.
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

/// Agents and the gateway; without a gateway nobody knows about agents.
async fn edge(session: &Session) -> Vec<Check> {
    let Ok(base) = crate::gateway::address(session) else {
        let fix = "start one with `orrery up`, or set ORRERY_GATEWAY to `http://host:port`";
        return vec![Check::warn("gateway", "none is known", fix)];
    };
    let ready: Value = match get(&base, "/ready").await {
        Ok((_, ready)) => ready,
        Err(failure) => return vec![Check::of("gateway", failure)],
    };
    let projection = &ready["projection"];
    let detail = format!("{base}, {} messages behind", projection["lag"]);
    let mut checks = vec![match projection["caught_up"] == true {
        true => Check::ok("gateway", detail),
        false => Check::warn("gateway", detail, "it reads on; `orrery rebuild views` begins anew"),
    }];
    checks.push(dead(session).await);
    if projection["unreadable"].as_u64().unwrap_or(0) > 0 {
        let detail = format!("{} events could not be read", projection["unreadable"]);
        checks.push(Check::fail("projections", detail, "`orrery verify --all` names them"));
    }
    let agents = view(session, "/v1/agents").await.and_then(read::<Agents>);
    checks.push(match agents {
        Err(failure) => Check::of("agents", failure),
        Ok(agents) => {
            let lost = |worker: &&crate::commands::agents::Worker| worker.lost_at.is_some();
            let workers: Vec<_> = agents.agents.iter().flat_map(|agent| &agent.workers).collect();
            let silent = workers.iter().filter(|worker| lost(worker)).count();
            let detail = format!("{} with {} workers", agents.agents.len(), workers.len() - silent);
            match (workers.len() - silent, silent) {
                (0, _) => Check::warn("agents", detail, "start agents: `orrery up`, or your own"),
                (_, 0) => Check::ok("agents", detail),
                _ => Check::warn(
                    "agents",
                    format!("{detail}, {silent} lost"),
                    "`orrery agents NAME` shows which",
                ),
            }
        }
    });
    checks
}
