//! A client of Kafka's protocol on a simulated machine.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::reactor::{Reactor, Receiver, Sender};
use crate::wire::api::{read_response, request_frame};
use crate::wire::schema::{Request, Response};

/// One connection to a broker.
pub struct Client {
    receiver: Receiver,
    sender: Sender,
    last: i32,
}

impl Client {
    /// Connects.
    pub async fn connect(reactor: &Reactor, address: SocketAddr) -> io::Result<Client> {
        let (receiver, sender) = reactor.connect(address).await?;
        Ok(Client { receiver, sender, last: 0 })
    }

    /// Sends bytes as they are.
    pub async fn send_raw(&mut self, bytes: impl Into<Bytes>) -> io::Result<()> {
        self.sender.send(vec![bytes.into()]).await
    }

    /// Sends a request; gives its correlation id.
    pub async fn send<R: Request>(&mut self, request: &R, version: i16) -> io::Result<i32> {
        self.last += 1;
        let frame =
            request_frame(request, version, self.last, Some("simulated")).map_err(io::Error::other)?;
        self.sender.send(frame).await?;
        Ok(self.last)
    }

    /// Receives one whole frame without its length; an error if the connection ends before.
    pub async fn receive_raw(&mut self) -> io::Result<Bytes> {
        let mut length = [0; 4];
        self.fill(&mut length).await?;
        let mut frame = vec![0; i32::from_be_bytes(length) as usize];
        self.fill(&mut frame).await?;
        Ok(frame.into())
    }

    async fn fill(&mut self, mut into: &mut [u8]) -> io::Result<()> {
        while !into.is_empty() {
            match self.receiver.receive(into).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => into = &mut into[len..],
            }
        }
        Ok(())
    }

    /// Receives a response, and the correlation id that it repeats.
    pub async fn receive<R: Response>(&mut self, version: i16) -> io::Result<(i32, R)> {
        let frame = self.receive_raw().await?;
        Ok(read_response(frame, version).expect("the broker writes what can be read"))
    }

    /// Asks and waits for the answer.
    pub async fn ask<R: Request>(&mut self, request: &R, version: i16) -> io::Result<R::Response> {
        let id = self.send(request, version).await?;
        let (answered, response) = self.receive(version).await?;
        assert_eq!(answered, id, "replies come in the order of the requests");
        Ok(response)
    }
}
