//! Sockets. What can be had at once is had by a plain call that does not block; for the rest the ring waits.
//!
//! Receiving and accepting wait for readiness only, so that a future that is dropped loses no bytes and no
//! connection, and five thousand idle connections hold no buffers. A send that the socket does not take at once
//! goes to the ring with all it needs.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};

use bytes::Bytes;

use super::operation::{Connect, Message, Operation, Ready, Send, drop_sent};
use super::ring::{Ring, Token};
use crate::reactor::sync::{Completion, completion};

/// Connections that may wait for being accepted, as far as `net.core.somaxconn` allows.
const BACKLOG: i32 = 4096;

/// A descriptor of a socket, shared by all that work on it; closed when the last of them has ended.
pub(super) struct Socket {
    fd: OwnedFd,
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Socket {
    fn shut_down(&self) {
        // SAFETY: plain system call on an open descriptor.
        unsafe { libc::shutdown(self.as_raw_fd(), libc::SHUT_RDWR) };
    }
}

/// The wait for a socket to be readable, kept when the future that awaits it is dropped, cancelled with its owner.
struct Readable {
    socket: Rc<Socket>,
    ring: Rc<Ring>,
    wait: RefCell<Option<(Token, Completion<io::Result<()>>)>>,
}

impl Readable {
    fn new(socket: Rc<Socket>, ring: Rc<Ring>) -> Readable {
        Readable { socket, ring, wait: RefCell::new(None) }
    }

    /// Resolves when there may be something to read.
    async fn wait(&self) -> io::Result<()> {
        poll_fn(|cx| {
            let mut wait = self.wait.borrow_mut();
            let (_, done) = wait.get_or_insert_with(|| {
                let (to, done) = completion();
                (self.ring.begin(Operation::Ready(Ready { socket: self.socket.clone(), to })), done)
            });
            let result = ready!(Pin::new(done).poll(cx));
            *wait = None;
            Poll::Ready(result)
        })
        .await
    }
}

impl Drop for Readable {
    fn drop(&mut self) {
        if let Some((token, _)) = self.wait.take() {
            self.ring.cancel(token);
        }
    }
}

/// A bound listening socket of one core.
pub struct Listener {
    readable: Readable,
    local: SocketAddr,
}

/// A TCP connection that no core owns yet.
#[derive(Debug)]
pub struct Accepted {
    socket: OwnedFd,
    peer: SocketAddr,
}

/// A connection that was made elsewhere, to be adopted by a core.
pub fn accepted(stream: TcpStream) -> io::Result<Accepted> {
    stream.set_nonblocking(false)?;
    Ok(Accepted { peer: stream.peer_addr()?, socket: stream.into() })
}

impl Accepted {
    /// See [`crate::reactor::Accepted::peer`].
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }
}

impl Listener {
    /// Binds. Without SO_REUSEPORT, so that a port in use is told; SO_REUSEADDR lets a restarted broker bind
    /// while old connections still linger in TIME_WAIT.
    pub(super) fn bind(address: SocketAddr, ring: Rc<Ring>) -> io::Result<Listener> {
        let fd = listening_socket(address).map_err(|e| bind_failed(address, e))?;
        let listener = TcpListener::from(fd);
        let local = listener.local_addr()?;
        let socket = Rc::new(Socket { fd: listener.into() });
        Ok(Listener { readable: Readable::new(socket, ring), local })
    }

    /// See [`crate::reactor::Listener::accept`].
    pub async fn accept(&self) -> io::Result<Accepted> {
        loop {
            match accept_now(self.readable.socket.as_raw_fd()) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.readable.wait().await?,
                done => return done,
            }
        }
    }

    /// See [`crate::reactor::Listener::local_address`].
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A wait that is being cancelled still holds the descriptor; connections are refused from now on.
        self.readable.socket.shut_down();
    }
}

fn bind_failed(address: SocketAddr, error: io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            ": another process listens there; stop it, or change the port in `listeners`"
        }
        io::ErrorKind::AddrNotAvailable => {
            ": this machine has no such address; listen on 0.0.0.0 and name the address in `advertised.listeners`"
        }
        io::ErrorKind::PermissionDenied => {
            ": ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE; take a higher one"
        }
        _ => "",
    };
    io::Error::new(error.kind(), format!("cannot listen on {address}: {error}{advice}"))
}

