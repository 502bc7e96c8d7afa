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
