//! Kafka's APIs by number: their names, versions and headers; and whole frames.

use std::fmt;
use std::ops::RangeInclusive;

use bytes::Bytes;

use super::codec::{DecodeError, EncodeError, Reader, Reason, Refusal, Writer};
use super::schema::{Message, Request, Response};

macro_rules! apis {
    ($($name:ident = $key:literal, $lowest:literal..=$highest:literal, flexible $flexible:expr, $side:ident;)*) => {
        /// An API of Kafka 4.2, by its number on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {$(
            #[doc = concat!("Number ", stringify!($key), ", versions `", stringify!($lowest), "..=",
                stringify!($highest), "`.")]
            $name = $key,
        )*}

        impl ApiKey {
            /// All of them, by number.
            pub const ALL: &[ApiKey] = &[$(ApiKey::$name),*];

            /// The API of this number.
            pub fn from_number(number: i16) -> Option<ApiKey> {
                match number {
                    $($key => Some(ApiKey::$name),)*
                    _ => None,
                }
            }

            /// Kafka's name.
            pub fn name(self) -> &'static str {
                match self { $(ApiKey::$name => stringify!($name),)* }
            }

            /// The versions that can be read and written here: Kafka 4.2's stable ones.
            #[inline]
            pub const fn versions(self) -> RangeInclusive<i16> {
                match self { $(ApiKey::$name => $lowest..=$highest,)* }
            }

            /// The first version with compact lengths and tagged fields; `i16::MAX` if none has them.
            #[inline]
            pub const fn flexible_from(self) -> i16 {
                match self { $(ApiKey::$name => $flexible,)* }
            }

            fn side(self) -> Side {
                match self { $(ApiKey::$name => Side::$side,)* }
            }
        }
    };
}

/// Whose listener answers an API.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Broker,
    Controller,
    Both,
}

