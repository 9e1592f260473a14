//! A node from its start to its end: what each core does, and in which order.
//!
//! One core is the head: it locks the folder, binds the listeners, recovers the metadata log, registers the broker,
//! and only then lets the other cores begin. Connections are accepted when all of them have. A stop goes the other
//! way: each core settles its shard and leaves its logs as Kafka would, and the head leaves the sign of a clean
//! stop when all have. If the log directory fails on one core, it is offline on all of them and the node ends.

use std::cell::OnceCell;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::boot::{self, Found};
use super::call::Caller;
use super::cleaner::CleanerConfig;
use super::connection;
use super::controller::ControllerShell;
use super::core::{Core, Settings, Wants, serve_bus};
use super::follow::Follower;
use super::identity;
use super::lifecycle::{Before, PartitionSpec};
use super::listener::{Board, accept};
use super::log_dir::LogDir;
use super::members::Members;
use super::messages::{Beginning, LogEnds, PartitionId, ToCore};
use super::metadata_log::{self, METADATA_LOG, METADATA_TOPIC};
use super::open::OpenRequest;
use super::replica::State;
use super::shard::Shard;
use crate::config::BrokerConfig;
use crate::config::listeners::Endpoint;
use crate::config::profile::CoreProfile;
use crate::controller::{Answer, Controller, Image, Refusal, Registration, features};
use crate::limits::METADATA_BATCH_RECORDS;
use crate::log::checkpoint::MetaProperties;
use crate::partition::producers::ProducerRoom;
use crate::reactor::bus::{BusEnd, mesh};
use crate::reactor::sync::{Bell, either};
use crate::reactor::{Class, CoreMain, CoreSpec, DiskReport, Listener, Reactor};
use crate::wire::schema::BrokerEndpoint;

/// The file whose lock says that a node uses the folder.
const LOCK: &str = ".lock";
/// After a failure of the log directory, clients have this long to be told.
const LAST_WORDS: Duration = Duration::from_secs(1);

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
}

/// What is told of a node's life, by its head.
#[derive(Debug)]
pub enum Event {
    /// The folder is this node's, and was looked at: whose it is, what its file system allows, and whether it was
    /// left by a clean stop.
    Folder(MetaProperties, DiskReport, bool),
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

    fn dir(&self) -> &Path {
        &self.config.log_dirs[0]
    }

    fn settings(&self) -> Settings {
        let head = self.head();
        Settings { controller_core: head, listener_core: head, ..Settings::from(&*self.config) }
    }
}

