//! `orrery sandbox`: builds and lists the images, and runs one program, without a system that runs.

use std::fs::File;
use std::io::{Write, stdin};
use std::path::{Path, PathBuf};
use std::time::Duration;

use actors_agents::Limits;
use actors_agents::manifest::files_of;
use actors_host::Config;
use actors_sandbox::{
    Error, Image, Keeper, Kind, Reason, Run, Running, Sandbox, Source, image, keeper, limits,
};
use bus_schemas::chain;
use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::up::interrupted;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show, table};
use crate::tools;

/// Where `make tools` puts the images.
const FOLDER: &str = ".tools/sandbox";

/// The action on the sandbox.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Build the images without a registry: takes root, `mmdebstrap`, pip and the network
    Build {
        /// `python` or `node`; both unless given
        #[arg(value_parser = kind)]
        image: Option<Kind>,
        /// Take the file system of an image that somebody else built, as `docker export` writes it; `-` for stdin
        #[arg(long, value_name = "FILE", requires = "image")]
        from: Option<PathBuf>,
    },
    /// Show the images, and the limits of what runs in them
    Images,
    /// Run the keeper that holds the engine's socket, for processes whose `sandbox.keeper` names the Unix socket that is
    /// its standard input
    Serve,
    /// Run one program in a container of its own, and print its output
    Run {
        /// `python` or `node`
        #[arg(value_parser = kind)]
        image: Kind,
        /// Copy the files of this git repository into the workspace
        #[arg(long, value_name = "DIR")]
        repo: Option<PathBuf>,
        /// Seconds until the program is killed
        #[arg(long, default_value_t = limits::WALL_CLOCK.as_secs())]
        seconds: u64,
        /// The program and its arguments, behind `--`
        #[arg(last = true, required = true, value_name = "PROGRAM")]
        command: Vec<String>,
    },
}

impl Arguments {
    /// Whether the verb runs until it is told to stop.
    pub fn serves(&self) -> bool {
        matches!(self.verb, Verb::Serve)
    }
}

fn kind(name: &str) -> Result<Kind, String> {
    let known = [Kind::Python, Kind::Node].into_iter().find(|kind| kind.name() == name);
    known.ok_or_else(|| "`python` or `node`".to_owned())
}

/// An image in the folder.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ImageShown {
    /// `python` or `node`.
    pub image: String,
    /// The hash of its manifest.
    pub manifest: String,
    /// Its archive; the manifest lies beside it.
    pub archive: PathBuf,
    /// The size of the archive.
    pub bytes: u64,
}

impl ImageShown {
    fn of(folder: &Path, image: &Image) -> Self {
        let archive = folder.join(format!("{}.tar", image.kind.name()));
        let bytes = std::fs::metadata(&archive).map(|about| about.len()).unwrap_or_default();
        Self { image: image.kind.name().to_owned(), manifest: image.hash.clone(), archive, bytes }
    }
}

impl Show for ImageShown {
    fn text(&self) -> String {
        format!("{} {} in {}", self.image, self.manifest, self.archive.display())
    }
}

/// The images, and the limits.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Images {
    /// The images that are there.
    pub images: Vec<ImageShown>,
    /// Agents that use the sandbox at once.
    pub agents: usize,
    /// Seconds of a program.
    pub step_seconds: u64,
    /// Bytes of memory of a program.
    pub memory_bytes: u64,
    /// Bytes of its workspace, which count as memory.
    pub workspace_bytes: u64,
}

impl Show for Images {
    fn text(&self) -> String {
        let row = |one: &ImageShown| {
            let mebibytes = format!("{} MiB", one.bytes >> 20);
            vec![one.image.clone(), one.manifest.clone(), mebibytes, one.archive.display().to_string()]
        };
        let rows: Vec<Vec<String>> = self.images.iter().map(row).collect();
        format!("{}\n{}", table(&["IMAGE", "MANIFEST", "SIZE", "ARCHIVE"], &rows), limits_in_words())
    }
}

/// The limits, for people.
pub(super) fn limits_in_words() -> String {
    let Limits { agents, step_seconds, memory_bytes, workspace_bytes } = Limits::of(limits::WALL_CLOCK);
    let (memory, workspace) = (memory_bytes >> 20, workspace_bytes >> 20);
    format!(
        "{agents} agents at once; a program has {step_seconds} s, {memory} MiB of memory, {workspace} MiB of workspace"
    )
}

/// How a program ended.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Ran {
    /// `exit N`, `step-timeout`, `out-of-memory`, `workspace-too-large` or `canceled`.
    pub ended: String,
    /// Milliseconds from its start to its end.
    pub elapsed_ms: u64,
    /// Bytes that it wrote.
    pub output_bytes: u64,
    /// Whether some of these were thrown away.
    pub truncated: bool,
}

/// Output of a program.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OutputShown {
    /// The number of the piece, from 0.
    pub number: u64,
    /// `stdout` or `stderr`.
    pub source: &'static str,
    /// The text; what is not UTF-8 is replaced.
    pub text: String,
}

/// The folder of the images: that of the setting, or that of `make tools`.
pub(super) fn folder(config: &Config) -> PathBuf {
    config.sandbox.images.clone().unwrap_or_else(|| PathBuf::from(FOLDER))
}

