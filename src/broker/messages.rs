//! What cores say to one another: one message per (request, shard), and one back.

use std::sync::Arc;

use bytes::Bytes;

use crate::collections::Set;
use crate::controller::Image;
use crate::coordinator::{self, transaction};
pub use crate::log::PartitionId;
use crate::log::aborted::Aborted;
use crate::partition::markers::Marker;
use crate::partition::producers::ActiveProducer;
use crate::partition::verification::Verified;
use crate::reactor::{Accepted, Nanos};
use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

use super::connection_limits::Gone;
use super::controller::{Command, CommandReply};
use super::coordinator::groups::GroupCall;
use super::coordinator::transactions::TransactionCall;
use super::dirs::Dirs;

/// A message on the bus.
pub enum ToCore {
    /// Work for the receiving core's shard; the answer goes back under `token`.
    Call {
        /// The caller's name for it.
        token: u64,
        /// What to do.
        request: ShardRequest,
    },
    /// The answer to a call of the receiving core.
    Reply {
        /// What the caller named it.
        token: u64,
        /// The answer.
        reply: ShardReply,
    },
    /// A connection for the receiving core to serve, accepted on the listener of this index.
    Connection(Accepted, usize),
    /// A connection that the sending core served is over.
    ConnectionEnded(Gone),
    /// There are too many connections: the receiving core ends so many, those that were idle longest.
    EndIdlest(usize),
    /// The sending core had so many fewer to end.
    NotEnded(usize),
    /// The cluster's metadata as of now. The receiving core answers with [`ToCore::ImageSeen`] once its APIs
    /// go by it.
    Image(Arc<Image>),
    /// The sending core goes by this version of the image.
    ImageSeen(i64),
    /// The head of the node has recovered the metadata: the receiving core is to begin.
    Begin(Arc<Beginning>),
    /// The sending core serves.
    Begun,
    /// The sending core has stopped its shard: for each log directory by its place, where its logs end, or why the stop
    /// is not a clean one.
    Stopped(Vec<(usize, Result<LogEnds, String>)>),
    /// The log directory of this place has failed, on any core: it is offline on all of them.
    LogDirFailed(usize, String),
    /// The receiving core may end.
    End,
}

/// Where a log that was stopped starts and ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogEnd {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Where it starts, if that is not where its first segment does.
    pub start: Option<i64>,
    /// The next offset.
    pub end: i64,
    /// How far it was compacted, if it is and was.
    pub cleaned: Option<i64>,
}

/// Where logs end.
pub type LogEnds = Vec<LogEnd>;

/// What a core begins with.
#[derive(Debug)]
pub struct Beginning {
    /// What the log directories held when the node started.
    pub dirs: Dirs,
    /// The cluster's metadata.
    pub image: Arc<Image>,
}

/// What a shard is asked.
pub enum ShardRequest {
    /// Append batches.
    Produce(ProduceCall),
    /// Read what is there, at once.
    Fetch(FetchCall),
    /// Answer when there is more to read.
    Watch(WatchCall),
    /// Look offsets up.
    ListOffsets(Vec<ListOffsetsPart>),
    /// Tell where leader epochs end.
    EpochEnds(Vec<EpochEndPart>),
    /// Delete the records before an offset of each of these partitions.
    DeleteRecords(Vec<DeleteRecordsPart>),
    /// Tell who produces to these partitions, so many producers in all.
    DescribeProducers(Vec<PartitionId>, usize),
    /// Tell how much these replicas take in their log directories; all of the core's, where none are named.
    DescribeLogDirs(Option<Set<PartitionId>>),
    /// End transactions in these partitions.
    WriteMarkers(Vec<MarkerPart>),
    /// Move replicas to the log directories of these ids.
    Relocate(Vec<(PartitionId, Uuid)>),
    /// Ask a coordinator of groups.
    Group(Box<GroupCall>),
    /// Ask a coordinator of transactions.
    Transaction(Box<TransactionCall>),
    /// A command for the controller; sent to the controller's core only.
    Command(Command),
}

