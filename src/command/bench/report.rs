//! The figures of a run, and what each of them means.
//!
//! - *GB, MB*: 10^9 and 10^6 bytes of record batches as they are on the wire: batch headers and records, compressed
//!   if they are; no request headers.
//! - *throughput*: the batch bytes acknowledged in the window over its length. The window begins when the warm-up
//!   has been acknowledged (else with the first request) and ends with the last acknowledgement; with acks 0 when
//!   the log's end shows that all has arrived.
//! - *CPU per GB*: user and system time of the whole process, all of its threads and those of io_uring on its behalf
//!   included, per GB acknowledged. Where there are consumers, that time is taken until they have everything.
//! - *latency*: see `ottla bench produce --help`.

use std::io::{self, Write};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::super::Global;
use super::super::client::Topic;
use super::super::failure::{Failure, Result};
use super::super::output::{human_bytes, json_line, stdout};
use super::account::{Memory, Usage};
use super::pump::Plan;
use super::setup::{Load, Pace};

/// What went through in the time that counts.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Window {
    /// Its length.
    pub seconds: f64,
    /// Batch bytes.
    pub bytes: u64,
    /// Records.
    pub records: u64,
    /// Requests; for consumers, answers that held records.
    pub requests: u64,
    /// Batch bytes per second, in millions.
    pub mb_per_second: f64,
    /// Records per second.
    pub records_per_second: f64,
}

impl Window {
    /// The window of so much in so long.
    pub fn new(length: Duration, bytes: u64, records: u64, requests: u64) -> Window {
        let seconds = length.as_secs_f64().max(1e-9);
        Window {
            seconds,
            bytes,
            records,
            requests,
            mb_per_second: bytes as f64 / 1e6 / seconds,
            records_per_second: records as f64 / seconds,
        }
    }
}

/// What a process paid for it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Cost {
    /// CPU seconds in user space.
    pub user_seconds: f64,
    /// CPU seconds in the kernel.
    pub system_seconds: f64,
    /// Both, per GB.
    pub cpu_seconds_per_gb: f64,
    /// Both, per record, in microseconds.
    pub cpu_us_per_record: f64,
    /// Bytes that the process sent to storage (with a page cache: that it dirtied).
    pub written_bytes: Option<u64>,
    /// Resident memory at the end.
    pub resident_bytes: u64,
    /// The most that ever was resident.
    pub peak_resident_bytes: u64,
}

impl Cost {
    /// The cost of some usage for so many bytes and records.
    pub fn new(usage: &Usage, bytes: u64, records: u64, memory: Memory) -> Cost {
        Cost {
            user_seconds: usage.user.as_secs_f64(),
            system_seconds: usage.system.as_secs_f64(),
            cpu_seconds_per_gb: usage.cpu_seconds() * 1e9 / bytes.max(1) as f64,
            cpu_us_per_record: usage.cpu_seconds() * 1e6 / records.max(1) as f64,
            written_bytes: usage.written,
            resident_bytes: memory.resident,
            peak_resident_bytes: memory.peak,
        }
    }
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latencies {
    /// How many were taken.
    pub count: u64,
    /// Their mean.
    pub mean_ms: f64,
    /// Half were at most this.
    pub p50_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// 999 of 1000.
    pub p999_ms: f64,
    /// All.
    pub max_ms: f64,
}

impl Latencies {
    /// The figures of a histogram in microseconds.
    pub fn new(histogram: &Histogram<u64>) -> Latencies {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Latencies {
            count: histogram.len(),
            mean_ms: histogram.mean() / 1000.0,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: histogram.max() as f64 / 1000.0,
        }
    }

