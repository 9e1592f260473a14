//! `ottla bench`: a load generator that costs little itself, for any broker that speaks Kafka's protocol.
//!
//! Batches are built once and sent many times (`template`), with scattered writes from a few threads that wait on
//! epoll (`pump`). Consumers read into one buffer each and check that offsets follow one another (`drain`).
//! What the figures mean is said once, in `report`.

mod account;
mod drain;
mod poll;
mod pump;
mod report;
mod run;
mod setup;
mod template;

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::Global;
use super::failure::{Failure, Result};
use super::units;

/// What `ottla bench` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla bench produce --create --bytes 4GB --broker-pid $(pidof ottla)
  ottla bench produce --create --partitions 16 --consumers 1 --seconds 30 --rate 300MB
  ottla bench consume --topic bench
  ottla bench latency --create --rate 2000 --seconds 30

It speaks plain Kafka, so the same command measures any broker: -b HOST:PORT names it.
GB are 10^9 bytes of record batches as they are on the wire (batch headers included, request headers not).")]
pub struct BenchArgs {
    /// What to measure
    #[command(subcommand)]
    pub command: BenchCommand,
}

/// The subcommands of `ottla bench`.
#[derive(Clone, Debug, Subcommand)]
pub enum BenchCommand {
    /// Write as fast as possible, or at a rate, and tell throughput, latency and what it cost the broker
    Produce(ProduceArgs),
    /// Read what a topic holds as fast as possible
    Consume(ConsumeArgs),
    /// Write small records at a fixed rate and tell how long each takes to be acknowledged and to be consumed
    Latency(LatencyArgs),
}

/// Which topic, and which process to watch.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// The topic
    #[arg(short, long, default_value = "bench")]
    pub topic: String,

    /// Make the topic if it does not exist
    #[arg(long)]
    pub create: bool,

    /// How many partitions a topic that is made gets
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: i32,

    /// How many replicas a topic that is made gets [default: as the broker is set]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    pub replication_factor: Option<i16>,

    /// A setting of a topic that is made; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::topic::key_value)]
    pub topic_config: Vec<(String, String)>,

    /// Delete the topic afterwards
    #[arg(long)]
    pub delete: bool,

    /// The broker's process id on this machine: its CPU time and memory are told
    #[arg(long, value_name = "PID")]
    pub broker_pid: Option<u32>,
}

/// How the bench consumes.
#[derive(Args, Clone, Debug)]
pub struct Fetching {
    /// The fewest bytes that the broker shall answer with, unless 500 ms have passed (fetch.min.bytes)
    #[arg(long, default_value = "1", value_parser = units::bytes, value_name = "SIZE")]
    pub fetch_min_bytes: u64,

    /// The most bytes of one answer (fetch.max.bytes)
    #[arg(long, default_value = "50MiB", value_parser = units::bytes, value_name = "SIZE")]
    pub fetch_max_bytes: u64,

    /// The most bytes of one partition in an answer (max.partition.fetch.bytes)
    #[arg(long, default_value = "1MiB", value_parser = units::bytes, value_name = "SIZE")]
    pub partition_fetch_bytes: u64,

    /// Check the CRC of every batch that is consumed
    #[arg(long)]
    pub check_crc: bool,
}

/// What `ottla bench produce` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla bench produce --create --bytes 4GB --warmup 1GB --broker-pid 1234
  ottla bench produce --create --partitions 300 --record-size 100 --batch-bytes 2KiB --connections 100
  ottla bench produce --rate 100MB --seconds 60 --consumers 2 --output json

Without --rate each connection keeps --in-flight requests open, and a latency is counted from the moment its
request began to be written. With --rate requests have a schedule, and a latency is counted from the moment the
request was due, whether or not it could be sent then.")]
pub struct ProduceArgs {
    /// The topic, and whom to watch
    #[command(flatten)]
    pub target: Target,

    /// The length of each record's value
    #[arg(long, default_value = "1024", value_parser = units::bytes, value_name = "SIZE")]
    pub record_size: u64,

    /// The length of each record's key; 0 for none
    #[arg(long, default_value = "0", value_parser = units::bytes, value_name = "SIZE")]
    pub key_size: u64,

    /// The most bytes of one batch; it holds as many records as fit, at least one
    #[arg(long, default_value = "64KiB", value_parser = units::bytes, value_name = "SIZE")]
    pub batch_bytes: u64,

