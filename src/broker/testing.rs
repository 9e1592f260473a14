//! A broker without disks for tests of connections and APIs: real cores, connections, bus and APIs in a
//! simulated world, over shards that keep batches in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::call::{Caller, Responder};
use super::connection;
use super::connection_limits::Board;
use super::controller::Command;
use super::core::{Core, Settings, serve_bus};
use super::listener::{accept, keep_within_limits};
use super::messages::*;
use crate::config::BrokerConfig;
use crate::controller::{Answer, Controller, Image};
use crate::coordinator;
use crate::reactor::bus::mesh;
use crate::reactor::sim::{NodeId, Options, World};
use crate::reactor::{Class, CoreMain, CoreSpec, Reactor, Receiver, Sender};
use crate::wire::api::{read_response, request_frame};
use crate::wire::batch::{Batch, BatchBuilder, BatchMut};
use crate::wire::error::ErrorCode;
use crate::wire::metadata_record::MetadataRecord;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

pub const PORT: u16 = 9092;
const NODE: i32 = 1;

/// What a test decides about its broker, and what it learns of it.
#[derive(Default)]
pub struct Control {
    /// How long the partition of this number takes to acknowledge.
    pub acknowledge_after: BTreeMap<i32, Duration>,
    /// The partitions of all produce calls, in the order in which the shards saw them.
    pub produced: Vec<i32>,
    /// How many fetch calls there were.
    pub fetches: usize,
    /// Open connections per core, as the board and the cores count them.
    pub connections: BTreeMap<usize, usize>,
    /// Bytes of the pool's frames that are in use, per core.
    pub frames: BTreeMap<usize, usize>,
    /// Bytes of small requests that wait for their turn, per core.
    pub queued: BTreeMap<usize, usize>,
    /// How many members wait for the others of their groups, until one leaves.
    pub joining: usize,
}

pub type SharedControl = Arc<Mutex<Control>>;

/// A world with one broker.
pub struct TestBroker {
    pub world: World,
    pub node: NodeId,
    pub control: SharedControl,
}

impl TestBroker {
    /// Two cores, and topics of these names with so many partitions, which take turns on the cores.
    pub fn start(seed: u64, options: Options, settings: Settings, topics: &[(&str, i32)]) -> TestBroker {
        let world = World::new(seed, options);
        let node = world.add_node();
        let control = SharedControl::default();
        let image = Arc::new(image(topics));
        let mains = mesh::<ToCore>(2).into_iter().map(|end| {
            let (settings, image, control) = (settings.clone(), image.clone(), control.clone());
            let main: CoreMain =
                Box::new(move |reactor| Box::pin(run(reactor, end, settings, image, control)));
            (CoreSpec { memory: 64 << 20, ..CoreSpec::default() }, main)
        });
        world.start(node, mains.collect());
        TestBroker { world, node, control }
    }

    pub fn calm(topics: &[(&str, i32)]) -> TestBroker {
        TestBroker::start(1, Options::calm(), Settings::default(), topics)
    }

    /// Runs a client until it is done.
    #[track_caller]
    pub fn client<T: 'static>(&self, limit: Duration, run: impl AsyncFnOnce(TestClient) -> T + 'static) -> T {
        let reactor = self.world.add_client();
        let address = self.world.address(self.node, PORT);
        let on = reactor.clone();
        self.world.run(&reactor, limit, async move { run(TestClient::connect(on, address).await).await })
    }

    pub fn control(&self) -> std::sync::MutexGuard<'_, Control> {
        self.control.lock().unwrap()
    }
}