/// What a shard answers, to each request its own.
pub enum ShardReply {
    /// To [`ShardRequest::Produce`], in the order of its parts.
    Produce(Vec<ProducePartReply>),
    /// To [`ShardRequest::Fetch`], in the order of its parts.
    Fetch(Vec<FetchPartReply>),
    /// To [`ShardRequest::Watch`].
    Watch,
    /// To [`ShardRequest::ListOffsets`], in the order of its parts.
    ListOffsets(Vec<ListOffsetsReply>),
    /// To [`ShardRequest::EpochEnds`], in the order of its parts: the epoch that was found, and where it ends.
    EpochEnds(Vec<Result<(i32, i64), ErrorCode>>),
    /// To [`ShardRequest::DeleteRecords`], in the order of its parts: where each log starts now.
    DeleteRecords(Vec<Result<i64, ErrorCode>>),
    /// To [`ShardRequest::DescribeProducers`], in the order of its parts.
    DescribeProducers(Vec<DescribeProducersReply>),
    /// To [`ShardRequest::DescribeLogDirs`].
    DescribeLogDirs(LogDirsReply),
    /// To [`ShardRequest::WriteMarkers`], in the order of its parts, once each marker is durable or refused.
    WriteMarkers(Vec<ErrorCode>),
    /// To [`ShardRequest::Relocate`], in the order of its parts.
    Relocate(Vec<Result<(), ErrorCode>>),
    /// To [`ShardRequest::Group`].
    Group(Box<coordinator::Reply>),
    /// To [`ShardRequest::Transaction`].
    Transaction(Box<transaction::Reply>),
    /// To [`ShardRequest::Command`].
    Command(CommandReply),
}

/// What a core's log directories hold.
#[derive(Debug, Default)]
pub struct LogDirsReply {
    /// The ids of the directories that serve.
    pub serving: Vec<Uuid>,
    /// The replicas.
    pub replicas: Vec<LogSize>,
}

/// What a replica takes in a log directory.
#[derive(Clone, Copy, Debug)]
pub struct LogSize {
    /// The partition.
    pub id: PartitionId,
    /// The id of the log directory.
    pub directory: Uuid,
    /// Bytes of batches.
    pub size: u64,
    /// For one that is being copied there: by how many offsets it lags.
    pub lag: Option<i64>,
}

/// Batches for several partitions of one shard.
pub struct ProduceCall {
    /// Answer when appended and durable here (1), on every in-sync replica (-1), or as soon as appended (0).
    pub acks: i16,
    /// When to give up waiting for replicas.
    pub deadline: Nanos,
    /// One batch each.
    pub parts: Vec<ProducePart>,
}

/// One batch for one partition.
pub struct ProducePart {
    /// The partition.
    pub id: PartitionId,
    /// Exactly one record batch whose length, magic and checksum were found right; of a marker, what the shard makes.
    pub batch: Bytes,
    /// Who appends it.
    pub by: By,
    /// Whether the coordinator of its transaction agrees.
    pub verified: Verified,
}

impl ProducePart {
    /// A batch of no transaction, from a client.
    pub fn new(id: PartitionId, batch: Bytes) -> ProducePart {
        ProducePart { id, batch, by: By::Client(None), verified: Verified::No }
    }

    /// A batch of the coordinator whose log the partition is: within a transaction that it has verified, or not. A
    /// control batch is a marker.
    pub fn by_coordinator(id: PartitionId, batch: Bytes) -> ProducePart {
        ProducePart { id, batch, by: By::Coordinator, verified: Verified::NeedNot }
    }
}

impl ProducePart {
    /// The same, for a log that may be another by then: what was agreed to was for this one.
    pub(super) fn unverified(self) -> ProducePart {
        match self.verified {
            Verified::By(_) => ProducePart { verified: Verified::No, ..self },
            _ => self,
        }
    }
}

/// Who appends a batch.
#[derive(Clone, Debug)]
pub enum By {
    /// A client, with the transaction that its request names.
    Client(Option<Arc<TransactionNamed>>),
    /// The coordinator whose log the partition is.
    Coordinator,
    /// The transaction coordinator, which ends a transaction, and the version of the protocol of transactions.
    Marker(Marker, i16),
}

/// What a Produce request says of its transaction.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransactionNamed {
    /// The transactional id.
    pub id: String,
    /// The version of the request.
    pub version: i16,
}

/// The end of a transaction in one partition.
#[derive(Clone, Copy, Debug)]
pub struct MarkerPart {
    /// The partition.
    pub id: PartitionId,
    /// The end.
    pub marker: Marker,
    /// The version of the protocol of transactions; 0 where nobody says.
    pub transaction_version: i16,
}

/// What became of one batch.
#[derive(Clone, Debug)]
pub struct ProducePartReply {
    /// None if it was appended (and is as durable as was asked).
    pub error: ErrorCode,
    /// What to tell a person, where there is more to say than the code does.
    pub message: Option<String>,
    /// The first record's offset, -1 on error.
    pub base_offset: i64,
    /// The time of the append where the topic has `LogAppendTime`, else -1.
    pub log_append_time: i64,
    /// The log's start, -1 on error.
    pub log_start_offset: i64,
}

