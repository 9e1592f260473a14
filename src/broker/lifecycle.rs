//! A partition comes to its core, changes, and goes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::boot::put_aside;
use super::messages::PartitionId;
use super::open::{Before, METADATA, OpenError, OpenRequest, Opened, Opener};
use super::replica::{Exchange, Online, Queued, RateMeter, Replica, State};
use super::shard::{OFFLINE, Shard};
use crate::log::{LogConfig, checkpoint, segment};
use crate::partition::{AppendRules, Partition};
use crate::reactor::Class;
use crate::reactor::sync::{Semaphore, either};
use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

/// How long a stop waits for partitions that are being opened.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// A partition as it is to be served.
#[derive(Clone, Debug)]
pub struct PartitionSpec {
    /// The partition.
    pub id: PartitionId,
    /// The topic's name.
    pub topic: Rc<str>,
    /// The id of the log directory that it lies in.
    pub directory: Uuid,
    /// The metadata offset at which this incarnation was created.
    pub revision: i64,
    /// The epoch under which this broker leads it.
    pub leader_epoch: i32,
    /// How its log is kept.
    pub log: LogConfig,
    /// What batches it takes.
    pub rules: AppendRules,
}

impl Shard {
    /// Begins to serve a partition: opens its folder beside the requests, which wait meanwhile.
    pub fn open_partition(self: &Rc<Shard>, spec: PartitionSpec, before: Before) {
        self.open_with(spec, before, Vec::new());
    }

    /// The same, for one that produces wait for already.
    pub(super) fn open_with(self: &Rc<Shard>, spec: PartitionSpec, before: Before, queue: Vec<Queued>) {
        // Nobody would look again at a replica that comes to a directory after it has failed.
        let Some(volume) = self.volume(spec.directory).filter(|volume| !volume.log_dir.has_failed()) else {
            self.homeless.borrow_mut().insert(spec.id);
            self.produce_queued(queue);
            return;
        };
        let dir = segment::partition_dir(&volume.log_dir.path, &spec.topic, spec.id.partition);
        let replica = Rc::new(Replica {
            id: spec.id,
            topic: spec.topic.clone(),
            volume,
            dir,
            revision: spec.revision,
            spec: RefCell::new(spec.clone()),
            state: RefCell::new(State::Opening(queue)),
            moving: RefCell::new(None),
            move_turn: Semaphore::new(1),
            index_turn: Semaphore::new(1),
            start_turn: Semaphore::new(1),
            start_written: Cell::new(0),
            gone: Cell::new(false),
            unfit_to_clean: Cell::new(false),
            told_unread: Cell::new(None),
            unread: Cell::new(0),
            files: Exchange::default(),
            rot: RefCell::default(),
        });
        self.insert(replica.clone());
        let shard = self.clone();
        self.reactor.spawn(Class::Background, async move {
            let opened = shard.clone().open_unless_stopped(&replica, &spec, before).await;
            match opened {
                Some(opened) => shard.opened(&replica, spec, opened),
                None => shard.retire(&replica, ErrorCode::NOT_LEADER_OR_FOLLOWER, "the broker is stopping"),
            }
        });
    }

    /// Opens the folder, or gives up where the node stops and that is not soon done: what is left undone then is
    /// what a crash at that moment would leave, and the stop is not a clean one.
    async fn open_unless_stopped(
        self: Rc<Shard>,
        replica: &Replica,
        spec: &PartitionSpec,
        before: Before,
    ) -> Option<Result<Opened, OpenError>> {
        let mut opened = None;
        let open = async {
            let _permit = replica.volume.upkeep.acquire(1).await;
            // On the heap only while it is done: thousands may wait for their turn.
            opened = Some(Box::pin(self.open_folder(replica, spec, before)).await);
        };
        let stop = async {
            self.stop_begun().await;
            self.reactor.sleep(STOP_PATIENCE).await;
        };
        either(open, stop).await;
        opened
    }

    async fn open_folder(
        &self,
        replica: &Replica,
        spec: &PartitionSpec,
        before: Before,
    ) -> Result<Opened, OpenError> {
        self.put_strangers_aside(replica).await?;
        let request = OpenRequest {
            id: spec.id,
            dir: replica.dir.clone(),
            config: spec.log.clone(),
            before,
            room: self.producer_room.clone(),
        };
        let opened = Opener::new(&self.reactor, replica.log_dir(), &request).open().await?;
        let end = opened.log.next_offset();
        if before.mark.is_some_and(|mark| end < mark) {
            replica.volume.marks.set_now(replica.id, end).await?;
        }
        Ok(opened)
    }

