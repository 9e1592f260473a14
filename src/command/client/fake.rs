//! A broker for tests: it answers what it is told to, and keeps what it was asked.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::command::Global;
use crate::command::output::Format;
use crate::wire::api::{ApiKey, RequestHeader, response_frame};
use crate::wire::codec::Reader;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    ApiVersion, ApiVersionsResponse, FetchRequest, FetchResponse, InitProducerIdResponse, ListOffsetsRequest,
    ListOffsetsResponse, Message, MetadataRequest, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic, ProduceRequest, ProduceResponse, Request,
};
use crate::wire::uuid::Uuid;

/// The id of the only topic, "t".
pub const TOPIC_ID: Uuid = Uuid([7; 16]);

/// What the broker does with one Produce or Fetch request.
pub enum Answer<T> {
    /// Sends this.
    Send(T),
    /// Closes the connection without a word.
    Close,
}

/// What the broker is to do, and what it has seen.
#[derive(Default)]
pub struct Script {
    /// Answers to Produce, in order.
    pub produce: VecDeque<Answer<ProduceResponse>>,
    /// Answers to Fetch, in order; when they run out, nothing is fetched any more.
    pub fetch: VecDeque<Answer<FetchResponse>>,
    /// What ListOffsets answers for every partition: the first and the next offset.
    pub offsets: (i64, i64),
    /// The Produce requests that came.
    pub produced: Vec<ProduceRequest>,
    /// The Fetch requests that came.
    pub fetched: Vec<FetchRequest>,
    /// How many producer ids were given out.
    pub producers: i64,
}

/// A running fake.
pub struct Fake {
    pub script: Arc<Mutex<Script>>,
    address: String,
}

impl Fake {
    /// Starts a broker that leads the one partition of topic "t".
    pub fn start(script: Script) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(script));
        let shared = script.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (socket, script) = (socket.unwrap(), shared.clone());
                std::thread::spawn(move || serve(socket, address.port().into(), &script));
            }
        });
        Fake { script, address: address.to_string() }
    }

    /// The arguments of a client of this broker.
    pub fn global(&self) -> Global {
        Global {
            bootstrap_server: self.address.clone(),
            output: Format::Text,
            quiet: true,
            request_timeout_ms: 1000,
        }
    }
}

/// Serves one connection until the script or the client ends it.
fn serve(mut socket: TcpStream, port: i32, script: &Mutex<Script>) -> Option<()> {
    loop {
        let mut size = [0; 4];
        socket.read_exact(&mut size).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        socket.read_exact(&mut frame).ok()?;
        let mut reader = Reader::new(frame.into());
        let header = RequestHeader::decode(&mut reader).unwrap();
        for slice in answer(&header, &mut reader, port, script)? {
            socket.write_all(&slice).ok()?;
        }
    }
}

fn decode<R: Request>(header: &RequestHeader, reader: &mut Reader) -> R {
    <R as Message>::decode(reader, header.version).unwrap()
}

/// The frame of an answer; none closes the connection.
fn answer(
    header: &RequestHeader,
    reader: &mut Reader,
    port: i32,
    script: &Mutex<Script>,
) -> Option<Vec<Bytes>> {
    let (version, id) = (header.version, header.correlation_id);
    let mut script = script.lock().unwrap();
    let frame = match header.api {
        ApiKey::ApiVersions => response_frame(&versions(), version, id),
        ApiKey::Metadata => {
            decode::<MetadataRequest>(header, reader);
            response_frame(&metadata(port), version, id)
        }
        ApiKey::InitProducerId => {
            script.producers += 1;
            let answer = InitProducerIdResponse { producer_id: script.producers, ..Default::default() };
            response_frame(&answer, version, id)
        }
        ApiKey::ListOffsets => {
            let request: ListOffsetsRequest = decode(header, reader);
            response_frame(&offsets(&request, script.offsets), version, id)
        }
        ApiKey::Produce => {
            script.produced.push(decode(header, reader));
            match script.produce.pop_front().expect("no more Produce requests were foreseen") {
                Answer::Close => return None,
                Answer::Send(answer) => response_frame(&answer, version, id),
            }
        }
        ApiKey::Fetch => {
            script.fetched.push(decode(header, reader));
            match script.fetch.pop_front() {
                Some(Answer::Close) => return None,
                Some(Answer::Send(answer)) => response_frame(&answer, version, id),
                None => {
                    drop(script);
                    std::thread::sleep(std::time::Duration::from_millis(10));
                    response_frame(&FetchResponse::default(), version, id)
                }
            }
        }
        other => panic!("{other} was not foreseen"),
    };
    Some(frame.unwrap())
}

fn versions() -> ApiVersionsResponse {
    let known = [
        ApiKey::Produce,
        ApiKey::Fetch,
        ApiKey::ListOffsets,
        ApiKey::Metadata,
        ApiKey::ApiVersions,
        ApiKey::InitProducerId,
    ];
    let version = |api: ApiKey| ApiVersion {
        api_key: api.number(),
        min_version: *api.versions().start(),
        max_version: *api.versions().end(),
    };
    ApiVersionsResponse { api_keys: known.into_iter().map(version).collect(), ..Default::default() }
}

fn metadata(port: i32) -> MetadataResponse {
    let partition = MetadataResponsePartition {
        leader_id: 1,
        replica_nodes: vec![1],
        isr_nodes: vec![1],
        ..Default::default()
    };
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: 1,
            host: "127.0.0.1".into(),
            port,
            ..Default::default()
        }],
        controller_id: 1,
        topics: vec![MetadataResponseTopic {
            name: Some("t".into()),
            topic_id: TOPIC_ID,
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn offsets(request: &ListOffsetsRequest, (first, next): (i64, i64)) -> ListOffsetsResponse {
    use crate::wire::schema::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
    let topics = request.topics.iter().map(|t| ListOffsetsTopicResponse {
        name: t.name.clone(),
        partitions: t
            .partitions
            .iter()
            .map(|p| ListOffsetsPartitionResponse {
                partition_index: p.partition_index,
                error_code: ErrorCode::NONE,
                offset: if p.timestamp == super::EARLIEST { first } else { next },
                ..Default::default()
            })
            .collect(),
    });
    ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
}
