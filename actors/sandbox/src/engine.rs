//! The engine's socket, behind the only calls that are ever made on it. Nothing here takes a request from outside:
//! every argument is made by this crate, and containers are named by ids that this crate got when it made them.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error as EngineError;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::query_parameters as query;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};

use crate::create::{self, LABEL, Shape, WORKSPACE};
use crate::error::{Cause, Error};
use crate::limits::ENGINE_TIMEOUT;

/// Where engines listen when nobody says where.
const USUAL_SOCKETS: [&str; 2] = ["/run/docker.sock", "/run/podman/podman.sock"];

/// What podman says of a container that cannot be killed because it has ended.
const NOT_RUNNING: &str = "can only kill running containers";

/// Output of a program as the engine sends it.
pub(crate) type Output = BoxStream<'static, Result<LogOutput, EngineError>>;

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Whether the kernel killed a process of it for memory.
    pub out_of_memory: bool,
}

/// The engine. Whoever holds it can do what its methods do.
#[derive(Debug)]
pub(crate) struct Engine {
    docker: Docker,
    installation: String,
}

impl Engine {
    /// Connects to the engine at a Unix socket and checks that it can enforce every limit.
    pub async fn connect(socket: Option<&str>, installation: &str) -> Result<Self, Error> {
        let usual = || USUAL_SOCKETS.into_iter().find(|path| Path::new(path).exists());
        let socket = match socket {
            Some(named) => named.strip_prefix("unix://").unwrap_or(named),
            None => usual().unwrap_or(USUAL_SOCKETS[0]),
        };
        let missing = |source: EngineError| Error::EngineMissing {
            socket: socket.into(),
            source: Some(Cause::of(&source)),
        };
        if socket.contains("://") {
            return Err(Error::EngineMissing { socket: socket.into(), source: None });
        }
        let timeout = ENGINE_TIMEOUT.as_secs();
        let docker =
            Docker::connect_with_unix(socket, timeout, bollard::API_DEFAULT_VERSION).map_err(missing)?;
        // An older engine refuses a version that it does not know.
        let docker = docker.negotiate_version().await.map_err(missing)?;
        let engine = Self { docker, installation: installation.to_owned() };
        engine.check().await?;
        Ok(engine)
    }

    async fn check(&self) -> Result<(), Error> {
        let about = self.docker.info().await.map_err(Error::engine("describe itself"))?;
        let options = about.security_options.unwrap_or_default();
        let seccomp = options.iter().find(|option| option.contains("name=seccomp"));
        let seccomp = seccomp.is_some_and(|option| !option.contains("profile=unconfined"));
        let abilities = [
            ("memory limits", about.memory_limit == Some(true)),
            ("swap limits", about.swap_limit == Some(true)),
            ("limits of processes", about.pids_limit == Some(true)),
            ("limits of processor time", about.cpu_cfs_quota == Some(true)),
            ("seccomp", seccomp),
        ];
        let missing: Vec<&str> =
            abilities.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
        if missing.is_empty() { Ok(()) } else { Err(Error::EngineUnfit { missing: missing.join(", ") }) }
    }

    /// Removes every container and volume of this installation, and nothing else.
    pub async fn reap(&self) -> Result<usize, Error> {
        let ours = HashMap::from([("label".to_owned(), vec![format!("{LABEL}={}", self.installation)])]);
        let listed = query::ListContainersOptionsBuilder::default().all(true).filters(&ours).build();
        let containers = self.docker.list_containers(Some(listed)).await;
        let containers = containers.map_err(Error::engine("list containers"))?;
        let ids: Vec<String> = containers.into_iter().filter_map(|each| each.id).collect();
        futures::future::try_join_all(ids.iter().map(|id| self.remove(id))).await?;
        let listed = query::ListVolumesOptionsBuilder::default().filters(&ours).build();
        let volumes = self.docker.list_volumes(Some(listed)).await.map_err(Error::engine("list volumes"))?;
        for volume in volumes.volumes.unwrap_or_default() {
            self.remove_volume(&volume.name).await?;
        }
        let listed = query::ListImagesOptionsBuilder::default().filters(&ours).build();
        let images = self.docker.list_images(Some(listed)).await.map_err(Error::engine("list images"))?;
        for image in images {
            self.remove_image(&image.id).await?;
        }
        Ok(ids.len())
    }

