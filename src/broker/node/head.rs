//! The head of a node: the core that starts and ends all others.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use super::{Event, Node, Report, begin_shard, caller};
use crate::broker::boot;
use crate::broker::call::Caller;
use crate::broker::connection;
use crate::broker::connection_limits::Board;
use crate::broker::controller::ControllerShell;
use crate::broker::core::{Core, Wants, serve_bus};
use crate::broker::dirs::{self, Dir, Dirs, Located, cannot_use};
use crate::broker::follow::Follower;
use crate::broker::identity;
use crate::broker::lifecycle::PartitionSpec;
use crate::broker::listener::{accept, keep_within_limits};
use crate::broker::log_dir::LogDir;
use crate::broker::members::Members;
use crate::broker::messages::{Beginning, LogEnds, PartitionId, ToCore};
use crate::broker::metadata_log::{self, METADATA_LOG, METADATA_TOPIC};
use crate::broker::open::Before;
use crate::broker::open::OpenRequest;
use crate::broker::replica::State;
use crate::broker::shard::Shard;
use crate::config::listeners::Endpoint;
use crate::controller::{Answer, Controller, Refusal, Registration, features};
use crate::limits::METADATA_BATCH_RECORDS;
use crate::partition::producers::ProducerRoom;
use crate::reactor::bus::BusEnd;
use crate::reactor::sync::{Bell, either};
use crate::reactor::{Class, Listener, Reactor};
use crate::wire::schema::BrokerEndpoint;
use crate::wire::uuid::Uuid;

/// After a failure of the log directories, clients have this long to be told.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The head of a node that starts.
pub(super) struct Head {
    reactor: Reactor,
    node: Arc<Node>,
    wants: Arc<Wants>,
    caller: Caller,
    own: Rc<OnceCell<Weak<Shard>>>,
    report: Report,
}

/// The head of a node that serves.
struct Serving {
    shard: Rc<Shard>,
    members: Rc<Members>,
    /// Rung when the disks leave nothing to serve from.
    over: Rc<Bell>,
}

impl Head {
    pub(super) async fn run(
        reactor: Reactor,
        node: Arc<Node>,
        wants: Arc<Wants>,
        end: BusEnd<ToCore>,
        report: Report,
    ) {
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
        let (node, reactor) = (&self.node, &self.reactor);
        let (paths, needed) = (node.dirs(), node.metadata_dir());
        let mut dirs = Dirs::look(reactor, &paths, needed, node.config.node_id).await?;
        let listeners = self.listen()?;
        let addresses: Vec<_> = listeners.iter().map(Listener::local_address).collect();
        self.check_barriers(&dirs)?;
        (self.report)(Event::Folders(dirs.cluster_id.clone(), dirs.told()));

        let mut log_dirs = self.begin_dirs(&mut dirs).await?;
        let before = self.before(&dirs);
        let loaded = self.load_metadata(&log_dirs[&needed], before, &dirs.cluster_id).await?;
        let image = Arc::new(loaded.image);
        let (shard, lost) = begin_shard(reactor, node, &dirs, &image).await;
        for (index, why) in lost {
            if index == needed {
                return Err(why);
            }
            dirs.all[index].found = Err(why);
            log_dirs.remove(&index);
        }
        assert!(self.own.set(Rc::downgrade(&shard)).is_ok(), "the head starts once");
        self.open_metadata_log(&shard, before, dirs.id(needed)).await?;

        let settings = node.settings();
        let core =
            Core::new(reactor.clone(), self.caller.clone(), node.config.clone(), settings, image.clone());
        core.share_wants(self.wants.clone());
        core.share_loggers(node.loggers.clone());
        core.set_log_dirs(dirs.named(&node.config.log_dirs));
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
        self.register(&shell, &dirs, &addresses).await?;
        dirs.on_their_way = self.settle_folders(&shell, &shard, &mut log_dirs).await?;

        let image = shell.image();
        assert!(follower.set(Follower::new(core.clone(), shard.clone())).is_ok(), "the head starts once");
        let follower = follower.get().expect("it was just set");
        let beginning = Arc::new(Beginning { dirs, image: image.clone() });
        self.tell_others(|| ToCore::Begin(beginning.clone()));
        follower.open_all(&beginning.dirs, &node.accept_loss).await;
        members.all_begun().await;
        members.others().for_each(|member| shell.image_seen(member, image.version()));
        shell.start();
        let over = Rc::new(Bell::default());
        self.watch_directories(&shard, &shell, &over);
        reactor.spawn(Class::Background, connection::look_after(core.clone()));
        self.accept(&core, listeners);
        (self.report)(Event::Serving(image.topic_count(), image.partition_count(), addresses));
        Ok(Serving { shard, members, over })
    }

