//! `kill -9` of servers and hosts of a cluster, one by one and in pairs, under load, with a checker
//! outside that knows every acknowledged command.

use std::time::Duration;

use bus_client::{AskError, Bus, PublishError};
use bus_schemas::Revision;
use system_tests::load::{Load, Random, kept, setting};
use system_tests::process::Process;
use system_tests::{accepted, eventually, touch};

use crate::servers::Cluster;

/// Callers that ask and hand over.
const CALLERS: usize = 12;
/// How long a caller waits who wants to hear soon.
const SHORT: Duration = Duration::from_secs(3);

/// Who is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Server(usize),
    Host(usize),
}

/// Every server and every host in turn, then a server with a host, then both hosts; the order is the
/// seed's.
fn blows(random: &mut Random) -> Vec<Vec<Victim>> {
    let mut blows: Vec<Vec<Victim>> = Vec::new();
    blows.extend(random.order(3).into_iter().map(|server| vec![Victim::Server(server)]));
    blows.extend(random.order(2).into_iter().map(|host| vec![Victim::Host(host)]));
    let (server, host) = (random.order(3)[0], random.order(2)[0]);
    blows.push(vec![Victim::Server(server), Victim::Host(host)]);
    blows.push(random.order(2).into_iter().map(Victim::Host).collect());
    blows
}

/// Kills some of those that a majority can do without, and waits until the callers go on without
/// them; then lets them come back.
async fn strike(blow: &[Victim], cluster: &mut Cluster, hosts: &mut [Process], load: &Load) {
    for victim in blow {
        match *victim {
            Victim::Server(index) => cluster.kill(index).await,
            Victim::Host(index) => hosts[index].kill().await,
        }
    }
    // Nobody decides where no host is left: callers ask again until one is back.
    if blow.iter().filter(|victim| matches!(victim, Victim::Host(_))).count() < hosts.len() {
        load.go_on(&format!("without {blow:?}")).await;
    }
    // Hosts first: one that starts again must not need the server that is down.
    for victim in blow {
        if let Victim::Host(index) = *victim {
            hosts[index].restart().await;
            let said = hosts[index].said().await;
            assert_eq!(said["ready"], true, "{said}; it logged: {}", hosts[index].log());
        }
    }
    for victim in blow {
        if let Victim::Server(index) = *victim {
            cluster.restart(index);
            cluster.healthy(index).await;
        }
    }
    load.all_go_on(&format!("with {blow:?} again")).await;
}

/// Asserts that a caller of a cluster without a majority hears soon that it may ask again, and that
/// what it asked is done once when there is a majority again.
async fn ask_without_majority(cluster: &mut Cluster, down: &[usize], up: usize) {
    let bus = cluster.bus_of(&[up]).await;
    let (ask, durable) = (touch("nobody-else"), touch("nobody-else-either"));
    let (asked, handed_over) = tokio::join!(bus.ask(&ask, SHORT), bus.hand_over(&durable));
    let error = asked.expect_err("no majority, no answer");
    assert!(matches!(error, AskError::Unanswered { .. }), "ask again under the same id: {error}");
    let error = handed_over.expect_err("no majority, nothing is stored");
    assert!(may_be_repeated(&error), "hand over again under the same id: {error}");
    for index in down {
        cluster.restart(*index);
    }
    cluster.all_healthy().await;
    assert_eq!(accepted(&bus, &ask).await, Revision(1), "it is done once");
    again(&bus, &durable).await;
    assert_eq!(accepted(&bus, &durable).await, Revision(1), "it is done once");
}

/// Whether the caller may send the same again.
fn may_be_repeated(error: &PublishError) -> bool {
    matches!(error, PublishError::Unanswered(_) | PublishError::Retry(_) | PublishError::Refused { .. })
}

/// Hands over until it is taken.
async fn again(bus: &Bus, ask: &bus_client::Ask) {
    eventually("the cluster to take a command", || async { bus.hand_over(ask).await.ok() }).await;
}

/// Goal: nothing acknowledged is lost and nothing is applied twice on three servers. Method: every
/// server, every host, a server with a host, both hosts, and two servers are killed under load, in the order of
/// `ORRERY_CRASH_SEED`; then every acknowledged command is looked for in the logs.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_on_three_servers() {
    let seed = setting("ORRERY_CRASH_SEED", 7);
    println!("ORRERY_CRASH_SEED={seed}");
    let mut random = Random(seed);
    let mut cluster = Cluster::start().await;
    let mut hosts = [cluster.host("a", None).await, cluster.host("b", None).await];
    let load = Load::start(&cluster.config(), CALLERS, &mut random).await;
    load.all_go_on("before anything is killed").await;
    for blow in blows(&mut random) {
        strike(&blow, &mut cluster, &mut hosts, &load).await;
    }
    let order = random.order(3);
    for index in &order[..2] {
        cluster.kill(*index).await;
    }
    ask_without_majority(&mut cluster, &order[..2], order[2]).await;
    load.all_go_on("with a majority again").await;
    let acknowledged = load.end().await;
    let logged = kept(&cluster.bus().await, &acknowledged).await;
    println!(
        "{} acknowledged, {} applied, logs handed on {} times",
        acknowledged.len(),
        logged.applied.len(),
        logged.handed_on()
    );
    assert!(acknowledged.len() > 100, "there was load: {}", acknowledged.len());
    for host in &mut hosts {
        assert!(host.is_running(), "`{}` gave up: {}", host.name(), host.log());
    }
}
