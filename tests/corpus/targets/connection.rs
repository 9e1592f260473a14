//! A whole node on the simulated twin, and what a client may send it.
//!
//! Whatever comes, the node goes on: it answers with what can be read, or ends that connection alone; it serves another
//! client afterwards, and what is in its log stands.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ottla::broker::node::{self, Event, Node};
use ottla::config::{BrokerConfig, Profile};
use ottla::reactor::sim::{NodeId, Options, World};
use ottla::reactor::{Class, Reactor};
use ottla::sim::client::Client;
use ottla::wire::api::{ApiKey, RequestHeader, ResponseHeader};
use ottla::wire::batch::{BatchBuilder, batches};
use ottla::wire::codec::{Reader, Writer};
use ottla::wire::error::ErrorCode;
use ottla::wire::schema::{
    self, ApiVersionsRequest, CreatableTopic, CreateTopicsRequest, Entry, FetchPartition, FetchRequest,
    FetchTopic, PartitionProduceData, ProduceRequest, Role, TopicProduceData,
};

use super::input::Input;

const PATIENCE: Duration = Duration::from_secs(600);
/// The most requests of one input.
const REQUESTS: usize = 16;

static ANSWERS: LazyLock<BTreeMap<ApiKey, Entry>> = LazyLock::new(|| {
    let answer = |entry: Entry| match entry.role {
        Role::Response(api) => Some((api, entry)),
        _ => None,
    };
    schema::all().filter_map(answer).collect()
});

/// The first byte says whether the rest is sent as it is, or as requests: the API's number, the version, two bytes of
/// length, and the body.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let how = input.u8();
    let (mut sent, mut asked) = (Vec::new(), Vec::new());
    if how & 1 != 0 {
        sent.extend_from_slice(input.rest());
    } else {
        while !input.is_empty() && asked.len() < REQUESTS {
            let Some(api) = ApiKey::from_number(i16::from(input.u8())) else { break };
            let (version, length) = (i16::from(input.u8() as i8), usize::from(input.u16()));
            let request = RequestHeader {
                api,
                version,
                correlation_id: asked.len() as i32,
                client_id: Some("fuzz".into()),
            };
            let mut writer = Writer::new();
            request.encode(&mut writer).expect("a short name can be written");
            writer.put_slice(input.take(length));
            let frame = writer.into_bytes();
            sent.extend_from_slice(&(frame.len() as i32).to_be_bytes());
            sent.extend_from_slice(&frame);
            asked.push(request);
        }
    }
    let cluster = Cluster::start(how & 2 != 0);
    let answers = cluster.send(sent.into());
    // A request that wants no answer leaves a gap.
    let mut left = asked.iter();
    for answer in answers.iter().filter(|_| how & 1 == 0) {
        let id = Reader::new(answer.clone()).i32().expect("an answer has a header");
        let request = left.find(|request| request.correlation_id == id);
        read(request.expect("answers come in the order of the requests"), answer.clone());
    }
    let remains = cluster.world.remains();
    cluster.check();
    assert_eq!(remains.holders(), 0, "a node leaves nothing in memory behind");
}

/// An answer can be read in the version that was asked for.
fn read(request: &RequestHeader, answer: Bytes) {
    let RequestHeader { api, version, .. } = *request;
    // An unknown version of ApiVersions is answered in the lowest; the lowest ones of Produce are there to be refused.
    let version = match api {
        ApiKey::ApiVersions if !api.versions().contains(&version) => 0,
        _ if !api.versions().contains(&version) => return,
        _ => version,
    };
    let mut reader = Reader::new(answer);
    ResponseHeader::decode(&mut reader, api, version).expect("an answer has a header");
    let body = reader.rest();
    let again = (ANSWERS[&api].again)(body.clone(), version);
    assert_eq!(again.as_ref(), Ok(&body), "{api} {version}");
}

struct Cluster {
    world: World,
    node: NodeId,
    address: SocketAddr,
    client: Reactor,
    ended: Arc<Mutex<Option<Result<(), String>>>>,
}

