//! A core's partitions, and all that happens to them.
//!
//! Lives on its core as long as the node runs. [`Shard::handle`] orders a request the moment it is called and
//! never waits; what must wait (memory, the disk, the high watermark) is queued in order. Four tasks run beside
//! it: the writer and the flusher of the rounds ([`flush`](super::flush)), the upkeep
//! ([`upkeep`](super::upkeep)), and the pump of the produces that wait for memory ([`produce`](super::produce)).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::call::Responder;
use super::cleaner::CleanerConfig;
use super::coordinator::groups::GroupSeats;
use super::coordinator::transactions::TransactionSeats;
use super::kept_memory::KeptMemory;
use super::messages::{PartitionId, ShardReply, ShardRequest};
use super::produce::Parked;
use super::read_cache::ReadCache;
use super::relocate::MOVES_AT_ONCE;
use super::replica::{Replica, State};
use super::shared_rate::SharedRate;
use super::verification::Questions;
use super::volume::{SharedVolume, Volume};
use crate::collections::{Map, Set};
use crate::limits::TAIL_MEMORY;
use crate::log::growth::Steps;
use crate::partition::producers::ProducerRoom;
use crate::reactor::sync::{Bell, Completion, Semaphore};
use crate::reactor::{Class, Reactor, Share};
use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

/// Kafka's default of `log.retention.check.interval.ms`.
const RETENTION_CHECK: Duration = Duration::from_secs(300);
/// Kafka's defaults of `producer.id.expiration.ms` and `producer.id.expiration.check.interval.ms`.
const PRODUCER_EXPIRY: (i64, Duration) = (86_400_000, Duration::from_secs(600));

/// Why a partition is not served whose log directory has failed.
pub(super) const OFFLINE: &str = "the log directory is offline";

/// A core's partitions.
pub struct Shard {
    /// The core's reactor.
    pub reactor: Reactor,
    /// Where its partitions' folders are: the log directories that worked when the node started.
    pub volumes: Vec<SharedVolume>,
    replicas: RefCell<Map<PartitionId, Rc<Replica>>>,
    /// Partitions whose log directory is not there.
    pub(super) homeless: RefCell<Set<PartitionId>>,
    /// Produces that wait for memory, in order.
    pub(super) parked: RefCell<VecDeque<Parked>>,
    /// Rung when a produce was parked.
    pub(super) parked_one: Bell,
    /// Rung when bytes became stable, and so may be forgotten.
    pub(super) stable_moved: Bell,
    /// The partitions whose chunks lie in memory, the oldest chunk first.
    pub(super) chunks: RefCell<VecDeque<Rc<Replica>>>,
    /// How much of the tails is kept in memory.
    pub(super) tail_memory: KeptMemory,
    /// Windows of files, read for consumers that lag.
    pub(super) cache: ReadCache,
    /// Rung when a partition has been opened, or cannot be.
    pub(super) opened_one: Bell,
    /// Rung when the node stops: no more appends.
    stopping: Bell,
    /// The steps in which files grow.
    pub(super) growth_steps: Cell<Steps>,
    /// `log.retention.check.interval.ms`
    pub(super) retention_check: Cell<Duration>,
    /// How many producers its partitions know together.
    pub(super) producer_room: ProducerRoom,
    /// `producer.id.expiration.ms` and `producer.id.expiration.check.interval.ms`
    pub(super) producer_expiry: Cell<(i64, Duration)>,
    /// How logs are compacted, where they are.
    pub(super) cleaner: Cell<CleanerConfig>,
    /// Rung when that has changed.
    pub(super) cleaner_tuned: Bell,
    /// How many replicas are moved at once.
    pub(super) moves: Semaphore,
    /// How fast they are copied.
    pub(super) move_rate: SharedRate,
    /// The coordinators of groups.
    pub(super) groups: GroupSeats,
    /// The coordinators of transactions.
    pub(super) transactions: TransactionSeats,
    /// What the coordinators of transactions are asked.
    pub(super) questions: Questions,
    /// The way to the controller.
    controller: RefCell<Option<AskController>>,
    /// Answers what only the controller's core can.
    commands: RefCell<Option<CommandHandler>>,
    /// Commands of this node's own that came before the controller took any.
    early: RefCell<Vec<(super::controller::Command, Responder)>>,
}

/// Takes the controller's commands, on its core.
pub type CommandHandler = Rc<dyn Fn(super::controller::Command, Responder)>;

/// Sends a command to the controller, on whichever core it is.
pub type AskController = Rc<dyn Fn(super::controller::Command) -> Completion<ShardReply>>;

