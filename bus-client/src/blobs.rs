//! Content-addressed payloads: large prompts, outputs and artifacts; and large things that only hosts read.
//!
//! They are in object stores in the format of every NATS client, and are read without a consumer.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::object_store::{InfoErrorKind, ObjectStore};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bus_schemas::Hash;
use bus_schemas::envelope::header;
use bus_schemas::record::{BODY_INLINE_BYTES_MAX, CommitRecord};
use bus_schemas::topology::Store;
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Instant;

use crate::bus::Bus;
use crate::direct::{LAG_PAUSE, Place};
use crate::error::Error;

/// How long the next piece of an object may take. A server with a busy disk answers within tens of
/// milliseconds; while the servers elect a leader the read starts over.
const PIECE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often an object that is replaced meanwhile is read: at most two writers compete for one.
const READS_MAX: usize = 3;

/// The body for a message, empty if it is in an object store; the journal has stored large bodies.
pub(crate) fn carried(body: &Bytes, headers: &mut HeaderMap) -> Bytes {
    if body.len() <= BODY_INLINE_BYTES_MAX {
        return body.clone();
    }
    headers.insert(header::BLOB, Hash::of(body).to_hex());
    Bytes::new()
}

impl Bus {
    pub(crate) async fn object_store(&self, store: Store) -> Result<ObjectStore, Error> {
        let name = self.topology().objects(store);
        let opened = self.jetstream().get_object_store(&name).await;
        opened.map_err(|error| Error::call(format!("opening the object store `{name}`"), error))
    }

    /// Stores bytes in the blob store, where workers and clients read them.
    pub async fn put_blob(&self, bytes: &[u8]) -> Result<Hash, Error> {
        self.put_body(Store::Blobs, bytes).await
    }

