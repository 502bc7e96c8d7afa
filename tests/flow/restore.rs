//! Streams that are restored: a try that failed without a clear answer is in the way of no other.

use std::io::{Cursor, Read, Result, Seek, SeekFrom};

use async_nats::jetstream::{self, stream};
use bus_client::Profile;
use system_tests::Server;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

/// Messages of the stream.
const MESSAGES: u64 = 20;

fn config() -> stream::Config {
    stream::Config { name: "KEPT".into(), subjects: vec!["kept.>".into()], ..stream::Config::default() }
}

/// A file that is cut off at the first reading, and whose stream is there all of a sudden at the second one.
struct Troubled {
    file: Cursor<Vec<u8>>,
    readings: u32,
    context: jetstream::Context,
}

impl Read for Troubled {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let length = self.file.get_ref().len();
        let end = if self.readings == 1 { length / 2 } else { length };
        let left = end.saturating_sub(usize::try_from(self.file.position()).expect("a small file"));
        let count = buffer.len().min(left);
        self.file.read(&mut buffer[..count])
    }
}

impl Seek for Troubled {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.readings += 1;
        if self.readings == 2 {
            let made = self.context.create_stream(config());
            block_in_place(|| Handle::current().block_on(made)).expect("nothing of this name is there");
        }
        self.file.seek(to)
    }
}

/// Goal: what a try left behind of a stream is removed, and what was there before any try is not. Method: a first
/// try that the server cannot read, and a second one that seems to be done by a former one meanwhile; then one of
/// a stream that is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_tried_again_finds_its_own_stream_in_no_way() {
    let server = Server::start(Profile::Fast).await;
    let (bus, context) = (server.bus().await, jetstream::new(server.client().await));
    context.create_stream(config()).await.expect("a stream");
    for _ in 0..MESSAGES {
        context.publish("kept.x", "a message".into()).await.expect("sent").await.expect("stored");
    }
    let mut file = Vec::new();
    let snapshot = bus.snapshot_stream("KEPT", &mut file, |_| {}).await.expect("a snapshot");
    context.delete_stream("KEPT").await.expect("deleted");

    let mut troubled = Troubled { file: Cursor::new(file.clone()), readings: 0, context };
    let restored = bus.restore_stream(&snapshot, None, &mut troubled, |_| {}).await.expect("restored");
    assert_eq!((restored.messages, troubled.readings), (MESSAGES, 3));

    let refused = bus.restore_stream(&snapshot, None, Cursor::new(file), |_| {}).await;
    let refused = refused.expect_err("the name is taken");
    assert!(refused.to_string().contains("10130") && !refused.is_temporary(), "{refused}");
    let totals = bus.totals("KEPT").await.expect("an answer").expect("the stream stays");
    assert_eq!(totals.messages, MESSAGES);
}