/// Runs the verb.
pub async fn run(config: &Config, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let folder = folder(config);
    match arguments.verb {
        Verb::Build { image, from } => build(&folder, image, from.as_deref(), output),
        Verb::Images => {
            let each = [Kind::Python, Kind::Node].map(|kind| Image::open(&folder, kind));
            let missing = each.iter().find_map(|image| image.as_ref().err()).map(failed);
            let images: Vec<ImageShown> =
                each.iter().flatten().map(|image| ImageShown::of(&folder, image)).collect();
            let is_none = images.is_empty();
            let Limits { agents, step_seconds, memory_bytes, workspace_bytes } =
                Limits::of(limits::WALL_CLOCK);
            output.show(&Images { images, agents, step_seconds, memory_bytes, workspace_bytes });
            missing.filter(|_| is_none).map_or(Ok(()), Err)
        }
        Verb::Serve => {
            let keeper = tools::keeper(config, &folder, tools::installation(config));
            let keeper = keeper.map_err(|mistake| super::config::refused(&[mistake]))?;
            keeper::serve(&keeper).await.map_err(|error| failed(&error))
        }
        Verb::Run { image, repo, seconds, command } => {
            let mut run = Run::new(image, command).wall_clock(Duration::from_secs(seconds));
            if let Some(repo) = repo {
                let files = files_of(&repo).map_err(|reason| {
                    Failure::new("repository-unreadable", reason)
                        .next("name the folder of a git repository with `--repo`")
                        .exit(exit::NOT_FOUND)
                })?;
                run = run.files(files);
            }
            execute(config, &folder, image, run, output).await
        }
    }
}

fn build(folder: &Path, only: Option<Kind>, from: Option<&Path>, output: Output) -> Result<(), Failure> {
    let kinds = only.map_or(vec![Kind::Python, Kind::Node], |kind| vec![kind]);
    for kind in kinds {
        let built = match from {
            None => {
                output.say(&format!("building the image `{}`", kind.name()));
                image::build(kind, folder)
            }
            Some(path) if path == Path::new("-") => image::adopt(kind, folder, stdin().lock()),
            Some(path) => {
                let file = File::open(path).map_err(|error| {
                    Failure::new("bad-argument", format!("reading `{}`: {error}", path.display()))
                        .next("name a file that `docker export` wrote, or `-` for stdin")
                        .exit(exit::NOT_FOUND)
                })?;
                image::adopt(kind, folder, file)
            }
        };
        output.show(&ImageShown::of(folder, &built.map_err(|error| failed(&error))?));
    }
    Ok(())
}

async fn execute(
    config: &Config,
    folder: &Path,
    kind: Kind,
    run: Run,
    output: Output,
) -> Result<(), Failure> {
    let sandbox = connect(config, folder, kind, 0).await?;
    let mut running = sandbox.run(run).map_err(|error| failed(&error))?;
    let interrupted = tokio::select! {
        () = pass(&mut running, output) => false,
        () = interrupted() => true,
    };
    if interrupted {
        running.cancel();
    }
    let finished = running.finish().await;
    sandbox.close().await;
    let finished = finished.map_err(|error| failed(&error))?;
    let ended = finished.reason.to_string();
    let elapsed_ms = u64::try_from(finished.elapsed.as_millis()).unwrap_or(u64::MAX);
    let (output_bytes, truncated) = (finished.output_bytes, finished.truncated);
    let ran = Ran { ended, elapsed_ms, output_bytes, truncated };
    if output.json() {
        output.changed(&ran, "");
    }
    match finished.reason {
        Reason::Exited(0) => Ok(()),
        Reason::Canceled => Err(Failure::new("interrupted", "the program was killed")
            .next("the same command runs it anew")
            .exit(exit::INTERRUPTED)),
        _ => Err(Failure::new("program-failed", format!("the program ended: {}", ran.ended))
            .next("its output says why; `orrery sandbox images` shows the limits")),
    }
}

/// Prints the output as it comes.
async fn pass(running: &mut Running, output: Output) {
    while let Some(chunk) = running.next().await {
        let source = if chunk.source == Source::Stdout { "stdout" } else { "stderr" };
        if output.json() {
            let text = String::from_utf8_lossy(&chunk.bytes).into_owned();
            output.changed(&OutputShown { number: chunk.number, source, text }, "");
        } else if chunk.source == Source::Stdout {
            output.bytes(&chunk.bytes);
        } else {
            // Who closed stderr does not want to know.
            let _ = std::io::stderr().write_all(&chunk.bytes);
        }
    }
}

/// The sandbox of the keeper that the settings name, or one of one image with a name of its own: it removes nothing of a
/// system that runs.
pub(super) async fn connect(
    config: &Config,
    folder: &Path,
    kind: Kind,
    warm: u16,
) -> Result<Sandbox, Failure> {
    if let Some(socket) = &config.sandbox.keeper {
        return Sandbox::connect(Keeper::At(socket.clone())).await.map_err(|error| failed(&error));
    }
    let images = vec![(Image::open(folder, kind).map_err(|error| failed(&error))?, warm)];
    let installation = format!("cli-{}", uuid::Uuid::new_v4());
    let socket = config.sandbox.socket.clone();
    let config = actors_sandbox::Config { socket, installation, capacity: 1, images, base_image: None };
    Sandbox::connect(config).await.map_err(|error| failed(&error))
}

/// The failure of the sandbox itself.
pub(super) fn failed(error: &Error) -> Failure {
    let status = match error {
        Error::EngineUnfit { .. } => exit::UNAVAILABLE,
        Error::SandboxEnded => exit::NO,
        error if error.may_pass() => exit::UNAVAILABLE,
        Error::ImageMissing { .. } | Error::ImageDamaged { .. } => exit::NOT_FOUND,
        Error::ImageBuildFailed { .. } => exit::FILE,
        Error::InvalidRun { .. } => exit::USAGE,
        _ => exit::NO,
    };
    Failure::new(error.code(), chain(error)).next(error.hint()).exit(status)
}
