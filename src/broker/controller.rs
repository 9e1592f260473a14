//! The controller's shell: commands in, records to the metadata log, images to every core.
//!
//! Runs on the core that owns the metadata log. Commands are carried out one after the other: the pure
//! [`Controller`] answers with a reply and with records, the records go to the log as one batch, and the reply is
//! sent when they are durable and every core goes by the image that holds them. So whoever was told that a topic
//! exists finds it, whichever core he asks.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use super::call::{Caller, Responder};
use super::messages::{ProduceCall, ProducePart, ProducePartReply, ShardReply, ShardRequest, ToCore};
use super::metadata_log::{METADATA_LOG, encode};
use super::shard::Shard;
use crate::controller::brokers::Position;
use crate::controller::directories::Assignment;
use crate::controller::{Answer, Controller, Image, Refusal};
use crate::limits::{COMMAND_PARTS, METADATA_BATCH_RECORDS};
use crate::reactor::sync::{Bell, completion};
use crate::reactor::{Class, Nanos};
use crate::wire::error::ErrorCode;
use crate::wire::metadata_record::MetadataRecord;
use crate::wire::schema::{
    AlterConfigsRequest, AlterConfigsResourceResponse, CreatableTopicResult, CreatePartitionsRequest,
    CreatePartitionsTopicResult, CreateTopicsRequest, DeletableTopicResult, DeleteTopicsRequest,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResourceResponse,
};
use crate::wire::uuid::Uuid;

/// A command for the controller. It is answered when its records are committed and every core of this broker goes
/// by them.
pub enum Command {
    /// Create topics.
    CreateTopics(CreateTopicsRequest),
    /// Delete topics.
    DeleteTopics(DeleteTopicsRequest),
    /// Add partitions to topics.
    CreatePartitions(CreatePartitionsRequest),
    /// Replace all settings of resources.
    AlterConfigs(AlterConfigsRequest),
    /// Change single settings of resources.
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest),
    /// Give this broker a block of producer ids.
    AllocateProducerIds,
    /// Replicas of this broker lie in these log directories from now on.
    AssignDirectories(Vec<Assignment>),
    /// A log directory of this broker has failed: go on behind this partition.
    DirectoryFailed(Uuid, Option<Position>),
}

impl Command {
    /// How many topics, assignments and settings it names, and one for itself.
    fn parts(&self) -> usize {
        1 + match self {
            Command::CreateTopics(request) => {
                request.topics.iter().map(|topic| 1 + topic.assignments.len() + topic.configs.len()).sum()
            }
            Command::DeleteTopics(request) => request.topics.len() + request.topic_names.len(),
            Command::CreatePartitions(request) => {
                request.topics.iter().map(|topic| 1 + topic.assignments.as_ref().map_or(0, Vec::len)).sum()
            }
            Command::AlterConfigs(request) => {
                request.resources.iter().map(|resource| 1 + resource.configs.len()).sum()
            }
            Command::IncrementalAlterConfigs(request) => {
                request.resources.iter().map(|resource| 1 + resource.configs.len()).sum()
            }
            Command::AssignDirectories(assignments) => assignments.len(),
            Command::AllocateProducerIds | Command::DirectoryFailed(..) => 0,
        }
    }

    /// What the controller makes of it, for the broker that asks under this epoch.
    pub fn decide(
        &self,
        controller: &Controller,
        (node_id, broker_epoch): (i32, i64),
        chance: &mut dyn FnMut() -> u64,
    ) -> Result<Answer<CommandReply>, Refusal> {
        fn with<T>(answer: Answer<T>, reply: impl FnOnce(T) -> CommandReply) -> Answer<CommandReply> {
            Answer { reply: reply(answer.reply), records: answer.records }
        }
        Ok(match self {
            Command::CreateTopics(request) => {
                with(controller.create_topics(request, chance), CommandReply::CreateTopics)
            }
            Command::DeleteTopics(request) => {
                with(controller.delete_topics(request), CommandReply::DeleteTopics)
            }
            Command::CreatePartitions(request) => {
                with(controller.create_partitions(request), CommandReply::CreatePartitions)
            }
            Command::AlterConfigs(request) => {
                with(controller.alter_configs(request), CommandReply::AlterConfigs)
            }
            Command::IncrementalAlterConfigs(request) => {
                with(controller.incremental_alter_configs(request), CommandReply::IncrementalAlterConfigs)
            }
            Command::AssignDirectories(assignments) => {
                with(controller.assign_directories(node_id, assignments), |()| CommandReply::Done)
            }
            Command::DirectoryFailed(directory, after) => {
                let limit = METADATA_BATCH_RECORDS;
                let answer = controller.directory_failed(node_id, *directory, *after, limit);
                with(answer, CommandReply::GoOn)
            }
            Command::AllocateProducerIds => {
                let answer = controller.allocate_producer_ids(node_id, broker_epoch)?;
                with(answer, CommandReply::ProducerIds)
            }
        })
    }
}