    fn line(&self) -> String {
        format!(
            "p50 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2}  mean {:.2} ms  ({} taken)",
            self.p50_ms, self.p99_ms, self.p999_ms, self.max_ms, self.mean_ms, self.count
        )
    }
}

/// A run of producers.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The topic.
    pub topic: String,
    /// Its partitions.
    pub partitions: usize,
    /// The length of a value.
    pub record_bytes: usize,
    /// The length of a batch on the wire, of the first partition.
    pub batch_bytes: usize,
    /// Records in a batch.
    pub batch_records: u32,
    /// Batches in a request, each for another partition.
    pub batches_per_request: usize,
    /// Producing connections.
    pub connections: usize,
    /// Requests open per connection.
    pub in_flight: usize,
    /// -1 all, 1 leader, 0 none.
    pub acks: i16,
    /// Whether sequences were sent.
    pub idempotent: bool,
    /// Consumers.
    pub consumers: usize,
    /// Batch bytes per second that were asked for, in millions.
    pub target_mb_per_second: Option<f64>,
    /// Records per second that were asked for.
    pub target_records_per_second: Option<f64>,
    /// What was acknowledged.
    pub produced: Window,
    /// Batch bytes acknowledged in each whole second of the window.
    pub per_second: Vec<u64>,
    /// From due or begun to acknowledged.
    pub acknowledged: Option<Latencies>,
    /// From due to received by a consumer.
    pub end_to_end: Option<Latencies>,
    /// Batch bytes that consumers got, warm-up included.
    pub consumed_bytes: u64,
    /// Answers with records that consumers got, warm-up included.
    pub consumed_fetches: u64,
    /// The time over which the costs were taken.
    pub cost_window_seconds: f64,
    /// What the broker paid.
    pub broker: Option<Cost>,
    /// What the bench paid.
    pub bench: Cost,
    /// Records acknowledged, warm-up included.
    pub records_acknowledged: u64,
    /// How far the partitions' ends moved, all together.
    pub offsets_grew_by: u64,
}

impl Report {
    /// A report whose measured parts beside the window are still to be set.
    pub fn new(load: &Load, plan: &Plan, topic: &Topic, produced: Window) -> Report {
        let first = &plan.slots[0].1;
        let (target_mb_per_second, target_records_per_second) = match load.pace {
            Pace::Full => (None, None),
            Pace::Bytes(rate) => (Some(rate as f64 / 1e6), None),
            Pace::Records(rate) => (None, Some(rate)),
        };
        Report {
            topic: topic.name.clone(),
            partitions: topic.partitions.len(),
            record_bytes: load.record_size,
            batch_bytes: first.len(),
            batch_records: first.count,
            batches_per_request: plan.per_request,
            connections: load.connections,
            in_flight: load.in_flight,
            acks: load.acks.number(),
            idempotent: load.idempotent,
            consumers: load.consumers,
            target_mb_per_second,
            target_records_per_second,
            produced,
            per_second: Vec::new(),
            acknowledged: None,
            end_to_end: None,
            consumed_bytes: 0,
            consumed_fetches: 0,
            cost_window_seconds: 0.0,
            broker: None,
            bench: Cost::default(),
            records_acknowledged: 0,
            offsets_grew_by: 0,
        }
    }

    /// Fails where the log did not grow by what was acknowledged.
    pub fn verdict(&self) -> Result<()> {
        if self.offsets_grew_by == self.records_acknowledged {
            return Ok(());
        }
        Err(Failure::new(format!(
            "{} records were acknowledged, but the topic's offsets grew by {}",
            self.records_acknowledged, self.offsets_grew_by
        ))
        .advice("If nobody else writes to this topic, the broker lost or doubled records."))
    }
}

/// Shows a run of producers.
pub fn show(report: &Report, global: &Global) -> Result<()> {
    let mut out = stdout();
    if global.style().json() {
        json_line(&mut out, report)?;
    } else {
        write_report(&mut out, report)?;
    }
    Ok(out.flush()?)
}

