//! AddPartitionsToTxn and AddOffsetsToTxn: what a transaction holds.

use super::state::{Partitions, Status};
use super::{Caller, Reply, Transactions};
use crate::coordinator::records::Producer;
use crate::coordinator::runtime::{Effects, Now};
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

/// From this version on, clients know PRODUCER_FENCED.
const KNOWS_FENCED: i16 = 2;
/// From this version on, brokers ask, on behalf of clients that go by the second protocol.
const FROM_BROKERS: i16 = 4;
/// The topic of committed offsets.
const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// One transaction of an AddPartitionsToTxn request.
#[derive(Clone, Debug, PartialEq)]
pub struct AddPartitions {
    /// The transactional id.
    pub transactional_id: String,
    /// Whose it is.
    pub producer: Producer,
    /// Whether it is only asked whether the partitions were added.
    pub verify_only: bool,
    /// The partitions.
    pub topics: Vec<AddPartitionsToTxnTopic>,
}

impl AddPartitions {
    /// The transactions of a request of any version.
    pub fn of(request: AddPartitionsToTxnRequest, version: i16) -> Vec<AddPartitions> {
        if version < FROM_BROKERS {
            return vec![AddPartitions {
                transactional_id: request.v3_and_below_transactional_id,
                producer: Producer {
                    id: request.v3_and_below_producer_id,
                    epoch: request.v3_and_below_producer_epoch,
                },
                verify_only: false,
                topics: request.v3_and_below_topics,
            }];
        }
        let one = |one: AddPartitionsToTxnTransaction| AddPartitions {
            transactional_id: one.transactional_id,
            producer: Producer { id: one.producer_id, epoch: one.producer_epoch },
            verify_only: one.verify_only,
            topics: one.topics,
        };
        request.transactions.into_iter().map(one).collect()
    }

    /// The answer, with an error for each partition.
    pub fn answer(self, error_of: impl Fn(&str, i32) -> ErrorCode) -> AddPartitionsToTxnResult {
        let topic = |topic: AddPartitionsToTxnTopic| AddPartitionsToTxnTopicResult {
            results_by_partition: topic
                .partitions
                .iter()
                .map(|partition| AddPartitionsToTxnPartitionResult {
                    partition_index: *partition,
                    partition_error_code: error_of(&topic.name, *partition),
                })
                .collect(),
            name: topic.name,
        };
        AddPartitionsToTxnResult {
            transactional_id: self.transactional_id,
            topic_results: self.topics.into_iter().map(topic).collect(),
        }
    }
}

impl Transactions {
    pub(super) fn add_partitions(
        &mut self,
        now: Now,
        caller: Caller,
        request: AddPartitions,
        effects: &mut Effects<Transactions>,
    ) -> Reply {
        if request.verify_only {
            return Reply::AddPartitions(self.verify(request));
        }
        let mut partitions = Partitions::default();
        for topic in &request.topics {
            topic.partitions.iter().for_each(|partition| partitions.insert(&topic.name, *partition));
        }
        let client_version = if caller.version >= FROM_BROKERS { 2 } else { 0 };
        let added =
            self.add(now, &request.transactional_id, request.producer, &partitions, client_version, effects);
        let error = told(added, caller);
        Reply::AddPartitions(request.answer(|_, _| error))
    }

    pub(super) fn add_offsets(
        &mut self,
        now: Now,
        caller: Caller,
        request: AddOffsetsToTxnRequest,
        partition: i32,
        effects: &mut Effects<Transactions>,
    ) -> Reply {
        let mut partitions = Partitions::default();
        partitions.insert(OFFSETS_TOPIC, partition);
        let producer = Producer { id: request.producer_id, epoch: request.producer_epoch };
        let added = self.add(now, &request.transactional_id, producer, &partitions, 0, effects);
        Reply::AddOffsets(AddOffsetsToTxnResponse { error_code: told(added, caller), ..Default::default() })
    }

    fn add(
        &mut self,
        now: Now,
        id: &str,
        producer: Producer,
        partitions: &Partitions,
        client_version: i16,
        effects: &mut Effects<Transactions>,
    ) -> Result<(), ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let (id, known) = self.find(id).ok_or(ErrorCode::INVALID_PRODUCER_ID_MAPPING)?;
        // Asked first: the producer may go on with another id as soon as the transaction is complete.
        if known.status.is_prepared() {
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        if known.producer.id != producer.id {
            return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
        }
        if known.producer.epoch != producer.epoch {
            return Err(ErrorCode::PRODUCER_FENCED);
        }
        if known.status != Status::Ongoing || !known.partitions.contains_all(partitions) {
            self.put(&id, known.added(partitions, client_version, now.wall), effects);
        }
        Ok(())
    }

    fn verify(&self, request: AddPartitions) -> AddPartitionsToTxnResult {
        if request.transactional_id.is_empty() {
            return request.answer(|_, _| ErrorCode::INVALID_REQUEST);
        }
        let Some(known) = self.transaction(&request.transactional_id) else {
            return request.answer(|_, _| ErrorCode::INVALID_PRODUCER_ID_MAPPING);
        };
        if known.producer.id != request.producer.id {
            return request.answer(|_, _| ErrorCode::INVALID_PRODUCER_ID_MAPPING);
        }
        if known.producer.epoch != request.producer.epoch {
            return request.answer(|_, _| ErrorCode::PRODUCER_FENCED);
        }
        if known.status.is_prepared() {
            return request.answer(|_, _| ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        request.answer(|topic, partition| match known.partitions.contains(topic, partition) {
            true => ErrorCode::NONE,
            false => ErrorCode::TRANSACTION_ABORTABLE,
        })
    }
}

fn told(added: Result<(), ErrorCode>, caller: Caller) -> ErrorCode {
    match added {
        Ok(()) => ErrorCode::NONE,
        Err(ErrorCode::PRODUCER_FENCED) if caller.version < KNOWS_FENCED => ErrorCode::INVALID_PRODUCER_EPOCH,
        Err(error) => error,
    }
}
