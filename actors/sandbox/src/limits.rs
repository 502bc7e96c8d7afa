//! What a program in the sandbox may use. Constants, not settings: a bound that somebody can turn off is no bound.

use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Uid and gid of the first slot. Each container has those of its slot: two never share what the kernel counts by uid.
pub const UID_FIRST: u32 = 65_532;
/// Slots, and so containers of one installation at once: a machine of 64 GiB holds them at full memory.
pub const SLOTS_MAX: u16 = 32;
/// Memory of a run without a wish, and the most that a run may wish for. There is no swap on top.
pub const MEMORY_BYTES_MAX: u64 = 2 * GIB;
/// Less does not start an interpreter.
pub const MEMORY_BYTES_MIN: u64 = 32 * MIB;
/// Workspace of a run without a wish, and the most that a run may wish for. Its pages count as memory.
pub const WORKSPACE_BYTES_MAX: u64 = GIB;
/// The smallest workspace: one page.
pub const WORKSPACE_BYTES_MIN: u64 = 4 * KIB;
/// Files and folders in a workspace: the kernel's memory for names is not in the size of the file system.
pub const WORKSPACE_INODES_MAX: u64 = 65_536;
/// The size of `/tmp`, from which nothing can be executed.
pub const TMP_BYTES: u64 = 64 * MIB;
/// The size of `/dev/shm`, without which Python's `multiprocessing` does not work.
pub const SHM_BYTES: u64 = 64 * MIB;
/// The largest single file. The workspace bounds their sum; this bounds holes, which take no space.
pub const FILE_BYTES_MAX: u64 = 512 * MIB;
/// Processes and threads: enough for a parallel test run, and a fork bomb ends at once.
pub const PIDS_MAX: u64 = 128;
/// Processes of one uid by `RLIMIT_NPROC`, which some engines must be told. Never the bound that is met: the kernel
/// counts by uid over all containers, so [`PIDS_MAX`] of every slot fits.
pub const UID_PROCESSES_MAX: u64 = 16_384;
/// Open files of one process.
pub const OPEN_FILES_MAX: u64 = 1_024;
/// Processors, in billionths: one.
pub const NANO_CPUS: u64 = 1_000_000_000;
/// The weight against others on a busy machine, of 1,024: who kills a fork bomb must not queue behind it.
pub const CPU_SHARES: u64 = 128;

/// How long a program may run when its run names no limit.
pub const WALL_CLOCK: Duration = Duration::from_secs(300);
/// The longest that a run may ask for.
pub const WALL_CLOCK_MAX: Duration = Duration::from_secs(900);
/// How long a container lives if nobody ends it: it ends itself even where no worker is left to reap it.
pub const LIFETIME: Duration = Duration::from_secs(3_600);
/// A warm container older than this is replaced: what it would run still fits into its lifetime.
pub const WARM_AGE_MAX: Duration = Duration::from_secs(1_800);
/// An answer of the engine that takes longer counts as none.
pub const ENGINE_TIMEOUT: Duration = Duration::from_secs(60);
/// The time to read a workspace back.
pub const READ_BACK_TIMEOUT: Duration = Duration::from_secs(60);
/// The time to find out whether the workspace is full, in a container where nothing may start any more.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Output that is passed on; what follows is read, counted and thrown away, so that the program can end.
pub const OUTPUT_BYTES_MAX: u64 = 8 * MIB;
/// One chunk of output.
pub const CHUNK_BYTES_MAX: usize = 16 * KIB as usize;
/// Chunks that wait for the caller, 1 MiB at most; then the program waits.
pub const CHUNKS_WAITING_MAX: usize = 64;

/// Callers of the keeper at once: every agent of a process with every tool that it runs side by side. More wait.
pub const CONNECTIONS_MAX: usize = 64;
/// The bytes of a call or an answer without its files: arguments and variables, as JSON writes them at the worst.
pub const HEAD_BYTES_MAX: u32 = MIB as u32;
/// Chunks that wait in the caller's process, beside those that wait at the keeper.
pub const CHUNKS_RECEIVED_MAX: usize = 8;
/// A caller that connects says at once what it wants.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The time for the files of a call, on a machine that swaps.
pub const FILES_TIMEOUT: Duration = Duration::from_secs(60);
/// The time for a keeper to start: it gives the engine images of hundreds of megabytes.
pub const KEEPER_START_TIMEOUT: Duration = Duration::from_secs(300);
/// The time for a keeper to remove its containers when it ends.
pub const KEEPER_END_TIMEOUT: Duration = Duration::from_secs(30);
/// A keeper that nobody calls within this time of its start ends.
pub const KEEPER_UNCALLED_MAX: Duration = Duration::from_secs(60);
/// A keeper without callers ends after this time: the process that started it is gone.
pub const KEEPER_UNUSED_MAX: Duration = Duration::from_secs(1);
/// The pause before a keeper that ended is started again, doubled at each failure up to the second value.
pub const KEEPER_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// Arguments of a command.
pub const ARGUMENTS_MAX: usize = 1_024;
/// Bytes of all arguments together.
pub const ARGUMENT_BYTES_MAX: usize = 64 * KIB as usize;
/// Variables of a run.
pub const VARIABLES_MAX: usize = 64;
/// Bytes of all names and values together.
pub const VARIABLE_BYTES_MAX: usize = 16 * KIB as usize;

/// Files and folders of a run on the way in, and on the way out: both are held in memory.
pub const FILES_MAX: usize = 20_000;
/// Bytes of all files on the way in, and at most on the way out.
pub const FILES_BYTES_MAX: u64 = 256 * MIB;
/// Bytes of an archive beside those of its files: headers of each, and their padding.
pub const ARCHIVE_BYTES_EXTRA: u64 = 256 * MIB;
/// Bytes of a path.
pub const PATH_BYTES_MAX: usize = 1_024;
/// Folders above a file.
pub const PATH_DEPTH_MAX: usize = 32;
/// Entries that a read-back leaves out and names; more are only counted.
pub const REFUSED_NAMED_MAX: usize = 100;
