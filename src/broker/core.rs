//! What a core's connections and APIs work with.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::api::recompress::Workbench;
use super::call::Caller;
use super::connection::{self, Connections};
use super::connection_limits::{Board, Gone};
use super::loggers::Loggers;
use super::messages::ToCore;
use super::producer_ids::ProducerIds;
use super::sessions::{SessionLimits, Sessions};
use crate::config::BrokerConfig;
use crate::controller::Image;
use crate::limits::{
    ANSWER_MEMORY, FETCH_SESSION_PARTITIONS, FETCH_SESSIONS, FRAME_MAX, REQUEST_ELEMENT, REQUEST_ELEMENTS,
    REQUEST_MEMORY_MIN,
};
use crate::reactor::sync::{Bell, Permit, Semaphore};
use crate::reactor::{Reactor, Share};
use crate::wire::uuid::Uuid;

/// How many messages of the bus may be served without letting other tasks run.
const BUS_TURN: usize = 64;

/// What the APIs go by of the broker's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `node.id`
    pub node_id: i32,
    /// The names of the `listeners`, in their order.
    pub listeners: Vec<String>,
    /// The place of the listener through which brokers talk with one another, where there are others besides it.
    pub inter_broker_listener: Option<usize>,
    /// `socket.request.max.bytes`
    pub request_max_bytes: usize,
    /// `connections.max.idle.ms`
    pub connections_max_idle: Duration,
    /// `max.connections`
    pub max_connections: usize,
    /// `max.connections.per.ip`
    pub max_connections_per_ip: usize,
    /// `auto.create.topics.enable`
    pub auto_create_topics: bool,
    /// `fetch.max.bytes`
    pub fetch_max_bytes: usize,
    /// `max.incremental.fetch.session.cache.slots`
    pub fetch_sessions: usize,
    /// `min.incremental.fetch.session.eviction.ms`
    pub fetch_session_eviction: Duration,
    /// The core that serves the controller's commands.
    pub controller_core: usize,
    /// The core that accepts connections.
    pub listener_core: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            node_id: 1,
            listeners: vec!["PLAINTEXT".to_string()],
            inter_broker_listener: None,
            request_max_bytes: FRAME_MAX,
            connections_max_idle: Duration::from_secs(600),
            max_connections: i32::MAX as usize,
            max_connections_per_ip: i32::MAX as usize,
            auto_create_topics: true,
            fetch_max_bytes: 55 << 20,
            fetch_sessions: FETCH_SESSIONS,
            fetch_session_eviction: Duration::from_secs(120),
            controller_core: 0,
            listener_core: 0,
        }
    }
}

impl From<&BrokerConfig> for Settings {
    fn from(config: &BrokerConfig) -> Settings {
        let number = |name: &str| config.layers.value(name).and_then(|text| text.parse::<u64>().ok());
        let count = |name: &str| number(name).and_then(|n| usize::try_from(n).ok());
        let default = Settings::default();
        let idle = config.connections_max_idle_ms.map_or(Duration::MAX, Duration::from_millis);
        let eviction = number("min.incremental.fetch.session.eviction.ms").map(Duration::from_millis);
        let listeners: Vec<String> = config.listeners.iter().map(|listener| listener.name.clone()).collect();
        let inter_broker = listeners.iter().position(|name| *name == config.inter_broker_listener);
        Settings {
            node_id: config.node_id,
            inter_broker_listener: inter_broker.filter(|_| listeners.len() > 1),
            listeners,
            request_max_bytes: config.socket_request_max_bytes,
            connections_max_idle: idle,
            max_connections: config.max_connections,
            max_connections_per_ip: count("max.connections.per.ip").unwrap_or(default.max_connections_per_ip),
            auto_create_topics: config.auto_create_topics,
            fetch_max_bytes: config.fetch_max_bytes,
            fetch_sessions: config.fetch_session_slots,
            fetch_session_eviction: eviction.unwrap_or(default.fetch_session_eviction),
            controller_core: default.controller_core,
            listener_core: default.listener_core,
        }
    }
}

