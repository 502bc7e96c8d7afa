//! The tables of `docs/benchmarks.md`, with the machine that they were measured on.

use std::ffi::OsString;
use std::fs;

use bus_client::Profile;
use orrery_bench::{Bench, Line, Options, Report, run};

/// Runs all benchmarks and prints their tables as Markdown.
pub async fn print(options: &Options, owner_command: &[OsString]) -> anyhow::Result<()> {
    let owner_command = || owner_command.to_vec();
    let runs = [
        (Bench::Turn, Profile::Durable),
        (Bench::Turn, Profile::Fast),
        (Bench::Task, Profile::Durable),
        (Bench::Task, Profile::Fast),
        (Bench::Replay, Profile::Fast),
        (Bench::Resume { owner_command: owner_command() }, Profile::Durable),
        (Bench::Idle { owner_command: owner_command() }, Profile::Fast),
        (Bench::Halt, Profile::Durable),
        (Bench::Halt, Profile::Fast),
    ];
    for (index, (bench, profile)) in runs.into_iter().enumerate() {
        let report = run(bench, Options { profile, ..options.clone() }).await?;
        if index == 0 {
            println!("{}\n", machine(&report));
        }
        println!("{}\n", table(&report));
    }
    Ok(())
}

/// One line on the machine.
fn machine(report: &Report) -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split(':').nth(1).unwrap_or_default().trim().to_owned()
    };
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let gigabytes = memory.trim_end_matches(" kB").parse::<u64>().unwrap_or_default() / 1_048_576;
    format!(
        "Machine: {} cores ({}), {gigabytes} GiB of memory, temporary directory on {}, Linux {}, nats-server {}.",
        report.cores,
        field(&read("/proc/cpuinfo"), "model name"),
        file_system(&read("/proc/mounts")),
        read("/proc/sys/kernel/osrelease").trim(),
        report.server_version,
    )
}

/// The kind of file system that the temporary directory lies on: the longest mount point above it.
fn file_system(mounts: &str) -> String {
    let directory = std::env::temp_dir();
    let rows = mounts.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let above = rows.filter(|row| row.len() > 2 && directory.starts_with(row[1]));
    above.max_by_key(|row| row[1].len()).map(|row| format!("{} ({})", row[2], row[0])).unwrap_or_default()
}

fn table(report: &Report) -> String {
    let Report { bench, profile, fsync, results, load, .. } = report;
    let (head, row): (&str, fn(&Line) -> String) = match *bench {
        "idle" => ("| entities | host | each | grown by | nats-server |", idle),
        "resume" => ("| case | times | p50 | p99 | slowest |", resume),
        "halt" => ("| jobs | until | times | p50 | p99 | slowest |", halt),
        "replay" => ("| stream | events/s | raw consumer | ratio |", replay),
        _ => ("| callers | a second | bare loop | ratio | p50 | bare loop | ratio | p99 |", calls),
    };
    let rule = head.chars().filter(|character| *character == '|').count() - 1;
    let rows: Vec<String> = results.iter().map(row).collect();
    format!(
        "### {bench}, `{profile}` (`sync_interval: {fsync}`)\n\nLoad average before and after: {} and {}.\n\n{head}\n|{}\n{}",
        short(&load[0]),
        short(&load[1]),
        " ---: |".repeat(rule),
        rows.join("\n")
    )
}

/// The load of the last minute.
fn short(load: &str) -> &str {
    load.split(' ').next().unwrap_or_default()
}

fn number(value: Option<f64>) -> String {
    value.map(|value| format!("{value:.0}")).unwrap_or_default()
}

fn milliseconds(microseconds: Option<f64>) -> String {
    microseconds.map(|value| format!("{:.2} ms", value / 1_000.0)).unwrap_or_default()
}

fn ratio(value: Option<f64>) -> String {
    value.map(|value| format!("{value:.2}")).unwrap_or_default()
}

fn megabytes(bytes: Option<u64>) -> String {
    bytes.map(|bytes| format!("{:.1} MB", bytes as f64 / 1e6)).unwrap_or_default()
}

fn calls(line: &Line) -> String {
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} |",
        line.callers.unwrap_or_default(),
        number(line.per_s),
        number(line.baseline_per_s),
        ratio(line.ratio_per_s),
        milliseconds(line.p50_us),
        milliseconds(line.baseline_p50_us),
        ratio(line.ratio_p50),
        milliseconds(line.p99_us),
    )
}

fn replay(line: &Line) -> String {
    let (case, folded, raw) = (line.case.unwrap_or_default(), line.per_s, line.baseline_per_s);
    format!("| {case} | {} | {} | {} |", number(folded), number(raw), ratio(line.ratio_per_s))
}

fn resume(line: &Line) -> String {
    format!(
        "| {} | {} | {} | {} | {} |",
        line.case.unwrap_or_default(),
        line.samples.unwrap_or_default(),
        milliseconds(line.p50_us),
        milliseconds(line.p99_us),
        milliseconds(line.max_us),
    )
}

fn halt(line: &Line) -> String {
    format!("| {} {}", line.callers.unwrap_or_default(), resume(line))
}

fn idle(line: &Line) -> String {
    let each = line.bytes_per_entity.map(|bytes| format!("{bytes:.0} B")).unwrap_or_default();
    let growth = line.growth_bytes.map(|bytes| format!("{:.1} MB", bytes as f64 / 1e6)).unwrap_or_default();
    format!(
        "| {} | {} | {each} | {growth} | {} |",
        line.entities.unwrap_or_default(),
        megabytes(line.rss_bytes),
        megabytes(line.server_rss_bytes),
    )
}
