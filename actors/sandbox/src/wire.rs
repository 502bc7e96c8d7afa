//! What a caller and the keeper say to each other, over a connection for each call.
//!
//! ```text
//! caller: Run ─────────→ (files) ─────────────────────────→ closes its side to cancel
//! keeper:      Go ─────────────────→ Chunk … ─→ Finished (files)
//! ```
//!
//! A message is a head in JSON with a body of bytes, and both are bounded before they are read. What is not among the
//! calls is refused. Files wait at the caller until there is a place, so the keeper holds those of running programs only.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::Error;
use crate::image::ImageInUse;
use crate::limits::{ARCHIVE_BYTES_EXTRA, FILES_BYTES_MAX, HEAD_BYTES_MAX};
use crate::run::{Chunk, Finished, Run};
use crate::trial::Trial;

/// The most bytes of a body with files.
pub(crate) const FILES_BODY_MAX: u64 = FILES_BYTES_MAX + ARCHIVE_BYTES_EXTRA;

/// All that a caller can ask for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Call {
    /// Which images there are. The caller keeps the connection for as long as it lives.
    Images,
    /// Run a program.
    Run(Box<Run>),
    /// Build an image of files on trial.
    Build,
    /// Say when the containers that are to wait do so.
    Warm,
}

/// All that the keeper answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// To [`Call::Images`].
    Images(Vec<ImageInUse>),
    /// There is a place: the caller sends its files.
    Go,
    /// Output of the program; its bytes are the body.
    Chunk(Chunk),
    /// The end of a run; the body has the files that were read back.
    Finished(Finished),
    /// To [`Call::Build`].
    Built(Trial),
    /// To [`Call::Warm`].
    Warm,
    /// The call failed.
    Failed(Error),
}

/// Sends a message.
pub(crate) async fn send(
    to: &mut (impl AsyncWrite + Unpin),
    head: &impl Serialize,
    body: &[u8],
) -> io::Result<()> {
    let head = serde_json::to_vec(head)?;
    let too_large = |_: std::num::TryFromIntError| io::Error::from(io::ErrorKind::InvalidInput);
    to.write_u32(head.len().try_into().map_err(too_large)?).await?;
    to.write_u32(body.len().try_into().map_err(too_large)?).await?;
    to.write_all(&head).await?;
    to.write_all(body).await
}

/// Receives a message whose body has at most so many bytes. What is larger, or no message, is invalid data.
pub(crate) async fn receive<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    body_max: u64,
) -> io::Result<(T, Vec<u8>)> {
    let (head_bytes, body_bytes) = (from.read_u32().await?, from.read_u32().await?);
    if head_bytes > HEAD_BYTES_MAX || u64::from(body_bytes) > body_max {
        let why = format!("a message of {head_bytes} and {body_bytes} bytes is too large");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let head = bytes(from, head_bytes).await?;
    let head = serde_json::from_slice(&head)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    Ok((head, bytes(from, body_bytes).await?))
}

/// Memory is taken as bytes come, not as they are announced.
async fn bytes(from: &mut (impl AsyncRead + Unpin), count: u32) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(u64::from(count)).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 == u64::from(count) { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
