//! The consuming side: a thread and a connection that read some partitions and check what comes.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;

use super::super::client::{CLIENT_ID, Topic};
use super::super::failure::{At, Failure, Result};
use super::pump::new_histogram;
use super::template::STAMP;
use crate::wire::api::{read_response, request_frame};
use crate::wire::batch::{BatchError, batches};
use crate::wire::schema::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};

/// How long the broker may hold back an answer.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// How long an answer may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// The largest answer that is believed.
const ANSWER_MAX: usize = 1 << 30;

/// How fetches are made.
#[derive(Clone, Copy, Debug)]
pub struct FetchForm {
    /// Fetch's version.
    pub version: i16,
    /// `fetch.min.bytes`.
    pub min_bytes: i32,
    /// `fetch.max.bytes`.
    pub max_bytes: i32,
    /// `max.partition.fetch.bytes`.
    pub partition_max_bytes: i32,
    /// Whether each batch's CRC is checked.
    pub check_crc: bool,
    /// The length of the only record's value in each batch, if it starts with a stamp.
    pub stamped: Option<usize>,
}

/// What all consumers share with the one who watches them.
#[derive(Debug, Default)]
pub struct Drained {
    /// Batch bytes that came.
    pub bytes: AtomicU64,
    /// Records of the same batches.
    pub records: AtomicU64,
    /// Answers that held at least one batch.
    pub fetches: AtomicU64,
    /// Whether latencies count.
    pub measuring: AtomicBool,
    /// Whether everybody should end.
    pub stop: AtomicBool,
}

/// One consumer.
#[derive(Debug)]
pub struct Drain<'a> {
    stream: TcpStream,
    form: FetchForm,
    topic: &'a Topic,
    /// Each partition's next offset.
    next: BTreeMap<i32, i64>,
    /// Where each partition is read to; none reads until it is stopped.
    until: Option<BTreeMap<i32, i64>>,
    drained: &'a Drained,
    began: Instant,
    correlation: i32,
    buffer: Vec<u8>,
    latencies: Histogram<u64>,
}

