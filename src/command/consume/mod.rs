//! `ottla consume`: a topic's records on standard output, in kcat's manner.

mod fetcher;
mod start;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use clap::Args;

use super::Global;
use super::client::{Client, Topic};
use super::failure::{Failure, Result};
use super::format::{Delimiters, Shown, Template, unescape, write_json};
use super::output::{Format, Style, reader_is_gone, stdout};
use crate::wire::batch::{Batch, BatchError, batches};
use crate::wire::error::ErrorCode;
use fetcher::{Fetched, Fetchers};
use start::Bounds;
pub use start::Offset;

/// What `ottla consume` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla consume -t orders                       everything from the beginning, then whatever comes
  ottla consume -t orders -o end                only what comes from now on
  ottla consume -t orders -o -10 -e             the last ten records of each partition
  ottla consume -t orders -o @1700000000000 -e  what was written since that time (milliseconds since 1970)
  ottla consume -t orders -p 3 -o 4200 -c 1     one record by its offset
  ottla consume -t orders -f '%t-%p@%o %T %k: %s\\n'
  ottla consume -t orders -J -e | jq .payload

Formats: %t topic, %p partition, %o offset, %k key, %K its length, %s value, %S its length, %R its length as four
bytes, %T timestamp, %h headers, %% percent; \\n \\r \\t \\xHH. Lengths of null are -1. JSON has kcat's fields;
bytes that are no UTF-8 stand in key_base64 and payload_base64.")]
pub struct ConsumeArgs {
    /// The topic
    #[arg(short, long)]
    pub topic: String,

    /// Where to start, in each partition: beginning, end, an offset, -N (the last N), @MS (a time). A second one,
    /// e@MS, says at which time to end
    #[arg(short, long, value_name = "OFFSET", allow_hyphen_values = true, default_value = "beginning")]
    pub offset: Vec<Offset>,

    /// Only this partition; may be given several times
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Vec<i32>,

    /// End after so many records
    #[arg(short, long, value_name = "N")]
    pub count: Option<u64>,

    /// End once everything was read that is there now
    #[arg(short, long)]
    pub exit: bool,

    /// How each record is written
    #[arg(short, long, value_name = "FORMAT", conflicts_with_all = ["json", "key_delimiter"])]
    pub format: Option<String>,

    /// Write each record as JSON, as --output json does
    #[arg(short = 'J', long)]
    pub json: bool,

    /// Write the key too, and this between key and value
    #[arg(short = 'K', long, value_name = "TEXT")]
    pub key_delimiter: Option<String>,

    /// What is written after each record
    #[arg(short = 'D', long, value_name = "TEXT", default_value = "\\n")]
    pub delimiter: String,

    /// Write NULL for keys and values that are null
    #[arg(short = 'Z', long)]
    pub null: bool,

    /// Write each record out at once
    #[arg(short, long)]
    pub unbuffered: bool,
}

/// How long a partition may go without its leader, or with an error that may pass.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most bytes that the records of one batch may take when decompressed.
const OPENED_MAX: usize = 1 << 30;
/// How often a consumer that waits looks whether anybody still reads along.
const GLANCE: Duration = Duration::from_millis(500);
/// The pause before partitions are looked for again.
const PAUSE: Duration = Duration::from_millis(200);

/// Writes the records.
pub fn run(args: &ConsumeArgs, global: &Global) -> Result<()> {
    run_into(args, global, &mut stdout())
}

fn run_into(args: &ConsumeArgs, global: &Global, out: &mut impl Write) -> Result<()> {
    let mut style = global.style();
    if args.json {
        style.format = Format::Json;
    }
    let printer = Printer::new(args, style)?;
    let (starts, end_time) = start::split(&args.offset)?;
    let mut client = Client::connect(global)?;
    let topic = client.topic(&args.topic, false)?;
    let partitions = chosen(&topic, &args.partition)?;
    let bounds = start::bounds(&mut client, &topic, &partitions, starts, end_time, args.exit)?;
    Reading { client, topic, bounds, style, left: args.count, unbuffered: args.unbuffered, printer }.run(out)
}