    /// A folder of this name that belongs to another topic (one that was deleted while the broker was down, and
    /// made again) is renamed, not touched.
    async fn put_strangers_aside(&self, replica: &Replica) -> Result<(), OpenError> {
        let disk = &replica.log_dir().disk;
        let path = replica.dir.join(METADATA);
        let found = match disk.read(&path).await {
            Ok(bytes) => checkpoint::decode_partition_metadata(&bytes)
                .map_err(|why| OpenError::Damaged(format!("{}: {why}", path.display())))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if found == replica.id.topic {
            return Ok(());
        }
        put_aside(replica.log_dir(), &replica.dir, &replica.name(), found).await?;
        Ok(())
    }

    fn opened(
        self: &Rc<Shard>,
        replica: &Rc<Replica>,
        spec: PartitionSpec,
        opened: Result<Opened, OpenError>,
    ) {
        let opened = match opened {
            Ok(_) if replica.gone.get() => return,
            // Its rounds do not run any more, and it has been retired already or soon would be.
            Ok(_) if replica.log_dir().has_failed() => {
                return self.retire(replica, ErrorCode::KAFKA_STORAGE_ERROR, OFFLINE);
            }
            Ok(opened) => opened,
            Err(error) => {
                match &error {
                    OpenError::Io(io) if replica.is_missed(io) => return,
                    // Without room the disk is no worse to be trusted: what it holds is served.
                    OpenError::Io(io) if io.kind() == io::ErrorKind::StorageFull => {}
                    OpenError::Io(io) => {
                        let what = format!("{} could not be opened", replica.name());
                        self.fail(&replica.volume, &what, io);
                    }
                    OpenError::Damaged(_) => {}
                }
                tracing::error!("{} is offline: {error}", replica.name());
                self.retire(replica, ErrorCode::KAFKA_STORAGE_ERROR, &error.to_string());
                return;
            }
        };
        replica.volume.marks.set(replica.id, opened.log.next_offset());
        let mut partition = Partition::new(opened.log, opened.producers, spec.rules, spec.leader_epoch);
        partition.aborted = opened.aborted;
        let online = Online {
            partition,
            files: opened.files,
            waiting: VecDeque::new(),
            watches: Vec::new(),
            verifying: Default::default(),
            dirty: false,
            held: None,
            rate: RateMeter::default(),
            upkeep: false,
            snapshot: opened.snapshot,
            opened_as_closed: opened.as_closed,
            left_index: opened.left_index,
            cleaning: false,
            check_retention: true,
        };
        let before = replica.state.replace(State::Online(Box::new(online)));
        if let State::Opening(queued) = before {
            self.produce_queued(queued);
        }
        self.seat_coordinator(replica);
        self.opened_one.ring();
    }

    /// Resolves when no partition is being opened any more.
    pub async fn all_opened(&self) {
        loop {
            let opened_one = self.opened_one.notified();
            if !self.replicas().iter().any(|r| matches!(&*r.state.borrow(), State::Opening(_))) {
                return;
            }
            opened_one.await;
        }
    }

    /// Takes up what has changed of a partition that is served.
    pub fn update_partition(&self, spec: &PartitionSpec) {
        let Some(replica) = self.replica(spec.id) else { return };
        *replica.spec.borrow_mut() = spec.clone();
        replica.online(|online| {
            online.partition.set_rules(spec.rules.clone());
            online.partition.log.set_config(spec.log.clone());
            if spec.leader_epoch > online.partition.leader_epoch() {
                online.partition.set_leader_epoch(spec.leader_epoch);
            }
        });
    }

    /// Ends a partition whose topic was deleted; its folder goes after `delay`.
    pub fn delete_partition(self: &Rc<Shard>, id: PartitionId, delay: Duration) {
        let Some(replica) = self.remove(id) else { return };
        let shard = self.clone();
        self.reactor.spawn(Class::Background, async move {
            match shard.delete_folder(&replica, delay).await {
                Ok(()) => {}
                // One that was still to be made is not there.
                Err(error) if replica.is_missed(&error) => {}
                Err(error) => {
                    let what = format!("{}: it could not be deleted", replica.name());
                    shard.fail(&replica.volume, &what, &error);
                }
            }
        });
    }
}
