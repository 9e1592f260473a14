//! What the ring can do, one variant for each kind: what it owns, how it is told to the kernel, how it ends.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use io_uring::{opcode, squeue, types};

use super::file::Open;
use super::net::Socket;
use super::ring::fd;
use crate::reactor::sync::Completer;
use crate::reactor::{Chunk, ChunkSlice};

/// An operation under way. It owns all memory and descriptors that the kernel works on.
pub(super) enum Operation {
    /// Write the whole slice.
    Write(Transfer<ChunkSlice, ()>),
    /// Fill the chunk, or read to the end of the file.
    Read(Transfer<Chunk, Chunk>),
    /// Make the file's data and size durable.
    Flush(Plain),
    /// Reserve blocks.
    Allocate(Plain, u64, u64),
    /// Set the size.
    Truncate(Plain, u64),
    /// Send the slices.
    Send(Send),
    /// Wait until a socket can be read.
    Ready(Ready),
    /// Connect a socket.
    Connect(Connect),
}

/// What becomes of an operation when a completion has come.
pub(super) enum Step {
    /// It ended, and whoever waits was told.
    Ended,
    /// It has to go to the kernel once more.
    Again(Operation),
}

/// A write or a read: `D` is its memory, `R` what it gives back.
pub(super) struct Transfer<D, R> {
    pub file: Rc<Open>,
    pub data: D,
    pub position: u64,
    /// Bytes of a write that are written already.
    pub done: usize,
    pub retries: u8,
    pub to: Completer<io::Result<R>>,
}

/// An operation on a file that moves no bytes.
pub(super) struct Plain {
    pub file: Rc<Open>,
    pub retries: u8,
    pub to: Completer<io::Result<()>>,
}

/// A scattered send.
pub(super) struct Send {
    pub socket: Rc<Socket>,
    pub slices: Vec<Bytes>,
    /// Bytes of the first slices that are sent already.
    pub sent: usize,
    pub message: Box<Message>,
    pub to: Completer<io::Result<()>>,
}

/// The header and the vectors of a scattered send, which must stay in place while the kernel looks at them.
pub(super) struct Message {
    header: libc::msghdr,
    vectors: Vec<libc::iovec>,
}

/// A wait for bytes, for a connection or for the peer's end.
pub(super) struct Ready {
    pub socket: Rc<Socket>,
    pub to: Completer<io::Result<()>>,
}

/// A connection being made.
pub(super) struct Connect {
    pub socket: Rc<Socket>,
    pub address: Box<(libc::sockaddr_storage, libc::socklen_t)>,
    pub to: Completer<io::Result<()>>,
}

/// How often an operation that the kernel put off is tried again before its error is told.
const RETRIES: u8 = 100;

impl Operation {
    /// Whether it counts against the depth of the disk.
    pub(super) fn is_disk(&self) -> bool {
        !matches!(self, Operation::Send(_) | Operation::Ready(_) | Operation::Connect(_))
    }

    /// Tells the kernel what to do next. The entry points into what the operation owns.
    pub(super) fn entry(&mut self) -> squeue::Entry {
        match self {
            Operation::Write(t) => {
                let rest = &t.data[t.done..];
                let len = u32::try_from(rest.len()).expect("a chunk is far smaller than 4 GiB");
                let position = t.position + t.done as u64;
                opcode::Write::new(fd(&*t.file), rest.as_ptr(), len).offset(position).build()
            }
            Operation::Read(t) => {
                let position = t.position + t.data.len() as u64;
                let room = t.data.spare();
                let len = u32::try_from(room.len()).expect("a chunk is far smaller than 4 GiB");
                opcode::Read::new(fd(&*t.file), room.as_mut_ptr(), len).offset(position).build()
            }
            Operation::Flush(p) => {
                opcode::Fsync::new(fd(&*p.file)).flags(types::FsyncFlags::DATASYNC).build()
            }
            Operation::Allocate(p, from, len) => {
                opcode::Fallocate::new(fd(&*p.file), *len).offset(*from).build()
            }
            Operation::Truncate(p, len) => opcode::Ftruncate::new(fd(&*p.file), *len).build(),
            Operation::Send(s) => {
                s.message.show(&s.slices, s.sent);
                let flags = (libc::MSG_NOSIGNAL | libc::MSG_WAITALL) as u32;
                opcode::SendMsg::new(fd(&*s.socket), &raw const s.message.header).flags(flags).build()
            }
            Operation::Ready(r) => {
                let events = (libc::POLLIN | libc::POLLRDHUP) as u32;
                opcode::PollAdd::new(fd(&*r.socket), events).build()
            }
            Operation::Connect(c) => {
                let (address, len) = &*c.address;
                opcode::Connect::new(fd(&*c.socket), (&raw const *address).cast(), *len).build()
            }
        }
    }

    /// Takes a completion after which another one follows.
    pub(super) fn note(&mut self, _result: i32) {
        unreachable!("no operation is asked for that completes more than once")
    }