fn chosen(topic: &Topic, wanted: &[i32]) -> Result<Vec<i32>> {
    let all: Vec<i32> = topic.partitions.iter().map(|p| p.index).collect();
    match wanted.iter().find(|p| !all.contains(p)) {
        Some(missing) => Err(Failure::usage(format!(
            "topic {} has no partition {missing}, its last is {}",
            topic.name,
            all.len() as i64 - 1
        ))),
        None if wanted.is_empty() => Ok(all),
        None => {
            let mut wanted = wanted.to_vec();
            wanted.sort_unstable();
            wanted.dedup();
            Ok(wanted)
        }
    }
}

/// How a record reaches standard output.
struct Printer {
    template: Template,
    json: bool,
}

impl Printer {
    fn new(args: &ConsumeArgs, style: Style) -> Result<Printer> {
        let template = match &args.format {
            Some(format) => Template::parse(format)?,
            None => Template::from_delimiters(Delimiters {
                record: unescape(&args.delimiter)?,
                key: args.key_delimiter.as_deref().map(unescape).transpose()?,
            }),
        };
        let json = style.json() && args.format.is_none();
        Ok(Printer { template: template.with_nulls_shown(args.null), json })
    }

    fn print(&self, out: &mut impl Write, record: &Shown<'_>) -> std::io::Result<()> {
        if self.json { write_json(out, record) } else { self.template.write(out, record) }
    }
}

/// A consumer at work.
struct Reading {
    client: Client,
    topic: Topic,
    bounds: BTreeMap<i32, Bounds>,
    style: Style,
    left: Option<u64>,
    unbuffered: bool,
    printer: Printer,
}

