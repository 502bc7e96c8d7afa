//! Claims and several hosts: a place finds its work wherever that lies.

use std::collections::BTreeSet;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_worker_serves_the_partitions_of_two_hosts() {
    let server = Server::start(Profile::Fast).await;
    let (one, two) = (server.host("host-1", false).await, server.host("host-2", false).await);
    system_tests::until_held(one.bus(), "host-2", 4).await;
    let bus = server.bus().await;
    register(&bus, WORKER).await;
    let names: Vec<String> = (0..16).map(|number| format!("spread-{number}")).collect();
    let partitions: BTreeSet<_> =
        names.iter().map(|name| task(name).partition(bus.topology().partitions)).collect();
    assert!(partitions.len() > 4, "the tasks lie on both hosts");
    for name in &names {
        submit(&bus, name).await;
    }
    let mut line = line(&bus).await;
    for _ in &names {
        let job = next_job(&mut line, WORKER).await;
        assert!(matches!(query(&bus, job.task.clone(), &renew(&job)).await, Reply::Accepted { .. }));
        accepted(&bus, job.task.clone(), &complete(&job)).await;
    }
    for name in &names {
        until_state(&bus, name, "completed").await;
    }
    one.stop().await;
    two.stop().await;
}
