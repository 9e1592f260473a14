//! The threads that fetch: one for each broker that leads a partition, so that a quiet one holds up no other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;

use super::super::client::{Client, Connection, Fault, Topic};
use super::start::Bounds;
use crate::wire::api::ApiKey;
use crate::wire::batch::batches;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{FetchPartition, FetchRequest, FetchTopic};
use crate::wire::uuid::Uuid;

/// How long a broker may hold back an answer while it has nothing to send.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// The most bytes of one answer, and of one partition in it.
const MAX_BYTES: i32 = 8 << 20;
const PARTITION_MAX_BYTES: i32 = 1 << 20;
/// Answers that may wait for the printer; with it a reader of standard output slows the fetching down.
const QUEUE: usize = 64;

/// What a fetcher brings.
#[derive(Debug)]
pub enum Fetched {
    /// Something of one partition.
    Records {
        /// Which.
        partition: i32,
        /// The broker's word about it.
        code: ErrorCode,
        /// Whole batches.
        records: Bytes,
        /// The first offset that the partition still has.
        log_start: i64,
    },
    /// The fetcher ended.
    Failed(Fault),
}

/// Running fetchers. They end soon after this is dropped.
#[derive(Debug)]
pub struct Fetchers {
    queue: Receiver<Fetched>,
    stop: Arc<AtomicBool>,
}

impl Fetchers {
    /// Starts a fetcher for each broker that leads one of the partitions.
    pub fn start(client: &Client, topic: &Topic, bounds: &BTreeMap<i32, Bounds>) -> Result<Fetchers, Fault> {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, queue) = sync_channel(QUEUE);
        let partitions: Vec<i32> = bounds.keys().copied().collect();
        for (leader, partitions) in topic.by_leader(&partitions)? {
            let next = partitions.iter().map(|p| (*p, bounds[p].next)).collect();
            let connection = client.extra_connection(leader);
            let (name, id) = (topic.name.clone(), topic.id);
            let (sender, stop) = (sender.clone(), stop.clone());
            std::thread::spawn(move || {
                let result = connection
                    .and_then(|connection| Fetcher { connection, name, id, next }.run(&sender, &stop));
                if let Err(fault) = result {
                    // Nobody listens once the consumer is done.
                    let _ = sender.send(Fetched::Failed(fault));
                }
            });
        }
        Ok(Fetchers { queue, stop })
    }

    /// Where they put what they bring.
    pub fn queue(&self) -> &Receiver<Fetched> {
        &self.queue
    }
}

impl Drop for Fetchers {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

/// One broker's partitions.
struct Fetcher {
    connection: Connection,
    name: String,
    id: Uuid,
    next: BTreeMap<i32, i64>,
}

impl Fetcher {
    fn run(mut self, sender: &SyncSender<Fetched>, stop: &AtomicBool) -> Result<(), Fault> {
        // Without a topic id only the versions that go by names can be used.
        let limit = if self.id.is_zero() { 12 } else { i16::MAX };
        let version = self.connection.version_up_to(ApiKey::Fetch, limit)?;
        while !stop.load(Relaxed) {
            let sent = self.connection.send(&self.request(), version)?;
            let answer = self.connection.receive(sent, MAX_WAIT)?;
            if answer.error_code.is_error() {
                let doing = format!("reading topic {}", self.name);
                return Err(Fault::refused(doing, answer.error_code, None));
            }
            for p in answer.responses.into_iter().flat_map(|t| t.partitions) {
                let records = p.records.map(|r| r.to_bytes()).unwrap_or_default();
                if p.error_code.is_none() {
                    let last = batches(&records).map_while(Result::ok).last();
                    let Some(next) = last.map(|batch| batch.last_offset() + 1) else { continue };
                    let known = self.next.entry(p.partition_index).or_insert(next);
                    *known = next.max(*known);
                }
                let fetched = Fetched::Records {
                    partition: p.partition_index,
                    code: p.error_code,
                    records,
                    log_start: p.log_start_offset,
                };
                if sender.send(fetched).is_err() {
                    return Ok(());
                }
                if p.error_code.is_error() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn request(&self) -> FetchRequest {
        let partition = |(partition, offset): (&i32, &i64)| FetchPartition {
            partition: *partition,
            fetch_offset: *offset,
            partition_max_bytes: PARTITION_MAX_BYTES,
            ..Default::default()
        };
        FetchRequest {
            max_wait_ms: MAX_WAIT.as_millis() as i32,
            min_bytes: 1,
            max_bytes: MAX_BYTES,
            topics: vec![FetchTopic {
                topic: self.name.clone(),
                topic_id: self.id,
                partitions: self.next.iter().map(partition).collect(),
            }],
            ..Default::default()
        }
    }
}