    /// Takes the completion of what [`Operation::entry`] asked for.
    pub(super) fn finish(self, result: i32) -> Step {
        let result =
            if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result as usize) };
        match self {
            Operation::Write(t) => t.finish_write(result),
            Operation::Read(t) => t.finish_read(result),
            Operation::Flush(p) => p.finish(result, || "fdatasync".to_owned(), Operation::Flush),
            Operation::Allocate(p, from, len) => p.finish(
                result,
                || format!("fallocate of {len} bytes at {from}"),
                |p| Operation::Allocate(p, from, len),
            ),
            Operation::Truncate(p, len) => {
                p.finish(result, || format!("ftruncate to {len} bytes"), |p| Operation::Truncate(p, len))
            }
            Operation::Send(s) => s.finish(result),
            Operation::Ready(Ready { to, .. }) | Operation::Connect(Connect { to, .. }) => {
                to.complete(result.map(|_| ()));
                Step::Ended
            }
        }
    }
}

/// Whether the kernel only asks to be asked again.
fn put_off(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN))
}

impl Transfer<ChunkSlice, ()> {
    fn finish_write(mut self, result: io::Result<usize>) -> Step {
        let rest = self.data.len() - self.done;
        let outcome = match result {
            Err(e) if put_off(&e) && self.retries < RETRIES => {
                self.retries += 1;
                return Step::Again(Operation::Write(self));
            }
            Err(e) => Err(e),
            Ok(len) if len == rest => Ok(()),
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(len) => {
                self.done += len;
                return Step::Again(Operation::Write(self));
            }
        };
        let position = self.position + self.done as u64;
        let outcome =
            outcome.map_err(|e| self.file.failed(&format!("write of {rest} bytes at {position}"), e));
        self.to.complete(outcome);
        Step::Ended
    }
}

impl Transfer<Chunk, Chunk> {
    fn finish_read(mut self, result: io::Result<usize>) -> Step {
        let outcome = match result {
            Err(e) if put_off(&e) && self.retries < RETRIES => {
                self.retries += 1;
                return Step::Again(Operation::Read(self));
            }
            Err(e) => {
                let (room, position) = (self.data.room(), self.position + self.data.len() as u64);
                Err(self.file.failed(&format!("read of {room} bytes at {position}"), e))
            }
            Ok(len) => {
                self.data.advance(len);
                if len > 0
                    && self.data.room() > 0
                    && !self.file.ends_at(self.position + self.data.len() as u64)
                {
                    return Step::Again(Operation::Read(self));
                }
                Ok(self.data)
            }
        };
        self.to.complete(outcome);
        Step::Ended
    }
}

impl Plain {
    fn finish(
        mut self,
        result: io::Result<usize>,
        what: impl FnOnce() -> String,
        again: impl FnOnce(Plain) -> Operation,
    ) -> Step {
        match result {
            Err(e) if put_off(&e) && self.retries < RETRIES => {
                self.retries += 1;
                return Step::Again(again(self));
            }
            Err(e) => {
                let error = self.file.failed(&what(), e);
                self.to.complete(Err(error));
            }
            Ok(_) => self.to.complete(Ok(())),
        }
        Step::Ended
    }
}

impl Send {
    fn finish(mut self, result: io::Result<usize>) -> Step {
        match result {
            Err(e) if put_off(&e) => return Step::Again(Operation::Send(self)),
            Err(e) => self.to.complete(Err(e)),
            Ok(len) => {
                self.sent += len;
                if drop_sent(&mut self.slices, &mut self.sent) {
                    return Step::Again(Operation::Send(self));
                }
                self.to.complete(Ok(()));
            }
        }
        Step::Ended
    }
}

/// Lets go of slices that are sent whole. Returns whether any are left.
pub(super) fn drop_sent(slices: &mut Vec<Bytes>, sent: &mut usize) -> bool {
    let mut whole = 0;
    for slice in slices.iter() {
        if slice.len() > *sent {
            break;
        }
        *sent -= slice.len();
        whole += 1;
    }
    slices.drain(..whole);
    !slices.is_empty()
}

impl Message {
    pub(super) fn new() -> Box<Message> {
        // SAFETY: a header of zeros is an empty message.
        Box::new(Message { header: unsafe { std::mem::zeroed() }, vectors: Vec::new() })
    }

    /// Points at what is left of `slices` after `sent` bytes, as much as one call takes.
    pub(super) fn show(&mut self, slices: &[Bytes], sent: usize) {
        self.vectors.clear();
        let mut skip = sent;
        for slice in slices {
            if self.vectors.len() == libc::UIO_MAXIOV as usize {
                break;
            }
            let rest = &slice[skip.min(slice.len())..];
            skip = skip.saturating_sub(slice.len());
            if !rest.is_empty() {
                let base = rest.as_ptr().cast_mut().cast();
                self.vectors.push(libc::iovec { iov_base: base, iov_len: rest.len() });
            }
        }
        self.header.msg_iov = self.vectors.as_mut_ptr();
        self.header.msg_iovlen = self.vectors.len() as _;
    }

    pub(super) fn header(&self) -> &libc::msghdr {
        &self.header
    }
}
