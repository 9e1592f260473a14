//! What a simulated world is like: how late, how lossy, how unfair.

use std::time::Duration;

use super::rng::Rng;

/// How a world behaves. Chances are in millionths.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How cores take turns.
    pub schedule: ScheduleOptions,
    /// The disk that nodes start with.
    pub disk: DiskOptions,
    /// The network between all nodes.
    pub network: NetworkOptions,
    /// How far a node's wall clock may be from the world's, in either direction.
    pub clock_skew: Duration,
    /// How many lines of the trace are kept as text; its hash covers everything in any case.
    pub trace_lines: usize,
}

/// How cores take turns.
#[derive(Clone, Debug)]
pub struct ScheduleOptions {
    /// The chance, at each turn of a task, that its core is paused instead.
    pub pause: u32,
    /// The longest such pause; most are far shorter.
    pub pause_max: Duration,
    /// Whether, for a while each, some core or class of tasks is hardly ever chosen.
    pub starve: bool,
    /// How late a timer may fire.
    pub timer_slack: Duration,
    /// Turns in one instant after which the world gives up: tasks that wake one another for ever.
    pub busy_limit: u64,
}

impl Default for ScheduleOptions {
    fn default() -> Self {
        ScheduleOptions {
            pause: 1_000,
            pause_max: Duration::from_millis(5),
            starve: true,
            timer_slack: Duration::from_micros(100),
            busy_limit: 2_000_000,
        }
    }
}

/// A seeded delay: mostly from `min` to `max`, now and then up to `tail_max`.
#[derive(Clone, Copy, Debug)]
pub struct Delay {
    /// The shortest.
    pub min: Duration,
    /// The longest in ordinary cases.
    pub max: Duration,
    /// The chance of a late one.
    pub tail: u32,
    /// The longest of all.
    pub tail_max: Duration,
}

impl Delay {
    /// From `min` to `max` microseconds, and one in a hundred up to ten times as long.
    pub const fn micros(min: u64, max: u64) -> Delay {
        Delay {
            min: Duration::from_micros(min),
            max: Duration::from_micros(max),
            tail: 10_000,
            tail_max: Duration::from_micros(max * 10),
        }
    }

    pub(super) fn draw(&self, rng: &mut Rng) -> u64 {
        let max = if rng.chance(self.tail) { self.tail_max } else { self.max };
        let (min, max) = (self.min.as_nanos() as u64, max.as_nanos() as u64);
        if max > min { rng.range(min..max) } else { min }
    }
}

/// What a disk is like. Can be changed while the world runs: see [`DiskControl`](super::DiskControl).
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// Until a read or write is done.
    pub transfer: Delay,
    /// Until a flush is done.
    pub flush: Delay,
    /// Until a directory call, an allocation or a truncation is done.
    pub metadata: Delay,
    /// Bytes a second of one operation, on top of its delay.
    pub bytes_per_second: u64,
    /// All delays are multiplied by this.
    pub slowness: u32,
    /// Bytes that the disk holds; past it come `ENOSPC`.
    pub capacity: u64,
    /// Whether one flush of any file makes the finished direct writes of *all* files durable that went into
    /// blocks whose extents and size were durable before. Reported by `Disk::examine`.
    pub one_flush: bool,
    /// Whether finished writes wait in a volatile cache. Without it their data (not extents and sizes) is
    /// durable at once.
    pub write_cache: bool,
    /// A device or mount whose flushes succeed and do nothing; reported as `no_barrier`.
    pub void_flushes: bool,
    /// The chance that a write fails with `EIO`.
    pub write_error: u32,
    /// The chance that a read fails with `EIO`.
    pub read_error: u32,
    /// The chance that a flush fails with `EIO`.
    pub flush_error: u32,
    /// The chance that a directory call, an allocation or a truncation fails with `EIO`.
    pub metadata_error: u32,
    /// The chance, at each operation, that the whole disk stalls.
    pub stall: u32,
    /// The chance, at each operation, that it alone stalls.
    pub stall_one: u32,
    /// The longest stall.
    pub stall_max: Duration,
    /// The chance, at each power loss, that one bit of what is durable flips.
    pub flip_at_power_loss: u32,
    /// Panic when two writes to one block are in flight at once.
    pub forbid_overlaps: bool,
    /// Panic when the memory of a write changes while it is in flight.
    pub forbid_changed_buffers: bool,
}

