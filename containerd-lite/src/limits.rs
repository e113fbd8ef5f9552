//! Every bound of this crate, with its reason.

use std::time::Duration;

/// Memory of a tenant's job that names no limit: what small web apps need, and few enough to fill a small host.
pub const TENANT_MEMORY_BYTES: u64 = 1 << 30;

/// Memory of a job of the platform that names no limit; its own tests hold it far below.
pub const PLATFORM_MEMORY_BYTES: u64 = 512 << 20;

/// Processes and threads of a job that names no limit: room for a forking server, an end to a fork bomb.
pub const PIDS: u32 = 1_024;

/// Open files of each process of a job that names no limit.
pub const OPEN_FILES: u64 = 16_384;

/// Share of the CPU of a job that names none; the middle of what can be asked for.
pub const CPU_WEIGHT: u32 = 100;

/// The longest a client may take to attach to a job that waits for one; its claim was made for that client.
pub const ATTACH_WAIT: Duration = Duration::from_secs(60);

/// How long observers may take to see a new instance before the job counts as up without them: a dead router must
/// not hold up a deployment, and its presence runs out within this time.
pub const SEEN_WAIT: Duration = Duration::from_secs(10);

/// How long layers and scratch space may fail to be had, for reasons that may pass, before the job has failed.
pub const PREPARE_WAIT: Duration = Duration::from_secs(60);

/// How much later than the check itself the job gives up on a first pass: the check knows why it failed, and tells.
pub const CHECK_SLACK: Duration = Duration::from_secs(5);

/// Time between two SIGKILLs for something that does not die (it sleeps in the kernel).
pub const KILL_AGAIN: Duration = Duration::from_secs(10);

/// First and longest wait before a job of the platform is restarted in place. The longest is below the 30 s in
/// which everything must answer again after a power cut.
pub const RESTART_FIRST: Duration = Duration::from_millis(200);
/// See [`RESTART_FIRST`].
pub const RESTART_LONGEST: Duration = Duration::from_secs(8);

/// A run that lasted this long was no crash loop: the next restart is quick again.
pub const STABLE_AFTER: Duration = Duration::from_secs(30);

/// Claims of one host; each is a directory, a shim and some kernel memory.
pub const JOBS_MAX: usize = 2_000;

/// Threads for slow effects (extraction, creation, clean-up): more only wait for the same disk and kernel locks.
pub const WORKERS: usize = 6;

/// Threads for effects that are one exchange with a shim: they must not wait behind slow ones.
pub const QUICK_WORKERS: usize = 2;

/// Effects that wait for a worker. Each job has at most a few, so this never fills before [`JOBS_MAX`] is reached.
pub const WORK_QUEUE: usize = JOBS_MAX * 4;

/// How often observers are asked how far they are, while a job waits for them.
pub const OBSERVERS_PAUSE: Duration = Duration::from_millis(20);

/// How long a status that the store does not take waits before it is tried again.
pub const REPORT_AGAIN: Duration = Duration::from_millis(500);

/// How long the clean-up waits for a shim that says that its job ended, before another run takes its place.
pub const SHIM_LEAVES: Duration = Duration::from_secs(1);

/// Size of the root of a job without layers, and of its `/tmp`: the platform's own roles keep data in volumes.
pub const EMPTY_ROOT_BYTES: u64 = 64 << 20;

/// How long `slipway host stop` waits for jobs to end before it takes them down with their control groups.
pub const STOP_ALL_WAIT: Duration = Duration::from_secs(90);

/// How often layers, logs and volumes that nobody needs are looked for.
pub const COLLECT_PERIOD: Duration = Duration::from_secs(60);

/// Messages that wait for the supervisor, and orders for the registrar: a few per job, so that neither ever waits for
/// the other while the other waits for it.
pub const INBOX: usize = JOBS_MAX * 8;

/// One file of a job's log; the oldest of [`LOG_SEGMENTS`] is removed when another begins.
pub const LOG_SEGMENT_BYTES: u64 = 1 << 20;

/// Files of a job's log.
pub const LOG_SEGMENTS: u64 = 8;

/// The longest line of a log; a longer one goes on in the next record.
pub const LOG_LINE_BYTES: usize = 16 * 1024;

/// What a job may write to its log per second for ever. More is counted and dropped, so that neither the disk nor
/// the job waits.
pub const LOG_BYTES_PER_SECOND: u64 = 1 << 20;

/// What a job may write at once after a quiet time: a stack dump or the output of a migration fits.
pub const LOG_BURST_BYTES: u64 = 4 << 20;

/// Bytes that wait for one attached client before the job's output waits (attached jobs) or the client is dropped
/// (watchers of a log).
pub const CLIENT_BUFFER_BYTES: usize = 256 * 1024;

/// Clients of one shim at a time.
pub const CLIENTS_MAX: usize = 64;

/// Programs that run in one job by `exec` at a time.
pub const EXECS_MAX: usize = 32;

/// How long a shim stays for clients that read the last output slowly, once the job has ended.
pub const SHIM_LINGER: Duration = Duration::from_secs(20);

/// How long the daemon waits for an answer of a shim. It is a poll loop without slow work but for `create`.
pub const SHIM_ANSWER: Duration = Duration::from_secs(20);

/// How long a shim may take to create its job: mounts and control groups, on a disk that is busy.
pub const SHIM_CREATES: Duration = Duration::from_secs(60);

/// Entries of one layer.
pub const LAYER_ENTRIES_MAX: u64 = 1_000_000;

/// Bytes of one unpacked layer: the largest build stack is below 2 GB.
pub const LAYER_BYTES_MAX: u64 = 8 << 30;

/// Free space below which no new layer is unpacked and no job is started, as a part of the disk...
pub const DISK_RESERVE_PERCENT: u64 = 3;
/// ... and at most this much: the store and the logs must be able to go on.
pub const DISK_RESERVE_BYTES_MAX: u64 = 1 << 30;

/// Layers no live claim names that are kept for the next deployment or a rollback.
pub const LAYERS_KEPT: usize = 24;

/// Ended jobs per app whose logs stay readable.
pub const ENDED_PER_APP: usize = 10;

/// How long the log of an ended job is kept at most.
pub const ENDED_AGE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Ended jobs in all whose logs stay readable.
pub const ENDED_MAX: usize = 500;

/// The presence lease: how long after its last sign of life a host counts as down.
pub const PRESENCE_TTL: Duration = Duration::from_secs(10);

/// Lines of a log answered at most.
pub const LOG_LINES_MAX: usize = 100_000;

/// Requests that hold a connection of the host API (attach, exec, followed logs) at a time.
pub const STREAMS_MAX: usize = 256;

/// Ids of a user namespace: what any distribution's accounts fit into.
pub const USER_RANGE: u32 = 65_536;
/// The first id handed out: above what accounts of the host and its own sub-ids (from 100000) usually take.
pub const USER_RANGE_FIRST: u32 = 0x4000_0000;
/// Ranges that can be handed out; ids stay below 2^31, which some tools read as signed.
pub const USER_RANGES: u32 = (0x7fff_0000 - USER_RANGE_FIRST) / USER_RANGE;
