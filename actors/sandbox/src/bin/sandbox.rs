//! What `make tools` and the tests need of the sandbox before there is the `orrery` binary, whose verb `sandbox` is for
//! everybody else: builds an image, and runs one command in a process that a test can kill.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use actors_sandbox::{Config, Error, Image, Kind, Reason, Run, Sandbox, Source, image};

const USAGE: &str = "usage: sandbox build python|node FOLDER
       sandbox run SOCKET INSTALLATION python|node FOLDER COMMAND…";

/// A mistake in the arguments, as `sysexits` names it.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    if actors_sandbox::kept_instead() { ExitCode::SUCCESS } else { asked() }
}

#[tokio::main]
async fn asked() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["build", kind, folder] => build(kind, folder),
        ["run", socket, installation, kind, folder, ref command @ ..] => {
            run(socket, installation, kind, folder, command).await
        }
        _ => Ok(usage()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error} ({})", error.code());
        let mut cause = std::error::Error::source(&error);
        while let Some(each) = cause {
            eprintln!("  because: {each}");
            cause = each.source();
        }
        eprintln!("hint: {}", error.hint());
        ExitCode::FAILURE
    })
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(EXIT_USAGE)
}

fn kind(name: &str) -> Option<Kind> {
    [Kind::Python, Kind::Node].into_iter().find(|kind| kind.name() == name)
}

fn build(name: &str, folder: &str) -> Result<ExitCode, Error> {
    let Some(kind) = kind(name) else { return Ok(usage()) };
    let image = image::build(kind, Path::new(folder))?;
    println!("{} {}", kind.name(), image.hash);
    Ok(ExitCode::SUCCESS)
}

async fn run(
    socket: &str,
    installation: &str,
    name: &str,
    folder: &str,
    command: &[&str],
) -> Result<ExitCode, Error> {
    let Some(kind) = kind(name) else { return Ok(usage()) };
    let images = vec![(Image::open(Path::new(folder), kind)?, 0)];
    let (socket, installation) = (Some(socket.to_owned()), installation.to_owned());
    let sandbox =
        Sandbox::connect(Config { socket, installation, capacity: 1, images, base_image: None }).await?;
    let mut running = sandbox.run(Run::new(kind, command.iter().copied()))?;
    while let Some(chunk) = running.next().await {
        // A reader that went away changes nothing about the run.
        let _ = match chunk.source {
            Source::Stdout => {
                std::io::stdout().write_all(&chunk.bytes).and_then(|()| std::io::stdout().flush())
            }
            Source::Stderr => std::io::stderr().write_all(&chunk.bytes),
        };
    }
    let finished = running.finish().await?;
    sandbox.close().await;
    eprintln!("{:?}, {} bytes, truncated: {}", finished.reason, finished.output_bytes, finished.truncated);
    Ok(if finished.reason == Reason::Exited(0) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