/// What the controller answers, to each command its own.
pub enum CommandReply {
    /// To [`Command::CreateTopics`].
    CreateTopics(Vec<CreatableTopicResult>),
    /// To [`Command::DeleteTopics`].
    DeleteTopics(Vec<DeletableTopicResult>),
    /// To [`Command::CreatePartitions`].
    CreatePartitions(Vec<CreatePartitionsTopicResult>),
    /// To [`Command::AlterConfigs`].
    AlterConfigs(Vec<AlterConfigsResourceResponse>),
    /// To [`Command::IncrementalAlterConfigs`].
    IncrementalAlterConfigs(Vec<IncrementalAlterConfigsResourceResponse>),
    /// To [`Command::AllocateProducerIds`]: the first id of the block.
    ProducerIds(i64),
    /// To [`Command::AssignDirectories`].
    Done,
    /// To [`Command::DirectoryFailed`]: where to go on, none at the end.
    GoOn(Option<Position>),
    /// To any command: it is not carried out.
    Refused(Refusal),
}

/// The controller on its core.
pub struct ControllerShell {
    shard: Rc<Shard>,
    caller: Caller,
    node_id: i32,
    broker_epoch: Cell<i64>,
    controller: RefCell<Controller>,
    next_offset: Cell<i64>,
    commands: RefCell<VecDeque<(Command, Responder)>>,
    /// The parts of all commands that wait.
    parts: Cell<usize>,
    added: Bell,
    /// The version of the image that each core goes by; none where it has not begun.
    seen: RefCell<Vec<Option<i64>>>,
    seen_more: Bell,
    /// Has this core's own APIs and shard go by an image.
    show: Box<dyn Fn(Arc<Image>)>,
}

impl ControllerShell {
    /// The controller over a metadata log that was read whole, and that `shard` serves. `show` makes this core go
    /// by an image.
    pub fn new(
        shard: Rc<Shard>,
        caller: Caller,
        node_id: i32,
        controller: Controller,
        next_offset: i64,
        show: impl Fn(Arc<Image>) + 'static,
    ) -> Rc<ControllerShell> {
        let cores = caller.cores();
        Rc::new(ControllerShell {
            shard,
            caller,
            node_id,
            broker_epoch: Cell::new(-1),
            controller: RefCell::new(controller),
            next_offset: Cell::new(next_offset),
            commands: RefCell::default(),
            parts: Cell::new(0),
            added: Bell::default(),
            seen: RefCell::new(vec![None; cores]),
            seen_more: Bell::default(),
            show: Box::new(show),
        })
    }

    /// Takes commands from here on.
    pub fn start(self: &Rc<Self>) {
        // The shell holds its shard, which must not hold the shell when the node is gone.
        let shell = Rc::downgrade(self);
        let add = move |command, responder| {
            if let Some(shell) = shell.upgrade() {
                shell.add(command, responder);
            }
        };
        self.shard.set_command_handler(Rc::new(add));
        self.shard.reactor.spawn(Class::Coordination, self.clone().carry_out());
    }

    /// The epoch under which this broker is registered.
    pub fn set_broker_epoch(&self, epoch: i64) {
        self.broker_epoch.set(epoch);
    }

    /// The image of all that is committed.
    pub fn image(&self) -> Arc<Image> {
        self.controller.borrow().committed().clone()
    }

    /// Carries out what the node itself decides, and waits until it holds. Before [`ControllerShell::start`] only.
    pub async fn decide<T>(&self, decide: impl FnOnce(&Controller) -> Answer<T>) -> Result<T, Refusal> {
        let Answer { reply, records } = decide(&self.controller.borrow());
        self.commit(records).await?;
        Ok(reply)
    }

