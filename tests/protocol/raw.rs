//! A socket that sends any bytes, and frames to send through it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use bytes::Bytes;
use ottla::wire::api::{ApiKey, RequestHeader, read_response, request_frame};
use ottla::wire::codec::Writer;
use ottla::wire::schema::{ApiVersionsRequest, ApiVersionsResponse, Request};

use crate::target::PATIENCE;

/// A client that sends what it likes.
pub struct Raw {
    pub stream: TcpStream,
}

impl Raw {
    pub fn connect(address: &str) -> Raw {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Raw { stream }
    }

    /// Sends bytes; false where the broker has closed the connection.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        match self.stream.write_all(bytes) {
            Ok(()) => true,
            Err(error) => {
                must_be_closed(&error);
                false
            }
        }
    }

    /// The next whole frame without its length; none where the broker has closed the connection.
    pub fn receive(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.fill(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).expect("the broker sends frames");
        assert!(length < 512 << 20, "a frame of {length} bytes");
        let mut frame = vec![0; length];
        self.fill(&mut frame)?;
        Some(frame.into())
    }

    fn fill(&mut self, into: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(into) {
            Ok(()) => Some(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => {
                must_be_closed(&error);
                None
            }
        }
    }

    /// Sends a frame; gives the answer, none where the connection was closed.
    pub fn ask(&mut self, frame: &[u8]) -> Option<Bytes> {
        if !self.send(frame) {
            return None;
        }
        self.receive()
    }

    /// Whether the broker closes the connection without another word; nothing more is sent to it.
    pub fn is_closed(&mut self) -> bool {
        self.receive().is_none()
    }

    /// Asks once more behind what was sent; waits for some answer, or the end of the connection.
    pub fn is_served_next(&mut self) -> bool {
        let request = request_frame(&ApiVersionsRequest::default(), 0, 77, Some("t")).unwrap().concat();
        self.ask(&request).is_some()
    }

    /// Says that nothing more will be sent, and waits for the broker to close.
    pub fn finish(mut self) -> Vec<Bytes> {
        let _ = self.stream.shutdown(Shutdown::Write);
        std::iter::from_fn(|| self.receive()).collect()
    }

    /// Whether the broker still answers on this connection.
    pub fn is_served(&mut self) -> bool {
        let request = request_frame(&ApiVersionsRequest::default(), 0, 77, Some("t")).unwrap().concat();
        self.ask(&request)
            .is_some_and(|answer| read_response::<ApiVersionsResponse>(answer, 0).unwrap().0 == 77)
    }
}

/// All other errors are a broker that neither answers nor closes.
#[track_caller]
fn must_be_closed(error: &io::Error) {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let closed = matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset);
    assert!(closed, "neither answered nor closed in time: {error}");
}

/// A frame of these bytes.
pub fn frame(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as i32).to_be_bytes(), bytes].concat()
}

/// The header of a request.
pub fn header(api: ApiKey, version: i16) -> Vec<u8> {
    let mut w = Writer::new();
    let header = RequestHeader { api, version, correlation_id: 7, client_id: Some("hostile".to_owned()) };
    header.encode(&mut w).unwrap();
    w.into_bytes().to_vec()
}

/// A request without its length.
pub fn request<R: Request>(request: &R, version: i16) -> Vec<u8> {
    let mut bytes = header(R::API, version);
    let mut w = Writer::new();
    ottla::wire::schema::Message::encode(request, &mut w, version).unwrap();
    bytes.extend_from_slice(&w.into_bytes());
    bytes
}
