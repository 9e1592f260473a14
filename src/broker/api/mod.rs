//! What the broker answers: one file per API.
//!
//! [`order`] reads a request's header and hands it to its API. Each API reads from top to bottom: decode, plan,
//! call the shards, merge what they say, encode.

pub mod acls;
pub mod alter_configs;
pub mod api_versions;
pub mod client_quotas;
pub mod commands;
pub mod coordinators;
pub mod create_partitions;
pub mod create_topics;
pub mod delegation_tokens;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod elect_leaders;
pub mod fetch;
pub mod find_coordinator;
pub mod group_members;
pub mod group_offsets;
pub mod groups;
pub mod init_producer_id;
pub mod list_config_resources;
pub mod list_offsets;
pub mod log_dirs;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod places;
pub mod produce;
mod produce_refused;
pub mod reassignments;
pub mod recompress;
pub mod scram_credentials;
pub mod transactions;
pub mod unregister_broker;
pub mod update_features;
pub mod write_txn_markers;

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;

use super::connection::{Answer, Client, Ended, Outcome, Replies, Reply};
use crate::limits::{FETCH_REQUEST_FREE, REQUEST_ELEMENT, REQUEST_GROWTH};
use crate::reactor::sync::Permit;
use crate::wire::api::{ApiKey, RequestHeader, response_frame};
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::schema::{Request, Response};

/// The APIs that are answered here, and no others are told of.
pub const SERVED: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::AddPartitionsToTxn,
    ApiKey::AddOffsetsToTxn,
    ApiKey::EndTxn,
    ApiKey::WriteTxnMarkers,
    ApiKey::TxnOffsetCommit,
    ApiKey::DescribeAcls,
    ApiKey::CreateAcls,
    ApiKey::DeleteAcls,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::AlterReplicaLogDirs,
    ApiKey::DescribeLogDirs,
    ApiKey::CreatePartitions,
    ApiKey::CreateDelegationToken,
    ApiKey::RenewDelegationToken,
    ApiKey::ExpireDelegationToken,
    ApiKey::DescribeDelegationToken,
    ApiKey::DeleteGroups,
    ApiKey::ElectLeaders,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::OffsetDelete,
    ApiKey::DescribeClientQuotas,
    ApiKey::DescribeUserScramCredentials,
    ApiKey::DescribeQuorum,
    ApiKey::UpdateFeatures,
    ApiKey::DescribeCluster,
    ApiKey::DescribeProducers,
    ApiKey::UnregisterBroker,
    ApiKey::DescribeTransactions,
    ApiKey::ListTransactions,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::ConsumerGroupDescribe,
    ApiKey::ListConfigResources,
    ApiKey::DescribeTopicPartitions,
];

/// A request whose header was read.
pub struct Asked {
    /// Who asks.
    pub client: Rc<Client>,
    /// Which API.
    pub api: ApiKey,
    /// Which version of it: one that is served, or one of Produce that is refused.
    pub version: i16,
    /// What the client calls itself.
    pub client_id: Option<String>,
    correlation_id: i32,
    body: Reader,
    /// The memory that was asked for, shared with who answers.
    held: Option<Rc<Cell<Option<Permit>>>>,
}

impl Asked {
    /// How much memory the request and its answer may take, at most.
    fn memory(&self) -> usize {
        let (core, bytes) = (&self.client.core, self.body.left());
        let request = (bytes * REQUEST_GROWTH).min(bytes + core.request_elements * REQUEST_ELEMENT);
        match self.api {
            ApiKey::Fetch => fetch::memory(core, &self.body, self.version),
            ApiKey::Metadata => request + metadata::memory(core),
            ApiKey::DescribeConfigs => request + describe_configs::memory(core, bytes),
            ApiKey::ListConfigResources => request + list_config_resources::memory(core),
            ApiKey::DescribeProducers => request + describe_producers::memory(core),
            ApiKey::DescribeTopicPartitions => request + describe_topic_partitions::memory(core),
            ApiKey::DescribeLogDirs => request + log_dirs::memory(core),
            ApiKey::ElectLeaders => request + elect_leaders::memory(core),
            ApiKey::CreateTopics => request + create_topics::memory(bytes),
            _ => request,
        }
    }

    /// The body.
    pub fn decode<R: Request>(&mut self) -> Result<R, Ended> {
        debug_assert_eq!(self.api, R::API);
        // Bytes behind the last known field are let pass, as Kafka does.
        R::decode(&mut self.body, self.version).map_err(|e| self.malformed(&e))
    }