impl Reading {
    fn run(mut self, out: &mut impl Write) -> Result<()> {
        let mut trouble: Option<Instant> = None;
        self.bounds.retain(|_, b| !b.is_done());
        if self.left == Some(0) {
            return Ok(());
        }
        while !self.bounds.is_empty() {
            // Each set of fetchers lives until one of them fails; then leaders are looked up again.
            let fetchers = Fetchers::start(&self.client, &self.topic, &self.bounds)?;
            let progress = self.follow(fetchers.queue(), out)?;
            let failure = match progress {
                Progress::Done => break,
                Progress::Broken { failure, moved } => {
                    trouble = if moved { None } else { trouble };
                    failure
                }
            };
            drop(fetchers);
            out.flush()?;
            if trouble.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                return Err(failure);
            }
            std::thread::sleep(PAUSE);
            self.topic = self.client.topic(&self.topic.name, false)?;
        }
        out.flush()?;
        Ok(())
    }

    /// Prints what fetchers bring until all is read or one of them fails.
    fn follow(&mut self, queue: &Receiver<Fetched>, out: &mut impl Write) -> Result<Progress> {
        let mut moved = false;
        loop {
            let fetched = match queue.try_recv() {
                Ok(fetched) => fetched,
                Err(TryRecvError::Disconnected) => {
                    return Err(Failure::new("all readers ended without a word"));
                }
                Err(TryRecvError::Empty) => {
                    // Nothing more at once: whoever reads along shall see what there is.
                    out.flush()?;
                    match queue.recv_timeout(GLANCE) {
                        Ok(fetched) => fetched,
                        Err(_) if reader_is_gone() => return Ok(Progress::Done),
                        Err(_) => continue,
                    }
                }
            };
            match fetched {
                Fetched::Failed(fault) if fault.is_retriable() => {
                    return Ok(Progress::Broken { failure: fault.into(), moved });
                }
                Fetched::Failed(fault) => return Err(fault.into()),
                Fetched::Records { partition, code, records, log_start } => match code {
                    ErrorCode::NONE => {
                        moved = true;
                        if self.print(partition, &records, out)? {
                            return Ok(Progress::Done);
                        }
                    }
                    ErrorCode::OFFSET_OUT_OF_RANGE => {
                        self.out_of_range(partition, log_start)?;
                        let text = format!("{}-{partition}: {code}", self.topic.name);
                        return Ok(Progress::Broken { failure: Failure::new(text), moved });
                    }
                    code => {
                        let failure =
                            Failure::new(format!("reading {}-{partition}: {code}", self.topic.name));
                        return match code.is_retriable() || code == ErrorCode::UNKNOWN_TOPIC_ID {
                            true => Ok(Progress::Broken { failure, moved }),
                            false => Err(failure),
                        };
                    }
                },
            }
        }
    }

    /// Records that retention took before they were read are left out, with a word; an offset that was never
    /// written is a mistake.
    fn out_of_range(&mut self, partition: i32, log_start: i64) -> Result<()> {
        let name = format!("{}-{partition}", self.topic.name);
        let asked = self.bounds.get(&partition).map_or(0, |b| b.next);
        if asked < log_start {
            self.style.note(format!("{name}: offset {asked} is gone, going on at {log_start}"));
            if let Some(bounds) = self.bounds.get_mut(&partition) {
                bounds.next = log_start;
            }
            return Ok(());
        }
        Err(Failure::new(format!("{name}: offset {asked} lies behind the end of the partition")).advice(
            format!("'ottla topic describe {}' shows where each partition begins and ends.", self.topic.name),
        ))
    }

    /// Prints records; says whether everything was read.
    fn print(&mut self, partition: i32, records: &[u8], out: &mut impl Write) -> Result<bool> {
        for batch in batches(records) {
            let Some(bounds) = self.bounds.get(&partition) else { return Ok(self.bounds.is_empty()) };
            let at = batch.as_ref().map_or(bounds.next, Batch::base_offset);
            let batch = match batch {
                // An answer may end in the middle of a batch; the next one brings it whole.
                Err(BatchError::Cut { .. }) => break,
                batch => batch.and_then(|batch| batch.check().map(|()| batch)),
            };
            let printed = batch.map(|batch| self.print_batch(partition, &batch, out));
            match printed {
                Ok(Err(failure)) => return Err(failure),
                Ok(Ok(true)) => return Ok(true),
                Ok(Ok(false)) => {}
                Err(e) => return Err(self.bad_batch(partition, at, &e)),
            }
        }
        let Some(bounds) = self.bounds.get(&partition).filter(|b| b.is_done()) else { return Ok(false) };
        let end = bounds.end.unwrap_or(bounds.next);
        self.bounds.remove(&partition);
        self.style.note(format!("reached the end of {}-{partition} at offset {end}", self.topic.name));
        Ok(self.bounds.is_empty())
    }

    /// Prints the records of one batch; says whether as many were printed as were asked for.
    fn print_batch(&mut self, partition: i32, batch: &Batch<'_>, out: &mut impl Write) -> Result<bool> {
        let at = batch.base_offset();
        let bounds = self.bounds.get_mut(&partition).expect("only partitions that are read are printed");
        let behind = batch.last_offset() + 1;
        // A control batch marks the end of a transaction; it holds nothing for consumers.
        if batch.is_control() || behind <= bounds.next {
            bounds.next = bounds.next.max(behind);
            return Ok(false);
        }
        let (mut next, end) = (bounds.next, bounds.end.unwrap_or(i64::MAX));
        let set = batch.open(OPENED_MAX).map_err(|e| self.bad_batch(partition, at, &e))?;
        for record in set.iter() {
            let record = record.map_err(|e| self.bad_batch(partition, at, &e))?;
            if record.offset < next {
                continue;
            }
            if record.offset >= end {
                break;
            }
            let headers = record.headers.map(|h| h.map(|h| (h.key, h.value)));
            let headers = headers.collect::<Result<_, _>>().map_err(|e| self.bad_batch(partition, at, &e))?;
            let shown = Shown {
                topic: &self.topic.name,
                partition,
                offset: record.offset,
                timestamp: record.timestamp,
                append_time: batch.is_log_append_time(),
                key: record.key,
                value: record.value,
                headers,
            };
            self.printer.print(out, &shown)?;
            if self.unbuffered {
                out.flush()?;
            }
            next = record.offset + 1;
            if let Some(left) = &mut self.left {
                *left -= 1;
                if *left == 0 {
                    return Ok(true);
                }
            }
        }
        // The batch may end in offsets that were compacted away.
        if let Some(bounds) = self.bounds.get_mut(&partition) {
            bounds.next = behind;
        }
        Ok(false)
    }

    fn bad_batch(&self, partition: i32, offset: i64, error: &BatchError) -> Failure {
        Failure::new(format!("{}-{partition}, in the batch at offset {offset}: {error}", self.topic.name))
            .advice("'ottla dump' on the broker's segment shows where the next batch begins; -o goes on from there.")
    }
}

/// What became of a set of fetchers.
enum Progress {
    /// Everything was read.
    Done,
    /// One failed.
    Broken {
        /// Why.
        failure: Failure,
        /// Whether anything had come before.
        moved: bool,
    },
}

#[cfg(test)]
mod tests;