fn write_report(out: &mut impl Write, r: &Report) -> io::Result<()> {
    let acks = match r.acks {
        -1 => "all".to_string(),
        n => n.to_string(),
    };
    writeln!(
        out,
        "topic {}  {} partitions  records of {} B  batches of {} B ({} records), {} to a request",
        r.topic, r.partitions, r.record_bytes, r.batch_bytes, r.batch_records, r.batches_per_request
    )?;
    writeln!(
        out,
        "{} connections, {} requests in flight on each  acks {acks}{}  {} consumers",
        r.connections,
        r.in_flight,
        if r.idempotent { "  idempotent" } else { "" },
        r.consumers
    )?;
    let target = match (r.target_mb_per_second, r.target_records_per_second) {
        (Some(rate), _) => format!("  (asked for: {rate:.1} MB/s)"),
        (_, Some(rate)) => format!("  (asked for: {rate:.0} records/s)"),
        _ => String::new(),
    };
    write_window(out, "produced", &r.produced, &target)?;
    if let Some(latencies) = &r.acknowledged {
        writeln!(out, "acknowledged in  {}", latencies.line())?;
    }
    if let Some(latencies) = &r.end_to_end {
        writeln!(out, "end to end in    {}", latencies.line())?;
    }
    if r.consumers > 0 {
        writeln!(
            out,
            "consumed   {} in {} answers, offsets without a gap",
            human_bytes(r.consumed_bytes),
            r.consumed_fetches
        )?;
    }
    write_costs(out, r.broker.as_ref(), &r.bench)
}

fn write_window(out: &mut impl Write, what: &str, w: &Window, target: &str) -> io::Result<()> {
    writeln!(
        out,
        "{what:<9}  {:.3} GB in {:.2} s: {:.1} MB/s, {:.0} records/s, {} requests{target}",
        w.bytes as f64 / 1e9,
        w.seconds,
        w.mb_per_second,
        w.records_per_second,
        w.requests
    )
}

fn write_costs(out: &mut impl Write, broker: Option<&Cost>, bench: &Cost) -> io::Result<()> {
    for (who, cost) in [("broker", broker), ("bench", Some(bench))] {
        let Some(cost) = cost else { continue };
        write!(
            out,
            "{who:<9}  {:.3} CPU-s/GB, {:.2} CPU-us/record  (user {:.2} s, system {:.2} s)  RSS {}, peak {}",
            cost.cpu_seconds_per_gb,
            cost.cpu_us_per_record,
            cost.user_seconds,
            cost.system_seconds,
            human_bytes(cost.resident_bytes),
            human_bytes(cost.peak_resident_bytes)
        )?;
        match cost.written_bytes {
            Some(bytes) if who == "broker" => writeln!(out, "  wrote {}", human_bytes(bytes))?,
            _ => writeln!(out)?,
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct Consumed<'a> {
    topic: &'a str,
    partitions: usize,
    consumers: usize,
    crc_checked: bool,
    consumed: &'a Window,
    broker: Option<&'a Cost>,
    bench: &'a Cost,
}

/// Shows a run of consumers.
pub fn show_consumed(
    topic: &Topic,
    consumers: usize,
    window: &Window,
    bench: &Cost,
    broker: Option<&Cost>,
    crc_checked: bool,
    global: &Global,
) -> Result<()> {
    let mut out = stdout();
    let partitions = topic.partitions.len();
    if global.style().json() {
        let consumed = Consumed {
            topic: &topic.name,
            partitions,
            consumers,
            crc_checked,
            consumed: window,
            broker,
            bench,
        };
        json_line(&mut out, &consumed)?;
    } else {
        let crc = if crc_checked { ", CRCs right" } else { "" };
        writeln!(
            out,
            "topic {}  {partitions} partitions  {consumers} consumers, offsets without a gap{crc}",
            topic.name
        )?;
        write_window(&mut out, "consumed", window, "")?;
        write_costs(&mut out, broker, bench)?;
    }
    Ok(out.flush()?)
}