impl Default for DiskOptions {
    fn default() -> Self {
        DiskOptions {
            transfer: Delay::micros(40, 250),
            flush: Delay::micros(80, 1_000),
            metadata: Delay::micros(20, 400),
            bytes_per_second: 2_000_000_000,
            slowness: 1,
            capacity: 1 << 40,
            one_flush: true,
            write_cache: true,
            void_flushes: false,
            write_error: 0,
            read_error: 0,
            flush_error: 0,
            metadata_error: 0,
            stall: 0,
            stall_one: 0,
            stall_max: Duration::from_secs(5),
            flip_at_power_loss: 0,
            forbid_overlaps: true,
            forbid_changed_buffers: true,
        }
    }
}

/// What the network between the nodes is like.
#[derive(Clone, Debug)]
pub struct NetworkOptions {
    /// Until a segment or a signal arrives.
    pub latency: Delay,
    /// Bytes that one direction of a connection holds, sent and not yet received.
    pub buffer: usize,
    /// The chance, per segment, that it is cut into pieces of any size.
    pub fragment: u32,
    /// The chance, per segment, that its connection is reset.
    pub reset: u32,
    /// How long a connection attempt or unacknowledged data is retried before it fails with a time-out.
    pub give_up: Duration,
    /// Connections that a listener holds before it accepts them.
    pub backlog: usize,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        NetworkOptions {
            latency: Delay::micros(30, 600),
            buffer: 256 << 10,
            fragment: 50_000,
            reset: 0,
            give_up: Duration::from_secs(30),
            backlog: 4096,
        }
    }
}

impl Options {
    /// Nothing goes wrong by itself and no turn is unfair; for tests of one thing at a time.
    pub fn calm() -> Options {
        let mut options = Options::default();
        options.schedule.pause = 0;
        options.schedule.starve = false;
        options.network.fragment = 0;
        options
    }

    /// Another world for each seed: some are slow, some unfair, some stall, some have little memory in their
    /// sockets. Errors and corruption are not among it; who expects them turns them on.
    pub fn drawn(seed: u64) -> Options {
        let mut rng = Rng::new(seed ^ 0x6f70_7469_6f6e_7321);
        let mut options = Options::default();
        let schedule = &mut options.schedule;
        schedule.pause = *rng.pick(&[0, 200, 2_000, 20_000]);
        schedule.pause_max = *rng.pick(&[Duration::from_micros(300), Duration::from_millis(50)]);
        schedule.starve = rng.coin();
        let disk = &mut options.disk;
        disk.transfer = *rng.pick(&[Delay::micros(5, 20), Delay::micros(40, 250), Delay::micros(10, 10_000)]);
        disk.flush = *rng.pick(&[Delay::micros(5, 20), Delay::micros(80, 1_000), Delay::micros(50, 50_000)]);
        disk.metadata = *rng.pick(&[Delay::micros(5, 20), Delay::micros(20, 400), Delay::micros(50, 20_000)]);
        disk.slowness = *rng.pick(&[1, 1, 1, 10]);
        disk.one_flush = rng.below(4) > 0;
        disk.write_cache = rng.below(8) > 0;
        disk.stall = *rng.pick(&[0, 0, 20, 200]);
        disk.stall_one = *rng.pick(&[0, 0, 200, 2_000]);
        let network = &mut options.network;
        network.latency =
            *rng.pick(&[Delay::micros(5, 20), Delay::micros(30, 600), Delay::micros(100, 50_000)]);
        network.buffer = *rng.pick(&[4 << 10, 64 << 10, 256 << 10]);
        network.fragment = *rng.pick(&[0, 50_000, 500_000]);
        options.clock_skew =
            *rng.pick(&[Duration::ZERO, Duration::from_millis(500), Duration::from_secs(60)]);
        options
    }
}
