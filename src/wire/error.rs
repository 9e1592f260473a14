//! Kafka's error codes.

use std::fmt;

/// An error code as it stands in a response. Codes that are not known here are kept as they are.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub i16);

macro_rules! retriable {
    (retriable) => {
        true
    };
    (final) => {
        false
    };
}

macro_rules! codes {
    ($($name:ident = $code:literal, $again:tt, $message:literal;)*) => {
        impl ErrorCode {
            /// Every code that Kafka 4.2 has.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name),*];

            $(
                #[doc = concat!("Code ", stringify!($code), ": ", $message, ".")]
                pub const $name: ErrorCode = ErrorCode($code);
            )*

            /// Kafka's name; `UNKNOWN_SERVER_ERROR` for a code that is not known here.
            pub fn name(self) -> &'static str {
                match self.0 {
                    $($code => stringify!($name),)*
                    _ => "UNKNOWN_SERVER_ERROR",
                }
            }

            /// What it means, for a person.
            pub fn message(self) -> &'static str {
                match self.0 {
                    $($code => $message,)*
                    _ => ErrorCode::UNKNOWN_SERVER_ERROR.message(),
                }
            }

            /// Whether the same request may succeed when it is tried again.
            pub fn is_retriable(self) -> bool {
                match self.0 {
                    $($code => retriable!($again),)*
                    _ => false,
                }
            }
        }
    };
}

