//! Content-addressed payloads: large prompts, outputs and artifacts.

use async_nats::HeaderMap;
use async_nats::jetstream::object_store::{GetErrorKind, InfoErrorKind, ObjectStore};
use bus_schemas::Hash;
use bus_schemas::envelope::header;
use bus_schemas::record::{BODY_INLINE_BYTES_MAX, CommitRecord};
use bytes::Bytes;
use tokio::io::AsyncReadExt;

use crate::bus::Bus;
use crate::error::Error;

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
        let mut bytes = Vec::with_capacity(object.info().size);
        object.read_to_end(&mut bytes).await.map_err(|error| calling(error.to_string()))?;
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

    /// Reads what [`Bus::put_named`] kept.
    pub async fn get_named(&self, name: &str) -> Result<Option<Bytes>, Error> {
        let failed = |reason: String| Error::call(format!("reading object `{name}`"), reason);
        let store = self.blob_store().await?;
        let mut object = match store.get(name).await {
            Ok(object) => object,
            Err(error) if error.kind() == GetErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(failed(error.to_string())),
        };
        let mut bytes = Vec::with_capacity(object.info().size);
        object.read_to_end(&mut bytes).await.map_err(|error| failed(error.to_string()))?;
        Ok(Some(bytes.into()))
    }
}
