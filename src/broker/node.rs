//! A node from its start to its end: what each core does, and in which order.
//!
//! One core is the head: it locks the folder, binds the listeners, recovers the metadata log, registers the broker,
//! and only then lets the other cores begin. Connections are accepted when all of them have. A stop goes the other
//! way: each core settles its shard and leaves its logs as Kafka would, and the head leaves the sign of a clean
//! stop when all have. If a log directory fails on one core, it is offline on all of them; the node ends when it is
//! that of the metadata log, or the last.

mod head;

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use self::head::Head;
use super::boot;
use super::call::Caller;
use super::cleaner::CleanerConfig;
use super::connection;
use super::core::{Core, Settings, Wants, serve_bus};
use super::dirs::{DirTold, Dirs, belongs, cannot_use, tell_unusable};
use super::follow::Follower;
use super::loggers::Loggers;
use super::messages::{PartitionId, ToCore};
use super::metadata_log::METADATA_LOG;
use super::shard::Shard;
use crate::config::BrokerConfig;
use crate::config::profile::CoreProfile;
use crate::controller::Image;
use crate::reactor::bus::{BusEnd, mesh};
use crate::reactor::sync::{Bell, either};
use crate::reactor::{Class, CoreMain, CoreSpec, Reactor};

/// What a node is to be.
#[derive(Clone, Debug)]
pub struct Node {
    /// The broker's file. An advertised port of 0 is the one that was bound.
    pub config: Arc<BrokerConfig>,
    /// The address of each of its listeners, in their order.
    pub addresses: Vec<SocketAddr>,
    /// What each core does.
    pub cores: Vec<CoreProfile>,
    /// Partitions that are served although acknowledged records of them are lost: topic and number.
    pub accept_loss: Vec<(String, i32)>,
    /// Whether a file system whose flushes are void is used all the same.
    pub accept_no_barrier: bool,
    /// The loggers of the process.
    pub loggers: Arc<Loggers>,
}

/// What is told of a node's life, by its head.
#[derive(Debug)]
pub enum Event {
    /// The log directories are this node's, and were looked at: the cluster's id, and what is told of each.
    Folders(String, Vec<DirTold>),
    /// Clients are served: how many topics and partitions there are, and each listener's bound address.
    Serving(usize, usize, Vec<SocketAddr>),
    /// The node was asked to stop.
    Stopping,
    /// It has ended; the error says why if that was not in the ordinary course of things.
    Ended(Result<(), String>),
}

/// Where the events go.
pub type Report = Box<dyn Fn(Event) + Send>;

/// What each core of a node runs.
pub fn cores(node: Node, report: Report) -> Vec<(CoreSpec, CoreMain)> {
    let node = Arc::new(node);
    let head = node.head();
    let wants = Wants::new(node.cores.len());
    let mut report = Some(report);
    let ends = mesh::<ToCore>(node.cores.len()).into_iter().enumerate();
    let main = |(core, end): (usize, BusEnd<ToCore>)| {
        let spec = node.cores[core].core_spec();
        let (node, wants) = (node.clone(), wants.clone());
        let main: CoreMain = match core == head {
            true => {
                let report = report.take().expect("there is one head");
                Box::new(move |reactor| Box::pin(Head::run(reactor, node, wants, end, report)))
            }
            false => Box::new(move |reactor| Box::pin(run_member(reactor, node, wants, end))),
        };
        (spec, main)
    };
    ends.map(main).collect()
}

impl Node {
    /// The core with the controller, which also accepts the connections.
    fn head(&self) -> usize {
        self.cores.iter().position(|core| core.controller).unwrap_or(0)
    }

    /// The log directories: those for partitions, and that of the metadata log where it is none of them.
    fn dirs(&self) -> Vec<PathBuf> {
        let mut dirs = self.config.log_dirs.clone();
        if !dirs.contains(&self.config.metadata_log_dir) {
            dirs.push(self.config.metadata_log_dir.clone());
        }
        dirs
    }

    /// The place of the metadata log's directory among them.
    fn metadata_dir(&self) -> usize {
        let is_it = |dir: &PathBuf| *dir == self.config.metadata_log_dir;
        self.dirs().iter().position(is_it).expect("it is one of them")
    }

    fn settings(&self) -> Settings {
        let head = self.head();
        Settings { controller_core: head, listener_core: head, ..Settings::from(&*self.config) }
    }
}

/// A core's shard, made when the core begins, and the way to it and to the others' from the first moment. What waits in
/// the shard holds the way back to who asked: neither must keep the other when the node is gone.
fn caller(reactor: &Reactor, end: BusEnd<ToCore>) -> (Caller, Rc<OnceCell<Weak<Shard>>>) {
    let shard = Rc::new(OnceCell::<Weak<Shard>>::new());
    let own = shard.clone();
    let caller = Caller::new(
        end,
        Rc::new(move |request, responder| {
            let shard = own.get().expect("a core is asked when it has begun");
            shard.upgrade().expect("a core is asked while it works").handle(request, responder);
        }),
    );
    caller.start(reactor);
    (caller, shard)
}

