//! What a host of the profile `replicated` looks at before it takes any work.

use bus_client::{Bus, NatsConfig, Profile};

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