impl Cluster {
    /// A node that serves, with a topic of two partitions, one of which has a batch.
    fn start(fragmented: bool) -> Cluster {
        let mut options = Options::calm();
        options.network.fragment = if fragmented { 500_000 } else { 0 };
        let world = World::new(1, options);
        let node = world.add_node();
        let address = world.address(node, 9092);
        let settings = [
            ("log.dirs", "/data".to_owned()),
            ("listeners", format!("PLAINTEXT://{address}")),
            ("auto.create.topics.enable", "false".to_owned()),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        let broker = Node {
            config: Arc::new(BrokerConfig::read("", "", &settings).expect("the settings are valid")),
            addresses: vec![address],
            cores: Profile::default().resolve(&[0], 32 << 20).expect("the profile is valid"),
            accept_loss: Vec::new(),
            accept_no_barrier: false,
            loggers: Arc::default(),
        };
        let ended = Arc::new(Mutex::new(None));
        let serving = Arc::new(Mutex::new(false));
        let (told, serves) = (ended.clone(), serving.clone());
        let report = move |event| match event {
            Event::Serving(..) => *serves.lock().expect("nobody panics with it") = true,
            Event::Ended(how) => *told.lock().expect("nobody panics with it") = Some(how),
            _ => {}
        };
        world.start(node, node::cores(broker, Box::new(report)));
        let client = world.add_client();
        assert!(world.run_until(PATIENCE, || *serving.lock().expect("nobody panics with it")));
        let cluster = Cluster { world, node, address, client, ended };
        let (reactor, address) = (cluster.client.clone(), cluster.address);
        cluster.world.run(&cluster.client, PATIENCE, async move {
            let mut client = Client::connect(&reactor, address).await.expect("it listens");
            let topic = CreatableTopic {
                name: "t".into(),
                num_partitions: 2,
                replication_factor: 1,
                ..Default::default()
            };
            let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() };
            let answer = client.ask(&request, 5).await.expect("it answers");
            assert_eq!(answer.topics[0].error_code, ErrorCode::NONE);
            let answer = client.ask(&produce(), 9).await.expect("it answers");
            assert_eq!(answer.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
        });
        cluster
    }

    /// Sends, and gives what comes back until the node ends the connection or is silent.
    fn send(&self, bytes: Bytes) -> Vec<Bytes> {
        let (reactor, address) = (self.client.clone(), self.address);
        let (answers, done) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(false)));
        let (told, over) = (answers.clone(), done.clone());
        self.client.spawn(Class::Request, async move {
            let (mut receiver, mut sender) = reactor.connect(address).await.expect("it listens");
            let reader = async move {
                let mut all = Vec::new();
                let mut piece = vec![0; 4096];
                while let Ok(len @ 1..) = receiver.receive(&mut piece).await {
                    all.extend_from_slice(&piece[..len]);
                    while let Some((length, rest)) = all.split_first_chunk::<4>() {
                        let length = i32::from_be_bytes(*length) as usize;
                        let Some(frame) = rest.get(..length) else { break };
                        told.borrow_mut().push(Bytes::copy_from_slice(frame));
                        all.drain(..4 + length);
                    }
                }
                *over.borrow_mut() = true;
            };
            reactor.spawn(Class::Request, reader);
            // The node may end the connection before it has read all.
            let _ = sender.send(vec![bytes]).await;
            sender.shut_down();
        });
        self.world.run_until(Duration::from_secs(3), || *done.borrow());
        answers.take()
    }

    /// The node serves, and what is in its log stands.
    fn check(self) {
        let ended = self.ended.lock().expect("nobody panics with it").clone();
        assert_eq!(ended, None, "the node goes on");
        let (reactor, address) = (self.client.clone(), self.address);
        self.world.run(&self.client, PATIENCE, async move {
            let mut client = Client::connect(&reactor, address).await.expect("it listens");
            let answer = client.ask(&ApiVersionsRequest::default(), 0).await.expect("it answers");
            assert_eq!(answer.error_code, ErrorCode::NONE);
            let mut client = Client::connect(&reactor, address).await.expect("it listens");
            let answer = client.ask(&fetch(), 11).await.expect("it answers");
            for part in answer.responses.iter().flat_map(|topic| &topic.partitions) {
                let bytes = part.records.as_ref().map(|records| records.to_bytes()).unwrap_or_default();
                let mut end = 0;
                for batch in batches(&bytes).map_while(Result::ok) {
                    batch.check().expect("what is served stands");
                    assert!(batch.base_offset() >= end && batch.last_offset() < part.high_watermark);
                    end = batch.last_offset() + 1;
                }
            }
        });
        let log = Path::new("/data/t-0/00000000000000000000.log");
        drop(self.world.disk(self.node).content(log, ottla::reactor::sim::View::Current));
    }
}

fn produce() -> ProduceRequest {
    let mut builder = BatchBuilder::new();
    builder.append(1_000_000, Some(b"key"), Some(b"value"), &[]);
    let records = Some(Bytes::from(builder.build().expect("it can be built")));
    let part = PartitionProduceData { index: 0, records };
    let topic = TopicProduceData { name: "t".into(), partition_data: vec![part], ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 5000, topic_data: vec![topic], ..Default::default() }
}

fn fetch() -> FetchRequest {
    let part = |partition| FetchPartition { partition, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: "t".into(), partitions: vec![part(0), part(1)], ..Default::default() };
    FetchRequest { max_bytes: 1 << 20, topics: vec![topic], ..Default::default() }
}