    /// Whether there is an image of a name.
    pub async fn has_image(&self, name: &str) -> Result<bool, Error> {
        let named = HashMap::from([("reference".to_owned(), vec![name.to_owned()])]);
        let listed = query::ListImagesOptionsBuilder::default().filters(&named).build();
        let found = self.docker.list_images(Some(listed)).await.map_err(Error::engine("list images"))?;
        Ok(!found.is_empty())
    }

    /// Builds an image of an archive with a file that says how, and removes it: what the engine said if it could not.
    pub async fn build(&self, name: &str, archive: Vec<u8>) -> Result<Option<String>, Error> {
        let options = query::BuildImageOptionsBuilder::default().dockerfile("Dockerfile").t(name);
        let options = options.networkmode("none").rm(true).forcerm(true);
        let options = options.labels(&create::labels(&self.installation)).build();
        let body = bollard::body_full(archive.into());
        let said: Result<Vec<_>, _> = self.docker.build_image(options, None, Some(body)).try_collect().await;
        match said {
            Ok(_) => self.remove_image(name).await.map(|()| None),
            Err(EngineError::DockerStreamError { error }) => Ok(Some(error)),
            // What is wrong with the file itself is said at once.
            Err(EngineError::DockerResponseServerError { status_code: 400, message }) => Ok(Some(message)),
            Err(error) => Err(Error::engine("build an image")(error)),
        }
    }

    async fn remove_image(&self, name: &str) -> Result<(), Error> {
        let options = query::RemoveImageOptionsBuilder::default().force(true).build();
        match self.docker.remove_image(name, Some(options), None).await {
            Err(error) if status(&error) == Some(404) => Ok(()),
            done => done.map(drop).map_err(Error::engine("remove an image")),
        }
    }

    /// The id of the image with a label. Names are not asked for: engines give different ones.
    pub async fn image(&self, label: &str) -> Result<Option<String>, Error> {
        let labelled = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
        let listed = query::ListImagesOptionsBuilder::default().filters(&labelled).build();
        let found = self.docker.list_images(Some(listed)).await.map_err(Error::engine("list images"))?;
        Ok(found.into_iter().map(|image| image.id).next())
    }

    /// Makes an image of a file system.
    pub async fn import(
        &self,
        repository: &str,
        tag: &str,
        label: &str,
        archive: impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
    ) -> Result<(), Error> {
        let options = query::CreateImageOptionsBuilder::default();
        let options =
            options.from_src("-").repo(repository).tag(tag).changes(vec![format!("LABEL {label}")]).build();
        let body = bollard::body_try_stream(archive);
        let done: Result<Vec<_>, _> =
            self.docker.create_image(Some(options), Some(body), None).try_collect().await;
        done.map(drop).map_err(Error::engine("import an image"))
    }

    /// Creates a container with its volume and starts it. What is half made is removed.
    pub async fn start(&self, shape: &Shape) -> Result<String, Error> {
        let volume = create::volume(shape, &self.installation);
        self.docker.create_volume(volume).await.map_err(Error::engine("create a volume"))?;
        let name = query::CreateContainerOptionsBuilder::default().name(&shape.name).build();
        let body = create::container(shape, &self.installation);
        let started = async {
            let created = self.docker.create_container(Some(name), body).await;
            let id = created.map_err(Error::engine("create a container"))?.id;
            self.docker.start_container(&id, None).await.map_err(Error::engine("start a container"))?;
            Ok(id)
        };
        let started = started.await;
        if started.is_err() {
            // Its own error says more than those of the removal.
            let _ = self.remove(&shape.name).await;
            let _ = self.remove_volume(&shape.name).await;
        }
        started
    }

    /// Unpacks an archive into the workspace.
    pub async fn put(&self, container: &str, archive: Vec<u8>) -> Result<(), Error> {
        let options = query::UploadToContainerOptionsBuilder::default().path(WORKSPACE).build();
        let body = bollard::body_full(archive.into());
        let done = self.docker.upload_to_container(container, Some(options), body).await;
        done.map_err(Error::engine("put files into the workspace"))
    }

