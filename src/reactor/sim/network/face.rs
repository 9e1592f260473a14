//! The network as processes and tests see it: listeners, halves of connections, cuts.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::{Connection, error};
use crate::reactor::sim::core::{Core, is_alive};
use crate::reactor::sim::handle::Handle;
use crate::reactor::sim::options::NetworkOptions;
use crate::reactor::sim::world::NodeId;
use crate::reactor::sync::completion;

/// A port of the simulated network.
pub struct Listener {
    core: Rc<Core>,
    address: SocketAddr,
}

/// A simulated connection that no core owns yet.
#[derive(Debug)]
pub struct Accepted {
    connection: u64,
    peer: SocketAddr,
    abandoned: Arc<Mutex<Vec<u64>>>,
    adopted: bool,
}

/// The receiving half of a simulated connection.
pub struct Receiver {
    half: Half,
    peer: SocketAddr,
}

/// The sending half of a simulated connection.
pub struct Sender {
    half: Half,
}

struct Half {
    core: Rc<Core>,
    connection: u64,
    end: usize,
}

impl Core {
    /// Binds a port of this node: on its own address, all addresses or loopback.
    pub fn listen(self: &Rc<Self>, address: SocketAddr) -> io::Result<Listener> {
        let bound = self.world.inner.network.borrow_mut().listen(self, address);
        let address =
            bound.map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {address}: {e}")))?;
        self.world.inner.note_text(self.node, "listen", &address.to_string());
        Ok(Listener { core: self.clone(), address })
    }

    /// Makes an accepted connection this core's own.
    pub fn adopt(self: &Rc<Self>, mut accepted: Accepted) -> io::Result<(Receiver, Sender)> {
        accepted.adopted = true;
        let id = accepted.connection;
        let mut network = self.world.inner.network.borrow_mut();
        let connection =
            network.connections.get_mut(&id).ok_or_else(|| error(io::ErrorKind::NotConnected))?;
        connection.ends[1].halves = 2;
        let peer = connection.ends[0].address;
        Ok(self.halves(id, 1, peer))
    }

    fn halves(self: &Rc<Self>, connection: u64, end: usize, peer: SocketAddr) -> (Receiver, Sender) {
        let half = || Half { core: self.clone(), connection, end };
        (Receiver { half: half(), peer }, Sender { half: half() })
    }

    /// Connects to a port of a node, itself included.
    pub async fn connect(self: &Rc<Self>, address: SocketAddr) -> io::Result<(Receiver, Sender)> {
        if !is_alive(self) {
            return std::future::pending().await;
        }
        let (done, outcome) = completion();
        let id = self.world.inner.network.borrow_mut().connect(self, address, done)?;
        // Held already, so that dropping this future closes the connection.
        let halves = self.halves(id, 0, address);
        outcome.await.map_err(|e| io::Error::new(e.kind(), format!("cannot connect to {address}: {e}")))?;
        Ok(halves)
    }
}

impl Listener {
    /// The next connection.
    pub async fn accept(&self) -> io::Result<Accepted> {
        let inner = &self.core.world.inner;
        let key = (self.core.node, self.address.port());
        let accepted = std::future::poll_fn(|cx| inner.network.borrow_mut().poll_accept(key, cx.waker()));
        let connection = accepted.await?;
        inner.note(self.core.node, "accept", [connection, 0, 0]);
        let network = inner.network.borrow();
        let gone = || error(io::ErrorKind::ConnectionAborted);
        let peer = network.connections.get(&connection).ok_or_else(gone)?.ends[0].address;
        let abandoned = network.abandoned.clone();
        Ok(Accepted { connection, peer, abandoned, adopted: false })
    }

    /// The bound address.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if !is_alive(&self.core) {
            return;
        }
        let inner = &self.core.world.inner;
        let mut network = inner.network.borrow_mut();
        let port = network.ports.remove(&(self.core.node, self.address.port()));
        for id in port.into_iter().flat_map(|port| port.waiting) {
            network.close(inner, id, 1);
        }
    }
}

impl Accepted {
    /// The peer's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        if !self.adopted {
            self.abandoned.lock().expect("nobody panics with it").push(self.connection);
        }
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        if !is_alive(&self.core) {
            return;
        }
        let inner = &self.core.world.inner;
        let mut network = inner.network.borrow_mut();
        let Some(connection) = network.connections.get_mut(&self.connection) else { return };
        let end = &mut connection.ends[self.end];
        end.halves = end.halves.saturating_sub(1);
        if end.halves == 0 {
            network.close(inner, self.connection, self.end);
        }
    }
}

impl Receiver {
    /// Fills a part of `into`; 0 when the peer has closed.
    pub async fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Half { core, connection, end } = &self.half;
        let inner = &core.world.inner;
        let end = (*connection, *end);
        std::future::poll_fn(|cx| inner.network.borrow_mut().poll_receive(inner, end, into, cx.waker())).await
    }

    /// The peer's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }
}

impl Sender {
    /// Sends all the slices, in order.
    pub async fn send(&mut self, slices: Vec<Bytes>) -> io::Result<()> {
        let Half { core, connection, end } = &self.half;
        let inner = &core.world.inner;
        let end = (*connection, *end);
        let sent = || std::future::poll_fn(|cx| inner.network.borrow_mut().poll_sent(inner, end, cx.waker()));
        sent().await?;
        inner.network.borrow_mut().give(end, &slices);
        sent().await
    }

    /// Ends the connection in both directions.
    pub fn shut_down(&self) {
        let Half { core, connection, end } = &self.half;
        if is_alive(core) {
            let inner = &core.world.inner;
            inner.network.borrow_mut().close(inner, *connection, *end);
        }
    }
}

impl Handle {
    /// Nothing passes between two nodes any more; what is sent waits.
    pub fn cut(&self, a: NodeId, b: NodeId) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Nothing passes from one node to another any more.
    pub fn cut_one_way(&self, from: NodeId, to: NodeId) {
        self.inner.note(from, "cut", [u64::from(to.0), 0, 0]);
        self.inner.network.borrow_mut().cuts.insert((from, to));
    }

    /// All passes between two nodes again.
    pub fn heal(&self, a: NodeId, b: NodeId) {
        self.inner.note(a, "heal", [u64::from(b.0), 0, 0]);
        self.inner.network.borrow_mut().cuts.retain(|link| *link != (a, b) && *link != (b, a));
    }

    /// All passes everywhere again.
    pub fn heal_all(&self) {
        self.inner.note(NodeId(u32::MAX), "heal", [0; 3]);
        self.inner.network.borrow_mut().cuts.clear();
    }

    /// Resets all connections between two nodes; both ends learn of it.
    pub fn reset_connections(&self, a: NodeId, b: NodeId) {
        let mut network = self.inner.network.borrow_mut();
        let between = |connection: &Connection| {
            let nodes = [connection.ends[0].node, connection.ends[1].node];
            nodes == [a, b] || nodes == [b, a]
        };
        let ids: Vec<u64> =
            network.connections.iter().filter(|(_, c)| between(c)).map(|(id, _)| *id).collect();
        for id in ids {
            network.reset(&self.inner, id);
        }
    }

    /// Changes what the network is like from now on.
    pub fn change_network(&self, change: impl FnOnce(&mut NetworkOptions)) {
        change(&mut self.inner.network.borrow_mut().options);
    }
}