/// The metadata of one broker with these topics.
pub fn image(topics: &[(&str, i32)]) -> Image {
    let endpoint = BrokerEndpoint {
        name: "PLAINTEXT".to_string(),
        host: "here".to_string(),
        port: PORT,
        security_protocol: 0,
    };
    let mut records: Vec<MetadataRecord> = vec![
        RegisterBrokerRecord {
            broker_id: NODE,
            end_points: vec![endpoint],
            fenced: false,
            ..Default::default()
        }
        .into(),
    ];
    for (name, partitions) in topics {
        let topic_id = topic_id(name);
        records.push(TopicRecord { name: name.to_string(), topic_id }.into());
        for partition_id in 0..*partitions {
            let (replicas, isr, cores) = (vec![NODE], vec![NODE], vec![partition_id % 2]);
            let record = PartitionRecord {
                partition_id,
                topic_id,
                replicas,
                isr,
                cores,
                leader: NODE,
                leader_epoch: 4,
                partition_epoch: 0,
                ..Default::default()
            };
            records.push(record.into());
        }
    }
    Image::empty("cluster").apply(&records, 0).unwrap()
}

/// The id that a test's topic has.
pub fn topic_id(name: &str) -> Uuid {
    let mut id = [7; 16];
    let len = name.len().min(id.len());
    id[..len].copy_from_slice(&name.as_bytes()[..len]);
    Uuid(id)
}

/// One core's main function.
async fn run(
    reactor: Reactor,
    end: crate::reactor::bus::BusEnd<ToCore>,
    settings: Settings,
    image: Arc<Image>,
    control: SharedControl,
) {
    let shard =
        Rc::new(FakeShard { reactor: reactor.clone(), control: control.clone(), ..FakeShard::new(&reactor) });
    let handler = {
        let shard = shard.clone();
        Rc::new(move |request, responder| shard.handle(request, responder))
    };
    let caller = Caller::new(end, handler);
    caller.start(&reactor);
    let core = Core::new(reactor.clone(), caller, Arc::new(BrokerConfig::defaults()), settings, image);
    let seen = Rc::new(Cell::new(-1));
    reactor.spawn(Class::Request, serve_bus(core.clone(), images(core.clone(), seen.clone())));
    reactor.spawn(Class::Background, connection::look_after(core.clone()));
    if reactor.core() == 0 {
        reactor.spawn(Class::Coordination, control_cluster(core.clone(), shard, seen));
    }
    let board = (reactor.core() == 0).then(|| Rc::new(Board::new(&[true, true], &core.settings)));
    if let Some(board) = &board {
        *core.board.borrow_mut() = Some(board.clone());
        reactor.spawn(Class::Background, keep_within_limits(core.clone(), board.clone()));
        for (index, port) in (0..core.settings.listeners.len()).zip(PORT..) {
            let listener = reactor.listen(([0, 0, 0, 0], port).into()).unwrap();
            reactor.spawn(Class::Request, accept(core.clone(), board.clone(), listener, index));
        }
    }
    let stop = reactor.stop_requested();
    while !stop.is_done() {
        reactor.sleep(Duration::from_millis(1)).await;
        let mut control = control.lock().unwrap();
        control.connections.insert(reactor.core(), core.connections.len());
        control.frames.insert(reactor.core(), reactor.pool().used(crate::reactor::Share::Frames));
        control.queued.insert(reactor.core(), core.queued.get());
        if let Some(board) = &board {
            control.connections.insert(usize::MAX, board.total());
        }
    }
}

/// What a core does with images: goes by them, and says so.
fn images(core: Rc<Core>, seen: Rc<Cell<i64>>) -> impl Fn(usize, ToCore) {
    move |from, message| match message {
        ToCore::Image(image) => {
            let version = image.version();
            core.set_image(image);
            core.caller.send(from, ToCore::ImageSeen(version));
        }
        ToCore::ImageSeen(version) => seen.set(version),
        _ => unreachable!("nothing else is sent"),
    }
}

