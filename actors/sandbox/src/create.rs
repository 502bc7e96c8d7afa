//! What a container is created with: every limit as the engine's field. What is not named here is at the engine's
//! default, which a test compares with what may be there.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, ExecConfig, HostConfig, HostConfigLogConfig, Mount, MountType, MountVolumeOptions,
    ResourcesUlimits, VolumeCreateRequest,
};

use crate::limits;

/// Where the workspace is.
pub(crate) const WORKSPACE: &str = "/workspace";
/// The label that says whose a container or a volume is.
pub(crate) const LABEL: &str = "orrery.installation";
/// Where podman would mount writable file systems of no bound.
const SEALED: [&str; 2] = ["/run", "/var/tmp"];
/// Variables that every program has.
const VARIABLES: [&str; 8] = [
    "PATH=/opt/python/bin:/opt/node/bin:/node_modules/.bin:/usr/local/bin:/usr/bin:/bin",
    "PYTHONPATH=/opt/python",
    "HOME=/tmp",
    "LANG=C.UTF-8",
    "TMPDIR=/tmp",
    // What tools remember of a run serves no other, and would be read back with the workspace.
    "PYTHONDONTWRITEBYTECODE=1",
    "MYPY_CACHE_DIR=/tmp/mypy",
    "RUFF_CACHE_DIR=/tmp/ruff",
];

/// What differs between containers.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// The image's id.
    pub image: String,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of workspace.
    pub workspace: u64,
    /// Uid and gid.
    pub uid: u32,
    /// The name of its volume, and of itself.
    pub name: String,
}

pub(crate) fn labels(installation: &str) -> HashMap<String, String> {
    HashMap::from([(LABEL.to_owned(), installation.to_owned())])
}

/// A file system in memory: bounded to the byte, and of no host path.
pub(crate) fn volume(shape: &Shape, installation: &str) -> VolumeCreateRequest {
    let Shape { workspace, uid, name, .. } = shape;
    // In pages and not as `size=`, which podman before 4.8 takes for a quota of its disk.
    let pages = (workspace / rustix::param::page_size() as u64).max(1);
    let inodes = limits::WORKSPACE_INODES_MAX;
    let options = format!("nr_blocks={pages},nr_inodes={inodes},uid={uid},gid={uid},mode=0700,nosuid,nodev");
    let options = [("type", "tmpfs"), ("device", "tmpfs"), ("o", &options)];
    VolumeCreateRequest {
        name: Some(name.clone()),
        driver: Some("local".to_owned()),
        driver_opts: Some(options.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        labels: Some(labels(installation)),
        ..Default::default()
    }
}

pub(crate) fn container(shape: &Shape, installation: &str) -> ContainerCreateBody {
    let user = format!("{0}:{0}", shape.uid);
    ContainerCreateBody {
        image: Some(shape.image.clone()),
        user: Some(user),
        // Waits for its run below an init that collects the dead, and ends by itself where nobody is left to end it.
        // The init is the image's own: the engine's would be a mount from the host.
        entrypoint: Some(vec!["/usr/bin/tini".to_owned(), "--".to_owned()]),
        cmd: Some(vec!["/usr/bin/sleep".to_owned(), limits::LIFETIME.as_secs().to_string()]),
        env: Some(VARIABLES.map(str::to_owned).to_vec()),
        working_dir: Some(WORKSPACE.to_owned()),
        network_disabled: Some(true),
        labels: Some(labels(installation)),
        hostname: Some("sandbox".to_owned()),
        host_config: Some(host(shape)),
        ..Default::default()
    }
}

fn host(shape: &Shape) -> HostConfig {
    let tmp = format!("rw,noexec,nosuid,nodev,size={},mode=1777", limits::TMP_BYTES);
    let sealed = SEALED.map(|place| (place.to_owned(), "ro,noexec,nosuid,nodev,size=4096".to_owned()));
    HostConfig {
        network_mode: Some("none".to_owned()),
        readonly_rootfs: Some(true),
        cap_drop: Some(vec!["ALL".to_owned()]),
        // The default profile of seccomp holds unless it is named here.
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        ipc_mode: Some("private".to_owned()),
        shm_size: Some(signed(limits::SHM_BYTES)),
        pids_limit: Some(signed(limits::PIDS_MAX)),
        memory: Some(signed(shape.memory)),
        // Memory and swap together: equal means no swap.
        memory_swap: Some(signed(shape.memory)),
        cpu_shares: Some(signed(limits::CPU_SHARES)),
        nano_cpus: Some(signed(limits::NANO_CPUS)),
        ulimits: Some(ulimits()),
        tmpfs: Some(sealed.into_iter().chain([("/tmp".to_owned(), tmp)]).collect()),
        mounts: Some(vec![Mount {
            typ: Some(MountType::VOLUME),
            source: Some(shape.name.clone()),
            target: Some(WORKSPACE.to_owned()),
            volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..Default::default() }),
            ..Default::default()
        }]),
        // A log file has no bound. Output is read by those who attach.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        init: Some(false),
        ..Default::default()
    }
}

fn ulimits() -> Vec<ResourcesUlimits> {
    let limits = [
        ("core", 0),
        ("cpu", limits::WALL_CLOCK_MAX.as_secs()),
        ("fsize", limits::FILE_BYTES_MAX),
        ("nofile", limits::OPEN_FILES_MAX),
        ("nproc", limits::UID_PROCESSES_MAX),
    ];
    let both = |(name, value): (&str, u64)| ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(signed(value)),
        hard: Some(signed(value)),
    };
    limits.map(both).to_vec()
}

/// A program in a started container: with the rights of the container, and attached to us.
pub(crate) fn program(uid: u32, command: Vec<String>, environment: Vec<String>) -> ExecConfig {
    ExecConfig {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command),
        env: Some(environment),
        user: Some(format!("{uid}:{uid}")),
        working_dir: Some(WORKSPACE.to_owned()),
        privileged: Some(false),
        tty: Some(false),
        ..Default::default()
    }
}

/// The engine's numbers are signed; every limit fits by far.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
