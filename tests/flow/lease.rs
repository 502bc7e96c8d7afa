//! lease: partitions balance over hosts, move on join, drain on leave, and are taken over on death.

use bus_client::Profile;
use bus_schemas::Revision;
use system_tests::{Server, accepted, eventually, touch};

/// Goal: two hosts share the partitions and one alone has all. Method: join, leave, and count, with
/// callers that never see an error.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_move_with_the_hosts() {
    let server = Server::start(Profile::Fast).await;
    let first = server.host("first", false).await;
    let bus = server.bus().await;
    for index in 0..16 {
        accepted(&bus, &touch(&format!("p{index}"))).await;
    }
    let second = server.host("second", false).await;
    let share = |host: &'static str| {
        let bus = bus.clone();
        move || {
            let bus = bus.clone();
            async move {
                let leases = bus.leases().await.ok()?;
                let held = leases.holders.values().filter(|holder| *holder == host).count();
                Some(held)
            }
        }
    };
    let count = share("second");
    eventually("the second host's half", || async { (count().await? == 4).then_some(()) }).await;
    for index in 0..16 {
        assert_eq!(accepted(&bus, &touch(&format!("p{index}"))).await, Revision(2));
    }
    first.stop().await;
    eventually("the second host's whole", || async { (count().await? == 8).then_some(()) }).await;
    for index in 0..16 {
        assert_eq!(accepted(&bus, &touch(&format!("p{index}"))).await, Revision(3));
    }
    second.stop().await;
}

/// Goal: a host too many is no failure. Method: more hosts than partitions; the last one starts, has
/// nothing, and takes a share when another one leaves.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_too_many_stands_by() {
    let server = Server::start(Profile::Fast).await;
    let mut hosts = Vec::new();
    for number in 0..9 {
        hosts.push(server.host(&format!("host-{number}"), false).await);
    }
    let bus = server.bus().await;
    let shares = || async {
        let leases = bus.leases().await.expect("the leases");
        let held = |host: &String| leases.holders.values().filter(|holder| *holder == host).count();
        leases.hosts.iter().map(held).collect::<Vec<usize>>()
    };
    let wanted = |many: usize| [vec![1; 8], vec![0; many - 8]].concat();
    eventually("a partition for each but the last", || async { (shares().await == wanted(9)).then_some(()) })
        .await;
    hosts.remove(0).stop().await;
    eventually("a partition for each", || async { (shares().await == wanted(8)).then_some(()) }).await;
    accepted(&bus, &touch("p")).await;
    for host in hosts {
        host.stop().await;
    }
}