    /// Why the connection ends when a body cannot be read.
    pub fn malformed(&self, error: &DecodeError) -> Ended {
        Ended::because(format!("its {} request (version {}) is malformed: {error}", self.api, self.version))
    }

    /// Lets go of the memory of a request that was read, and now waits for other clients to ask: it must not keep it
    /// from them.
    pub fn release(&mut self) {
        self.body = Reader::new(Bytes::new());
        drop(self.held.take().and_then(|held| held.take()));
    }

    /// What is left of the body, to be read by hand.
    pub fn body(&mut self) -> &mut Reader {
        &mut self.body
    }

    /// The response's frame.
    pub fn reply<R: Response>(&self, response: &R) -> Result<Reply, Ended> {
        debug_assert_eq!(self.api, R::API);
        self.reply_in(response, self.version)
    }

    /// The response's frame in another version than the request's.
    pub fn reply_in<R: Response>(&self, response: &R, version: i16) -> Result<Reply, Ended> {
        let slices = response_frame(response, version, self.correlation_id).map_err(|e| {
            Ended::because(format!("the answer to its {} request cannot be written: {e}", self.api))
        })?;
        Ok(slices.into())
    }

    /// The number that the response repeats.
    pub fn correlation_id(&self) -> i32 {
        self.correlation_id
    }
}

/// Orders a request: when this returns, a Produce has its place on its shards, and any other request has its
/// turn when all before it are answered.
pub async fn order(client: &Rc<Client>, frame: Bytes, before: &Replies) -> Result<Answer, Ended> {
    let asked = read_header(client, frame)?;
    tracing::debug!("{} asks for {} (version {})", client.peer, asked.api, asked.version);
    match asked.api {
        ApiKey::Produce => produce::order(asked, before).await,
        // Boxed again, so that a request that waits for its turn takes no more than its bytes.
        _ => Ok(Box::pin(async move { Box::pin(answer(asked)).await.map(Outcome::Reply) })),
    }
}

/// Answers a request in memory that was asked for.
async fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let core = asked.client.core.clone();
    let bytes = asked.memory();
    // Most fetches are small and wait for long: they would only keep memory from those that need it now.
    if asked.api == ApiKey::Fetch && bytes <= FETCH_REQUEST_FREE {
        return dispatch(asked).await;
    }
    let held = Rc::new(Cell::new(Some(core.request_memory.take(bytes).await)));
    asked.held = Some(held.clone());
    let mut reply = dispatch(asked).await?;
    let held = match held.take() {
        Some(mut held) => {
            held.shrink_to(reply.len());
            held
        }
        // It was let go of meanwhile.
        None => core.request_memory.take(reply.len()).await,
    };
    // What a fetch holds of records has its own share.
    if reply.held.is_empty() {
        reply.held.push(held);
    }
    Ok(reply)
}

