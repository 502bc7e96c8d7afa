//! The link to the keeper: its process, which is started again when it ends, or the socket of one that somebody else
//! runs. One connection stays open for as long as the link lives: each side learns by it that the other is gone.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as Listener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::{fs, io};

use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::Error;
use crate::image::ImageInUse;
use crate::keeper::{ARGUMENT, program};
use crate::limits::{KEEPER_END_TIMEOUT, KEEPER_PAUSES, KEEPER_START_TIMEOUT};
use crate::owner::Config;
use crate::wire::{Answer, Call, receive, send};

/// Where the keeper is.
#[derive(Debug, Clone)]
pub enum Keeper {
    /// A process that this one starts, and starts again when it ends. Boxed, since the other one is a path.
    Own(Box<Config>),
    /// The Unix socket of one that somebody else runs.
    At(PathBuf),
}

impl From<Config> for Keeper {
    fn from(config: Config) -> Self {
        Self::Own(Box::new(config))
    }
}

/// A keeper that answers.
#[derive(Debug)]
pub(crate) struct Up {
    pub images: Vec<ImageInUse>,
    /// Canceled when it does not answer any more.
    pub lost: CancellationToken,
}

#[derive(Debug, Clone)]
enum State {
    Starting,
    Up(Arc<Up>),
    Down(Error),
}

/// The link. The end of its last owner ends the keeper that it started.
#[derive(Debug)]
pub(crate) struct Link {
    path: PathBuf,
    state: watch::Receiver<State>,
    tasks: TaskTracker,
}

impl Link {
    /// Starts the keeper, or finds it, and keeps it until `closed`.
    pub async fn open(keeper: Keeper, closed: CancellationToken) -> Result<Self, Error> {
        let place = Place::of(keeper)?;
        let path = place.path().to_path_buf();
        let begun = place.begin().await?;
        let (sender, state) = watch::channel(State::Starting);
        let tasks = TaskTracker::new();
        tasks.spawn(place.keep(begun, sender, closed));
        Ok(Self { path, state, tasks })
    }

    /// The keeper, when it answers; one that was lost is waited for until its start fails.
    pub async fn up(&self) -> Result<Arc<Up>, Error> {
        let mut state = self.state.clone();
        let known = state.wait_for(|state| !matches!(state, State::Starting)).await;
        match known.as_deref() {
            Ok(State::Up(up)) => Ok(Arc::clone(up)),
            Ok(State::Down(error)) => Err(error.clone()),
            Ok(State::Starting) | Err(_) => Err(Error::KeeperLost),
        }
    }

    /// A connection for a call.
    pub async fn call(&self) -> io::Result<UnixStream> {
        UnixStream::connect(&self.path).await
    }

    /// Waits until the keeper has ended, after `closed`.
    pub async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// What is needed to start a keeper or to find it.
enum Place {
    Own { _folder: TempDir, path: PathBuf, listener: Listener, config: String, program: PathBuf },
    At(PathBuf),
}

/// A keeper that has answered.
struct Begun {
    child: Option<Child>,
    held: UnixStream,
    images: Vec<ImageInUse>,
}

impl Place {
    fn of(keeper: Keeper) -> Result<Self, Error> {
        let config = match keeper {
            Keeper::At(path) => return Ok(Self::At(path)),
            Keeper::Own(config) => config,
        };
        let program = program().ok_or_else(|| missing("this program does not name one"))?.clone();
        let made = || {
            // Nobody else may enter the folder, and nobody else may open the socket in it.
            let mine = fs::Permissions::from_mode(0o700);
            let folder = tempfile::Builder::new().prefix("orrery-sandbox-").permissions(mine).tempdir()?;
            let path = folder.path().join("socket");
            let listener = Listener::bind(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            Ok((folder, path, listener))
        };
        let (folder, path, listener) =
            made().map_err(|error: io::Error| missing(format!("its socket cannot be made: {error}")))?;
        let config = serde_json::to_string(&config).map_err(|error| missing(error.to_string()))?;
        Ok(Self::Own { _folder: folder, path, listener, config, program })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Own { path, .. } | Self::At(path) => path,
        }
    }