/// The controller, without a log: what it proposes is committed.
async fn control_cluster(core: Rc<Core>, shard: Rc<FakeShard>, seen: Rc<Cell<i64>>) {
    let mut controller = Controller::new(&core.config, core.image());
    loop {
        core.reactor.sleep(Duration::from_millis(1)).await;
        let commands = shard.commands.take();
        for (command, responder) in commands {
            let mut chance = || core.reactor.random();
            let decided = command.decide(&controller, (NODE, 0), &mut chance);
            let Answer { reply, records } = decided.unwrap();
            let offset = controller.committed().version() + 1;
            if let Some(proposal) = controller.propose(records, offset).unwrap() {
                let image = controller.applied(offset, &proposal.records).unwrap().clone();
                core.set_image(image.clone());
                core.caller.send(1, ToCore::Image(image.clone()));
                while seen.get() < image.version() {
                    core.reactor.sleep(Duration::from_micros(100)).await;
                }
            }
            responder.answer(ShardReply::Command(reply));
        }
    }
}

/// A shard that keeps batches in memory.
struct FakeShard {
    reactor: Reactor,
    control: SharedControl,
    logs: RefCell<BTreeMap<PartitionId, Log>>,
    watches: RefCell<Vec<(WatchCall, Responder)>>,
    /// Who waits for the others of a group.
    joining: RefCell<Vec<(coordinator::Request, Responder)>>,
    /// For the controller's task.
    commands: RefCell<Vec<(Command, Responder)>>,
}

#[derive(Default)]
struct Log {
    batches: Vec<(i64, Bytes)>,
    end: i64,
    /// What was acknowledged.
    high_watermark: i64,
}

impl FakeShard {
    fn new(reactor: &Reactor) -> FakeShard {
        FakeShard {
            reactor: reactor.clone(),
            control: SharedControl::default(),
            logs: RefCell::default(),
            watches: RefCell::default(),
            joining: RefCell::default(),
            commands: RefCell::default(),
        }
    }

