//! The keeper: the process that holds the engine's socket, and nothing of the agents. It serves the calls of
//! [`crate::wire`] to whoever may open its own socket, and ends when nobody holds a connection to it any more.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener as Listener;
use std::path::PathBuf;
use std::sync::OnceLock;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::error::Error;
use crate::files::Files;
use crate::limits::{
    CALL_TIMEOUT, CONNECTIONS_MAX, FILES_TIMEOUT, KEEPER_PAUSES, KEEPER_UNCALLED_MAX, KEEPER_UNUSED_MAX,
};
use crate::owner::{Config, Owner};
use crate::run::Run;
use crate::wire::{Answer, Call, FILES_BODY_MAX, receive, send};

/// The argument that makes a program the keeper. Its configuration follows.
pub(crate) const ARGUMENT: &str = "sandbox-keeper";

/// The program that is started as the keeper.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Must be called first in `main` by every program that uses a sandbox. Does the keeper's work when the process was
/// started as the keeper; returns whether it was.
pub fn kept_instead() -> bool {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().is_some_and(|argument| argument == ARGUMENT) {
        // Who started it reads this, and logs it.
        let logs = tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(io::stderr);
        logs.with_max_level(tracing::Level::WARN).init();
        let config = serde_json::from_str(&arguments.next().unwrap_or_default());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        match (config, runtime) {
            // A caller was told the failure.
            (Ok(config), Ok(runtime)) => drop(runtime.block_on(serve(&config))),
            (config, runtime) => {
                let (config, runtime) = (config.map(|_: Config| ()).err(), runtime.err());
                tracing::error!(?config, ?runtime, "the keeper cannot start");
            }
        }
        return true;
    }
    // This path finds the program even when another version has replaced it.
    let this = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    let this = if this.exists() { Ok(this) } else { std::env::current_exe() };
    if let Ok(this) = this {
        keep_by(this);
    }
    false
}

/// Sets the program that is started as the keeper, for tests, whose own program cannot be it. The first call wins.
pub fn keep_by(program: PathBuf) {
    let _ = PROGRAM.set(program);
}

pub(crate) fn program() -> Option<&'static PathBuf> {
    PROGRAM.get()
}

/// Serves callers at the socket that is this process's standard input, until SIGTERM or SIGINT, or until nobody holds a
/// connection any more. Then nothing of any run is left.
pub async fn serve(config: &Config) -> Result<(), Error> {
    let unusable = |error: io::Error| Error::KeeperMissing {
        why: format!("its standard input is no Unix socket that listens: {error}"),
    };
    let given = io::stdin().as_fd().try_clone_to_owned().map(Listener::from).map_err(unusable)?;
    given.local_addr().and_then(|_| given.set_nonblocking(true)).map_err(unusable)?;
    let listener = UnixListener::from_std(given).map_err(unusable)?;
    let listen = |kind| signal(kind).map_err(unusable);
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let owner = tokio::select! {
        owner = Owner::connect(config) => owner,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    let owner = match owner {
        Ok(owner) => owner,
        Err(error) => {
            // Whoever has it started waits for an answer.
            if let Ok(Ok((mut stream, _))) = timeout(CALL_TIMEOUT, listener.accept()).await {
                let _ = timeout(CALL_TIMEOUT, receive::<Call>(&mut stream, 0)).await;
                let _ = send(&mut stream, &Answer::Failed(error.clone()), &[]).await;
            }
            return Err(error);
        }
    };
    tokio::select! {
        () = accept(&owner, &listener) => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    owner.close().await;
    Ok(())
}

/// Ends when nobody calls any more. Whoever is cut off has its runs canceled.
async fn accept(owner: &Owner, listener: &UnixListener) {
    let mut open = JoinSet::new();
    let mut patience = KEEPER_UNCALLED_MAX;
    loop {
        tokio::select! {
            accepted = listener.accept(), if open.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    patience = KEEPER_UNUSED_MAX;
                    open.spawn(converse(owner.clone(), stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "a caller could not be accepted");
                    tokio::time::sleep(KEEPER_PAUSES[0]).await;
                }
            },
            Some(_) = open.join_next() => {}
            () = tokio::time::sleep(patience), if open.is_empty() => return,
        }
    }
}

async fn converse(owner: Owner, mut stream: UnixStream) {
    let (mut from, mut to) = stream.split();
    let answered = match timeout(CALL_TIMEOUT, receive::<Call>(&mut from, 0)).await {
        Err(_) => Ok(Err(Error::invalid("the call did not come in time"))),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            Ok(Err(Error::invalid(format!("the keeper does not know the call: {error}"))))
        }
        // The caller went away.
        Ok(Err(error)) => Err(error),
        Ok(Ok((call, _))) => answer(&owner, call, &mut from, &mut to).await,
    };
    if let Ok(Err(error)) = answered {
        // A caller that went away has heard enough.
        let _ = send(&mut to, &Answer::Failed(error), &[]).await;
    }
}

