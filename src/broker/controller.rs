//! What the controller is asked by the other cores.

use crate::controller::Refusal;
use crate::wire::schema::{
    CreatableTopicResult, CreatePartitionsRequest, CreatePartitionsTopicResult, CreateTopicsRequest,
    DeletableTopicResult, DeleteTopicsRequest,
};

/// A command for the controller. It is answered when its records are committed and every core of this broker goes
/// by them.
pub enum Command {
    /// Create topics.
    CreateTopics(CreateTopicsRequest),
    /// Delete topics.
    DeleteTopics(DeleteTopicsRequest),
    /// Add partitions to topics.
    CreatePartitions(CreatePartitionsRequest),
    /// Give this broker a block of producer ids.
    AllocateProducerIds,
}

/// What the controller answers, to each command its own.
pub enum CommandReply {
    /// To [`Command::CreateTopics`].
    CreateTopics(Vec<CreatableTopicResult>),
    /// To [`Command::DeleteTopics`].
    DeleteTopics(Vec<DeletableTopicResult>),
    /// To [`Command::CreatePartitions`].
    CreatePartitions(Vec<CreatePartitionsTopicResult>),
    /// To [`Command::AllocateProducerIds`]: the first id of the block.
    ProducerIds(i64),
    /// To any command: it is not carried out.
    Refused(Refusal),
}