    fn handle(self: &Rc<FakeShard>, request: ShardRequest, responder: Responder) {
        match request {
            ShardRequest::Produce(call) => self.produce(call, responder),
            ShardRequest::Fetch(call) => {
                self.control.lock().unwrap().fetches += 1;
                responder.answer(ShardReply::Fetch(self.fetch(call)));
            }
            ShardRequest::Watch(call) => {
                self.watches.borrow_mut().push((call, responder));
                self.wake();
            }
            ShardRequest::ListOffsets(parts) => {
                let logs = self.logs.borrow();
                let find = |part: &ListOffsetsPart| {
                    let end = logs.get(&part.id).map_or(0, |log| log.high_watermark);
                    ListOffsetsReply {
                        error: ErrorCode::NONE,
                        timestamp: -1,
                        offset: if part.timestamp == -1 { end } else { 0 },
                        leader_epoch: 4,
                    }
                };
                responder.answer(ShardReply::ListOffsets(parts.iter().map(find).collect()));
            }
            ShardRequest::EpochEnds(parts) => {
                responder.answer(ShardReply::EpochEnds(vec![Ok((4, 0)); parts.len()]));
            }
            ShardRequest::DeleteRecords(parts) => {
                let starts = parts.iter().map(|part| Ok(part.before.max(0))).collect();
                responder.answer(ShardReply::DeleteRecords(starts));
            }
            ShardRequest::DescribeProducers(parts, _) => {
                responder.answer(ShardReply::DescribeProducers(vec![Ok(Vec::new()); parts.len()]));
            }
            ShardRequest::DescribeLogDirs(_) => {
                responder.answer(ShardReply::DescribeLogDirs(LogDirsReply::default()));
            }
            ShardRequest::Relocate(moves) => {
                let none = moves.iter().map(|_| Err(ErrorCode::KAFKA_STORAGE_ERROR));
                responder.answer(ShardReply::Relocate(none.collect()));
            }
            ShardRequest::Group(call) => {
                if matches!(call.request, coordinator::Request::Join(..)) {
                    self.joining.borrow_mut().push((call.request, responder));
                } else {
                    let joining = self.joining.take();
                    for (request, responder) in joining.into_iter().chain([(call.request, responder)]) {
                        let refused = coordinator::refuse(request, ErrorCode::NOT_COORDINATOR);
                        responder.answer(ShardReply::Group(Box::new(refused)));
                    }
                }
                self.control.lock().unwrap().joining = self.joining.borrow().len();
            }
            ShardRequest::Transaction(call) => {
                let refused =
                    crate::coordinator::transaction::refuse(call.request, ErrorCode::NOT_COORDINATOR);
                responder.answer(ShardReply::Transaction(Box::new(refused)));
            }
            ShardRequest::WriteMarkers(parts) => {
                let none = parts.iter().map(|_| ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
                responder.answer(ShardReply::WriteMarkers(none.collect()));
            }
            ShardRequest::Command(command) => self.commands.borrow_mut().push((command, responder)),
        }
    }

    fn produce(self: &Rc<FakeShard>, call: ProduceCall, responder: Responder) {
        let (mut replies, mut moved, mut wait) = (Vec::new(), Vec::new(), Duration::ZERO);
        for part in call.parts {
            let mut control = self.control.lock().unwrap();
            control.produced.push(part.id.partition);
            wait = wait.max(control.acknowledge_after.get(&part.id.partition).copied().unwrap_or_default());
            let mut logs = self.logs.borrow_mut();
            let log = logs.entry(part.id).or_default();
            let mut bytes = part.batch.to_vec();
            BatchMut::first(&mut bytes).unwrap().set_base_offset(log.end);
            let base_offset = log.end;
            log.end = Batch::first(&bytes).unwrap().last_offset() + 1;
            log.batches.push((log.end, bytes.into()));
            moved.push((part.id, log.end));
            replies.push(ProducePartReply {
                error: ErrorCode::NONE,
                message: None,
                base_offset,
                log_append_time: -1,
                log_start_offset: 0,
            });
        }
        let shard = self.clone();
        self.reactor.spawn(Class::Request, async move {
            shard.reactor.sleep(wait).await;
            for (id, end) in moved {
                shard.logs.borrow_mut().get_mut(&id).unwrap().high_watermark = end;
            }
            shard.wake();
            responder.answer(ShardReply::Produce(replies));
        });
    }

    fn fetch(&self, call: FetchCall) -> Vec<FetchPartReply> {
        let (mut left, mut found) = (call.max_bytes, false);
        let logs = self.logs.borrow();
        let read = |part: &FetchPart| {
            let empty = Log::default();
            let log = logs.get(&part.id).unwrap_or(&empty);
            if part.offset < 0 || part.offset > log.high_watermark {
                return FetchPartReply::failed(ErrorCode::OFFSET_OUT_OF_RANGE);
            }
            let (mut records, mut room) = (Vec::new(), left.min(part.max_bytes));
            let readable =
                log.batches.iter().filter(|(end, _)| *end > part.offset && *end <= log.high_watermark);
            let mut more = false;
            for (_, batch) in readable {
                if batch.len() > room && found {
                    more = true;
                    break;
                }
                room = room.saturating_sub(batch.len());
                left = left.saturating_sub(batch.len());
                found = true;
                records.push(batch.clone());
            }
            let (hw, start) = (log.high_watermark, 0);
            FetchPartReply {
                high_watermark: hw,
                last_stable_offset: hw,
                log_start_offset: start,
                records,
                more,
                ..FetchPartReply::failed(ErrorCode::NONE)
            }
        };
        call.parts.iter().map(read).collect()
    }

    fn wake(&self) {
        let (logs, now) = (self.logs.borrow(), self.reactor.now());
        let hw = |id: &PartitionId| logs.get(id).map_or(0, |log| log.high_watermark);
        let woken: Vec<_> = self
            .watches
            .borrow_mut()
            .extract_if(.., |(call, _)| {
                call.deadline <= now || call.parts.iter().any(|(id, seen)| hw(id) != *seen)
            })
            .collect();
        drop(logs);
        woken.into_iter().for_each(|(_, responder)| responder.answer(ShardReply::Watch));
    }
}

/// A client of a test.
pub struct TestClient {
    pub reactor: Reactor,
    receiver: Receiver,
    sender: Sender,
    next: i32,
}

impl TestClient {
    pub async fn connect(reactor: Reactor, address: std::net::SocketAddr) -> TestClient {
        let (receiver, sender) = loop {
            // The broker's listener may not be there yet.
            match reactor.connect(address).await {
                Ok(halves) => break halves,
                Err(_) => reactor.sleep(Duration::from_millis(1)).await,
            }
        };
        TestClient { reactor, receiver, sender, next: 0 }
    }