impl ProducePartReply {
    /// An answer that nothing was appended.
    pub fn failed(error: ErrorCode, message: Option<String>) -> Self {
        ProducePartReply { error, message, base_offset: -1, log_append_time: -1, log_start_offset: -1 }
    }
}

/// Reads of several partitions of one shard.
pub struct FetchCall {
    /// Up to the last stable offset only, and with the aborted transactions.
    pub read_committed: bool,
    /// Bytes for all parts together; the first batch found is given whatever its size.
    pub max_bytes: usize,
    /// In the order in which the bytes are to be spent.
    pub parts: Vec<FetchPart>,
}

/// A read of one partition.
#[derive(Clone, Debug)]
pub struct FetchPart {
    /// The partition.
    pub id: PartitionId,
    /// From which offset on.
    pub offset: i64,
    /// Bytes for this partition.
    pub max_bytes: usize,
    /// The leader epoch that the client goes by, -1 for none.
    pub current_leader_epoch: i32,
    /// The epoch of the last record that the client has, -1 for none.
    pub last_fetched_epoch: i32,
}

/// What was read of one partition.
#[derive(Clone, Debug)]
pub struct FetchPartReply {
    /// Why nothing was read, or none.
    pub error: ErrorCode,
    /// -1 on error.
    pub high_watermark: i64,
    /// -1 on error.
    pub last_stable_offset: i64,
    /// -1 on error.
    pub log_start_offset: i64,
    /// Where the client's log parts from this one, if it does: the epoch and its end offset.
    pub diverging: Option<(i32, i64)>,
    /// Batches, beginning with the one that holds the offset; the last may be cut short.
    pub records: Vec<Bytes>,
    /// To readers of committed records: the transactions among them that were aborted.
    pub aborted: Vec<Aborted>,
    /// Whether a read of more would have given more.
    pub more: bool,
}

impl FetchPartReply {
    /// An answer that nothing could be read.
    pub fn failed(error: ErrorCode) -> Self {
        FetchPartReply {
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging: None,
            records: Vec::new(),
            aborted: Vec::new(),
            more: false,
        }
    }

    /// Forgets what was read.
    pub fn let_go(&mut self) {
        (self.records, self.aborted) = (Vec::new(), Vec::new());
    }

    /// How many bytes of records there are.
    pub fn len(&self) -> usize {
        self.records.iter().map(Bytes::len).sum()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// Tells when there is more to read: answered once these partitions of the shard together hold `bytes` more
/// than when the offsets were looked at, or one of them can no longer be read here, or at the deadline.
pub struct WatchCall {
    /// Partitions and the high watermark that the caller has seen of each.
    pub parts: Vec<(PartitionId, i64)>,
    /// How much more there is to be; at least 1.
    pub bytes: usize,
    /// When to answer in any case.
    pub deadline: Nanos,
}

/// A question for an offset.
#[derive(Clone, Debug)]
pub struct ListOffsetsPart {
    /// The partition.
    pub id: PartitionId,
    /// A time in milliseconds, or -1 latest, -2 earliest, -3 the record with the largest timestamp,
    /// -4 earliest local, -5 latest tiered, -6 earliest pending upload.
    pub timestamp: i64,
    /// The leader epoch that the client goes by, -1 for none.
    pub current_leader_epoch: i32,
    /// Whether "latest" is the last stable offset.
    pub read_committed: bool,
}

/// A question for the end of a leader epoch.
#[derive(Clone, Copy, Debug)]
pub struct EpochEndPart {
    /// The partition.
    pub id: PartitionId,
    /// The leader epoch that the client goes by, -1 for none.
    pub current_leader_epoch: i32,
    /// The epoch whose end is wanted.
    pub leader_epoch: i32,
}

/// Records to delete.
#[derive(Clone, Copy, Debug)]
pub struct DeleteRecordsPart {
    /// The partition.
    pub id: PartitionId,
    /// The first offset that stays; -1 for the high watermark.
    pub before: i64,
}

/// The producers of a partition, or why they are not told.
pub type DescribeProducersReply = Result<Vec<ActiveProducer>, ErrorCode>;

/// An offset.
#[derive(Clone, Debug)]
pub struct ListOffsetsReply {
    /// Why there is none.
    pub error: ErrorCode,
    /// Its record's timestamp, -1 for none.
    pub timestamp: i64,
    /// The offset, -1 for none.
    pub offset: i64,
    /// The epoch of its record, -1 for none.
    pub leader_epoch: i32,
}

impl ListOffsetsReply {
    /// An answer without an offset.
    pub fn failed(error: ErrorCode) -> Self {
        ListOffsetsReply { error, timestamp: -1, offset: -1, leader_epoch: -1 }
    }
}
