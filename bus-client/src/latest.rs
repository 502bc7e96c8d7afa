//! The last event of each of many entities: who there is of a kind, without reading what they went through.

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use futures::StreamExt;

use crate::bus::Bus;
use crate::error::Error;
use crate::events::{RawMessage, StoredEvent, decode};

impl Bus {
    /// The last event on each subject that the filter matches, in the order of the stream.
    pub async fn latest_events(&self, subject: &str) -> Result<Vec<StoredEvent>, Error> {
        let mut latest = Vec::new();
        self.each_latest_event(subject, |stored| latest.push(stored)).await?;
        Ok(latest)
    }

    /// Takes each of [`Bus::latest_events`] as it comes: there may be more than memory holds.
    pub async fn each_latest_event(
        &self,
        subject: &str,
        mut take: impl FnMut(StoredEvent),
    ) -> Result<(), Error> {
        let failed = |error: String| Error::call(format!("reading the last events on `{subject}`"), error);
        let stream = self.jetstream().get_stream_no_info(self.topology().events()).await;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        let config = pull::OrderedConfig {
            filter_subject: subject.to_owned(),
            deliver_policy: DeliverPolicy::LastPerSubject,
            ..pull::OrderedConfig::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(|error| failed(error.to_string()))?;
        let mut left = consumer.cached_info().num_pending;
        let mut messages = consumer.messages().await.map_err(|error| failed(error.to_string()))?;
        while left > 0 {
            let Some(message) = messages.next().await else { break };
            let message = message.map_err(|error| failed(error.to_string()))?;
            let info = message.info().map_err(|error| failed(error.to_string()))?;
            let sequence = info.stream_sequence;
            left = info.pending;
            let (message, _) = message.split();
            let message = RawMessage {
                subject: message.subject.into_string(),
                sequence,
                pending: left,
                headers: message.headers.unwrap_or_default(),
                payload: message.payload,
            };
            take(decode(self.clone(), message).await?);
        }
        Ok(())
    }
}