impl Shard {
    /// A shard without partitions. [`Shard::start`] makes it run.
    pub fn new(reactor: Reactor, volumes: Vec<SharedVolume>) -> Rc<Shard> {
        Rc::new(Shard {
            cache: ReadCache::new(&reactor),
            tail_memory: KeptMemory::new(TAIL_MEMORY, reactor.pool().budget(Share::Tail)),
            reactor,
            volumes,
            replicas: RefCell::default(),
            homeless: RefCell::default(),
            parked: RefCell::default(),
            parked_one: Bell::default(),
            stable_moved: Bell::default(),
            chunks: RefCell::default(),
            opened_one: Bell::default(),
            stopping: Bell::default(),
            growth_steps: Cell::new(Steps::default()),
            retention_check: Cell::new(RETENTION_CHECK),
            producer_room: ProducerRoom::default(),
            producer_expiry: Cell::new(PRODUCER_EXPIRY),
            cleaner: Cell::default(),
            cleaner_tuned: Bell::default(),
            moves: Semaphore::new(MOVES_AT_ONCE),
            move_rate: SharedRate::new(),
            groups: GroupSeats::default(),
            transactions: TransactionSeats::default(),
            questions: Questions::default(),
            controller: RefCell::new(None),
            commands: RefCell::new(None),
            early: RefCell::default(),
        })
    }

    /// Goes by what the profile says of this core, from before the first partition is opened.
    pub fn tune(&self, cache: Option<usize>, growth: Steps) {
        if let Some(most) = cache {
            self.tail_memory.limit(most);
        }
        self.growth_steps.set(growth);
    }

    /// Spawns the tasks of the shard.
    pub fn start(self: &Rc<Shard>) {
        for volume in &self.volumes {
            self.reactor.spawn(Class::Request, self.clone().write_rounds(volume.clone()));
            self.reactor.spawn(Class::Request, self.clone().flush_rounds(volume.clone()));
            self.reactor.spawn(Class::Background, self.clone().retire_when_failed(volume.clone()));
        }
        self.reactor.spawn(Class::Request, self.clone().pump_parked());
        self.reactor.spawn(Class::Background, self.clone().look_after());
    }

    /// Orders a request; answers through the responder, perhaps later.
    pub fn handle(self: &Rc<Shard>, request: ShardRequest, responder: Responder) {
        match request {
            ShardRequest::Produce(call) => self.produce(call, responder),
            ShardRequest::Fetch(call) => self.fetch(call, responder),
            ShardRequest::Watch(call) => self.watch(call, responder),
            ShardRequest::ListOffsets(parts) => self.list_offsets(parts, responder),
            ShardRequest::EpochEnds(parts) => {
                let replies = parts.iter().map(|part| self.epoch_end(part)).collect();
                responder.answer(ShardReply::EpochEnds(replies));
            }
            ShardRequest::DeleteRecords(parts) => self.delete_records(parts, responder),
            ShardRequest::DescribeProducers(parts, most) => self.describe_producers(parts, most, responder),
            ShardRequest::WriteMarkers(parts) => self.write_markers(parts, responder),
            ShardRequest::DescribeLogDirs(ids) => {
                responder.answer(ShardReply::DescribeLogDirs(self.describe_log_dirs(ids)));
            }
            ShardRequest::Relocate(moves) => self.relocate_all(moves, responder),
            ShardRequest::Group(call) => self.ask_groups(*call, responder),
            ShardRequest::Transaction(call) => self.ask_transactions(*call, responder),
            ShardRequest::Command(command) => {
                let handler = self.commands.borrow().clone();
                match handler {
                    Some(handler) => handler(command, responder),
                    None => self.early.borrow_mut().push((command, responder)),
                }
            }
        }
    }

    /// Tells the way to the controller.
    pub fn set_controller(&self, ask: AskController) {
        *self.controller.borrow_mut() = Some(ask);
    }

    /// Has the controller carry out a command.
    pub(super) fn ask_controller(&self, command: super::controller::Command) -> Completion<ShardReply> {
        let ask = self.controller.borrow().clone();
        ask.expect("replicas are moved by nodes, which have a controller")(command)
    }

    /// Makes this core the controller's.
    pub fn set_command_handler(&self, handler: CommandHandler) {
        *self.commands.borrow_mut() = Some(handler.clone());
        self.early.take().into_iter().for_each(|(command, responder)| handler(command, responder));
    }

    /// The partition, if this core has it.
    pub fn replica(&self, id: PartitionId) -> Option<Rc<Replica>> {
        self.replicas.borrow().get(&id).cloned()
    }

    /// The partition, if it serves, or the error to answer.
    pub fn serving(&self, id: PartitionId) -> Result<Rc<Replica>, ErrorCode> {
        let replica = self.replica(id).ok_or_else(|| self.absence(id))?;
        match replica.refusal() {
            _ if replica.log_dir().has_failed() => Err(ErrorCode::KAFKA_STORAGE_ERROR),
            Some(error) => Err(error),
            None => Ok(replica),
        }
    }

