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
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::Error;
use crate::files::{Files, ReadBack};
use crate::image::ImageInUse;
use crate::limits::{ARCHIVE_BYTES_EXTRA, FILES_BYTES_MAX, HEAD_BYTES_MAX};
use crate::run::{Finished, Reason, Run, Source};
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
    /// Output of the program, as the body.
    Chunk { number: u64, source: Source, truncated: bool },
    /// The end of a run; the body is the workspace that was read back.
    Finished(End),
    /// To [`Call::Build`].
    Built(Trial),
    /// To [`Call::Warm`].
    Warm,
    /// The call failed.
    Failed(Error),
}

/// The end of a run without the files.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct End {
    reason: Reason,
    output_bytes: u64,
    truncated: bool,
    elapsed: Duration,
    workspace: Option<Result<LeftOut, Error>>,
}

/// What was not read back of a workspace.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    refused: Vec<(String, String)>,
    refused_count: usize,
}

impl End {
    /// The parts of an end: the head and the body.
    pub fn parts(finished: Finished) -> io::Result<(Self, Vec<u8>)> {
        let Finished { reason, output_bytes, truncated, elapsed, workspace } = finished;
        let mut body = Vec::new();
        let workspace = match workspace {
            None => None,
            Some(Err(error)) => Some(Err(error)),
            Some(Ok(ReadBack { files, refused, refused_count })) => {
                body = files.to_archive(0)?;
                let refused = refused.into_iter().map(|(path, why)| (path, why.into_owned())).collect();
                Some(Ok(LeftOut { refused, refused_count }))
            }
        };
        Ok((Self { reason, output_bytes, truncated, elapsed, workspace }, body))
    }

    /// The end with its files.
    pub fn whole(self, body: &[u8]) -> Result<Finished, Error> {
        let Self { reason, output_bytes, truncated, elapsed, workspace } = self;
        let workspace = match workspace {
            None => None,
            Some(Err(error)) => Some(Err(error)),
            Some(Ok(LeftOut { refused, refused_count })) => {
                let refused = refused.into_iter().map(|(path, why)| (path, why.into())).collect();
                Some(Ok(ReadBack { files: Files::from_archive(body)?, refused, refused_count }))
            }
        };
        Ok(Finished { reason, output_bytes, truncated, elapsed, workspace })
    }
}

/// Sends a message.
pub(crate) async fn send(
    to: &mut (impl AsyncWrite + Unpin),
    head: &impl Serialize,
    body: &[u8],
) -> io::Result<()> {
    let head = serde_json::to_vec(head)?;
    let too_large = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let sizes = [head.len(), body.len()].map(u32::try_from);
    let [head_bytes, body_bytes] = sizes;
    let mut message = Vec::with_capacity(8 + head.len());
    message.extend_from_slice(&head_bytes.map_err(too_large)?.to_be_bytes());
    message.extend_from_slice(&body_bytes.map_err(too_large)?.to_be_bytes());
    message.extend_from_slice(&head);
    to.write_all(&message).await?;
    to.write_all(body).await?;
    to.flush().await
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
