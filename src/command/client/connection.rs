//! One connection to one broker: versions, correlation, frames.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, Read, Write};
use std::marker::PhantomData;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::Bytes;

use super::Fault;
use crate::wire::api::{ApiKey, read_response, request_frame};
use crate::wire::error::ErrorCode;
use crate::wire::schema::Request;
use crate::wire::schema::{ApiVersionsRequest, ApiVersionsResponse};

/// What this client calls itself.
pub const CLIENT_ID: &str = "ottla";
/// The largest answer that is read; a fetch never asks for nearly as much.
const ANSWER_MAX: usize = 512 << 20;
/// What is reserved before an answer's bytes are there.
const RESERVE: usize = 1 << 20;

/// A connection. Answers come in the order of the requests.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    address: String,
    versions: BTreeMap<i16, (i16, i16)>,
    next_correlation: i32,
    timeout: Duration,
    broken: bool,
}

/// A request that was sent and whose answer was not read yet.
#[derive(Debug)]
pub struct InFlight<R> {
    correlation: i32,
    version: i16,
    request: PhantomData<R>,
}

impl Connection {
    /// Connects, and asks which versions the broker speaks.
    pub fn open(address: &str, timeout: Duration) -> Result<Connection, Fault> {
        let stream = connect(address, timeout)
            .map_err(|cause| Fault::Unreachable { broker: address.to_string(), cause })?;
        let mut connection = Connection {
            stream,
            address: address.to_string(),
            versions: BTreeMap::new(),
            next_correlation: 0,
            timeout,
            broken: false,
        };
        let answer = connection.negotiate()?;
        connection.versions =
            answer.api_keys.into_iter().map(|k| (k.api_key, (k.min_version, k.max_version))).collect();
        Ok(connection)
    }

    /// The broker's address, as it was given.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether the connection failed; what was in flight is lost.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// The socket, for a caller that speaks for itself from here on.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// The highest version of an API that both sides speak, up to `limit`.
    pub fn version_up_to(&self, api: ApiKey, limit: i16) -> Result<i16, Fault> {
        let theirs = self.versions.get(&api.number()).copied();
        let unsupported = || Fault::Unsupported { broker: self.address.clone(), api, theirs };
        let (low, high) = theirs.ok_or_else(unsupported)?;
        let highest = high.min(*api.versions().end()).min(limit);
        let lowest = low.max(*api.versions().start());
        if highest < lowest { Err(unsupported()) } else { Ok(highest) }
    }

    /// The highest version of an API that both sides speak.
    pub fn version(&self, api: ApiKey) -> Result<i16, Fault> {
        self.version_up_to(api, i16::MAX)
    }

    /// Sends a request and waits for its answer.
    pub fn call<R: Request>(&mut self, request: &R) -> Result<R::Response, Fault> {
        let version = self.version(R::API)?;
        let sent = self.send(request, version)?;
        self.receive(sent, Duration::ZERO)
    }

    /// Sends a request in a version that both sides speak.
    pub fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<InFlight<R>, Fault> {
        let correlation = self.next_correlation;
        self.next_correlation = correlation.wrapping_add(1);
        let frame = request_frame(request, version, correlation, Some(CLIENT_ID))
            .map_err(|e| Fault::Unsayable(format!("{}: {e}", R::API)))?;
        write_slices(&mut self.stream, &frame).map_err(|cause| self.lost(R::API, cause))?;
        Ok(InFlight { correlation, version, request: PhantomData })
    }

    /// Waits for the answer to the oldest request in flight; `patience` is what the broker itself may wait
    /// beyond the usual.
    pub fn receive<R: Request>(
        &mut self,
        sent: InFlight<R>,
        patience: Duration,
    ) -> Result<R::Response, Fault> {
        let frame = self.read_frame(patience).map_err(|cause| self.lost(R::API, cause))?;
        let (correlation, answer) = read_response::<R::Response>(frame, sent.version).map_err(|cause| {
            self.broken = true;
            Fault::Garbled { broker: self.address.clone(), api: R::API, cause }
        })?;
        if correlation != sent.correlation {
            let text = format!("the answer to request {correlation} came for {}", sent.correlation);
            return Err(self.lost(R::API, io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        Ok(answer)
    }

    /// Asks for the versions; a broker that does not know the newest form of the question answers in the oldest.
    fn negotiate(&mut self) -> Result<ApiVersionsResponse, Fault> {
        let api = ApiKey::ApiVersions;
        let request = ApiVersionsRequest {
            client_software_name: CLIENT_ID.into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
        };
        let mut version = *api.versions().end();
        loop {
            let sent = self.send(&request, version)?;
            let frame = self.read_frame(Duration::ZERO).map_err(|cause| self.lost(api, cause))?;
            let code = frame.get(4..6).map(|b| ErrorCode(i16::from_be_bytes([b[0], b[1]])));
            let refused = code == Some(ErrorCode::UNSUPPORTED_VERSION);
            let readable = if refused { 0 } else { sent.version };
            let (_, answer) = read_response::<ApiVersionsResponse>(frame, readable)
                .map_err(|cause| Fault::Garbled { broker: self.address.clone(), api, cause })?;
            if !refused {
                return match answer.error_code {
                    ErrorCode::NONE => Ok(answer),
                    code => {
                        Err(Fault::refused(format!("asking {} for its versions", self.address), code, None))
                    }
                };
            }
            let theirs = answer.api_keys.iter().find(|k| k.api_key == api.number()).map(|k| k.max_version);
            let lower = theirs.unwrap_or(0).min(version - 1);
            if lower < 0 {
                return Err(Fault::Unsupported { broker: self.address.clone(), api, theirs: None });
            }
            version = lower;
        }
    }

    fn read_frame(&mut self, patience: Duration) -> io::Result<Bytes> {
        self.stream.set_read_timeout(Some(self.timeout + patience))?;
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).map_err(timed_out)?;
        let size = usize::try_from(i32::from_be_bytes(size)).unwrap_or(usize::MAX);
        if size > ANSWER_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the answer's size is impossible; does this port speak Kafka's protocol?",
            ));
        }
        let mut frame = Vec::with_capacity(size.min(RESERVE));
        (&mut self.stream).take(size as u64).read_to_end(&mut frame).map_err(timed_out)?;
        match frame.len() == size {
            true => Ok(frame.into()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn lost(&mut self, api: ApiKey, cause: io::Error) -> Fault {
        self.broken = true;
        let cause = match cause.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(cause.kind(), "it closed the connection"),
            _ => cause,
        };
        Fault::Lost { broker: self.address.clone(), api, cause }
    }
}

fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = None;
    for resolved in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(timeout))?;
                return Ok(stream);
            }
            Err(e) => last = Some(e),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
}

/// A blocking socket says "would block" when its time is over.
fn timed_out(cause: io::Error) -> io::Error {
    match cause.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "no answer in time"),
        _ => cause,
    }
}

/// Writes all the slices with as few calls as the kernel allows.
fn write_slices(stream: &mut TcpStream, slices: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = slices.iter().map(|s| IoSlice::new(s)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match stream.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut rest, n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(timed_out(e)),
        }
    }
    Ok(())
}
