//! An owner that is frozen past its lease and wakes up again.

use bus_client::Profile;
use bus_schemas::Revision;
use system_tests::{Server, accepted, eventually, touch};

use crate::check::whole;
use crate::process::Process;

/// Goal: a zombie writes nothing and the system goes on. Method: SIGSTOP the only host, let another
/// take everything over, SIGCONT the first, and look at who wrote what.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_owner_writes_nothing_when_it_wakes() {
    let server = Server::start(Profile::Durable).await;
    let first = Process::start(&server, "first", false).await;
    let bus = server.bus().await;
    for key in 0..16 {
        accepted(&bus, &touch(&format!("p{key}"))).await;
    }
    first.signal("STOP").await;
    let _second = Process::start(&server, "second", false).await;
    eventually("the second host to have everything", || async {
        let leases = bus.leases().await.ok()?;
        (leases.holders.len() == 8 && leases.holders.values().all(|holder| holder == "second")).then_some(())
    })
    .await;
    for key in 0..16 {
        assert_eq!(accepted(&bus, &touch(&format!("p{key}"))).await, Revision(2));
    }
    first.signal("CONT").await;
    // Both answer now, each for what it rightly owns: the first must come back by a takeover.
    eventually("the first host to come back", || async {
        let leases = bus.leases().await.ok()?;
        (leases.holders.values().filter(|holder| *holder == "first").count() == 4).then_some(())
    })
    .await;
    for key in 0..16 {
        assert_eq!(accepted(&bus, &touch(&format!("p{key}"))).await, Revision(3));
    }
    let logged = whole(&bus).await;
    for window in logged.writers.windows(2) {
        let [(partition, _, epoch, host), (next, sequence, later, writer)] = window else { continue };
        if partition == next && host != writer {
            assert!(
                later > epoch,
                "record {sequence} of partition {next}: `{writer}` wrote under the epoch of `{host}`"
            );
        }
    }
}