    /// Packs the workspace.
    pub fn get(&self, container: &str) -> impl Stream<Item = Result<Bytes, EngineError>> + use<> {
        let options = query::DownloadFromContainerOptionsBuilder::default().path(WORKSPACE).build();
        self.docker.download_from_container(container, Some(options))
    }

    /// Starts a program in a container: its id, and its output.
    pub async fn execute(
        &self,
        container: &str,
        uid: u32,
        command: Vec<String>,
        environment: Vec<String>,
    ) -> Result<(String, Output), Error> {
        let failed = Error::engine("start a program");
        let program = create::program(uid, command, environment);
        let id = self.docker.create_exec(container, program).await.map_err(failed)?.id;
        match self.docker.start_exec(&id, None::<StartExecOptions>).await.map_err(failed)? {
            StartExecResults::Attached { output, .. } => Ok((id, output.boxed())),
            StartExecResults::Detached => Err(Error::SandboxEnded),
        }
    }

    /// The exit code of a program that has ended.
    pub async fn exit_code(&self, program: &str) -> Result<Option<i64>, Error> {
        let found =
            self.docker.inspect_exec(program).await.map_err(Error::engine("tell how a program ended"))?;
        Ok(found.exit_code)
    }

    /// Stops every process of a container where it is.
    pub async fn freeze(&self, container: &str) -> Result<(), Error> {
        self.docker.pause_container(container).await.map_err(Error::engine("pause a container"))
    }

    /// Kills every process of a container and waits until none is left.
    pub async fn kill(&self, container: &str) -> Result<Ended, Error> {
        let options = query::KillContainerOptionsBuilder::default().signal("SIGKILL").build();
        match self.docker.kill_container(container, Some(options)).await {
            // It ended by itself, which podman calls a fault of its own.
            Err(error) if matches!(status(&error), Some(404 | 409)) => {}
            Err(EngineError::DockerResponseServerError { message, .. }) if message.contains(NOT_RUNNING) => {}
            done => done.map_err(Error::engine("kill a container"))?,
        }
        self.wait(container, "not-running").await?;
        let found = self.docker.inspect_container(container, None).await;
        let state = found.map_err(Error::engine("tell how a container ended"))?.state.unwrap_or_default();
        Ok(Ended { out_of_memory: state.oom_killed == Some(true) })
    }

    /// Removes a container, running or not.
    pub async fn remove(&self, container: &str) -> Result<(), Error> {
        let options = query::RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.docker.remove_container(container, Some(options)).await {
            Err(error) if status(&error) == Some(404) => Ok(()),
            // A removal that began earlier: of an owner that was killed meanwhile.
            Err(error) if status(&error) == Some(409) => self.wait(container, "removed").await,
            done => done.map_err(Error::engine("remove a container")),
        }
    }

    async fn wait(&self, container: &str, condition: &str) -> Result<(), Error> {
        let options = query::WaitContainerOptionsBuilder::default().condition(condition).build();
        let mut ended = self.docker.wait_container(container, Some(options));
        let failed = Error::engine("wait for a container");
        match tokio::time::timeout(ENGINE_TIMEOUT, ended.next()).await {
            Ok(Some(Ok(_) | Err(EngineError::DockerContainerWaitError { .. })) | None) => Ok(()),
            Ok(Some(Err(error))) if status(&error) == Some(404) => Ok(()),
            Ok(Some(Err(error))) => Err(failed(error)),
            Err(_) => Err(failed(EngineError::RequestTimeoutError)),
        }
    }

    /// Removes a volume.
    pub async fn remove_volume(&self, name: &str) -> Result<(), Error> {
        let options = query::RemoveVolumeOptionsBuilder::default().force(true).build();
        match self.docker.remove_volume(name, Some(options)).await {
            Err(error) if status(&error) == Some(404) => Ok(()),
            done => done.map_err(Error::engine("remove a volume")),
        }
    }
}

/// The time after which a call that has no bound of its own is given up.
pub(crate) async fn within<T>(
    time: Duration,
    doing: &'static str,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(time, call).await {
        Ok(done) => done,
        Err(_) => Err(Error::engine(doing)(EngineError::RequestTimeoutError)),
    }
}

fn status(error: &EngineError) -> Option<u16> {
    match error {
        EngineError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}