    fn check_barriers(&self, dirs: &Dirs) -> Result<(), String> {
        match dirs.usable().find(|(_, _, found)| found.report.no_barrier) {
            Some((_, path, _)) if !self.node.accept_no_barrier => Err(format!(
                "{} lies on a file system that is mounted without barriers: no flush reaches the disk, and a power \
                 failure loses what was acknowledged. Mount it without nobarrier (barrier=0), or accept that with \
                 --accept-no-barrier",
                path.display()
            )),
            _ => Ok(()),
        }
    }

    /// Makes the directories ready for work; one that cannot be is left out from here on.
    async fn begin_dirs(&self, dirs: &mut Dirs) -> Result<BTreeMap<usize, LogDir>, String> {
        let mut log_dirs = BTreeMap::new();
        for (index, Dir { path, found }) in dirs.all.iter_mut().enumerate() {
            let Ok(usable) = &found else { continue };
            match dirs::begin(&self.reactor, path, usable).await {
                Ok(log_dir) => drop(log_dirs.insert(index, log_dir)),
                Err(why) if index == self.node.metadata_dir() => return Err(why),
                Err(why) => {
                    dirs::tell_unusable(&why);
                    *found = Err(why);
                }
            }
        }
        Ok(log_dirs)
    }

    /// The metadata and what lies on the disks are made to agree before the partitions are opened.
    async fn settle_folders(
        &self,
        shell: &ControllerShell,
        shard: &Shard,
        log_dirs: &mut BTreeMap<usize, LogDir>,
    ) -> Result<Vec<(PartitionId, Uuid)>, String> {
        let (node_id, image) = (self.node.config.node_id, shell.image());
        let mut located = self.locate(shard, log_dirs).await?;
        let underway = located.underway(&image, node_id);
        for one in &underway {
            if let Err((directory, error)) = dirs::settle_move(log_dirs.values(), one).await {
                self.lose(shard, log_dirs, directory, &error)?;
            }
        }
        if !underway.is_empty() {
            located = self.locate(shard, log_dirs).await?;
        }
        let usable: Vec<Uuid> = log_dirs.values().map(|log_dir| log_dir.id).collect();
        let lost = |topic: &str, partition: i32| {
            self.node.accept_loss.iter().any(|(t, p)| t == topic && *p == partition)
        };
        let misplaced = located.misplaced(&image, node_id, &usable, lost);
        for some in misplaced.chunks(METADATA_BATCH_RECORDS) {
            let assigned = shell.decide(|controller| controller.assign_directories(node_id, some)).await;
            assigned.map_err(|refusal| refusal.message)?;
        }
        self.resume_leadership(shell).await?;
        let image = shell.image();
        for directory in usable {
            let log_dir =
                log_dirs.values().find(|log_dir| log_dir.id == directory).expect("it was just there");
            if let Err(error) = boot::put_strays_aside(log_dir, &image, node_id).await {
                self.lose(shard, log_dirs, directory, &error)?;
            }
        }
        Ok(underway.iter().filter(|one| !one.counts).map(|one| (one.id, one.to)).collect())
    }

    /// What lies where in the directories that can be listed.
    async fn locate(&self, shard: &Shard, log_dirs: &mut BTreeMap<usize, LogDir>) -> Result<Located, String> {
        loop {
            match Located::look(log_dirs.values()).await {
                Ok(located) => return Ok(located),
                Err((directory, error)) => self.lose(shard, log_dirs, directory, &error)?,
            }
        }
    }

    /// Goes on without a directory that fails while the node starts, if it is not that of the metadata log.
    fn lose(
        &self,
        shard: &Shard,
        log_dirs: &mut BTreeMap<usize, LogDir>,
        directory: Uuid,
        error: &io::Error,
    ) -> Result<(), String> {
        let index = log_dirs.iter().find(|(_, log_dir)| log_dir.id == directory).map(|(index, _)| *index);
        let Some(lost) = index.and_then(|index| log_dirs.remove(&index)) else { return Ok(()) };
        let why = cannot_use(&lost.path, error);
        if index == Some(self.node.metadata_dir()) {
            return Err(why);
        }
        dirs::tell_unusable(&why);
        shard.went_offline(index.expect("it was found"), why);
        Ok(())
    }

