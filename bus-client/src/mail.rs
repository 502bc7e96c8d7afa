//! Mail between partitions: sent over core NATS, and kept in the sender's log until its receipt.
//!
//! The log is the outbox, so mail needs no stream of its own. A receiver applies mail in order of its numbers
//! and drops repeats; lost mail is sent again (`docs/adr/0003-mail-from-the-log.md`).

use bus_schemas::{PartitionId, record};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use serde::{Deserialize, Serialize};

use crate::bus::Bus;
use crate::error::Error;

/// Mail of one sender for one receiver, with consecutive numbers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Parcel {
    /// The sending partition.
    pub from: PartitionId,
    /// The mail.
    pub mail: Vec<record::Mail>,
}

/// How far a receiver has applied a sender's mail.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Receipt {
    /// The receiving partition.
    pub from: PartitionId,
    /// The last number that is applied and committed.
    pub upto: u64,
    /// Whether the receiver has just started: earlier mail may be lost.
    pub begins: bool,
}

impl Bus {
    async fn send(&self, subject: String, payload: Vec<u8>) {
        if let Err(error) = self.client().publish(subject, payload.into()).await {
            tracing::debug!(%error, "sending mail; it will be sent again");
        }
    }
    /// Sends mail; a lost parcel is sent again when its receipt is missing.
    pub async fn send_parcel(&self, to: PartitionId, parcel: &Parcel) {
        let payload = rmp_serde::to_vec(parcel).expect("mail is plain data");
        self.send(self.subjects().mail(to), payload).await;
    }
    /// Tells a sender how far its mail is applied.
    pub async fn send_receipt(&self, to: PartitionId, receipt: Receipt) {
        let payload = rmp_serde::to_vec(&receipt).expect("a receipt is plain data");
        self.send(self.subjects().mail_receipt(to), payload).await;
    }
    /// Mail for a partition.
    pub async fn parcels(&self, partition: PartitionId) -> Result<BoxStream<'static, Parcel>, Error> {
        Ok(self.hearing(partition, self.plain(self.subjects().mail(partition)).await?))
    }
    /// Receipts for a partition.
    pub async fn receipts(
        &self,
        partition: PartitionId,
    ) -> Result<impl Stream<Item = Receipt> + Send + Unpin + use<>, Error> {
        self.plain(self.subjects().mail_receipt(partition)).await
    }

    async fn plain<T: for<'de> Deserialize<'de> + Send + 'static>(
        &self,
        subject: String,
    ) -> Result<impl Stream<Item = T> + Send + Unpin + use<T>, Error> {
        Ok(self
            .listen(subject)
            .await?
            .filter_map(|message| futures::future::ready(read(&message.subject, &message.payload)))
            .boxed())
    }
}

/// Decodes a message; drops one that is invalid, because mail is always sent again from the log.
fn read<T: for<'de> Deserialize<'de>>(subject: &str, payload: &Bytes) -> Option<T> {
    rmp_serde::from_slice(payload)
        .inspect_err(|error| tracing::warn!(subject, %error, "dropping malformed mail"))
        .ok()
}
