//! Cables that are pulled and firewalls that drop everything: whoever is cut off writes nothing, the
//! others go on, and it comes back by itself.

use system_tests::load::{Load, Random, kept, setting};
use system_tests::until_held;

use crate::network::{Machine, Network};
use crate::servers::{Cluster, Place};

/// Callers that ask and hand over.
const CALLERS: usize = 9;
/// The ports for clients, for monitoring and for the other servers: every machine has all of its own.
const PORTS: [u16; 3] = [4222, 8222, 6222];

async fn cluster(servers: &[Machine]) -> Cluster {
    let place = |machine: &Machine| Place {
        address: machine.address,
        ports: PORTS,
        namespace: Some(machine.namespace.clone()),
    };
    Cluster::start_at(servers.iter().map(place).collect()).await
}

/// Goal: a host that is cut off writes nothing after the takeover and serves again when it is back.
/// Method: its cable is pulled under load until another host has everything and answers, and put
/// back; then who wrote what is looked for in the logs.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_cut_off_writes_nothing_and_comes_back() {
    let mut network = Network::make();
    let servers = [network.join(), network.join(), network.join()];
    let [near, far] = [network.join(), network.join()];
    let cluster = cluster(&servers).await;
    let mut hosts =
        [cluster.host("near", Some(&near.namespace)).await, cluster.host("far", Some(&far.namespace)).await];
    let bus = cluster.bus().await;
    until_held(&bus, "far", 4).await;
    let load = Load::start(&cluster.config(), CALLERS, &mut Random(setting("ORRERY_CRASH_SEED", 7))).await;
    load.go_on("before the cable is pulled").await;
    far.pull();
    until_held(&bus, "near", 8).await;
    load.go_on("without the host that is cut off").await;
    far.plug();
    until_held(&bus, "far", 4).await;
    load.go_on("with the host that was cut off").await;
    let acknowledged = load.end().await;
    // Fenced: who was taken over from wrote again only under an epoch of its own.
    let logged = kept(&bus, &acknowledged).await;
    assert!(logged.handed_on() >= 8, "four partitions went to `near` and four came back");
    let last = |host: &str| logged.written.iter().rfind(|written| written.host == host).cloned();
    assert!(last("far").is_some_and(|written| written.epoch >= 3), "it serves again: {:?}", last("far"));
    for host in &mut hosts {
        assert!(host.is_running(), "`{}` gave up: {}", host.name(), host.log());
    }
}

/// Goal: a server that is cut off takes nobody down and rejoins. Method: under load, first one server
/// no longer sees the other two while its clients still reach it, then its cable is pulled; all go on
/// in between and afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_cut_off_takes_nobody_down() {
    let mut network = Network::make();
    let servers = [network.join(), network.join(), network.join()];
    let cluster = cluster(&servers).await;
    let mut hosts = [cluster.host("a", None).await, cluster.host("b", None).await];
    let mut random = Random(setting("ORRERY_CRASH_SEED", 7));
    let load = Load::start(&cluster.config(), CALLERS, &mut random).await;
    load.all_go_on("before anything is cut").await;
    let order = random.order(3);
    let (lonely, others) = (&servers[order[0]], [&servers[order[1]], &servers[order[2]]]);
    lonely.lose(&others);
    load.go_on("while a server does not see the others").await;
    lonely.find(&others);
    cluster.all_healthy().await;
    load.all_go_on("with the server that did not see the others").await;
    lonely.pull();
    // Clients of that server notice by themselves, and go to the others.
    load.all_go_on("without the server whose cable is pulled").await;
    lonely.plug();
    cluster.all_healthy().await;
    load.all_go_on("with the server whose cable was pulled").await;
    let acknowledged = load.end().await;
    kept(&cluster.bus().await, &acknowledged).await;
    for host in &mut hosts {
        assert!(host.is_running(), "`{}` gave up: {}", host.name(), host.log());
    }
}