/// One core, as its connections see it. Lives as long as the node runs.
pub struct Core {
    /// The core's reactor.
    pub reactor: Reactor,
    /// The way to every shard.
    pub caller: Caller,
    /// The broker's file.
    pub config: Arc<BrokerConfig>,
    /// What the APIs go by of it.
    pub settings: Settings,
    /// The connections that this core serves.
    pub connections: Connections,
    /// The fetch sessions of its connections.
    pub sessions: RefCell<Sessions>,
    /// The producer ids that this core may give.
    pub producer_ids: ProducerIds,
    /// The memory that fetch replies may pin.
    pub fetch_memory: Memory,
    /// The memory that requests other than Produce and Fetch, and answers without records, may take.
    pub request_memory: Memory,
    /// How many list elements a request may have.
    pub request_elements: usize,
    /// How much memory an answer without records may take.
    pub answer_memory: usize,
    /// For batches that are compressed anew.
    pub recompress: Workbench,
    /// Bytes of small requests that wait for their turn.
    pub queued: Cell<usize>,
    /// Which cores of the node want memory that connections of any core may hold.
    wants: RefCell<Arc<Wants>>,
    /// What of the log is wanted, for all cores of the process.
    loggers: RefCell<Arc<Loggers>>,
    /// On the core that accepts connections: who serves how many.
    pub board: RefCell<Option<Rc<Board>>>,
    /// The node's log directories.
    log_dirs: RefCell<Rc<[NamedDir]>>,
    image: RefCell<Arc<Image>>,
}

/// A log directory of the node.
#[derive(Clone, Debug)]
pub struct NamedDir {
    /// Where it is.
    pub path: PathBuf,
    /// Its `directory.id`; none where it could not be used when the node started.
    pub id: Option<Uuid>,
}

impl Core {
    /// A core that goes by this image.
    pub fn new(
        reactor: Reactor,
        caller: Caller,
        config: Arc<BrokerConfig>,
        settings: Settings,
        image: Arc<Image>,
    ) -> Rc<Core> {
        let pool = reactor.pool();
        let fetch_memory = Memory::new((pool.budget(Share::Tail) + pool.budget(Share::Reads)) / 4);
        let all: usize = Share::ALL.iter().map(|(share, _)| pool.budget(*share)).sum();
        let request_memory = Memory::new((all / 2).max(REQUEST_MEMORY_MIN));
        let elements = request_memory.bytes() / REQUEST_ELEMENT;
        let answer_memory = request_memory.bytes() / 2;
        let limits = SessionLimits {
            sessions: settings.fetch_sessions.div_ceil(reactor.cores()),
            partitions: FETCH_SESSION_PARTITIONS.min(elements),
            eviction: settings.fetch_session_eviction,
        };
        let sessions = Sessions::new(limits, reactor.core(), reactor.cores());
        let wants = Wants::new(reactor.cores());
        Rc::new(Core {
            reactor,
            caller,
            config,
            settings,
            connections: Connections::default(),
            sessions: RefCell::new(sessions),
            producer_ids: ProducerIds::default(),
            fetch_memory,
            request_memory,
            answer_memory: answer_memory.clamp(ANSWER_MEMORY.0, ANSWER_MEMORY.1),
            request_elements: elements.clamp(REQUEST_ELEMENTS.0, REQUEST_ELEMENTS.1),
            recompress: Workbench::new(),
            queued: Cell::new(0),
            wants: RefCell::new(wants),
            loggers: RefCell::default(),
            board: RefCell::default(),
            log_dirs: RefCell::new(Rc::new([])),
            image: RefCell::new(image),
        })
    }

    /// Tells the node's other cores what this one wants, and hears of them.
    pub fn share_wants(&self, wants: Arc<Wants>) {
        *self.wants.borrow_mut() = wants;
    }

    /// The loggers of the process.
    pub fn loggers(&self) -> Arc<Loggers> {
        self.loggers.borrow().clone()
    }

    /// Answers for these loggers from now on.
    pub fn share_loggers(&self, loggers: Arc<Loggers>) {
        *self.loggers.borrow_mut() = loggers;
    }

    /// Whether memory is wanted that connections hold whose clients do not take what is sent to them.
    pub fn wants_memory(&self) -> bool {
        let pool = self.reactor.pool();
        let wants = pool.is_wanted(Share::Tail) || pool.is_wanted(Share::Reads);
        self.wants.borrow().set(self.reactor.core(), wants);
        self.fetch_memory.is_wanted() || self.request_memory.is_wanted() || self.wants.borrow().any()
    }

    /// The node's log directories, for partitions.
    pub fn log_dirs(&self) -> Rc<[NamedDir]> {
        self.log_dirs.borrow().clone()
    }

    /// Tells the node's log directories.
    pub fn set_log_dirs(&self, log_dirs: Vec<NamedDir>) {
        *self.log_dirs.borrow_mut() = log_dirs.into();
    }

    /// The cluster's metadata as this core goes by it.
    pub fn image(&self) -> Arc<Image> {
        self.image.borrow().clone()
    }