apis! {
    Produce = 0, 3..=13, flexible 9, Broker;
    Fetch = 1, 4..=18, flexible 12, Both;
    ListOffsets = 2, 1..=11, flexible 6, Broker;
    Metadata = 3, 0..=13, flexible 9, Broker;
    OffsetCommit = 8, 2..=10, flexible 8, Broker;
    OffsetFetch = 9, 1..=10, flexible 6, Broker;
    FindCoordinator = 10, 0..=6, flexible 3, Broker;
    JoinGroup = 11, 0..=9, flexible 6, Broker;
    Heartbeat = 12, 0..=4, flexible 4, Broker;
    LeaveGroup = 13, 0..=5, flexible 4, Broker;
    SyncGroup = 14, 0..=5, flexible 4, Broker;
    DescribeGroups = 15, 0..=6, flexible 5, Broker;
    ListGroups = 16, 0..=5, flexible 3, Broker;
    SaslHandshake = 17, 0..=1, flexible i16::MAX, Both;
    ApiVersions = 18, 0..=4, flexible 3, Both;
    CreateTopics = 19, 2..=7, flexible 5, Both;
    DeleteTopics = 20, 1..=6, flexible 4, Both;
    DeleteRecords = 21, 0..=2, flexible 2, Broker;
    InitProducerId = 22, 0..=5, flexible 2, Broker;
    OffsetForLeaderEpoch = 23, 2..=4, flexible 4, Broker;
    AddPartitionsToTxn = 24, 0..=5, flexible 3, Broker;
    AddOffsetsToTxn = 25, 0..=4, flexible 3, Broker;
    EndTxn = 26, 0..=5, flexible 3, Broker;
    WriteTxnMarkers = 27, 1..=2, flexible 1, Broker;
    TxnOffsetCommit = 28, 0..=5, flexible 3, Broker;
    DescribeAcls = 29, 1..=3, flexible 2, Both;
    CreateAcls = 30, 1..=3, flexible 2, Both;
    DeleteAcls = 31, 1..=3, flexible 2, Both;
    DescribeConfigs = 32, 1..=4, flexible 4, Both;
    AlterConfigs = 33, 0..=2, flexible 2, Both;
    AlterReplicaLogDirs = 34, 1..=2, flexible 2, Broker;
    DescribeLogDirs = 35, 1..=4, flexible 2, Broker;
    SaslAuthenticate = 36, 0..=2, flexible 2, Both;
    CreatePartitions = 37, 0..=3, flexible 2, Both;
    CreateDelegationToken = 38, 1..=3, flexible 2, Both;
    RenewDelegationToken = 39, 1..=2, flexible 2, Both;
    ExpireDelegationToken = 40, 1..=2, flexible 2, Both;
    DescribeDelegationToken = 41, 1..=3, flexible 2, Both;
    DeleteGroups = 42, 0..=2, flexible 2, Broker;
    ElectLeaders = 43, 0..=2, flexible 2, Both;
    IncrementalAlterConfigs = 44, 0..=1, flexible 1, Both;
    AlterPartitionReassignments = 45, 0..=1, flexible 0, Both;
    ListPartitionReassignments = 46, 0..=0, flexible 0, Both;
    OffsetDelete = 47, 0..=0, flexible i16::MAX, Broker;
    DescribeClientQuotas = 48, 0..=1, flexible 1, Broker;
    AlterClientQuotas = 49, 0..=1, flexible 1, Both;
    DescribeUserScramCredentials = 50, 0..=0, flexible 0, Both;
    AlterUserScramCredentials = 51, 0..=0, flexible 0, Both;
    Vote = 52, 0..=2, flexible 0, Controller;
    BeginQuorumEpoch = 53, 0..=1, flexible 1, Controller;
    EndQuorumEpoch = 54, 0..=1, flexible 1, Controller;
    DescribeQuorum = 55, 0..=2, flexible 0, Both;
    AlterPartition = 56, 2..=3, flexible 0, Controller;
    UpdateFeatures = 57, 0..=2, flexible 0, Both;
    Envelope = 58, 0..=0, flexible 0, Controller;
    FetchSnapshot = 59, 0..=1, flexible 0, Controller;
    DescribeCluster = 60, 0..=2, flexible 0, Both;
    DescribeProducers = 61, 0..=0, flexible 0, Broker;
    BrokerRegistration = 62, 0..=4, flexible 0, Controller;
    BrokerHeartbeat = 63, 0..=1, flexible 0, Controller;
    UnregisterBroker = 64, 0..=0, flexible 0, Both;
    DescribeTransactions = 65, 0..=0, flexible 0, Broker;
    ListTransactions = 66, 0..=2, flexible 0, Broker;
    AllocateProducerIds = 67, 0..=0, flexible 0, Controller;
    ConsumerGroupHeartbeat = 68, 0..=1, flexible 0, Broker;
    ConsumerGroupDescribe = 69, 0..=1, flexible 0, Broker;
    ControllerRegistration = 70, 0..=0, flexible 0, Controller;
    GetTelemetrySubscriptions = 71, 0..=0, flexible 0, Broker;
    PushTelemetry = 72, 0..=0, flexible 0, Broker;
    AssignReplicasToDirs = 73, 0..=0, flexible 0, Controller;
    ListConfigResources = 74, 0..=1, flexible 0, Broker;
    DescribeTopicPartitions = 75, 0..=0, flexible 0, Broker;
    ShareGroupHeartbeat = 76, 1..=1, flexible 0, Broker;
    ShareGroupDescribe = 77, 1..=1, flexible 0, Broker;
    ShareFetch = 78, 1..=2, flexible 0, Broker;
    ShareAcknowledge = 79, 1..=2, flexible 0, Broker;
    AddRaftVoter = 80, 0..=1, flexible 0, Both;
    RemoveRaftVoter = 81, 0..=0, flexible 0, Both;
    UpdateRaftVoter = 82, 0..=0, flexible 0, Controller;
    InitializeShareGroupState = 83, 0..=0, flexible 0, Broker;
    ReadShareGroupState = 84, 0..=0, flexible 0, Broker;
    WriteShareGroupState = 85, 0..=1, flexible 0, Broker;
    DeleteShareGroupState = 86, 0..=0, flexible 0, Broker;
    ReadShareGroupStateSummary = 87, 0..=1, flexible 0, Broker;
    StreamsGroupHeartbeat = 88, 0..=0, flexible 0, Broker;
    StreamsGroupDescribe = 89, 0..=0, flexible 0, Broker;
    DescribeShareGroupOffsets = 90, 0..=1, flexible 0, Broker;
    AlterShareGroupOffsets = 91, 0..=0, flexible 0, Broker;
    DeleteShareGroupOffsets = 92, 0..=0, flexible 0, Broker;
}

impl ApiKey {
    /// The number on the wire.
    pub fn number(self) -> i16 {
        self as i16
    }

    /// The versions to tell clients of. Produce is told from 0 on, though 0 to 2 are answered with
    /// UNSUPPORTED_VERSION: told 3, librdkafka no longer compresses (KAFKA-18659).
    pub fn advertised(self) -> RangeInclusive<i16> {
        match self {
            ApiKey::Produce => 0..=*self.versions().end(),
            _ => self.versions(),
        }
    }