    /// Stores bytes under their BLAKE3 hash. Bytes that are stored already cost one lookup.
    pub async fn put_body(&self, store: Store, bytes: &[u8]) -> Result<Hash, Error> {
        let (store, hash) = (self.object_store(store).await?, Hash::of(bytes));
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

    /// Reads bytes from the blob store.
    pub async fn get_blob(&self, hash: Hash) -> Result<Bytes, Error> {
        self.get_body(Store::Blobs, hash).await
    }

    /// Reads bytes of [`Bus::put_body`] and verifies their hash.
    pub async fn get_body(&self, store: Store, hash: Hash) -> Result<Bytes, Error> {
        let name = hash.to_hex();
        let failed = |reason: &str| Error::Blob { hash: name.clone(), reason: reason.into() };
        let Place { stream, subject } = self.object_place(store, &name);
        // A blob never changes, so any server that has it may tell where its pieces are.
        let known = self.last_on(&stream, &[subject]).await?.pop();
        let object = known.map(|known| self.object(&name, &known.payload)).transpose()?.flatten();
        let object = object.ok_or_else(|| failed("the blob is not in the store"))?;
        let bytes = self.pieces(store, &object).await?;
        let bytes = bytes.map_err(|reason| failed(&reason))?;
        match Hash::of(&bytes) == hash {
            true => Ok(bytes.into()),
            false => Err(failed("the bytes have another hash")),
        }
    }

    /// Puts a record's detached bodies back into their places.
    pub async fn attach_blobs(&self, record: &mut CommitRecord) -> Result<(), Error> {
        for detached in std::mem::take(&mut record.detached) {
            let body = self.get_body(detached.part.store(), detached.hash).await?;
            record.attach(&detached, body).map_err(|error| Error::call("reading a record", error))?;
        }
        Ok(())
    }

    /// A message's body: its own, or the bytes in the store that its header names.
    pub(crate) async fn body(
        &self,
        store: Store,
        headers: &HeaderMap,
        payload: Bytes,
    ) -> Result<Bytes, Error> {
        match headers.get(header::BLOB).map(|value| Hash::from_hex(value.as_str())) {
            None => Ok(payload),
            Some(Some(hash)) => self.get_body(store, hash).await,
            Some(None) => {
                let hash = headers.get(header::BLOB).map(|value| value.as_str().to_owned());
                let reason = format!("the header `{}` holds no hash", header::BLOB);
                Err(Error::Blob { hash: hash.unwrap_or_default(), reason })
            }
        }
    }

    /// Stores bytes in the private store under a name, replacing earlier ones: for partition snapshots, which may be
    /// larger than a message.
    pub async fn put_named(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut reader = bytes;
        let put = self.object_store(Store::Private).await?.put(name, &mut reader).await;
        put.map(drop).map_err(|error| Error::call(format!("storing object `{name}`"), error))
    }

    /// Reads an object of [`Bus::put_named`]. [`Error::Blob`] means that it exists and some of its pieces are
    /// missing.
    pub async fn get_named(&self, name: &str) -> Result<Option<Bytes>, Error> {
        let place = self.object_place(Store::Private, name);
        let mut reason = String::new();
        for _ in 0..READS_MAX {
            let Some(known) = self.last_at(&place).await? else { return Ok(None) };
            let Some(object) = self.object(name, &known.payload)? else { return Ok(None) };
            match self.pieces(Store::Private, &object).await? {
                Ok(bytes) if object.is(&bytes) => return Ok(Some(bytes.into())),
                Ok(_) => reason = "the bytes have another digest".into(),
                Err(error) => reason = error,
            }
        }
        Err(Error::Blob { hash: name.to_owned(), reason })
    }

    /// The place of an object's metadata in the stream of its store.
    fn object_place(&self, store: Store, name: &str) -> Place {
        let bucket = self.topology().objects(store);
        let subject = format!("$O.{bucket}.M.{}", URL_SAFE.encode(name));
        Place { stream: format!("OBJ_{bucket}"), subject }
    }

    /// An object's metadata; `None` if the object was deleted.
    fn object(&self, name: &str, known: &[u8]) -> Result<Option<ObjectInfo>, Error> {
        let object: ObjectInfo = serde_json::from_slice(known)
            .map_err(|error| Error::call(format!("reading what is known of object `{name}`"), error))?;
        Ok((!object.deleted).then_some(object))
    }

    /// Reads all pieces of an object, or returns why some are missing. The pieces of an object that is
    /// replaced meanwhile are gone.
    async fn pieces(&self, store: Store, object: &ObjectInfo) -> Result<Result<Vec<u8>, String>, Error> {
        let bucket = self.topology().objects(store);
        let subject = format!("$O.{bucket}.C.{}", object.nuid);
        let place = Place { stream: format!("OBJ_{bucket}"), subject };
        let mut bytes = Vec::new();
        let (mut pieces, mut next, mut came) = (0, 1, Instant::now());
        while pieces < object.chunks {
            let batch = self.batch_from(&place, next).await?;
            if !batch.is_empty() {
                came = Instant::now();
            } else if came.elapsed() > PIECE_TIMEOUT {
                let found = bytes.len();
                return Ok(Err(format!("nothing came for {PIECE_TIMEOUT:?} after {found} bytes")));
            } else {
                tokio::time::sleep(LAG_PAUSE).await;
            }
            for piece in batch {
                bytes.extend_from_slice(&piece.payload);
                (pieces, next) = (pieces + 1, piece.sequence + 1);
            }
        }
        let (found, wanted) = (bytes.len(), object.size);
        let whole = pieces == object.chunks && found == wanted;
        Ok(if whole { Ok(bytes) } else { Err(format!("the blob has {found} bytes instead of {wanted}")) })
    }
}

/// An object's metadata in the format of NATS clients.
#[derive(Debug, Deserialize)]
struct ObjectInfo {
    nuid: String,
    size: usize,
    chunks: usize,
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    deleted: bool,
}

impl ObjectInfo {
    /// Whether these are the object's bytes.
    fn is(&self, bytes: &[u8]) -> bool {
        let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
        let wanted = self.digest.as_deref().and_then(|digest| digest.strip_prefix("SHA-256="));
        wanted.is_none_or(|wanted| wanted == URL_SAFE.encode(digest))
    }
}