/// An answer, the failure that is the answer, or the caller's absence.
async fn answer(
    owner: &Owner,
    call: Call,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<Result<(), Error>> {
    match call {
        Call::Images => {
            send(to, &Answer::Images(owner.images()), &[]).await?;
            gone(from).await;
        }
        Call::Warm => {
            owner.warmed().await;
            send(to, &Answer::Warm, &[]).await?;
        }
        Call::Build => {
            let base = match owner.base_image() {
                Err(untried) => return send(to, &Answer::Built(untried), &[]).await.map(Ok),
                Ok(base) => base,
            };
            let _place = owner.place().await;
            let built = match files(from, to).await? {
                Err(error) => Err(error),
                Ok(files) => tokio::select! {
                    () = gone(from) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    built = owner.build(&files, base) => built,
                },
            };
            match built {
                Ok(trial) => send(to, &Answer::Built(trial), &[]).await?,
                Err(error) => return Ok(Err(error)),
            }
        }
        Call::Run(run) => return execute(owner, *run, from, to).await,
    }
    Ok(Ok(()))
}

async fn execute(
    owner: &Owner,
    run: Run,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<Result<(), Error>> {
    let place = tokio::select! {
        () = gone(from) => return Err(io::ErrorKind::UnexpectedEof.into()),
        place = owner.place() => place,
    };
    let files = match files(from, to).await? {
        Err(error) => return Ok(Err(error)),
        Ok(files) => files,
    };
    let mut running = match owner.run(run.files(files), place) {
        Err(error) => return Ok(Err(error)),
        Ok(running) => running,
    };
    let token = running.token();
    let canceled = async {
        gone(from).await;
        token.cancel();
        std::future::pending().await
    };
    // When the caller does not listen any more, dropping the run cancels it.
    let passed = async {
        while let Some(chunk) = running.next().await {
            let bytes = chunk.bytes.clone();
            send(to, &Answer::Chunk(chunk), &bytes).await?;
        }
        match running.finish().await {
            Err(error) => Ok(Err(error)),
            Ok(finished) => {
                let read = finished.workspace.as_ref().and_then(|read| read.as_ref().ok());
                let packed = read.map_or_else(|| Ok(Vec::new()), |read| read.files.to_archive(0))?;
                send(to, &Answer::Finished(finished), &packed).await.map(Ok)
            }
        }
    };
    tokio::select! {
        passed = passed => passed,
        never = canceled => never,
    }
}

/// Has the caller send its files.
async fn files(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<Result<Files, Error>> {
    send(to, &Answer::Go, &[]).await?;
    match timeout(FILES_TIMEOUT, receive::<()>(from, FILES_BODY_MAX)).await {
        Err(_) => Ok(Err(Error::invalid("the files did not come in time"))),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            Ok(Err(Error::invalid(error.to_string())))
        }
        Ok(Err(error)) => Err(error),
        Ok(Ok((_, body))) if body.is_empty() => Ok(Ok(Files::new())),
        Ok(Ok((_, body))) => Ok(Files::from_archive(body.as_slice())),
    }
}

/// Resolves when the caller closes its side. Nothing may come any more, so whatever comes closes it too.
async fn gone(from: &mut (impl AsyncRead + Unpin)) {
    let _ = from.read_u8().await;
}