/// A core other than the head, from its start to its end.
async fn run_member(reactor: Reactor, node: Arc<Node>, wants: Arc<Wants>, end: BusEnd<ToCore>) {
    let (caller, own) = caller(&reactor, end);
    let beginning = match caller.receive().await {
        (_, ToCore::Begin(beginning)) => beginning,
        (_, ToCore::End) => return,
        _ => unreachable!("first of all a core is told to begin, or to end"),
    };
    let head = node.head();
    let (shard, lost) = begin_shard(&reactor, &node, &beginning.dirs, &beginning.image).await;
    for (index, why) in lost {
        caller.send(head, ToCore::LogDirFailed(index, why));
    }
    assert!(own.set(Rc::downgrade(&shard)).is_ok(), "a core begins once");
    let image = beginning.image.clone();
    let core = Core::new(reactor.clone(), caller.clone(), node.config.clone(), node.settings(), image);
    core.share_wants(wants);
    core.share_loggers(node.loggers.clone());
    core.set_log_dirs(beginning.dirs.named(&node.config.log_dirs));
    let follower = Follower::new(core.clone(), shard.clone());
    follower.open_all(&beginning.dirs, &node.accept_loss).await;
    let ended = Rc::new(Bell::default());
    let told = member_told(&core, &shard, follower, &ended);
    reactor.spawn(Class::Request, serve_bus(core.clone(), told));
    reactor.spawn(Class::Background, connection::look_after(core));
    watch_directories(&reactor, &shard, &caller, head);
    caller.send(head, ToCore::Begun);

    either(reactor.stop_requested(), ended.rung()).await;
    if !ended.has_rung() {
        let stopped = boot::stop_shard(&shard).await;
        caller.send(head, ToCore::Stopped(stopped));
    }
    ended.rung().await;
}

/// Tells the head of each log directory that fails.
fn watch_directories(reactor: &Reactor, shard: &Rc<Shard>, caller: &Caller, head: usize) {
    for volume in &shard.volumes {
        let (volume, caller) = (volume.clone(), caller.clone());
        reactor.spawn(Class::Request, async move {
            let failure = volume.log_dir.failed().await;
            caller.send(head, ToCore::LogDirFailed(volume.index, failure));
        });
    }
}

/// What the head tells another core.
fn member_told(
    core: &Rc<Core>,
    shard: &Rc<Shard>,
    follower: Follower,
    ended: &Rc<Bell>,
) -> impl Fn(usize, ToCore) + use<> {
    let (core, shard, ended) = (core.clone(), shard.clone(), ended.clone());
    move |from, message| match message {
        ToCore::Image(image) => {
            let version = image.version();
            follower.follow(image);
            core.caller.send(from, ToCore::ImageSeen(version));
        }
        ToCore::LogDirFailed(index, failure) => shard.went_offline(index, failure),
        ToCore::End => ended.ring(),
        _ => unreachable!("all else is for the head"),
    }
}

/// Starts the shard of a core. Gives it, and the log directories that cannot be worked with here, with the reason: what
/// lies there is offline, on all cores.
async fn begin_shard(
    reactor: &Reactor,
    node: &Node,
    dirs: &Dirs,
    image: &Image,
) -> (Rc<Shard>, Vec<(usize, String)>) {
    let (core, node_id) = (reactor.core(), node.config.node_id);
    let (mut volumes, mut lost) = (Vec::new(), Vec::new());
    for (index, path, found) in dirs.usable() {
        let mine = |id: PartitionId| match image.partition(id.topic, id.partition) {
            Some(partition) => {
                partition.core_on(node_id) == Some(core) && belongs(partition, node_id, found.id)
            }
            None => id == METADATA_LOG && core == node.head() && index == node.metadata_dir(),
        };
        match boot::start_volume(reactor, (index, path), found, mine).await {
            Ok(volume) => volumes.push(volume),
            Err(error) => {
                let why = format!("core {core}: {}", cannot_use(path, &error));
                tell_unusable(&why);
                lost.push((index, why));
            }
        }
    }
    let shard = boot::start_shard(reactor, volumes);
    let profile = &node.cores[core];
    shard.tune(profile.cache, profile.growth);
    shard.check_retention_every(Duration::from_millis(node.config.retention_check_interval_ms));
    let every = Duration::from_millis(node.config.producer_id_expiration_check_ms);
    shard.expire_producers(node.config.producer_id_expiration_ms, every);
    if node.config.cleaner {
        shard.start_cleaner(CleanerConfig::of(&node.config.layers, reactor.cores()));
    }
    (shard, lost)
}