/// A core's shard, made when the core begins, and the way to it and to the others' from the first moment.
fn caller(reactor: &Reactor, end: BusEnd<ToCore>) -> (Caller, Rc<OnceCell<Rc<Shard>>>) {
    let shard = Rc::new(OnceCell::<Rc<Shard>>::new());
    let own = shard.clone();
    let caller = Caller::new(
        end,
        Rc::new(move |request, responder| {
            let shard = own.get().expect("a core is asked when it has begun");
            shard.handle(request, responder);
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
    let shard = match begin_shard(&reactor, &node, &beginning.found, &beginning.image).await {
        Ok(shard) => shard,
        Err(why) => {
            caller.send(head, ToCore::Begun(Err(why)));
            while !matches!(caller.receive().await, (_, ToCore::End)) {}
            return;
        }
    };
    assert!(own.set(shard.clone()).is_ok(), "a core begins once");
    let image = beginning.image.clone();
    let core = Core::new(reactor.clone(), caller.clone(), node.config.clone(), node.settings(), image);
    core.share_wants(wants);
    let follower = Follower::new(core.clone(), shard.clone());
    follower.open_all(&beginning.found, &node.accept_loss).await;
    let ended = Rc::new(Bell::default());
    let told = member_told(&core, &shard, follower, &ended);
    reactor.spawn(Class::Request, serve_bus(core.clone(), told));
    reactor.spawn(Class::Background, connection::look_after(core));
    caller.send(head, ToCore::Begun(Ok(())));

    either(either(reactor.stop_requested(), ended.rung()), async { drop(shard.log_dir.failed().await) })
        .await;
    if let Some(failure) = shard.log_dir.failure() {
        shard.go_offline();
        caller.send(head, ToCore::LogDirFailed(failure));
    } else if !ended.has_rung() {
        let stopped = boot::stop_shard(&shard).await.map_err(|error| error.to_string());
        caller.send(head, ToCore::Stopped(stopped));
    }
    ended.rung().await;
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
        ToCore::LogDirFailed(failure) => shard.log_dir.went_offline(failure),
        ToCore::End => ended.ring(),
        _ => unreachable!("all else is for the head"),
    }
}

async fn begin_shard(
    reactor: &Reactor,
    node: &Node,
    found: &Found,
    image: &Image,
) -> Result<Rc<Shard>, String> {
    let (core, node_id) = (reactor.core(), node.config.node_id);
    let mine = |id: PartitionId| match image.partition(id.topic, id.partition) {
        Some(partition) => partition.core_on(node_id) == Some(core),
        None => id == METADATA_LOG && core == node.head(),
    };
    let started = boot::start_shard(reactor, node.dir(), found, mine).await;
    let shard = started.map_err(|error| format!("core {core}: {}", cannot_use(node.dir(), &error)))?;
    let profile = &node.cores[core];
    shard.tune(profile.cache, profile.growth);
    shard.check_retention_every(Duration::from_millis(node.config.retention_check_interval_ms));
    let every = Duration::from_millis(node.config.producer_id_expiration_check_ms);
    shard.expire_producers(node.config.producer_id_expiration_ms, every);
    if node.config.cleaner {
        shard.start_cleaner(CleanerConfig::of(&node.config, reactor.cores()));
    }
    Ok(shard)
}

/// The head of a node that starts.
struct Head {
    reactor: Reactor,
    node: Arc<Node>,
    wants: Arc<Wants>,
    caller: Caller,
    own: Rc<OnceCell<Rc<Shard>>>,
    report: Report,
}

/// The head of a node that serves.
struct Serving {
    shard: Rc<Shard>,
    members: Rc<Members>,
}

impl Head {
    async fn run(reactor: Reactor, node: Arc<Node>, wants: Arc<Wants>, end: BusEnd<ToCore>, report: Report) {
        let (caller, own) = caller(&reactor, end);
        let head = Head { reactor, node, wants, caller, own, report };
        let ended = match head.start().await {
            Ok(serving) => head.serve_until_end(&serving).await,
            Err(why) => Err(why),
        };
        head.tell_others(|| ToCore::End);
        head.caller.all_sent().await;
        (head.report)(Event::Ended(ended));
    }

    fn tell_others(&self, message: impl Fn() -> ToCore) {
        for core in (0..self.reactor.cores()).filter(|core| *core != self.reactor.core()) {
            self.caller.send(core, message());
        }
    }

    async fn start(&self) -> Result<Serving, String> {
        let (node, reactor, disk) = (&self.node, &self.reactor, self.reactor.disk());
        let dir = node.dir();
        let cannot = |error: io::Error| cannot_use(dir, &error);
        disk.create_dirs(dir).await.map_err(cannot)?;
        disk.lock(&dir.join(LOCK)).await.map_err(|error| match error.kind() {
            io::ErrorKind::ResourceBusy => error.to_string(),
            _ => cannot_use(dir, &error),
        })?;
        let identity = identity::establish(reactor, &disk, dir, node.config.node_id).await?;
        let listeners = self.listen()?;
        let addresses: Vec<_> = listeners.iter().map(Listener::local_address).collect();
        let found = boot::look(&disk, dir).await.map_err(cannot)?;
        if found.report.no_barrier && !node.accept_no_barrier {
            return Err(format!(
                "{} lies on a file system that is mounted without barriers: no flush reaches the disk, and a power \
                 failure loses what was acknowledged. Mount it without nobarrier (barrier=0), or accept that with \
                 --accept-no-barrier",
                dir.display()
            ));
        }
        (self.report)(Event::Folder(identity.clone(), found.report.clone(), found.clean));

        let before = self.before(&found);
        let loaded = self.load_metadata(&found, before, &identity).await?;
        let image = Arc::new(loaded.image);
        let shard = begin_shard(reactor, node, &found, &image).await?;
        assert!(self.own.set(shard.clone()).is_ok(), "the head starts once");
        self.open_metadata_log(&shard, before).await?;

        let settings = node.settings();
        let core =
            Core::new(reactor.clone(), self.caller.clone(), node.config.clone(), settings, image.clone());
        core.share_wants(self.wants.clone());
        let follower = Rc::new(OnceCell::<Follower>::new());
        let show = {
            let (core, follower) = (core.clone(), follower.clone());
            // Until the partitions are opened, with what was found of them, the shard goes by no image.
            move |image| match follower.get() {
                Some(follower) => follower.follow(image),
                None => core.set_image(image),
            }
        };
        let controller = Controller::new(&node.config, image);
        let (shell_shard, caller) = (shard.clone(), self.caller.clone());
        let shell = ControllerShell::new(
            shell_shard,
            caller,
            node.config.node_id,
            controller,
            loaded.next_offset,
            show,
        );
        let members = Rc::new(Members::new(reactor.cores(), reactor.core()));
        reactor.spawn(Class::Request, serve_bus(core.clone(), members.clone().told(&shell, &shard)));
        self.register(&shell, &identity, &addresses).await?;

        let image = shell.image();
        boot::put_strays_aside(&shard.log_dir, &image, node.config.node_id).await.map_err(cannot)?;
        assert!(follower.set(Follower::new(core.clone(), shard.clone())).is_ok(), "the head starts once");
        let follower = follower.get().expect("it was just set");
        let beginning = Arc::new(Beginning { found, image: image.clone() });
        self.tell_others(|| ToCore::Begin(beginning.clone()));
        follower.open_all(&beginning.found, &node.accept_loss).await;
        members.all_begun().await?;
        members.others().for_each(|member| shell.image_seen(member, image.version()));
        shell.start();
        reactor.spawn(Class::Background, connection::look_after(core.clone()));
        self.accept(&core, listeners);
        (self.report)(Event::Serving(image.topic_count(), image.partition_count(), addresses));
        Ok(Serving { shard, members })
    }

    fn listen(&self) -> Result<Vec<Listener>, String> {
        let listeners = self.node.config.listeners.iter().zip(&self.node.addresses);
        let bind = |(endpoint, address): (_, &SocketAddr)| {
            self.reactor.listen(*address).map_err(|error| match error.kind() {
                io::ErrorKind::AddrInUse => format!(
                    "port {} of {} is in use by another program (sudo ss -ltnp 'sport = :{}' tells which): stop it, or \
                     choose another port (--listen, or listeners in the file)",
                    address.port(),
                    address.ip(),
                    address.port()
                ),
                _ => format!("listener {endpoint} cannot be opened at {address}: {error}"),
            })
        };
        listeners.map(bind).collect()
    }

    /// What is known of the metadata log before it is opened.
    fn before(&self, found: &Found) -> Before {
        let accepted = |(topic, partition): &(String, i32)| topic == METADATA_TOPIC && *partition == 0;
        Before {
            mark: found.marks.marks.get(&METADATA_LOG).copied(),
            clean: found.clean,
            accept_loss: self.node.accept_loss.iter().any(accepted),
            start: None,
        }
    }

    async fn load_metadata(
        &self,
        found: &Found,
        before: Before,
        identity: &MetaProperties,
    ) -> Result<metadata_log::Loaded, String> {
        let dir = self.node.dir();
        let cannot = |error: io::Error| cannot_use(dir, &error);
        let log_dir = LogDir::open(&self.reactor, dir, found.report.clone()).await.map_err(cannot)?;
        boot::remove_deleted(&log_dir).await.map_err(cannot)?;
        boot::begin(&log_dir.disk, dir).await.map_err(cannot)?;
        let request = OpenRequest {
            id: METADATA_LOG,
            dir: metadata_log::dir(dir),
            config: metadata_log::log_config(&self.node.config),
            mark: before.mark,
            clean: before.clean,
            accept_loss: before.accept_loss,
            start: before.start,
            room: ProducerRoom::default(),
        };
        let loaded = metadata_log::load(&self.reactor, &log_dir, &request, &identity.cluster_id).await;
        loaded.map_err(|error| format!("the cluster's metadata cannot be read: {error}"))
    }

    async fn open_metadata_log(&self, shard: &Rc<Shard>, before: Before) -> Result<(), String> {
        let spec = PartitionSpec {
            id: METADATA_LOG,
            topic: METADATA_TOPIC.into(),
            revision: 0,
            leader_epoch: 0,
            log: metadata_log::log_config(&self.node.config),
            rules: metadata_log::append_rules(),
        };
        shard.open_partition(spec, before);
        shard.all_opened().await;
        let replica = shard.replica(METADATA_LOG).expect("it was just opened");
        match &*replica.state.borrow() {
            State::Offline(_, why) => Err(format!("the cluster's metadata cannot be read: {why}")),
            _ => Ok(()),
        }
    }

    /// Tells the cluster of this broker, and takes its partitions up under new leader epochs.
    async fn register(
        &self,
        shell: &ControllerShell,
        identity: &MetaProperties,
        addresses: &[SocketAddr],
    ) -> Result<(), String> {
        let config = &self.node.config;
        let endpoint = |(advertised, bound): (&Endpoint, &SocketAddr)| BrokerEndpoint {
            name: advertised.name.clone(),
            host: advertised.host.clone(),
            port: if advertised.port == 0 { bound.port() } else { advertised.port },
            security_protocol: advertised.protocol.code(),
        };
        let registration = Registration {
            id: config.node_id,
            incarnation: identity::random_id(&self.reactor),
            endpoints: config.advertised.iter().zip(addresses).map(endpoint).collect(),
            rack: config.rack.clone(),
            log_dirs: vec![identity.directory_id],
            core_weights: self.node.cores.iter().map(|core| core.partitions).collect(),
            fenced: false,
        };
        let refused =
            |refusal: Refusal| format!("the broker cannot register: {}: {}", refusal.error, refusal.message);
        let finalize =
            |controller: &Controller| Answer { reply: (), records: features::finalize(controller.image()) };
        shell.decide(finalize).await.map_err(refused)?;
        let epoch =
            shell.decide(|controller| controller.register_broker(&registration)).await.map_err(refused)?;
        shell.set_broker_epoch(epoch);
        let mut after = None;
        loop {
            let resume = |c: &Controller| c.resume_leadership(registration.id, after, METADATA_BATCH_RECORDS);
            after = shell.decide(resume).await.map_err(refused)?;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn accept(&self, core: &Rc<Core>, listeners: Vec<Listener>) {
        let takes: Vec<_> = self.node.cores.iter().map(|core| core.connections).collect();
        let board = Rc::new(Board::new(&takes));
        *core.board.borrow_mut() = Some(board.clone());
        for (index, listener) in listeners.into_iter().enumerate() {
            self.reactor.spawn(Class::Request, accept(core.clone(), board.clone(), listener, index));
        }
    }

    async fn serve_until_end(&self, serving: &Serving) -> Result<(), String> {
        let Serving { shard, members } = serving;
        let failed = async { drop(shard.log_dir.failed().await) };
        either(self.reactor.stop_requested(), failed).await;
        if shard.log_dir.has_failed() {
            return self.go_offline(shard).await;
        }
        (self.report)(Event::Stopping);
        let stopped = boot::stop_shard(shard).await;
        let failed = async { drop(shard.log_dir.failed().await) };
        either(members.all_stopped(), failed).await;
        if shard.log_dir.has_failed() {
            return self.go_offline(shard).await;
        }
        let ends: Result<LogEnds, String> = members.ends().and_then(|mut ends| {
            ends.extend(stopped.map_err(|error| error.to_string())?);
            ends.sort();
            Ok(ends)
        });
        match ends {
            Ok(ends) => {
                let finished = boot::finish(&self.reactor.disk(), self.node.dir(), &ends).await;
                finished.map_err(|error| cannot_use(self.node.dir(), &error))
            }
            Err(why) => {
                tracing::warn!("this is not a clean stop, and the next start recovers the logs: {why}");
                Ok(())
            }
        }
    }

    async fn go_offline(&self, shard: &Rc<Shard>) -> Result<(), String> {
        let failure = shard.log_dir.failure().unwrap_or_default();
        self.tell_others(|| ToCore::LogDirFailed(failure.clone()));
        shard.go_offline();
        self.reactor.sleep(LAST_WORDS).await;
        Err(format!(
            "the log directory has failed, and nothing can be served from it: {failure}. What was acknowledged is on \
             disk as far as the disk kept its word. Mend the disk, then start the broker again"
        ))
    }
}

fn cannot_use(dir: &Path, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ": let this user write there, or choose another folder (--data-dir)"
        }
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            ": a file is in its place or on the way to it; move the file, or choose another folder (--data-dir)"
        }
        io::ErrorKind::StorageFull => ": the disk is full; make room on it, then start again",
        io::ErrorKind::ReadOnlyFilesystem => {
            ": choose a folder on a file system that can be written (--data-dir)"
        }
        _ => "",
    };
    format!("the folder {} cannot be used: {error}{advice}", dir.display())
}