    /// What is answered for a partition that this core does not have.
    pub(super) fn absence(&self, id: PartitionId) -> ErrorCode {
        match self.homeless.borrow().contains(&id) {
            true => ErrorCode::KAFKA_STORAGE_ERROR,
            false => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        }
    }

    /// The log directory of this id. What was never said to lie anywhere lies in the first.
    pub fn volume(&self, directory: Uuid) -> Option<SharedVolume> {
        match directory {
            id if id.is_reserved() => self.volumes.first().cloned(),
            id => self.volumes.iter().find(|volume| volume.log_dir.id == id).cloned(),
        }
    }

    /// All partitions, in the order of their ids.
    pub fn replicas(&self) -> Vec<Rc<Replica>> {
        let mut all: Vec<_> = self.replicas.borrow().values().cloned().collect();
        all.sort_by_key(|replica| replica.id);
        all
    }

    /// Adds a partition.
    pub fn insert(&self, replica: Rc<Replica>) {
        self.homeless.borrow_mut().remove(&replica.id);
        self.replicas.borrow_mut().insert(replica.id, replica);
    }

    /// Forgets a partition: answers all who wait for it.
    pub fn remove(&self, id: PartitionId) -> Option<Rc<Replica>> {
        self.homeless.borrow_mut().remove(&id);
        let replica = self.replicas.borrow_mut().remove(&id)?;
        replica.gone.set(true);
        replica.volume.marks.remove(id);
        self.retire(&replica, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "the topic was deleted");
        Some(replica)
    }

    /// Takes a replica out of service and answers all who wait for it.
    pub(super) fn retire(&self, replica: &Replica, error: ErrorCode, why: &str) {
        let before = replica.state.replace(State::Offline(error, why.to_string()));
        self.unseat_coordinator(replica.id);
        match before {
            State::Online(mut online) => {
                for (_, pending, index) in online.take_verifying() {
                    pending.fail(index, error, why);
                }
                for (_, pending, index) in online.waiting {
                    pending.fail(index, error, why);
                }
                for (_, pending, index) in online.held.into_iter().flatten() {
                    pending.fail(index, error, why);
                }
                online.watches.iter().for_each(|watch| watch.answer());
            }
            State::Opening(queued) => {
                for (_, pending, index) in queued {
                    pending.fail(index, error, why);
                }
            }
            State::Offline(..) => {}
        }
        self.opened_one.ring();
    }

    /// A write or flush of a partition has failed: its whole directory goes out of service.
    pub(super) fn fail(&self, volume: &Volume, what: &str, error: &std::io::Error) {
        volume.log_dir.fail(what, error);
        self.retire_all(volume);
    }

    /// Takes all partitions of a directory out of service, when it has failed on this core or another.
    async fn retire_when_failed(self: Rc<Shard>, volume: SharedVolume) {
        volume.log_dir.failed().await;
        self.retire_all(&volume);
    }

    /// A log directory has failed on another core.
    pub fn went_offline(&self, index: usize, failure: String) {
        if let Some(volume) = self.volumes.iter().find(|volume| volume.index == index) {
            volume.log_dir.went_offline(failure);
        }
    }

    fn retire_all(&self, volume: &Volume) {
        let here = self.replicas().into_iter().filter(|replica| replica.volume.index == volume.index);
        for replica in here {
            self.retire(&replica, ErrorCode::KAFKA_STORAGE_ERROR, OFFLINE);
        }
        // The produces that wait for memory may wait for what is gone.
        self.stable_moved.ring();
    }

    /// Takes no more appends from here on.
    pub fn begin_stop(&self) {
        self.stopping.ring();
        self.unseat_coordinators();
    }

    /// Resolves when the node begins to stop.
    pub(super) async fn stop_begun(&self) {
        self.stopping.rung().await
    }

    /// Sets how often it is looked what retention gives up (`log.retention.check.interval.ms`).
    pub fn check_retention_every(&self, interval: Duration) {
        self.retention_check.set(interval);
    }

    /// Sets after how many milliseconds of silence a producer is forgotten, and how often that is looked for.
    pub fn expire_producers(&self, after_ms: i64, every: Duration) {
        self.producer_expiry.set((after_ms, every));
    }

    /// Compacts logs from now on, beside everything else.
    pub fn start_cleaner(self: &Rc<Shard>, config: CleanerConfig) {
        self.tune_cleaner(config);
        self.reactor.spawn(Class::Background, self.clone().clean_logs());
    }

    /// Compacts logs in this way from now on, where it does.
    pub fn tune_cleaner(&self, config: CleanerConfig) {
        if self.cleaner.replace(config) != config {
            self.cleaner_tuned.ring();
        }
    }

    /// Copies no more than so many bytes a second from one log directory to another, from now on.
    pub fn pace_moves(&self, bytes_per_second: f64) {
        self.move_rate.set(bytes_per_second);
    }

    /// Whether the node is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stopping.has_rung()
    }
}
