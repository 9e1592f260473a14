//! Batches on their way: gathered per partition, sent to leaders, tried again where that may help, and told about
//! where it does not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::client::{Client, Fault, Topic};
use super::super::failure::{Failure, Result};
use super::super::output::{Style, json_line, stdout};
use super::input::Input;
use super::{Partitioner, ProduceArgs};
use crate::wire::api::ApiKey;
use crate::wire::batch::{BatchBuilder, Compression};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    InitProducerIdRequest, PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};

/// Bytes that a record takes beside its key, value and headers, at most.
const RECORD_OVERHEAD: usize = 32;
/// The first pause before a batch is sent again; it doubles up to a second.
const PAUSE: Duration = Duration::from_millis(50);

/// Everything between a record that was read and its acknowledgement.
#[derive(Debug)]
pub struct Delivery {
    client: Client,
    topic: Topic,
    partition: Option<usize>,
    partitioner: Partitioner,
    codec: Compression,
    acks: i16,
    batch_bytes: usize,
    style: Style,
    /// Producer id and epoch, and each partition's next sequence.
    producer: Option<(i64, i16)>,
    sequences: Vec<i32>,
    /// Records not sent yet, and their bytes, by partition.
    open: Vec<(Vec<Input>, usize)>,
    full: bool,
    /// Where records without a key go until the next flush.
    sticky: usize,
    lost: u64,
    /// Whether a batch was given up that may have been written: its sequences must not be used again, else the
    /// next batch would be taken for its repetition.
    unsure: bool,
}

/// A batch that is being sent.
struct Batch {
    partition: usize,
    /// Its first record's place among those of its partition, which are never sent out of order.
    place: usize,
    records: Vec<Input>,
}

#[derive(Serialize)]
struct Delivered<'a> {
    topic: &'a str,
    partition: i32,
    base_offset: i64,
    records: usize,
}

impl Delivery {
    /// Looks up the topic and, for idempotence, asks for a producer id.
    pub fn new(mut client: Client, args: &ProduceArgs, style: Style) -> Result<Delivery> {
        let topic = client.topic(&args.topic, !args.no_create)?;
        let count = topic.partitions.len();
        let partition = args.partition.map(|p| p as usize);
        if let Some(p) = partition.filter(|p| *p >= count) {
            return Err(Failure::usage(format!(
                "topic {} has no partition {p}, its last is {}",
                topic.name,
                count - 1
            )));
        }
        let acks = args.acks.number();
        let producer = match acks == -1 && !args.no_idempotence {
            true => init_producer(&mut client)?,
            false => None,
        };
        Ok(Delivery {
            client,
            partition,
            partitioner: args.partitioner,
            codec: args.codec,
            acks,
            batch_bytes: args.batch_bytes as usize,
            style,
            producer,
            sequences: vec![0; count],
            open: (0..count).map(|_| (Vec::new(), 0)).collect(),
            full: false,
            sticky: std::process::id() as usize % count,
            topic,
            lost: 0,
            unsure: false,
        })
    }

    /// Puts a record into its partition's batch.
    pub fn add(&mut self, input: Input) -> Result<()> {
        let chosen =
            self.partition.or_else(|| self.partitioner.partition(input.key.as_deref(), self.open.len()));
        let (records, bytes) = &mut self.open[chosen.unwrap_or(self.sticky)];
        let header_bytes: usize =
            input.headers.iter().map(|h| h.name.len() + h.value.as_ref().map_or(0, |v| v.len()) + 10).sum();
        let part = |b: &Option<bytes::Bytes>| b.as_ref().map_or(0, |b| b.len());
        *bytes += part(&input.key) + part(&input.value) + header_bytes + RECORD_OVERHEAD;
        self.full |= *bytes >= self.batch_bytes;
        records.push(input);
        Ok(())
    }

    /// Whether a batch is full and should be sent.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Sends all that was gathered and waits until each batch is delivered or lost.
    pub fn flush(&mut self) -> Result<()> {
        self.full = false;
        self.sticky = (self.sticky + 1) % self.open.len();
        let mut batches = Vec::new();
        for (partition, (records, bytes)) in self.open.iter_mut().enumerate() {
            *bytes = 0;
            if !records.is_empty() {
                batches.push(Batch { partition, place: 0, records: std::mem::take(records) });
            }
        }
        if std::mem::take(&mut self.unsure) && self.producer.is_some() {
            self.producer = init_producer(&mut self.client)?;
            self.sequences.fill(0);
        }
        let deadline = Instant::now() + self.client.timeout();
        let mut pause = PAUSE;
        loop {
            batches = self.round(batches, deadline)?;
            if batches.is_empty() {
                return Ok(());
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(1));
            if let Ok(topic) = self.client.topic(&self.topic.name, false) {
                self.topic = topic;
            }
        }
    }

    /// Sends each batch once; gives those that are to be sent again.
    fn round(&mut self, batches: Vec<Batch>, deadline: Instant) -> Result<Vec<Batch>> {
        let mut by_leader: BTreeMap<i32, BTreeMap<i32, Batch>> = BTreeMap::new();
        let mut again = Vec::new();
        for batch in batches {
            let index = self.topic.partitions[batch.partition].index;
            match self.topic.partitions[batch.partition].leader {
                Some(leader) if !by_leader.get(&leader).is_some_and(|l| l.contains_key(&index)) => {
                    by_leader.entry(leader).or_default().insert(index, batch);
                }
                // The second half of a batch that was too large goes with the next request.
                _ => again.push(batch),
            }
        }
        for (leader, batches) in by_leader {
            let results = match self.send(leader, &batches) {
                Ok(results) => results,
                Err(fault) if fault.is_retriable() && Instant::now() < deadline => {
                    again.extend(batches.into_values());
                    continue;
                }
                Err(fault) => {
                    for (partition, batch) in batches {
                        self.tell_lost(partition, batch.records.len(), &fault);
                    }
                    continue;
                }
            };
            self.settle(batches, results, deadline, &mut again)?;
        }
        again.sort_by_key(|b| (b.partition, b.place));
        Ok(again)
    }