    /// Whether a broker's listener answers it.
    pub fn on_broker(self) -> bool {
        self.side() != Side::Controller
    }

    /// Whether a controller's listener answers it.
    pub fn on_controller(self) -> bool {
        self.side() != Side::Broker
    }

    /// Whether this version has compact lengths and tagged fields.
    pub fn is_flexible(self, version: i16) -> bool {
        version >= self.flexible_from()
    }

    /// The version of the header before a request.
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of the header before a response. That of ApiVersions is always 0, so that a client can read
    /// the answer before it knows what the broker speaks.
    pub fn response_header_version(self, version: i16) -> i16 {
        (self != ApiKey::ApiVersions && self.is_flexible(version)).into()
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What stands before every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API.
    pub api: ApiKey,
    /// Which version of it; not checked against the versions that are known.
    pub version: i16,
    /// Repeated in the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Reads a header; the body follows in the reader.
    pub fn decode(r: &mut Reader) -> Result<RequestHeader, DecodeError> {
        RequestHeader::read(r).map_err(|e| e.within("RequestHeader"))
    }

    fn read(r: &mut Reader) -> Result<RequestHeader, DecodeError> {
        let number = r.i16()?;
        let api = ApiKey::from_number(number).ok_or_else(|| r.fault(Reason::Unknown(number.into())))?;
        let version = r.i16()?;
        let correlation_id = r.i32()?;
        // Never compact, so that the client's name can be read whatever the version.
        let client_id = r.nullable_string(false)?;
        if api.request_header_version(version) >= 2 {
            r.tags(&mut |_, _| Ok(false))?;
        }
        Ok(RequestHeader { api, version, correlation_id, client_id })
    }

    /// Writes the header in the form that its API and version ask for.
    pub fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        w.put_i16(self.api.number());
        w.put_i16(self.version);
        w.put_i32(self.correlation_id);
        w.put_nullable_string(self.client_id.as_deref(), false)?;
        if self.api.request_header_version(self.version) >= 2 {
            w.put_uvarint(0);
        }
        Ok(())
    }
}

/// What stands before every response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The number that the request had.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header of the answer to a request of this API and version.
    pub fn decode(r: &mut Reader, api: ApiKey, version: i16) -> Result<ResponseHeader, DecodeError> {
        let read = |r: &mut Reader| {
            let correlation_id = r.i32()?;
            if api.response_header_version(version) >= 1 {
                r.tags(&mut |_, _| Ok(false))?;
            }
            Ok(ResponseHeader { correlation_id })
        };
        read(r).map_err(|e: DecodeError| e.within("ResponseHeader"))
    }

    /// Writes the header of the answer to a request of this API and version.
    pub fn encode(&self, w: &mut Writer, api: ApiKey, version: i16) {
        w.put_i32(self.correlation_id);
        if api.response_header_version(version) >= 1 {
            w.put_uvarint(0);
        }
    }
}

/// A request as a whole frame: its size, header and body, as slices to be sent in order.
pub fn request_frame<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Vec<Bytes>, EncodeError> {
    let header =
        RequestHeader { api: R::API, version, correlation_id, client_id: client_id.map(str::to_owned) };
    frame(|w| {
        header.encode(w)?;
        Message::encode(request, w, version)
    })
}

/// A response as a whole frame: its size, header and body, as slices to be sent in order.
pub fn response_frame<R: Response>(
    response: &R,
    version: i16,
    correlation_id: i32,
) -> Result<Vec<Bytes>, EncodeError> {
    frame(|w| {
        ResponseHeader { correlation_id }.encode(w, R::API, version);
        Message::encode(response, w, version)
    })
}

/// Reads the answer to a request from a frame without its size: the correlation id and the body.
pub fn read_response<R: Response>(frame: Bytes, version: i16) -> Result<(i32, R), DecodeError> {
    let mut r = Reader::new(frame);
    let header = ResponseHeader::decode(&mut r, R::API, version)?;
    let body = <R as Message>::decode(&mut r, version)?;
    r.finish()?;
    Ok((header.correlation_id, body))
}

/// Puts the size before what `write` writes.
fn frame(write: impl FnOnce(&mut Writer) -> Result<(), EncodeError>) -> Result<Vec<Bytes>, EncodeError> {
    let mut w = Writer::with_capacity(256);
    w.put_i32(0);
    write(&mut w)?;
    let size = w.len() - 4;
    w.patch_i32(0, i32::try_from(size).map_err(|_| EncodeError::new(Refusal::TooLong(size)))?);
    Ok(w.into_slices())
}

#[cfg(test)]
mod tests;