    async fn begin(&self) -> Result<Begun, Error> {
        let mut child = self.start()?;
        let asked = timeout(KEEPER_START_TIMEOUT, self.ask());
        let answered = match &mut child {
            None => asked.await,
            Some(child) => tokio::select! {
                biased;
                answered = asked => answered,
                ended = child.wait() => {
                    let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                    return Err(missing(format!("the process ended with {how}")));
                }
            },
        };
        let failed = match answered {
            Ok(Ok((held, Answer::Images(images)))) => return Ok(Begun { child, held, images }),
            Ok(Ok((_, Answer::Failed(error)))) => error,
            Ok(Ok(_)) => missing("the first answer is none to the first call"),
            Ok(Err(error)) => missing(format!("`{}`: {error}", self.path().display())),
            Err(_) => missing("the process did not start in time"),
        };
        end(child).await;
        Err(failed)
    }

    /// The process of our own, with no variable of ours but the search path: they may hold keys of models.
    fn start(&self) -> Result<Option<Child>, Error> {
        let Self::Own { listener, config, program, .. } = self else { return Ok(None) };
        let failed = |error: io::Error| missing(format!("`{}`: {error}", program.display()));
        let socket = OwnedFd::from(listener.try_clone().map_err(failed)?);
        let mut command = Command::new(program);
        command.arg0("orrery-sandbox").args([ARGUMENT, config]);
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        // What a terminal sends to its processes is not for it: it ends when its callers have.
        command.stdin(Stdio::from(socket)).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        if let Some(said) = child.stderr.take() {
            tokio::spawn(pass_on(said));
        }
        Ok(Some(child))
    }

    async fn ask(&self) -> io::Result<(UnixStream, Answer)> {
        let mut stream = UnixStream::connect(self.path()).await?;
        send(&mut stream, &Call::Images, &[]).await?;
        let (answer, _) = receive(&mut stream, 0).await?;
        Ok((stream, answer))
    }

    /// Says what state the keeper is in, and begins it again whenever it is lost.
    async fn keep(self, first: Begun, state: watch::Sender<State>, closed: CancellationToken) {
        let [least, most] = KEEPER_PAUSES;
        let (mut begun, mut pause) = (Ok::<Begun, Error>(first), least);
        loop {
            match begun {
                Ok(Begun { child, mut held, images }) => {
                    let lost = CancellationToken::new();
                    // Whatever ends this ends those who wait.
                    let _guard = lost.clone().drop_guard();
                    state.send_replace(State::Up(Arc::new(Up { images, lost })));
                    tokio::select! {
                        () = closed.cancelled() => {
                            drop(held);
                            return end(child).await;
                        }
                        _ = held.read_u8() => state.send_replace(State::Starting),
                    };
                    tracing::warn!("the keeper of the sandbox ended; it is started again");
                    end(child).await;
                    pause = least;
                }
                Err(error) => {
                    tracing::warn!(code = error.code(), %error, "the keeper of the sandbox does not start");
                    state.send_replace(State::Down(error));
                    pause = most.min(pause * 2);
                }
            }
            tokio::select! {
                () = closed.cancelled() => return,
                () = tokio::time::sleep(pause) => begun = self.begin().await,
            }
        }
    }
}

/// Waits for the end of a keeper without callers, and kills it when that does not come.
async fn end(child: Option<Child>) {
    let Some(mut child) = child else { return };
    if timeout(KEEPER_END_TIMEOUT, child.wait()).await.is_err() {
        tracing::warn!("the keeper of the sandbox did not end in time, and is killed");
        let _ = child.kill().await;
    }
}

/// The log of the keeper, in pieces of some lines.
async fn pass_on(mut said: ChildStderr) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = said.read(&mut bytes).await {
        let text = String::from_utf8_lossy(&bytes[..count]);
        tracing::warn!(said = text.trim_end(), "the keeper of the sandbox");
    }
}

fn missing(why: impl Into<String>) -> Error {
    Error::KeeperMissing { why: why.into() }
}
