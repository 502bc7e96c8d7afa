//! Following a stream without end: the only read with a consumer, which ends with its reader.
//!
//! A stream supports about a thousand consumers, and the server keeps an abandoned one for half a minute:
//! short-lived readers would lock others out.

use async_nats::jetstream;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use futures::{Stream, StreamExt};

use crate::bus::Bus;
use crate::error::Error;
use crate::events::RawMessage;

/// A consumer that is deleted when it is dropped.
struct Consumer {
    jetstream: jetstream::Context,
    stream: String,
    /// The name of the first consumer, with which those of its successors begin.
    first: String,
    /// Its current name: the client creates a new consumer after lost messages.
    name: String,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // Without a runtime the process is about to end, and the server removes the idle consumer.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (jetstream, stream, name) =
            (self.jetstream.clone(), std::mem::take(&mut self.stream), std::mem::take(&mut self.name));
        runtime.spawn(async move {
            if let Err(error) = jetstream.delete_consumer_from_stream(&name, &stream).await {
                tracing::debug!(stream, %error, "deleting a consumer; it ends by itself");
            }
        });
    }
}

/// The messages of a stream in order, from `start`, without end.
pub(crate) async fn following(
    bus: &Bus,
    stream: &str,
    subjects: Vec<String>,
    start: u64,
) -> Result<impl Stream<Item = Result<RawMessage, Error>> + Send + Unpin + use<>, Error> {
    let doing = format!("following stream `{stream}`");
    let failed = |error: String| Error::call(doing.clone(), error);
    let handle =
        bus.jetstream().get_stream_no_info(stream).await.map_err(|error| failed(error.to_string()))?;
    let config = pull::OrderedConfig {
        filter_subjects: subjects,
        deliver_policy: match start {
            0 | 1 => DeliverPolicy::All,
            start_sequence => DeliverPolicy::ByStartSequence { start_sequence },
        },
        ..pull::OrderedConfig::default()
    };
    let consumer = handle.create_consumer(config).await.map_err(|error| failed(error.to_string()))?;
    let mut ours = Consumer {
        jetstream: bus.jetstream().clone(),
        stream: stream.to_owned(),
        first: consumer.cached_info().name.clone(),
        name: consumer.cached_info().name.clone(),
    };
    let messages = consumer.messages().await.map_err(|error| failed(error.to_string()))?;
    Ok(messages
        .map(move |message| {
            let message = message.map_err(|error| Error::call(doing.clone(), error))?;
            let info = message.info().map_err(|error| Error::call(doing.clone(), error))?;
            // Whoever makes a consumer chooses where the server delivers: also to the subject of this reader, whose
            // place in the stream the client library then loses.
            if info.stream != ours.stream || !info.consumer.starts_with(&ours.first) {
                let reason =
                    format!("consumer `{}` of stream `{}` delivers here", info.consumer, info.stream);
                return Err(Error::call(doing.clone(), reason));
            }
            if info.consumer != ours.name {
                ours.name = info.consumer.to_owned();
            }
            let sequence = info.stream_sequence;
            let (message, _) = message.split();
            Ok(RawMessage {
                subject: message.subject.into_string(),
                sequence,
                headers: message.headers.unwrap_or_default(),
                payload: message.payload,
            })
        })
        .boxed())
}