impl<'a> Drain<'a> {
    /// A consumer of these partitions, from these offsets on.
    pub fn new(
        stream: TcpStream,
        form: FetchForm,
        topic: &'a Topic,
        from: BTreeMap<i32, i64>,
        until: Option<BTreeMap<i32, i64>>,
        drained: &'a Drained,
        began: Instant,
    ) -> Result<Drain<'a>> {
        stream.set_read_timeout(Some(PATIENCE)).at("bench connection")?;
        Ok(Drain {
            stream,
            form,
            topic,
            next: from,
            until,
            drained,
            began,
            correlation: 0,
            buffer: vec![0; 64 << 10],
            latencies: new_histogram(),
        })
    }

    /// Reads until everything was read or it is stopped; gives end-to-end latencies in microseconds.
    pub fn run(mut self) -> Result<Histogram<u64>> {
        while !self.drained.stop.load(Relaxed) && !self.caught_up() {
            if let Err(failure) = self.fetch() {
                self.drained.stop.store(true, Relaxed);
                return Err(failure.context("a consumer of the bench"));
            }
        }
        Ok(self.latencies)
    }

    fn caught_up(&self) -> bool {
        self.until.as_ref().is_some_and(|until| {
            self.next.iter().all(|(partition, next)| until.get(partition).is_none_or(|end| next >= end))
        })
    }

    fn fetch(&mut self) -> Result<()> {
        self.ask()?;
        let size = self.receive()?;
        // The buffer goes into the answer's slices and comes back when they are dropped.
        let whole = Bytes::from(std::mem::take(&mut self.buffer));
        let received = Instant::now();
        let (correlation, answer) = read_response::<FetchResponse>(whole.slice(..size), self.form.version)
            .map_err(|e| Failure::new(format!("the answer to Fetch cannot be read: {e}")))?;
        if correlation != self.correlation {
            return Err(Failure::new(format!("answer {correlation} came for request {}", self.correlation)));
        }
        if answer.error_code.is_error() {
            return Err(Failure::new(format!("Fetch: {}", answer.error_code)));
        }
        let mut bytes = 0;
        for p in answer.responses.iter().flat_map(|t| &t.partitions) {
            if p.error_code.is_error() {
                return Err(Failure::new(format!(
                    "Fetch of partition {}: {}",
                    p.partition_index, p.error_code
                )));
            }
            if let Some(records) = &p.records {
                bytes += self.take(p.partition_index, &records.to_bytes(), received)?;
            }
        }
        if bytes > 0 {
            self.drained.bytes.fetch_add(bytes, Relaxed);
            self.drained.fetches.fetch_add(1, Relaxed);
        }
        drop(answer);
        self.buffer = Vec::from(whole);
        Ok(())
    }

    fn ask(&mut self) -> Result<()> {
        self.correlation = self.correlation.wrapping_add(1);
        let partitions = self.next.iter().map(|(partition, offset)| FetchPartition {
            partition: *partition,
            fetch_offset: *offset,
            partition_max_bytes: self.form.partition_max_bytes,
            ..Default::default()
        });
        let request = FetchRequest {
            max_wait_ms: MAX_WAIT.as_millis() as i32,
            min_bytes: self.form.min_bytes,
            max_bytes: self.form.max_bytes,
            topics: vec![FetchTopic {
                topic: self.topic.name.clone(),
                topic_id: self.topic.id,
                partitions: partitions.collect(),
            }],
            ..Default::default()
        };
        let frame = request_frame(&request, self.form.version, self.correlation, Some(CLIENT_ID))
            .map_err(|e| Failure::new(format!("Fetch: {e}")))?;
        for slice in frame {
            self.stream.write_all(&slice).at("asking the broker")?;
        }
        Ok(())
    }

    /// Reads one frame into the buffer, which grows to the largest there was.
    fn receive(&mut self) -> Result<usize> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).at("waiting for the broker")?;
        let size = u32::from_be_bytes(size) as usize;
        if size > ANSWER_MAX {
            return Err(Failure::new(format!("an answer of {size} bytes")));
        }
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        self.stream.read_exact(&mut self.buffer[..size]).at("reading from the broker")?;
        Ok(size)
    }

    /// Goes over the batches of one partition. Offsets must follow one another without a gap.
    fn take(&mut self, partition: i32, records: &[u8], received: Instant) -> Result<u64> {
        let next = self.next.get_mut(&partition).ok_or_else(|| {
            Failure::new(format!("the broker sent partition {partition}, which was not asked for"))
        })?;
        let mut taken = 0;
        for batch in batches(records) {
            let batch = match batch {
                Ok(batch) => batch,
                // The last batch may be cut off by the limits of the fetch.
                Err(BatchError::Cut { .. }) => break,
                Err(e) => return Err(Failure::new(format!("partition {partition} at {next}: {e}"))),
            };
            let (base, last) = (batch.base_offset(), batch.last_offset());
            if last < *next {
                // A fetch from within a batch gives the whole batch.
                continue;
            }
            if base > *next {
                return Err(Failure::new(format!(
                    "partition {partition}: offset {next} is missing, {base} came"
                )));
            }
            if self.form.check_crc {
                batch.check().map_err(|e| Failure::new(format!("partition {partition} at {base}: {e}")))?;
            }
            if let Some(value) = self.form.stamped
                && self.drained.measuring.load(Relaxed)
            {
                let bytes = batch.bytes();
                let at = bytes.len() - 1 - value;
                let due = u64::from_be_bytes(bytes[at..at + STAMP].try_into().expect("eight bytes"));
                let now = received.saturating_duration_since(self.began).as_nanos() as u64;
                self.latencies.saturating_record(now.saturating_sub(due) / 1000);
            }
            *next = last + 1;
            taken += batch.bytes().len() as u64;
            self.drained.records.fetch_add(batch.count() as u64, Relaxed);
        }
        Ok(taken)
    }
}