    /// Sends bytes as they are; false if the connection is gone.
    pub async fn send_raw(&mut self, bytes: impl Into<Bytes>) -> bool {
        self.sender.send(vec![bytes.into()]).await.is_ok()
    }

    /// Sends a request; gives its correlation id.
    pub async fn send<R: Request>(&mut self, request: &R, version: i16) -> i32 {
        self.next += 1;
        self.sender.send(request_frame(request, version, self.next, Some("test")).unwrap()).await.unwrap();
        self.next
    }

    /// Receives one whole frame without its length; none if the connection ends before.
    pub async fn receive_raw(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.fill(&mut length).await?;
        let mut frame = vec![0; i32::from_be_bytes(length) as usize];
        self.fill(&mut frame).await?;
        Some(frame.into())
    }

    async fn fill(&mut self, mut into: &mut [u8]) -> Option<()> {
        while !into.is_empty() {
            let len = self.receiver.receive(into).await.ok().filter(|len| *len > 0)?;
            into = &mut into[len..];
        }
        Some(())
    }

    /// Receives a response, and the correlation id that it repeats.
    pub async fn receive<R: Response>(&mut self, version: i16) -> (i32, R) {
        read_response(self.receive_raw().await.expect("the connection stands"), version).unwrap()
    }

    /// Asks and waits for the answer.
    pub async fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let id = self.send(request, version).await;
        let (answered, response) = self.receive(version).await;
        assert_eq!(answered, id);
        response
    }

    /// Whether the broker has ended the connection, which is waited for.
    pub async fn is_ended(&mut self) -> bool {
        self.receive_raw().await.is_none()
    }
}

/// A batch of one record with a value of this length.
pub fn batch(value: usize) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.append(1_000, None, Some(&vec![b'v'; value]), &[]);
    builder.build().unwrap().into()
}

/// A request that appends one batch to each of these partitions of a topic.
pub fn produce(topic: &str, acks: i16, parts: &[(i32, Bytes)]) -> ProduceRequest {
    let partition_data = parts
        .iter()
        .map(|(index, batch)| PartitionProduceData { index: *index, records: Some(batch.clone()) });
    let topic_data = vec![TopicProduceData {
        name: topic.to_string(),
        topic_id: topic_id(topic),
        partition_data: partition_data.collect(),
    }];
    ProduceRequest { transactional_id: None, acks, timeout_ms: 1000, topic_data }
}

/// A request that reads these partitions of a topic from these offsets on, without a session.
pub fn fetch(topic: &str, max_wait: Duration, parts: &[(i32, i64)]) -> FetchRequest {
    let partitions = parts.iter().map(|(partition, fetch_offset)| FetchPartition {
        partition: *partition,
        fetch_offset: *fetch_offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    });
    FetchRequest {
        max_wait_ms: max_wait.as_millis() as i32,
        min_bytes: 1,
        max_bytes: 50 << 20,
        topics: vec![FetchTopic {
            topic: topic.to_string(),
            topic_id: topic_id(topic),
            partitions: partitions.collect(),
        }],
        ..FetchRequest::default()
    }
}