    /// Tells the cluster that a log directory of this broker has failed.
    pub async fn directory_failed(&self, directory: Uuid) -> Result<(), Refusal> {
        let mut after = None;
        loop {
            let (completer, answer) = completion();
            self.add(Command::DirectoryFailed(directory, after), Responder::Local(completer));
            after = match answer.await {
                ShardReply::Command(CommandReply::GoOn(after)) => after,
                ShardReply::Command(CommandReply::Refused(refusal)) => return Err(refusal),
                _ => unreachable!("a command is answered as one"),
            };
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Puts a command behind those that wait; refuses it where they are too many, for who has asked may have gone.
    fn add(&self, command: Command, responder: Responder) {
        let parts = command.parts();
        if self.parts.get() > 0 && self.parts.get() + parts > COMMAND_PARTS {
            let what = "too many commands wait for the controller; try again later";
            let refused = CommandReply::Refused(Refusal::new(ErrorCode::REQUEST_TIMED_OUT, what));
            return responder.answer(ShardReply::Command(refused));
        }
        self.parts.set(self.parts.get() + parts);
        self.commands.borrow_mut().push_back((command, responder));
        self.added.ring();
    }

    async fn carry_out(self: Rc<Self>) {
        loop {
            let added = self.added.notified();
            let Some((command, responder)) = self.commands.borrow_mut().pop_front() else {
                added.await;
                continue;
            };
            self.parts.set(self.parts.get() - command.parts());
            let reply = match self.answer(&command) {
                Ok(Answer { reply, records }) => self.commit(records).await.map(|()| reply),
                Err(refusal) => Err(refusal),
            };
            responder.answer(ShardReply::Command(reply.unwrap_or_else(CommandReply::Refused)));
        }
    }

    fn answer(&self, command: &Command) -> Result<Answer<CommandReply>, Refusal> {
        if matches!(command, Command::CreateTopics(_) | Command::CreatePartitions(_)) {
            self.look_for_room()?;
        }
        let mut chance = || self.shard.reactor.random();
        command.decide(&self.controller.borrow(), (self.node_id, self.broker_epoch.get()), &mut chance)
    }

    /// Refuses new partitions where there is no room for any, and has the others pass over log directories without.
    fn look_for_room(&self) -> Result<(), Refusal> {
        let dirs = self.shard.volumes.iter().map(|volume| &volume.log_dir);
        let full = dirs.filter(|dir| dir.is_full()).map(|dir| dir.id).collect::<BTreeSet<_>>();
        // What the metadata log may still take is kept for what makes room.
        let log_is_full = self.shard.replica(METADATA_LOG).is_some_and(|log| log.log_dir().is_full());
        if log_is_full || full.len() == self.shard.volumes.len() {
            let what = "the disk is full: new partitions need room on it; delete topics, or make room";
            return Err(Refusal::new(ErrorCode::KAFKA_STORAGE_ERROR, what));
        }
        self.controller.borrow_mut().set_full(full);
        Ok(())
    }

    /// Makes records durable, and has every core go by them.
    async fn commit(&self, records: Vec<MetadataRecord>) -> Result<(), Refusal> {
        let proposed = self.controller.borrow_mut().propose(records, self.next_offset.get());
        let proposal = match proposed {
            Ok(Some(proposal)) => proposal,
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::error!("the controller made records that contradict its image: {error}");
                return Err(Refusal::new(ErrorCode::UNKNOWN_SERVER_ERROR, error.to_string()));
            }
        };
        let base_offset = match self.append(&proposal.records).await {
            Ok(base_offset) => base_offset,
            Err(refusal) => {
                self.controller.borrow_mut().abandon();
                return Err(refusal);
            }
        };
        assert_eq!(base_offset, proposal.offset, "the controller alone appends to the metadata log");
        self.next_offset.set(proposal.last_offset() + 1);
        let image = self.controller.borrow_mut().applied(proposal.offset, &proposal.records).cloned();
        self.spread(image.expect("what was proposed was applied to the image before")).await;
        Ok(())
    }

    async fn append(&self, records: &[MetadataRecord]) -> Result<i64, Refusal> {
        let batch = encode(records, self.shard.reactor.wall_clock_ms());
        let parts = vec![ProducePart::new(METADATA_LOG, batch)];
        let (completer, appended) = completion();
        let call = ProduceCall { acks: -1, deadline: Nanos(u64::MAX), parts };
        self.shard.handle(ShardRequest::Produce(call), Responder::Local(completer));
        let ShardReply::Produce(replies) = appended.await else {
            unreachable!("a produce is answered as one")
        };
        match &replies[0] {
            reply if reply.error == ErrorCode::NONE => Ok(reply.base_offset),
            reply => Err(not_committed(reply)),
        }
    }

    /// Shows an image to every core that has begun, and waits until all go by it.
    async fn spread(&self, image: Arc<Image>) {
        let version = image.version();
        for core in (0..self.caller.cores()).filter(|core| self.seen.borrow()[*core].is_some()) {
            self.caller.send(core, ToCore::Image(image.clone()));
        }
        (self.show)(image);
        loop {
            let seen_more = self.seen_more.notified();
            if self.seen.borrow().iter().flatten().all(|seen| *seen >= version) {
                return;
            }
            seen_more.await;
        }
    }

    /// Another core goes by this version of the image from now on.
    pub fn image_seen(&self, core: usize, version: i64) {
        let mut seen = self.seen.borrow_mut();
        seen[core] = seen[core].max(Some(version));
        drop(seen);
        self.seen_more.ring();
    }
}

/// What a command is told whose records the metadata log did not take. Who no longer leads that log is no longer the
/// controller, and clients ask again.
fn not_committed(reply: &ProducePartReply) -> Refusal {
    let error = match reply.error {
        ErrorCode::NOT_LEADER_OR_FOLLOWER => ErrorCode::NOT_CONTROLLER,
        error => error,
    };
    let why = reply.message.as_deref().unwrap_or_default();
    Refusal::new(error, format!("the metadata log takes no records: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stops_is_no_controller() {
        let told = |error| not_committed(&ProducePartReply::failed(error, Some("why".to_string())));
        let stopping = told(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        assert_eq!(stopping.error, ErrorCode::NOT_CONTROLLER);
        assert_eq!(stopping.message, "the metadata log takes no records: why");
        assert_eq!(told(ErrorCode::KAFKA_STORAGE_ERROR).error, ErrorCode::KAFKA_STORAGE_ERROR);
    }
}