codes! {
    UNKNOWN_SERVER_ERROR = -1, final, "the server failed in a way that has no code of its own";
    NONE = 0, final, "no error";
    OFFSET_OUT_OF_RANGE = 1, final, "the offset lies outside of what the partition holds";
    CORRUPT_MESSAGE = 2, retriable, "a batch is damaged: its checksum, size or layout is wrong";
    UNKNOWN_TOPIC_OR_PARTITION = 3, retriable, "this broker has no such topic or partition";
    INVALID_FETCH_SIZE = 4, final, "the number of bytes to fetch is not possible";
    LEADER_NOT_AVAILABLE = 5, retriable, "the partition has no leader at the moment";
    NOT_LEADER_OR_FOLLOWER = 6, retriable, "this broker does not lead the partition, or holds no replica of it";
    REQUEST_TIMED_OUT = 7, retriable, "the request was not finished in time";
    BROKER_NOT_AVAILABLE = 8, final, "the broker cannot be reached";
    REPLICA_NOT_AVAILABLE = 9, retriable, "the replica is not available on this broker";
    MESSAGE_TOO_LARGE = 10, final, "a batch is larger than max.message.bytes";
    STALE_CONTROLLER_EPOCH = 11, final, "the controller has moved to another node";
    OFFSET_METADATA_TOO_LARGE = 12, final, "the text that goes with an offset is larger than offset.metadata.max.bytes";
    NETWORK_EXCEPTION = 13, retriable, "the connection ended before the answer came";
    COORDINATOR_LOAD_IN_PROGRESS = 14, retriable, "the coordinator is still reading its log";
    COORDINATOR_NOT_AVAILABLE = 15, retriable, "there is no coordinator at the moment";
    NOT_COORDINATOR = 16, retriable, "this broker is not the coordinator";
    INVALID_TOPIC_EXCEPTION = 17, final, "the topic's name is not allowed";
    RECORD_LIST_TOO_LARGE = 18, final, "the batches of one request are larger than a segment";
    NOT_ENOUGH_REPLICAS = 19, retriable, "nothing was written: fewer replicas are in sync than min.insync.replicas";
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20, retriable, "it was written, but to fewer replicas than min.insync.replicas";
    INVALID_REQUIRED_ACKS = 21, final, "acks is none of -1, 0 and 1";
    ILLEGAL_GENERATION = 22, final, "the group is in another generation";
    INCONSISTENT_GROUP_PROTOCOL = 23, final, "the member and its group share no protocol";
    INVALID_GROUP_ID = 24, final, "the group's name is not allowed";
    UNKNOWN_MEMBER_ID = 25, final, "the group has no such member";
    INVALID_SESSION_TIMEOUT = 26, final, "the session timeout lies outside of what the broker allows";
    REBALANCE_IN_PROGRESS = 27, final, "the group is rebalancing; the member has to join again";
    INVALID_COMMIT_OFFSET_SIZE = 28, final, "the commit is too large";
    TOPIC_AUTHORIZATION_FAILED = 29, final, "not allowed on this topic";
    GROUP_AUTHORIZATION_FAILED = 30, final, "not allowed on this group";
    CLUSTER_AUTHORIZATION_FAILED = 31, final, "not allowed on this cluster";
    INVALID_TIMESTAMP = 32, final, "a record's timestamp is too far from the broker's clock";
    UNSUPPORTED_SASL_MECHANISM = 33, final, "the broker does not offer this SASL mechanism";
    ILLEGAL_SASL_STATE = 34, final, "the request does not fit the state of the SASL exchange";
    UNSUPPORTED_VERSION = 35, final, "this version of the API is not supported";
    TOPIC_ALREADY_EXISTS = 36, final, "a topic of this name exists";
    INVALID_PARTITIONS = 37, final, "the number of partitions is not possible";
    INVALID_REPLICATION_FACTOR = 38, final, "the replication factor is below one or above the number of usable brokers";
    INVALID_REPLICA_ASSIGNMENT = 39, final, "the assignment of replicas is not possible";
    INVALID_CONFIG = 40, final, "a setting or its value is not allowed";
    NOT_CONTROLLER = 41, retriable, "this node is not the active controller";
    INVALID_REQUEST = 42, final, "the request contradicts itself or the protocol";
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43, final, "the partition's record format does not allow it";
    POLICY_VIOLATION = 44, final, "a policy of the cluster forbids it";
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45, final, "the producer's sequence numbers have a gap";
    DUPLICATE_SEQUENCE_NUMBER = 46, final, "a batch with this sequence number was written before";
    INVALID_PRODUCER_EPOCH = 47, final, "the producer's epoch is older than one that the partition has seen";
    INVALID_TXN_STATE = 48, final, "the transaction's state does not allow it";
    INVALID_PRODUCER_ID_MAPPING = 49, final, "the producer id does not belong to the transactional id";
    INVALID_TRANSACTION_TIMEOUT = 50, final, "the timeout is larger than transaction.max.timeout.ms";
    CONCURRENT_TRANSACTIONS = 51, retriable, "another operation on the same transaction is under way";
    TRANSACTION_COORDINATOR_FENCED = 52, final, "a newer transaction coordinator has taken over";
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53, final, "not allowed with this transactional id";
    SECURITY_DISABLED = 54, final, "no authorizer is set up on this broker";
    OPERATION_NOT_ATTEMPTED = 55, final, "not tried, because another part of the request failed";
    KAFKA_STORAGE_ERROR = 56, retriable, "the disk of this log directory failed";
    LOG_DIR_NOT_FOUND = 57, final, "the broker has no such log directory";
    SASL_AUTHENTICATION_FAILED = 58, final, "the name or the secret is wrong";
    UNKNOWN_PRODUCER_ID = 59, final, "the broker no longer knows this producer id";
    REASSIGNMENT_IN_PROGRESS = 60, final, "the partition is being reassigned";
    DELEGATION_TOKEN_AUTH_DISABLED = 61, final, "delegation tokens are not enabled";
    DELEGATION_TOKEN_NOT_FOUND = 62, final, "there is no such delegation token";
    DELEGATION_TOKEN_OWNER_MISMATCH = 63, final, "neither the owner nor a renewer of the token";
    DELEGATION_TOKEN_REQUEST_NOT_ALLOWED = 64, final, "delegation tokens cannot be asked for on this kind of connection";
    DELEGATION_TOKEN_AUTHORIZATION_FAILED = 65, final, "not allowed with this delegation token";
    DELEGATION_TOKEN_EXPIRED = 66, final, "the delegation token has expired";
    INVALID_PRINCIPAL_TYPE = 67, final, "principals of this type are not supported";
    NON_EMPTY_GROUP = 68, final, "the group has members";
    GROUP_ID_NOT_FOUND = 69, final, "there is no such group";
    FETCH_SESSION_ID_NOT_FOUND = 70, retriable, "the broker has no such fetch session";
    INVALID_FETCH_SESSION_EPOCH = 71, retriable, "the epoch does not follow the fetch session's last one";
    LISTENER_NOT_FOUND = 72, retriable, "the leader has no listener of the name that was asked through";
    TOPIC_DELETION_DISABLED = 73, final, "topics cannot be deleted here";
    FENCED_LEADER_EPOCH = 74, retriable, "the leader epoch of the request is older than the partition's";
    UNKNOWN_LEADER_EPOCH = 75, retriable, "the leader epoch of the request is newer than the partition's";
    UNSUPPORTED_COMPRESSION_TYPE = 76, final, "this version of the request does not allow the batch's compression";
    STALE_BROKER_EPOCH = 77, final, "the broker has registered anew since";
    OFFSET_NOT_AVAILABLE = 78, retriable, "the new leader does not know its high watermark yet";
    MEMBER_ID_REQUIRED = 79, final, "join again with the member id of this answer";
    PREFERRED_LEADER_NOT_AVAILABLE = 80, retriable, "the preferred leader is not available";
    GROUP_MAX_SIZE_REACHED = 81, final, "the group has as many members as are allowed";
    FENCED_INSTANCE_ID = 82, final, "another member has taken this group.instance.id";
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83, retriable, "no replica may become leader";
    ELECTION_NOT_NEEDED = 84, retriable, "the partition has the right leader";
    NO_REASSIGNMENT_IN_PROGRESS = 85, final, "the partition is not being reassigned";
    GROUP_SUBSCRIBED_TO_TOPIC = 86, final, "the group still consumes the topic";
    INVALID_RECORD = 87, final, "a record breaks a rule of its topic";
    UNSTABLE_OFFSET_COMMIT = 88, retriable, "a transaction that commits offsets is still open";
    THROTTLING_QUOTA_EXCEEDED = 89, retriable, "the quota is used up";
    PRODUCER_FENCED = 90, final, "a newer producer uses the same transactional id";
    RESOURCE_NOT_FOUND = 91, final, "there is no such resource";
    DUPLICATE_RESOURCE = 92, final, "the request names a resource twice";
    UNACCEPTABLE_CREDENTIAL = 93, final, "the credential does not meet the rules";
    INCONSISTENT_VOTER_SET = 94, final, "the sender or the receiver is not a voter as the other knows them";
    INVALID_UPDATE_VERSION = 95, final, "the version to update to is not possible";
    FEATURE_UPDATE_FAILED = 96, final, "the features could not be updated";
    PRINCIPAL_DESERIALIZATION_FAILURE = 97, final, "the principal of a forwarded request could not be read";
    SNAPSHOT_NOT_FOUND = 98, final, "there is no such snapshot";
    POSITION_OUT_OF_RANGE = 99, final, "the position lies outside of the snapshot";
    UNKNOWN_TOPIC_ID = 100, retriable, "this broker has no topic with this id";
    DUPLICATE_BROKER_REGISTRATION = 101, final, "another broker is registered with this id";
    BROKER_ID_NOT_REGISTERED = 102, final, "no broker is registered with this id";
    INCONSISTENT_TOPIC_ID = 103, retriable, "the log belongs to another topic id";
    INCONSISTENT_CLUSTER_ID = 104, final, "this is another cluster";
    TRANSACTIONAL_ID_NOT_FOUND = 105, final, "there is no such transactional id";
    FETCH_SESSION_TOPIC_ID_ERROR = 106, retriable, "the fetch session mixes topic names and topic ids";
    INELIGIBLE_REPLICA = 107, final, "a replica of the new ISR may not be in it";
    NEW_LEADER_ELECTED = 108, final, "the ISR was changed, and so was the leader";
    OFFSET_MOVED_TO_TIERED_STORAGE = 109, final, "the offset lies in tiered storage only";
    FENCED_MEMBER_EPOCH = 110, final, "the member's epoch is fenced; it has to give up its partitions and join again";
    UNRELEASED_INSTANCE_ID = 111, final, "another member still uses this instance id";
    UNSUPPORTED_ASSIGNOR = 112, final, "the group does not support this assignor";
    STALE_MEMBER_EPOCH = 113, final, "the member has a newer epoch; try again after the next heartbeat";
    MISMATCHED_ENDPOINT_TYPE = 114, final, "the request was sent to the wrong kind of listener";
    UNSUPPORTED_ENDPOINT_TYPE = 115, final, "this kind of endpoint is not supported";
    UNKNOWN_CONTROLLER_ID = 116, final, "there is no such controller";
    UNKNOWN_SUBSCRIPTION_ID = 117, final, "the telemetry subscription is wrong or out of date";
    TELEMETRY_TOO_LARGE = 118, final, "the telemetry is larger than telemetry.max.bytes";
    INVALID_REGISTRATION = 119, final, "the controller does not accept this broker's registration";
    TRANSACTION_ABORTABLE = 120, final, "the transaction failed; it can be aborted and the producer used on";
    INVALID_RECORD_STATE = 121, final, "the record is in a state that cannot be acknowledged so";
    SHARE_SESSION_NOT_FOUND = 122, retriable, "the broker has no such share session";
    INVALID_SHARE_SESSION_EPOCH = 123, retriable, "the epoch does not follow the share session's last one";
    FENCED_STATE_EPOCH = 124, final, "the share group's state has another epoch";
    INVALID_VOTER_KEY = 125, final, "the voter's key is not the receiver's";
    DUPLICATE_VOTER = 126, final, "this replica is a voter already";
    VOTER_NOT_FOUND = 127, final, "this replica is not a voter";
    INVALID_REGULAR_EXPRESSION = 128, final, "the regular expression cannot be read";
    REBOOTSTRAP_REQUIRED = 129, final, "the client's metadata is too old; it has to start from its bootstrap servers";
    STREAMS_INVALID_TOPOLOGY = 130, final, "the topology is not possible";
    STREAMS_INVALID_TOPOLOGY_EPOCH = 131, final, "the topology's epoch is not possible";
    STREAMS_TOPOLOGY_FENCED = 132, final, "the topology's epoch is out of date";
    SHARE_SESSION_LIMIT_REACHED = 133, retriable, "the broker has as many share sessions as are allowed";
}

impl ErrorCode {
    /// Whether this is [`ErrorCode::NONE`].
    pub fn is_none(self) -> bool {
        self == ErrorCode::NONE
    }

    /// Whether this is an error.
    pub fn is_error(self) -> bool {
        !self.is_none()
    }

    /// The error, if it is one.
    pub fn ok(self) -> Result<(), ErrorCode> {
        if self.is_none() { Ok(()) } else { Err(self) }
    }
}

impl From<i16> for ErrorCode {
    fn from(code: i16) -> ErrorCode {
        ErrorCode(code)
    }
}

impl From<ErrorCode> for i16 {
    fn from(code: ErrorCode) -> i16 {
        code.0
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ErrorCode::ALL.contains(self) {
            true => write!(f, "{}: {}", self.name(), self.message()),
            false => write!(f, "error code {}, which is not known here", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

impl std::error::Error for ErrorCode {}
