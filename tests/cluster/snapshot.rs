//! A partition's snapshot that is replaced or damaged while its next owner reads it.

use async_nats::jetstream;
use bus_client::Profile;
use bus_schemas::topology::Store;
use system_tests::{Server, touch_all};

/// Entities: some in every partition.
const KEYS: u64 = 16;

/// Goal: a takeover does not wait for ever for a snapshot whose pieces are gone, as those are of one
/// that its former owner replaces at that moment. Method: a host that drains leaves snapshots; all
/// pieces are deleted behind their backs, and the next host must serve with what the logs say.
#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_does_not_wait_for_a_snapshot_without_its_pieces() {
    let server = Server::start(Profile::Fast).await;
    let before = server.host("before", false).await;
    let bus = server.bus().await;
    touch_all(&bus, KEYS, 1).await;
    before.stop().await;
    let client = server.client().await;
    let (context, objects) = (jetstream::new(client), bus.topology().objects(Store::Private));
    let stream = context.get_stream(format!("OBJ_{objects}")).await.expect("the objects");
    let purged = stream.purge().filter(format!("$O.{objects}.C.>")).await.expect("pieces can be deleted");
    assert!(purged.purged >= 8, "every partition left a snapshot: {}", purged.purged);
    let after = server.host("after", false).await;
    touch_all(&bus, KEYS, 2).await;
    after.stop().await;
}