    async fn resume_leadership(&self, shell: &ControllerShell) -> Result<(), String> {
        let (node_id, mut after) = (self.node.config.node_id, None);
        loop {
            let resume = |c: &Controller| c.resume_leadership(node_id, after, METADATA_BATCH_RECORDS);
            let resumed = shell.decide(resume).await;
            after = resumed.map_err(|refusal| {
                format!("the broker cannot take up its partitions: {}: {}", refusal.error, refusal.message)
            })?;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// A log directory that fails is offline on every core, and the cluster is told. Without that of the metadata log, and
    /// without any, the node is over.
    fn watch_directories(&self, shard: &Rc<Shard>, shell: &Rc<ControllerShell>, over: &Rc<Bell>) {
        for volume in &shard.volumes {
            let (caller, core, cores) = (self.caller.clone(), self.reactor.core(), self.reactor.cores());
            let (volume, shard, shell, over) = (volume.clone(), shard.clone(), shell.clone(), over.clone());
            let needed = self.node.metadata_dir();
            self.reactor.spawn(Class::Request, async move {
                let failure = volume.log_dir.failed().await;
                for other in (0..cores).filter(|other| *other != core) {
                    caller.send(other, ToCore::LogDirFailed(volume.index, failure.clone()));
                }
                if volume.index == needed || shard.volumes.iter().all(|v| v.log_dir.has_failed()) {
                    return over.ring();
                }
                if let Err(refusal) = shell.directory_failed(volume.log_dir.id).await {
                    tracing::warn!("the cluster was not told of it: {}: {}", refusal.error, refusal.message);
                }
            });
        }
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
    fn before(&self, dirs: &Dirs) -> Before {
        let accepted = |(topic, partition): &(String, i32)| topic == METADATA_TOPIC && *partition == 0;
        let before = dirs.before(dirs.id(self.node.metadata_dir()), METADATA_LOG, METADATA_TOPIC);
        Before { accept_loss: self.node.accept_loss.iter().any(accepted), ..before }
    }

    async fn load_metadata(
        &self,
        log_dir: &LogDir,
        before: Before,
        cluster_id: &str,
    ) -> Result<metadata_log::Loaded, String> {
        let request = OpenRequest {
            id: METADATA_LOG,
            dir: metadata_log::dir(&log_dir.path),
            config: metadata_log::log_config(&self.node.config),
            before,
            room: ProducerRoom::default(),
        };
        let loaded = metadata_log::load(&self.reactor, log_dir, &request, cluster_id).await;
        loaded.map_err(|error| format!("the cluster's metadata cannot be read: {error}"))
    }

    async fn open_metadata_log(
        &self,
        shard: &Rc<Shard>,
        before: Before,
        directory: Uuid,
    ) -> Result<(), String> {
        let spec = PartitionSpec {
            id: METADATA_LOG,
            topic: METADATA_TOPIC.into(),
            directory,
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

    /// Tells the cluster of this broker.
    async fn register(
        &self,
        shell: &ControllerShell,
        dirs: &Dirs,
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
            log_dirs: self.for_partitions(dirs),
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
        Ok(())
    }

    /// The log directories that partitions may be placed in.
    fn for_partitions(&self, dirs: &Dirs) -> Vec<Uuid> {
        let named = |path: &std::path::Path| self.node.config.log_dirs.iter().any(|dir| dir == path);
        dirs.usable().filter(|(_, path, _)| named(path)).map(|(_, _, found)| found.id).collect()
    }

    fn accept(&self, core: &Rc<Core>, listeners: Vec<Listener>) {
        let takes: Vec<_> = self.node.cores.iter().map(|core| core.connections).collect();
        let board = Rc::new(Board::new(&takes, &core.settings));
        *core.board.borrow_mut() = Some(board.clone());
        self.reactor.spawn(Class::Background, keep_within_limits(core.clone(), board.clone()));
        for (index, listener) in listeners.into_iter().enumerate() {
            self.reactor.spawn(Class::Request, accept(core.clone(), board.clone(), listener, index));
        }
    }

    async fn serve_until_end(&self, serving: &Serving) -> Result<(), String> {
        let Serving { shard, members, over } = serving;
        either(self.reactor.stop_requested(), over.rung()).await;
        if over.has_rung() {
            return Err(self.last_words(shard).await);
        }
        (self.report)(Event::Stopping);
        let mut stopped = boot::stop_shard(shard).await;
        either(members.all_stopped(), over.rung()).await;
        if over.has_rung() {
            return Err(self.last_words(shard).await);
        }
        stopped.extend(members.ends());
        let dirs = self.node.dirs();
        for volume in &shard.volumes {
            let dir = &dirs[volume.index];
            let here = stopped.iter().filter(|(index, _)| *index == volume.index);
            let ends: Result<Vec<LogEnds>, String> = here.map(|(_, ends)| ends.clone()).collect();
            match ends {
                Ok(ends) => {
                    let mut ends = ends.concat();
                    ends.sort();
                    let finished = boot::finish(&self.reactor.disk(), dir, &ends).await;
                    finished.map_err(|error| cannot_use(dir, &error))?;
                }
                Err(why) => tracing::warn!(
                    "this is not a clean stop of {}, and the next start recovers the logs in it: {why}",
                    dir.display()
                ),
            }
        }
        Ok(())
    }

    /// Nothing can be served any more: clients are still told so.
    async fn last_words(&self, shard: &Rc<Shard>) -> String {
        self.reactor.sleep(LAST_WORDS).await;
        let failed = shard.volumes.iter().filter_map(|volume| volume.log_dir.failure());
        let failures: Vec<_> = failed.collect();
        format!(
            "the log directory has failed, and nothing can be served without it: {}. What was acknowledged is on \
             disk as far as the disk kept its word. Mend the disk, then start the broker again",
            failures.join("; ")
        )
    }
}