async fn dispatch(asked: Asked) -> Result<Reply, Ended> {
    match asked.api {
        ApiKey::ApiVersions => api_versions::answer(asked),
        ApiKey::Metadata => metadata::answer(asked).await,
        ApiKey::Fetch => fetch::answer(asked).await,
        ApiKey::ListOffsets => list_offsets::answer(asked).await,
        ApiKey::CreateTopics => create_topics::answer(asked).await,
        ApiKey::DeleteTopics => delete_topics::answer(asked).await,
        ApiKey::DeleteRecords => delete_records::answer(asked).await,
        ApiKey::DescribeLogDirs => log_dirs::describe(asked).await,
        ApiKey::AlterReplicaLogDirs => log_dirs::alter(asked).await,
        ApiKey::CreatePartitions => create_partitions::answer(asked).await,
        ApiKey::DescribeConfigs => describe_configs::answer(asked).await,
        ApiKey::AlterConfigs => alter_configs::replace(asked).await,
        ApiKey::IncrementalAlterConfigs => alter_configs::change(asked).await,
        ApiKey::ListConfigResources => list_config_resources::answer(asked).await,
        ApiKey::InitProducerId => init_producer_id::answer(asked).await,
        ApiKey::AddPartitionsToTxn => transactions::add_partitions(asked).await,
        ApiKey::AddOffsetsToTxn => transactions::add_offsets(asked).await,
        ApiKey::EndTxn => transactions::end(asked).await,
        ApiKey::TxnOffsetCommit => group_offsets::commit_in_transaction(asked).await,
        ApiKey::ListTransactions => transactions::list(asked).await,
        ApiKey::DescribeTransactions => transactions::describe(asked).await,
        ApiKey::FindCoordinator => find_coordinator::answer(asked).await,
        ApiKey::JoinGroup => group_members::join(asked).await,
        ApiKey::SyncGroup => group_members::sync(asked).await,
        ApiKey::Heartbeat => group_members::heartbeat(asked).await,
        ApiKey::LeaveGroup => group_members::leave(asked).await,
        ApiKey::OffsetCommit => group_offsets::commit(asked).await,
        ApiKey::OffsetFetch => group_offsets::fetch(asked).await,
        ApiKey::OffsetDelete => group_offsets::delete(asked).await,
        ApiKey::ConsumerGroupHeartbeat => group_members::consumer_heartbeat(asked).await,
        ApiKey::ConsumerGroupDescribe => groups::describe_consumers(asked).await,
        ApiKey::DescribeGroups => groups::describe(asked).await,
        ApiKey::DeleteGroups => groups::delete(asked).await,
        ApiKey::ListGroups => groups::list(asked).await,
        ApiKey::DescribeCluster => describe_cluster::answer(asked),
        ApiKey::DescribeProducers => describe_producers::answer(asked).await,
        ApiKey::DescribeTopicPartitions => describe_topic_partitions::answer(asked).await,
        ApiKey::OffsetForLeaderEpoch => offset_for_leader_epoch::answer(asked).await,
        ApiKey::WriteTxnMarkers => write_txn_markers::answer(asked).await,
        ApiKey::DescribeQuorum => describe_quorum::answer(asked),
        ApiKey::UpdateFeatures => update_features::answer(asked),
        ApiKey::ElectLeaders => elect_leaders::answer(asked),
        ApiKey::AlterPartitionReassignments => reassignments::alter(asked),
        ApiKey::ListPartitionReassignments => reassignments::list(asked),
        ApiKey::UnregisterBroker => unregister_broker::answer(asked),
        ApiKey::DescribeAcls => acls::describe(asked),
        ApiKey::CreateAcls => acls::create(asked),
        ApiKey::DeleteAcls => acls::delete(asked),
        ApiKey::DescribeClientQuotas => client_quotas::describe(asked),
        ApiKey::DescribeUserScramCredentials => scram_credentials::describe(asked),
        ApiKey::CreateDelegationToken => delegation_tokens::create(asked),
        ApiKey::RenewDelegationToken => delegation_tokens::renew(asked),
        ApiKey::ExpireDelegationToken => delegation_tokens::expire(asked),
        ApiKey::DescribeDelegationToken => delegation_tokens::describe(asked),
        other => unreachable!("{other} is not served, which was looked at before"),
    }
}

fn read_header(client: &Rc<Client>, frame: Bytes) -> Result<Asked, Ended> {
    let start = start(&frame).ok_or_else(|| Ended::because("its request is shorter than a header"))?;
    let (number, version, correlation_id) = start;
    let Some(api) = ApiKey::from_number(number).filter(|api| SERVED.contains(api)) else {
        let name = ApiKey::from_number(number).map_or("no API of Kafka", ApiKey::name);
        return Err(Ended::because(format!("it asks for API {number} ({name}), which is not served here")));
    };
    // A client that does not know the broker yet asks in its newest version, and learns from the answer; of such
    // a request no more is read.
    let is_unknown = api == ApiKey::ApiVersions && !api.versions().contains(&version);
    let mut body = Reader::with_elements(frame, client.core.request_elements);
    let mut client_id = None;
    if !is_unknown {
        if !api.advertised().contains(&version) {
            let (lowest, highest) = api.versions().into_inner();
            return Err(Ended::because(format!(
                "it asks for version {version} of {api}; versions {lowest} to {highest} are served here"
            )));
        }
        let header = RequestHeader::decode(&mut body)
            .map_err(|e| Ended::because(format!("the header of its {api} request is malformed: {e}")))?;
        client_id = header.client_id;
    }
    Ok(Asked { client: client.clone(), api, version, client_id, correlation_id, body, held: None })
}

/// The API's number, its version and the correlation id, which every header begins with.
fn start(frame: &[u8]) -> Option<(i16, i16, i32)> {
    let [a, b, c, d, e, f, g, h, ..] = *frame else { return None };
    Some((i16::from_be_bytes([a, b]), i16::from_be_bytes([c, d]), i32::from_be_bytes([e, f, g, h])))
}

#[cfg(test)]
mod tests;
