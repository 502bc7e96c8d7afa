//! What a host of the profile `replicated` looks at before it takes any work.

use bus_client::{Bus, NatsConfig, Profile};
use bus_schemas::Revision;
use system_tests::{accepted, eventually, touch};

use crate::servers::Cluster;

async fn code(config: &NatsConfig) -> &'static str {
    Bus::connect(config).await.expect_err("the servers are refused").code()
}

/// Goal: what one server keeps is not called replicated. Method: streams that were made with one copy
/// on a cluster are refused under `replicated`, as is a majority of servers that nobody can check; one
/// that is silent is passed over.
#[tokio::test]
async fn servers_that_keep_less_than_three_copies_are_refused() {
    let cluster = Cluster::start().await;
    let replicated = NatsConfig { subject_prefix: "single".into(), ..cluster.config() };
    let durable = NatsConfig { profile: Profile::Durable, ..replicated.clone() };
    Bus::connect(&durable).await.expect("one copy is what `durable` promises");
    assert_eq!(code(&replicated).await, "installation-mismatch");
    let monitors = cluster.config().monitor_url.expect("every server has one");
    let [first, second, _] = monitors.split(',').collect::<Vec<_>>()[..] else { panic!("{monitors}") };
    let silent = "http://127.0.0.1:1";
    let one = NatsConfig { monitor_url: Some(format!("{first},{second},{silent}")), ..cluster.config() };
    Bus::connect(&one).await.expect("two of three are sound");
    let two = NatsConfig { monitor_url: Some(format!("{first},{silent},{silent}")), ..cluster.config() };
    assert_eq!(code(&two).await, "nats-unchecked");
}

/// Goal: a host waits for a cluster that has no leader, at its start and while it runs, and goes on by
/// itself. Method: a start against one server of three, then the others; then the others are taken away from
/// a host that runs, until it says so, and come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_outlives_a_cluster_without_a_leader() {
    let mut cluster = Cluster::start().await;
    for index in [1, 2] {
        cluster.kill(index).await;
    }
    let mut host = cluster.begin_host("patient", None);
    let says = |log: String, what: &str, since: usize| log.get(since..).is_some_and(|log| log.contains(what));
    eventually("the host to wait", || async {
        says(host.log(), "using NATS does not work", 0).then_some(())
    })
    .await;
    for index in [1, 2] {
        cluster.restart(index);
    }
    let said = host.said().await;
    assert_eq!(said["ready"], true, "{said}; it logged: {}", host.log());
    let bus = cluster.bus().await;
    assert_eq!(accepted(&bus, &touch("p")).await, Revision(1));
    let before = host.log().len();
    for index in [1, 2] {
        cluster.kill(index).await;
    }
    eventually("the host to miss them", || async {
        says(host.log(), "renewing leases does not work", before).then_some(())
    })
    .await;
    for index in [1, 2] {
        cluster.restart(index);
    }
    assert_eq!(accepted(&bus, &touch("p")).await, Revision(2));
    assert!(host.is_running(), "{}", host.log());
    host.kill().await;
}