    /// Batches in a request, each for another partition [default: as many as fit into 1 MiB]
    #[arg(long, value_name = "N")]
    pub partitions_per_request: Option<usize>,

    /// Connections, each of which writes to all partitions of its broker
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub connections: usize,

    /// Threads that drive them
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub threads: usize,

    /// Requests that each connection has open
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub in_flight: usize,

    /// Write this much
    #[arg(long, value_parser = units::bytes, value_name = "SIZE", conflicts_with = "seconds")]
    pub bytes: Option<u64>,

    /// Write for this long [default: 10]
    #[arg(long, value_parser = units::seconds, value_name = "S")]
    pub seconds: Option<Duration>,

    /// Write this much first, without counting it
    #[arg(long, default_value = "0", value_parser = units::bytes, value_name = "SIZE")]
    pub warmup: u64,

    /// Write so many bytes per second instead of as fast as possible
    #[arg(long, value_parser = units::rate, value_name = "SIZE")]
    pub rate: Option<u64>,

    /// Who must have a batch before it is acknowledged
    #[arg(long, value_enum, default_value_t = Acks::All)]
    pub acks: Acks,

    /// Write as an idempotent producer, as Kafka's Java client does: sequences are patched into each batch
    #[arg(long)]
    pub idempotent: bool,

    /// Consumers that read everything as it is written, the partitions shared among them
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub consumers: usize,

    /// How they consume
    #[command(flatten)]
    pub fetching: Fetching,
}

/// What `ottla bench consume` understands.
#[derive(Args, Clone, Debug)]
pub struct ConsumeArgs {
    /// The topic, and whom to watch
    #[command(flatten)]
    pub target: Target,

    /// Consumers, each with a thread and a connection; the partitions are shared among them
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub consumers: usize,

    /// How they consume
    #[command(flatten)]
    pub fetching: Fetching,
}

/// What `ottla bench latency` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Every record is a batch and a request of its own and is due at a fixed time, whatever became of those before it.
Latencies are counted from that time, so that a stall counts for all the records that it held up.")]
pub struct LatencyArgs {
    /// The topic, and whom to watch
    #[command(flatten)]
    pub target: Target,

    /// Records per second
    #[arg(long, default_value_t = 1000.0, value_name = "N")]
    pub rate: f64,

    /// How long to measure
    #[arg(long, default_value = "10", value_parser = units::seconds, value_name = "S")]
    pub seconds: Duration,

    /// How long to write before, without measuring
    #[arg(long, default_value = "2", value_parser = units::seconds, value_name = "S")]
    pub warmup: Duration,

    /// The length of each record's value, at least 8
    #[arg(long, default_value = "100", value_parser = units::bytes, value_name = "SIZE")]
    pub record_size: u64,

    /// Connections that write, in turn
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub connections: usize,

    /// Requests that a connection may have open; past it records wait, and that counts
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub in_flight: usize,

    /// Who must have a record before it is acknowledged
    #[arg(long, value_enum, default_value_t = Acks::All)]
    pub acks: Acks,

    /// Consumers, each with a thread and a connection; the partitions are shared among them
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub consumers: usize,

    /// How they consume
    #[command(flatten)]
    pub fetching: Fetching,
}

/// Who must have a batch before the broker acknowledges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Acks {
    /// All in-sync replicas
    All,
    /// The leader
    #[value(name = "1")]
    Leader,
    /// Nobody: the broker does not answer at all
    #[value(name = "0")]
    None,
}

impl Acks {
    /// The protocol's number.
    pub fn number(self) -> i16 {
        match self {
            Acks::All => -1,
            Acks::Leader => 1,
            Acks::None => 0,
        }
    }
}

/// Runs one of the subcommands.
pub fn run(args: &BenchArgs, global: &Global) -> Result<()> {
    match &args.command {
        BenchCommand::Produce(args) => run::produce(&setup::Load::from_produce(args)?, global),
        BenchCommand::Consume(args) => run::consume(args, global),
        BenchCommand::Latency(args) => run::produce(&setup::Load::from_latency(args)?, global),
    }
}

fn at_least_one(number: usize, name: &str) -> Result<usize> {
    match number {
        0 => Err(Failure::usage(format!("--{name} must be at least 1"))),
        n => Ok(n),
    }
}
