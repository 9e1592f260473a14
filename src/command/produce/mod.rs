//! `ottla produce`: records from standard input or files into a topic, in kcat's manner.

mod deliver;
mod input;

use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use clap::Args;

use super::Global;
use super::client::Client;
use super::failure::{Failure, Result};
use super::format::unescape;
use super::output::{Progress, Unit};
use crate::wire::batch::Compression;
use crate::wire::partitioner::{crc32_partition, murmur2_partition};
use deliver::Delivery;
use input::{Header, Input, Source};

/// Records that may wait between the reader of the input and the sender.
const QUEUE: usize = 4096;

/// What `ottla produce` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  echo hello | ottla produce -t orders
  printf 'k1:v1\\nk2:v2\\n' | ottla produce -t orders -K:        keys before the first colon
  printf 'k1:\\n' | ottla produce -t orders -K: -Z              a tombstone: key k1, no value
  ottla produce -t orders -H source=web -z zstd -l events.txt   each line of the file is a record
  ottla produce -t images photo.jpg                            the whole file is one record

Without files it reads standard input, one record per line; empty lines are left out, as kcat does.
Records without a key go to one partition after another, a batch to each; records with a key go where
Kafka's Java client puts them (murmur2). Exit code 1 says that a record was not delivered; which, and why,
is told on stderr.")]
pub struct ProduceArgs {
    /// The topic
    #[arg(short, long)]
    pub topic: String,

    /// Files to read: each is one record, or with -l each of its lines
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// The partition, instead of the partitioner's choice
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,

    /// What stands between key and value on a line; lines without it have no key
    #[arg(short = 'K', long, value_name = "TEXT")]
    pub key_delimiter: Option<String>,

    /// The key of every record
    #[arg(short, long, conflicts_with = "key_delimiter")]
    pub key: Option<String>,

    /// What ends a record in the input
    #[arg(short = 'D', long, value_name = "TEXT", default_value = "\\n")]
    pub delimiter: String,

    /// A header of every record; without = its value is null. May be given several times
    #[arg(short = 'H', long, value_name = "NAME=VALUE")]
    pub header: Vec<String>,

    /// Read the files line by line
    #[arg(short = 'l', long)]
    pub lines: bool,

    /// Send empty keys and values as null: an empty value becomes a tombstone
    #[arg(short = 'Z', long)]
    pub null: bool,

    /// End after so many records
    #[arg(short, long, value_name = "N")]
    pub count: Option<u64>,

    /// How batches are compressed
    #[arg(short = 'z', long, default_value = "none", value_name = "none|gzip|snappy|lz4|zstd")]
    pub codec: Compression,

    /// How keys are spread over partitions
    #[arg(long, value_enum, default_value_t = Partitioner::Murmur2, value_name = "NAME")]
    pub partitioner: Partitioner,

    /// The timestamp of every record, in milliseconds since 1970, instead of the time it was read
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    pub timestamp: Option<i64>,

    /// Who must have a record before it is acknowledged
    #[arg(long, value_enum, default_value_t = super::bench::Acks::All)]
    pub acks: super::bench::Acks,

    /// Do not ask for a producer id: a retry may then write a record twice
    #[arg(long)]
    pub no_idempotence: bool,

    /// How long a record may wait for others to share its batch
    #[arg(long, default_value_t = 5, value_name = "MS")]
    pub linger_ms: u64,

    /// The bytes at which a batch is sent without waiting
    #[arg(long, default_value = "1000000", value_parser = crate::command::units::bytes, value_name = "SIZE")]
    pub batch_bytes: u64,

    /// Fail if the topic does not exist, even where the broker would make it
    #[arg(long)]
    pub no_create: bool,
}

/// How keys are spread over partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Partitioner {
    /// As Kafka's Java client does
    Murmur2,
    /// As librdkafka and kcat do by default
    Crc32,
}

impl Partitioner {
    /// The partition of a key; none where the key does not decide.
    fn partition(self, key: Option<&[u8]>, partitions: usize) -> Option<usize> {
        let partitions = partitions as u32;
        let chosen = match self {
            Partitioner::Murmur2 => Some(murmur2_partition(key?, partitions)),
            Partitioner::Crc32 => crc32_partition(key?, partitions),
        };
        chosen.map(|p| p as usize)
    }
}

/// Sends everything, and fails if anything was not delivered.
pub fn run(args: &ProduceArgs, global: &Global) -> Result<()> {
    let source = source(args)?;
    let client = Client::connect(global)?;
    let mut delivery = Delivery::new(client, args, global.style())?;
    let mut progress = Progress::new(global.style(), Unit::Records, None);
    // Typed input needs no progress, and the line would be in the way.
    let show_progress = !source.is_typed();

    let (records, queue) = sync_channel::<Result<Input>>(QUEUE);
    let limit = args.count.unwrap_or(u64::MAX);
    let reader = std::thread::spawn(move || source.read_all(limit, &records));
    let linger = Duration::from_millis(args.linger_ms);
    let mut flush_at: Option<Instant> = None;
    let mut taken = 0;
    loop {
        let patience = flush_at.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
        match queue.recv_timeout(patience) {
            Ok(record) => {
                delivery.add(record?)?;
                taken += 1;
                if show_progress {
                    progress.at(taken);
                }
                flush_at = flush_at.or_else(|| Some(Instant::now() + linger));
                if !delivery.is_full() && flush_at.is_some_and(|at| Instant::now() < at) {
                    continue;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        flush_at = None;
        delivery.flush()?;
    }
    delivery.flush()?;
    progress.finish();
    if reader.join().is_err() {
        return Err(Failure::new("the thread that reads the input failed"));
    }
    delivery.verdict()
}

fn source(args: &ProduceArgs) -> Result<Source> {
    let delimiter = unescape(&args.delimiter)?;
    if delimiter.is_empty() {
        return Err(Failure::usage("--delimiter must not be empty"));
    }
    let key_delimiter = args.key_delimiter.as_deref().map(unescape).transpose()?;
    if key_delimiter.as_ref().is_some_and(Vec::is_empty) {
        return Err(Failure::usage("--key-delimiter must not be empty"));
    }
    if args.lines && args.files.is_empty() {
        return Err(Failure::usage("-l reads files line by line, but no file is given"));
    }
    let header = |text: &String| match text.split_once('=') {
        Some((name, value)) => Header { name: name.to_string(), value: Some(value.to_string().into()) },
        None => Header { name: text.clone(), value: None },
    };
    Ok(Source {
        files: args.files.clone(),
        by_line: args.lines || args.files.is_empty(),
        delimiter,
        key_delimiter,
        key: args.key.clone().map(Into::into),
        headers: args.header.iter().map(header).collect(),
        nulls: args.null,
        timestamp: args.timestamp,
    })
}

#[cfg(test)]
mod tests;
