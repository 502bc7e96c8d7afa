//! Content-addressed payloads: large prompts, outputs and artifacts.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::object_store::{GetErrorKind, InfoErrorKind, Object, ObjectStore};
use bus_schemas::Hash;
use bus_schemas::envelope::header;
use bus_schemas::record::{BODY_INLINE_BYTES_MAX, CommitRecord};
use bytes::Bytes;
use tokio::io::AsyncReadExt;

use crate::bus::Bus;
use crate::error::Error;

/// How long the next piece of an object may take. A server on a busy disk answers within tens of
/// milliseconds; while servers choose a leader the read is begun again.
const PIECE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often an object is read that is replaced meanwhile: more than two writers are never at it.
const READS_MAX: usize = 3;

/// What a message carries of a body, which the journal has stored if it is large.
pub(crate) fn carried(body: &Bytes, headers: &mut HeaderMap) -> Bytes {
    if body.len() <= BODY_INLINE_BYTES_MAX {
        return body.clone();
    }
    headers.insert(header::BLOB, Hash::of(body).to_hex());
    Bytes::new()
}

impl Bus {
    async fn blob_store(&self) -> Result<ObjectStore, Error> {
        self.jetstream()
            .get_object_store(self.topology().blobs())
            .await
            .map_err(|error| Error::call("opening the blob store", error))
    }

    /// Stores bytes under their BLAKE3 hash. The same bytes again cost one look.
    pub async fn put_blob(&self, bytes: &[u8]) -> Result<Hash, Error> {
        let (store, hash) = (self.blob_store().await?, Hash::of(bytes));
        let name = hash.to_hex();
        match store.info(&name).await {
            Ok(_) => return Ok(hash),
            Err(error) if error.kind() == InfoErrorKind::NotFound => {}
            Err(error) => return Err(Error::call(format!("looking for blob {name}"), error)),
        }
        let mut reader = bytes;
        store
            .put(name.as_str(), &mut reader)
            .await
            .map_err(|error| Error::call(format!("storing blob {name}"), error))?;
        Ok(hash)
    }

    /// Reads a blob and checks it against its name.
    pub async fn get_blob(&self, hash: Hash) -> Result<Bytes, Error> {
        let name = hash.to_hex();
        let failed = |reason: String| Error::Blob { hash: name.clone(), reason };
        let calling = |error: String| Error::call(format!("reading blob {name}"), error);
        let mut object = match self.blob_store().await?.get(&name).await {
            Ok(object) => object,
            Err(error) if error.kind() == GetErrorKind::NotFound => {
                return Err(failed("it is not in the store".into()));
            }
            Err(error) => return Err(calling(error.to_string())),
        };
        let bytes = read_whole(&mut object).await.map_err(calling)?;
        if Hash::of(&bytes) != hash {
            return Err(failed("the bytes have another hash".into()));
        }
        Ok(bytes.into())
    }

    /// Puts a record's detached bodies back into their places.
    pub async fn attach_blobs(&self, record: &mut CommitRecord) -> Result<(), Error> {
        for detached in std::mem::take(&mut record.detached) {
            let body = self.get_blob(detached.hash).await?;
            record.attach(&detached, body).map_err(|error| Error::call("reading a record", error))?;
        }
        Ok(())
    }

    /// A message's body: its own, or the blob that its header names.
    pub(crate) async fn body(&self, headers: &HeaderMap, payload: Bytes) -> Result<Bytes, Error> {
        match headers.get(header::BLOB).map(|value| Hash::from_hex(value.as_str())) {
            None => Ok(payload),
            Some(Some(hash)) => self.get_blob(hash).await,
            Some(None) => {
                let hash = headers.get(header::BLOB).map(|value| value.as_str().to_owned());
                let reason = format!("the header `{}` holds no hash", header::BLOB);
                Err(Error::Blob { hash: hash.unwrap_or_default(), reason })
            }
        }
    }

    /// Keeps bytes under a name of their own, replacing what was there: for partition snapshots,
    /// which may be larger than a message.
    pub async fn put_named(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut reader = bytes;
        let put = self.blob_store().await?.put(name, &mut reader).await;
        put.map(drop).map_err(|error| Error::call(format!("storing object `{name}`"), error))
    }

    /// Reads what [`Bus::put_named`] kept. An [`Error::Blob`] means that it is there and pieces of it
    /// are missing.
    pub async fn get_named(&self, name: &str) -> Result<Option<Bytes>, Error> {
        let failed = |reason: String| Error::call(format!("reading object `{name}`"), reason);
        let store = self.blob_store().await?;
        let mut reason = String::new();
        for _ in 0..READS_MAX {
            let mut object = match store.get(name).await {
                Ok(object) => object,
                Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(failed(error.to_string())),
            };
            match read_whole(&mut object).await {
                Ok(bytes) => return Ok(Some(bytes.into())),
                Err(error) => reason = error,
            }
        }
        Err(Error::Blob { hash: name.to_owned(), reason })
    }
}

/// Reads an object to its end. The pieces of one that is replaced meanwhile are gone, and the client
/// would wait for them for ever.
async fn read_whole(object: &mut Object) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(object.info().size);
    loop {
        match tokio::time::timeout(PIECE_TIMEOUT, object.read_buf(&mut bytes)).await {
            Ok(Ok(0)) => return Ok(bytes),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("nothing came for {PIECE_TIMEOUT:?} after {} bytes", bytes.len())),
        }
    }
}