    /// Goes by other metadata from now on.
    pub fn set_image(&self, image: Arc<Image>) {
        let before = self.image.replace(image);
        drop(before);
    }

    /// Tells the core that accepts connections that one of them is over.
    pub fn connection_ended(&self, gone: Gone) {
        if self.settings.listener_core != self.reactor.core() {
            self.caller.send(self.settings.listener_core, ToCore::ConnectionEnded(gone));
        } else if let Some(board) = &*self.board.borrow() {
            board.ended(self.reactor.core(), gone);
        }
    }

    /// Ends so many of this core's connections, those that were idle longest; those of other brokers stay. Says how
    /// many there were to end.
    pub fn end_idlest(&self, count: usize) -> usize {
        self.connections.end_idlest(count, self.settings.inter_broker_listener)
    }
}

/// Serves what the bus brings to this core, for ever. What is for neither shards, callers nor connections is handed
/// to `other`, with the sending core.
pub async fn serve_bus(core: Rc<Core>, other: impl Fn(usize, ToCore)) {
    let mut turn = 0;
    loop {
        let (from, message) = core.caller.receive().await;
        match core.caller.dispatch(from, message) {
            None => {}
            Some(ToCore::Connection(accepted, listener)) => connection::serve(&core, accepted, listener),
            Some(ToCore::ConnectionEnded(gone)) => {
                let board = core.board.borrow().clone();
                board.expect("told to the core that accepts connections").ended(from, gone);
            }
            Some(ToCore::EndIdlest(count)) => {
                let left = count - core.end_idlest(count);
                if left > 0 {
                    core.caller.send(from, ToCore::NotEnded(left));
                }
            }
            Some(ToCore::NotEnded(count)) => {
                let board = core.board.borrow().clone();
                board.expect("told to the core that accepts connections").not_ended(from, count);
            }
            Some(message) => other(from, message),
        }
        turn += 1;
        if turn % BUS_TURN == 0 {
            core.reactor.yield_now().await;
        }
    }
}

/// An amount of memory that is shared by who asks for it.
pub struct Memory {
    free: Semaphore,
    bytes: usize,
    waiting: Cell<usize>,
    /// Rung when somebody begins to wait.
    wanted: Bell,
}

impl Memory {
    /// So many bytes.
    pub fn new(bytes: usize) -> Memory {
        Memory { free: Semaphore::new(bytes), bytes, waiting: Cell::new(0), wanted: Bell::default() }
    }

    /// All of it.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much one may have at most, so that a few cannot take all of it: a part of what is free, and a little in
    /// any case.
    pub fn share(&self, least: usize) -> usize {
        (self.free.free() / 4).max(least.min(self.bytes / 4))
    }

    /// Takes memory, waiting for its turn.
    pub async fn take(&self, bytes: usize) -> Permit {
        if let Some(permit) = self.free.try_acquire(bytes) {
            return permit;
        }
        self.waiting.set(self.waiting.get() + 1);
        let _waits = Waits(&self.waiting);
        self.wanted.ring();
        self.free.acquire(bytes).await
    }

    /// Takes memory if there is some and nobody waits for it.
    pub fn try_take(&self, bytes: usize) -> Option<Permit> {
        self.free.try_acquire(bytes)
    }

    /// Whether somebody waits for memory.
    pub fn is_wanted(&self) -> bool {
        self.waiting.get() > 0
    }

    /// Resolves when somebody waits for memory.
    pub async fn wanted(&self) {
        let wanted = self.wanted.notified();
        if !self.is_wanted() {
            wanted.await;
        }
    }
}

/// Which cores of a node want memory that connections of any core may hold: chunks of a core's pool go wherever
/// their records are sent from.
pub struct Wants {
    cores: Vec<AtomicBool>,
}

impl Wants {
    /// None of so many cores.
    pub fn new(cores: usize) -> Arc<Wants> {
        Arc::new(Wants { cores: (0..cores).map(|_| AtomicBool::new(false)).collect() })
    }

    /// Says whether a core wants memory.
    pub fn set(&self, core: usize, wants: bool) {
        self.cores[core].store(wants, Ordering::Relaxed);
    }

    /// Whether any of them does.
    pub fn any(&self) -> bool {
        self.cores.iter().any(|core| core.load(Ordering::Relaxed))
    }
}

struct Waits<'a>(&'a Cell<usize>);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_tables() {
        let ours = Settings::default();
        let theirs = Settings::from(&BrokerConfig::defaults());
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }
}
