//! How fast the sandbox is: what `orrery bench sandbox` prints.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::image::Kind;
use crate::limits::MEMORY_BYTES_MAX;
use crate::run::{Reason, Run};
use crate::sandbox::Sandbox;

/// A median and a tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    /// Half of the samples are not above it.
    pub p50: Duration,
    /// 95 of 100 samples are not above it.
    pub p95: Duration,
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// From the call to the first output, in a new container.
    pub cold: Figure,
    /// The same in a container that waited.
    pub warm: Figure,
    /// From the cancellation until nothing runs.
    pub kill: Figure,
}

/// Measures one run after the other. The sandbox must keep a container of the kind warm.
pub async fn measure(sandbox: &Sandbox, kind: Kind, samples: usize) -> Result<Figures, Error> {
    let (mut cold, mut warm, mut kill) = (Vec::new(), Vec::new(), Vec::new());
    // A shell that says something and stays.
    let run = || Run::new(kind, ["/bin/sh", "-c", "echo here; exec sleep 60"]);
    for _ in 0..samples.max(1) {
        // No container of this size waits.
        let (first, _) = sample(sandbox, run().memory(MEMORY_BYTES_MAX / 2)).await?;
        cold.push(first);
        sandbox.warmed().await?;
        let (first, killed) = sample(sandbox, run()).await?;
        warm.push(first);
        kill.push(killed);
        sandbox.warmed().await?;
    }
    Ok(Figures { cold: figure(cold), warm: figure(warm), kill: figure(kill) })
}

async fn sample(sandbox: &Sandbox, run: Run) -> Result<(Duration, Duration), Error> {
    let started = Instant::now();
    let mut running = sandbox.run(run)?;
    let heard = running.next().await;
    let first = started.elapsed();
    let canceled = Instant::now();
    running.cancel();
    let finished = running.finish().await?;
    if heard.is_none() || finished.reason != Reason::Canceled {
        return Err(Error::SandboxEnded);
    }
    Ok((first, canceled.elapsed()))
}

fn figure(mut samples: Vec<Duration>) -> Figure {
    samples.sort();
    let at = |percent: usize| samples[(samples.len() - 1) * percent / 100];
    Figure { p50: at(50), p95: at(95) }
}