fn new_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: plain system call.
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn listening_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = new_socket(address)?;
    let fd = socket.as_raw_fd();
    set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    let (storage, len) = to_system(address);
    // SAFETY: the address is valid for `len` bytes.
    if unsafe { libc::bind(fd, (&raw const storage).cast(), len) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: plain system call.
    if unsafe { libc::listen(fd, BACKLOG) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

fn set_option(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the value is valid for its length.
    match unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), len) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn to_system(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: zeros are a valid address storage.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let len = match address {
        SocketAddr::V4(v4) => {
            let to = (&raw mut storage).cast::<libc::sockaddr_in>();
            // SAFETY: the storage is large enough and aligned for every kind of address.
            unsafe {
                (*to).sin_family = libc::AF_INET as u16;
                (*to).sin_port = v4.port().to_be();
                (*to).sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            }
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let to = (&raw mut storage).cast::<libc::sockaddr_in6>();
            // SAFETY: as above.
            unsafe {
                (*to).sin6_family = libc::AF_INET6 as u16;
                (*to).sin6_port = v6.port().to_be();
                (*to).sin6_addr.s6_addr = v6.ip().octets();
                (*to).sin6_flowinfo = v6.flowinfo();
                (*to).sin6_scope_id = v6.scope_id();
            }
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, len as libc::socklen_t)
}

/// Takes a connection that waits, without blocking. The sockets are blocking ones: the ring would hand EAGAIN
/// back from a non-blocking one instead of waiting, and what runs on the core asks not to wait call by call.
fn accept_now(listener: RawFd) -> io::Result<Accepted> {
    let mut ready = libc::pollfd { fd: listener, events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry of our own.
    if unsafe { libc::poll(&mut ready, 1, 0) } == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    // SAFETY: no address is asked for.
    let fd =
        unsafe { libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), libc::SOCK_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and nobody else's.
    let stream = TcpStream::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let peer = stream.peer_addr()?;
    stream.set_nodelay(true)?;
    Ok(Accepted { socket: stream.into(), peer })
}

/// The two halves of a connection.
pub(super) fn halves(accepted: Accepted, ring: Rc<Ring>) -> (Receiver, Sender) {
    join(Rc::new(Socket { fd: accepted.socket }), accepted.peer, ring)
}

fn join(socket: Rc<Socket>, peer: SocketAddr, ring: Rc<Ring>) -> (Receiver, Sender) {
    let both = Rc::new(Halves { socket: socket.clone(), peer });
    let readable = Readable::new(socket, ring.clone());
    let receiver = Receiver { readable, both: both.clone(), is_drained: true };
    (receiver, Sender { both, ring, message: Some(Message::new()), under_way: None })
}

/// Connects to a peer.
pub(super) async fn connect(address: SocketAddr, ring: Rc<Ring>) -> io::Result<(Receiver, Sender)> {
    struct CancelledWhenDropped<'a>(&'a Ring, Token);
    impl Drop for CancelledWhenDropped<'_> {
        fn drop(&mut self) {
            self.0.cancel(self.1);
        }
    }
    let socket = Rc::new(Socket { fd: new_socket(address)? });
    let (to, done) = completion();
    let connect = Connect { socket: socket.clone(), address: Box::new(to_system(address)), to };
    let under_way = CancelledWhenDropped(&ring, ring.begin(Operation::Connect(connect)));
    let result = done.await;
    drop(under_way);
    result.map_err(|e| io::Error::new(e.kind(), format!("cannot connect to {address}: {e}")))?;
    set_option(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    Ok(join(socket, address, ring))
}

/// Lives as long as one half does.
struct Halves {
    socket: Rc<Socket>,
    peer: SocketAddr,
}

impl Drop for Halves {
    fn drop(&mut self) {
        // What is under way on the ring still holds the descriptor: this ends it.
        self.socket.shut_down();
    }
}

/// The receiving half of a connection.
pub struct Receiver {
    readable: Readable,
    both: Rc<Halves>,
    /// The last read took all there was: the next one waits before it reads.
    is_drained: bool,
}

impl Receiver {
    /// See [`crate::reactor::Receiver::receive`].
    pub async fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.is_drained {
                self.readable.wait().await?;
                self.is_drained = false;
            }
            match receive_now(self.both.socket.as_raw_fd(), into) {
                Ok(len) => {
                    self.is_drained = len > 0 && len < into.len();
                    return Ok(len);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.is_drained = true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// See [`crate::reactor::Receiver::peer`].
    pub fn peer(&self) -> SocketAddr {
        self.both.peer
    }
}

fn receive_now(fd: RawFd, into: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the slice is valid for its length.
    let got = unsafe { libc::recv(fd, into.as_mut_ptr().cast(), into.len(), libc::MSG_DONTWAIT) };
    if got < 0 { Err(io::Error::last_os_error()) } else { Ok(got as usize) }
}

/// The sending half of a connection.
pub struct Sender {
    both: Rc<Halves>,
    ring: Rc<Ring>,
    /// For the next send; away while a send is under way on the ring.
    message: Option<Box<Message>>,
    /// A send whose future was dropped. Its bytes still go out, before all others.
    under_way: Option<Completion<io::Result<()>>>,
}

impl Sender {
    /// See [`crate::reactor::Sender::send`].
    pub async fn send(&mut self, mut slices: Vec<Bytes>) -> io::Result<()> {
        self.finish_last().await?;
        let mut message = self.message.take().unwrap_or_else(Message::new);
        let mut sent = 0;
        while drop_sent(&mut slices, &mut sent) {
            message.show(&slices, sent);
            match send_now(self.both.socket.as_raw_fd(), &message) {
                Ok(len) => sent += len,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let (to, done) = completion();
                    let socket = self.both.socket.clone();
                    self.ring.begin(Operation::Send(Send { socket, slices, sent, message, to }));
                    self.under_way = Some(done);
                    return self.finish_last().await;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.message = Some(message);
        Ok(())
    }

    async fn finish_last(&mut self) -> io::Result<()> {
        if let Some(last) = &mut self.under_way {
            let result = last.await;
            self.under_way = None;
            result?;
        }
        Ok(())
    }

    /// See [`crate::reactor::Sender::shut_down`].
    pub fn shut_down(&self) {
        self.both.socket.shut_down();
    }
}

fn send_now(fd: RawFd, message: &Message) -> io::Result<usize> {
    // SAFETY: the header points to vectors that point to slices, all alive across the call.
    let sent = unsafe { libc::sendmsg(fd, message.header(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}
