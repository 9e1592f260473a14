//! From bytes to frames.
//!
//! An idle connection holds a kilobyte. A small request is copied out of what was read ahead; a large one is
//! received into a chunk of the pool, so that records are slices of it, from the socket to the log's tail. The
//! chunk is taken when the frame's length is known and some of its bytes have come; waiting for one is how a
//! core that is short of memory slows its clients down.

use std::ops::Range;

use bytes::Bytes;

use super::{Connection, Ended};
use crate::limits::{FRAME_MAX_OTHER, FRAME_PROOF, FRAME_SMALL, READ_AHEAD_BUSY, READ_AHEAD_IDLE};
use crate::reactor::{Receiver, Share};
use crate::wire::api::ApiKey;

/// How many bytes may be received without letting other tasks run.
const RECEIVE_TURN: usize = 1 << 20;

/// The receiving half of a connection, and what was read ahead.
pub struct Frames {
    receiver: Receiver,
    buffer: Box<[u8]>,
    /// What of the buffer was received and not used.
    ahead: Range<usize>,
    /// The size of the buffer when it is next made.
    next_size: usize,
}

impl Frames {
    /// Begins to read.
    pub fn new(receiver: Receiver) -> Frames {
        Frames { receiver, buffer: Box::default(), ahead: 0..0, next_size: READ_AHEAD_IDLE }
    }

    /// Receives until at least `count` bytes are ahead. `None` where the peer closed before the first of them.
    async fn look_ahead(&mut self, count: usize, of: &Connection) -> Result<Option<()>, Ended> {
        while self.ahead.len() < count {
            self.make_room(count);
            let len = self.receiver.receive(&mut self.buffer[self.ahead.end..]).await.map_err(Ended::from)?;
            if len == 0 && self.ahead.is_empty() {
                return Ok(None);
            }
            if len == 0 {
                return Err(Ended::Peer);
            }
            of.received();
            let filled = len == self.buffer.len() - self.ahead.end;
            self.ahead.end += len;
            self.next_size = if filled { READ_AHEAD_BUSY } else { READ_AHEAD_IDLE };
        }
        Ok(Some(()))
    }

    /// Sees to it that the buffer has room behind what is ahead, and for `count` bytes in all.
    fn make_room(&mut self, count: usize) {
        if self.ahead.is_empty() {
            self.ahead = 0..0;
            if self.buffer.len() != self.next_size {
                self.buffer = vec![0; self.next_size.max(count)].into();
            }
        } else if self.buffer.len() < count {
            let mut larger = vec![0; count];
            larger[..self.ahead.len()].copy_from_slice(&self.buffer[self.ahead.clone()]);
            self.buffer = larger.into();
            self.ahead = 0..self.ahead.len();
        } else if self.ahead.end == self.buffer.len() || self.buffer.len() - self.ahead.start < count {
            self.buffer.copy_within(self.ahead.clone(), 0);
            self.ahead = 0..self.ahead.len();
        }
    }

    /// Takes up to `count` bytes of what is ahead.
    fn take(&mut self, count: usize) -> &[u8] {
        let count = count.min(self.ahead.len());
        let from = self.ahead.start;
        self.ahead.start += count;
        &self.buffer[from..from + count]
    }

    /// Receives into `into`, which is not empty.
    async fn receive(&mut self, into: &mut [u8], of: &Connection) -> Result<usize, Ended> {
        match self.receiver.receive(into).await {
            Ok(0) => Err(Ended::Peer),
            Ok(len) => {
                of.received();
                Ok(len)
            }
            Err(e) => Err(e.into()),
        }
    }
}

/// The next request frame without its length, or none where the peer has closed. Waits while the connection's
/// requests in flight, or the core's frames, have no room for it.
pub async fn read_frame(frames: &mut Frames, of: &Connection) -> Result<Option<Bytes>, Ended> {
    if frames.look_ahead(4, of).await?.is_none() {
        return Ok(None);
    }
    let len = frame_length(frames.take(4), of)?;
    of.replies.has_room(len, &of.client.core.queued).await;
    if len <= FRAME_SMALL {
        return small_frame(frames, len, of).await.map(Some);
    }
    frames.look_ahead(2, of).await?.ok_or(Ended::Peer)?;
    check_large(&frames.buffer[frames.ahead.clone()], len)?;
    large_frame(frames, len, of).await.map(Some)
}

fn frame_length(bytes: &[u8], of: &Connection) -> Result<usize, Ended> {
    let len = i32::from_be_bytes(bytes.try_into().expect("four bytes were looked for"));
    let max = of.client.core.settings.request_max_bytes;
    match usize::try_from(len) {
        Ok(len) if len <= max => Ok(len),
        _ => Err(Ended::because(format!(
            "the length {len} of its request is not between 0 and socket.request.max.bytes ({max}): {}",
            guess(bytes)
        ))),
    }
}

/// What a wrong length may be in truth.
fn guess(bytes: &[u8]) -> &'static str {
    match bytes {
        [0x16, 0x03, ..] => "it looks like TLS, and this listener speaks plain text",
        b"GET " | b"POST" | b"HEAD" | b"PUT " => {
            "it looks like HTTP, and this listener speaks Kafka's protocol"
        }
        _ => "it may not be a Kafka client",
    }
}

/// Only Produce needs large frames. `start` begins with the number of the API.
fn check_large(start: &[u8], len: usize) -> Result<(), Ended> {
    let api = i16::from_be_bytes([start[0], start[1]]);
    if api == ApiKey::Produce.number() || len <= FRAME_MAX_OTHER {
        return Ok(());
    }
    let name = ApiKey::from_number(api).map_or("unknown", ApiKey::name);
    Err(Ended::because(format!(
        "its {name} request (API {api}) has {len} bytes; requests other than Produce have at most \
         {FRAME_MAX_OTHER}"
    )))
}

async fn small_frame(frames: &mut Frames, len: usize, of: &Connection) -> Result<Bytes, Ended> {
    let mut frame = Vec::with_capacity(len);
    frame.extend_from_slice(frames.take(len));
    while frame.len() < len {
        frames.look_ahead(1, of).await?.ok_or(Ended::Peer)?;
        let missing = len - frame.len();
        frame.extend_from_slice(frames.take(missing));
    }
    Ok(frame.into())
}

async fn large_frame(frames: &mut Frames, len: usize, of: &Connection) -> Result<Bytes, Ended> {
    let reactor = &of.client.core.reactor;
    let mut chunk = match reactor.pool().try_chunk(Share::Frames, len) {
        Some(chunk) => chunk,
        // Where memory is short, it is not held for a request of which little more than its length was sent.
        None => {
            frames.look_ahead(len.min(FRAME_PROOF), of).await?.ok_or(Ended::Peer)?;
            reactor.pool().chunk(Share::Frames, len).await
        }
    };
    let _held = of.receiving_frame();
    // The rest comes straight into the chunk: to read far ahead would only be one more copy.
    frames.next_size = READ_AHEAD_IDLE;
    chunk.append(frames.take(len));
    let mut turn = 0;
    while chunk.len() < len {
        let missing = len - chunk.len();
        let got = frames.receive(&mut chunk.spare()[..missing], of).await?;
        chunk.advance(got);
        of.frame_has(chunk.len());
        turn += got;
        if turn > RECEIVE_TURN {
            turn = 0;
            reactor.yield_now().await;
        }
    }
    Ok(chunk.freeze().into_bytes())
}