    /// Acts on the broker's word about each batch.
    fn settle(
        &mut self,
        mut batches: BTreeMap<i32, Batch>,
        results: Vec<PartitionProduceResponse>,
        deadline: Instant,
        again: &mut Vec<Batch>,
    ) -> Result<()> {
        for result in results {
            let Some(batch) = batches.remove(&result.index) else { continue };
            let count = batch.records.len();
            match result.error_code {
                // A retry of a batch whose first acknowledgement was lost.
                ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER => {
                    let sequence = &mut self.sequences[batch.partition];
                    *sequence = sequence.wrapping_add(count as i32) & i32::MAX;
                    self.tell_delivered(result.index, result.base_offset, count)?;
                }
                ErrorCode::MESSAGE_TOO_LARGE if count > 1 => {
                    let mut first = batch.records;
                    let second = first.split_off(count / 2);
                    let Batch { partition, place, .. } = batch;
                    again.push(Batch { partition, place: place + first.len(), records: second });
                    again.push(Batch { partition, place, records: first });
                }
                code if code.is_retriable() && Instant::now() < deadline => again.push(batch),
                code => {
                    let doing = format!("writing to {}-{}", self.topic.name, result.index);
                    let fault = Fault::refused(doing, code, result.error_message);
                    self.tell_lost(result.index, count, &fault);
                }
            }
        }
        for (partition, batch) in batches {
            let doing = format!("writing to {}-{partition}", self.topic.name);
            let message = Some("the answer does not name this partition".to_string());
            let fault = Fault::refused(doing, ErrorCode::UNKNOWN_SERVER_ERROR, message);
            self.tell_lost(partition, batch.records.len(), &fault);
        }
        Ok(())
    }

    /// Sends one request; gives the broker's word about each partition.
    fn send(
        &mut self,
        leader: i32,
        batches: &BTreeMap<i32, Batch>,
    ) -> Result<Vec<PartitionProduceResponse>, Fault> {
        let mut partition_data = Vec::with_capacity(batches.len());
        for (index, batch) in batches {
            let records = self.encode(batch).map_err(|e| Fault::Unsayable(e.to_string()))?;
            partition_data.push(PartitionProduceData { index: *index, records: Some(records.into()) });
        }
        let request = ProduceRequest {
            transactional_id: None,
            acks: self.acks,
            timeout_ms: self.client.timeout().as_millis().try_into().unwrap_or(i32::MAX),
            topic_data: vec![TopicProduceData {
                name: self.topic.name.clone(),
                topic_id: self.topic.id,
                partition_data,
            }],
        };
        let connection = self.client.broker(leader)?;
        // Without a topic id only the versions that go by names can be used.
        let limit = if self.topic.id.is_zero() { 12 } else { i16::MAX };
        let version = connection.version_up_to(ApiKey::Produce, limit)?;
        let sent = connection.send(&request, version)?;
        if self.acks == 0 {
            let accepted = |index: &i32| PartitionProduceResponse {
                index: *index,
                base_offset: -1,
                ..Default::default()
            };
            return Ok(batches.keys().map(accepted).collect());
        }
        let answer = connection.receive(sent, Duration::ZERO)?;
        Ok(answer.responses.into_iter().flat_map(|t| t.partition_responses).collect())
    }

    fn encode(&self, batch: &Batch) -> std::io::Result<Vec<u8>> {
        let mut builder = BatchBuilder::new().compression(self.codec);
        if let Some((id, epoch)) = self.producer {
            builder = builder.producer(id, epoch, self.sequences[batch.partition]);
        }
        for record in &batch.records {
            let headers: Vec<_> =
                record.headers.iter().map(|h| (h.name.as_str(), h.value.as_deref())).collect();
            builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
        }
        builder.build()
    }

    fn tell_delivered(&self, partition: i32, base_offset: i64, records: usize) -> Result<()> {
        if self.style.json() {
            let mut out = stdout();
            json_line(&mut out, &Delivered { topic: &self.topic.name, partition, base_offset, records })?;
            std::io::Write::flush(&mut out)?;
        }
        Ok(())
    }

    fn tell_lost(&mut self, partition: i32, records: usize, fault: &Fault) {
        self.lost += records as u64;
        self.unsure |= fault.is_retriable();
        let them = if records == 1 { "1 record was".to_string() } else { format!("{records} records were") };
        eprintln!("ottla: {}-{partition}: {them} not delivered: {fault}", self.topic.name);
    }

    /// Fails if a record was lost.
    pub fn verdict(&self) -> Result<()> {
        match self.lost {
            0 => Ok(()),
            _ => Err(Failure::already_told()),
        }
    }
}

/// A producer id; none where the broker does not give any.
fn init_producer(client: &mut Client) -> Result<Option<(i64, i16)>> {
    let request = InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() };
    let result = client.retry(|client| {
        let answer = client.any()?.call(&request)?;
        match answer.error_code {
            ErrorCode::NONE => Ok((answer.producer_id, answer.producer_epoch)),
            code => Err(Fault::refused("asking for a producer id", code, None)),
        }
    });
    match result {
        Ok(producer) => Ok(Some(producer)),
        Err(Fault::Unsupported { .. }) => Ok(None),
        Err(fault) => Err(fault.into()),
    }
}
