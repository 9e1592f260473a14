//! Producers, as they behave: they commit what was acknowledged, abort what was not, and repeat what they have not
//! heard of.

use std::collections::BTreeMap;

use super::flights::Flight;
use super::{Meant, SHELVES, TOPIC, World};
use crate::coordinator::records::Producer;
use crate::coordinator::runtime::Token;
use crate::coordinator::transaction::tests::desk::{TIMEOUT_MS, add_request, end_request, init_request};
use crate::coordinator::transaction::{Reply, Request};
use crate::wire::error::ErrorCode;

const NOBODY: Producer = Producer { id: -1, epoch: -1 };

#[derive(Clone, Debug)]
enum Ask {
    Init,
    Add(usize),
    End(bool),
}

/// What has become of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sent {
    UnderWay,
    Acknowledged,
    Failed,
}

pub struct Client {
    number: usize,
    id: &'static str,
    pub second: bool,
    who: Option<Producer>,
    /// Goes on with a new epoch, as the producer that it was.
    bumps: bool,
    /// The open transaction.
    meant: Option<usize>,
    added: [bool; SHELVES],
    sent: BTreeMap<usize, Sent>,
    next_sequence: [i32; SHELVES],
    asked: Option<(Token, Ask)>,
    repeats: Option<Ask>,
    /// What it sends is told apart by this: what comes for a former life is not heard.
    pub life: usize,
    is_stopped: bool,
    /// Who has been fenced or has died comes back some time.
    sleeps: bool,
}

impl Client {
    pub fn new(number: usize, id: &'static str, second: bool) -> Client {
        Client {
            number,
            id,
            second,
            who: None,
            bumps: false,
            meant: None,
            added: [false; SHELVES],
            sent: BTreeMap::new(),
            next_sequence: [0; SHELVES],
            asked: None,
            repeats: None,
            life: 0,
            is_stopped: false,
            sleeps: number % 2 == 1,
        }
    }

    pub fn stop(&mut self) {
        self.die();
        self.is_stopped = true;
    }

    fn die(&mut self) {
        let life = self.life + 1;
        *self =
            Client { life, is_stopped: self.is_stopped, ..Client::new(self.number, self.id, self.second) };
    }

    fn forget_transaction(&mut self) {
        (self.meant, self.added, self.repeats) = (None, [false; SHELVES], None);
        self.sent.clear();
        self.life += 1;
    }

    fn is_whole(&self) -> bool {
        self.sent.values().all(|sent| *sent == Sent::Acknowledged)
    }
}

impl World {
    pub fn act(&mut self, n: usize) {
        let client = &mut self.clients[n];
        if client.is_stopped || client.asked.is_some() {
            return;
        }
        if client.sleeps {
            client.sleeps = !self.chance.one_in(15);
            return;
        }
        if self.chance.one_in(100) {
            return client.die();
        }
        if let Some(ask) = client.repeats.take() {
            return self.ask(n, ask);
        }
        let Some(who) = client.who else { return self.ask(n, Ask::Init) };
        if client.bumps {
            return self.ask(n, Ask::Init);
        }
        let meant = *client.meant.get_or_insert_with(|| {
            self.meant.push(Meant::default());
            self.meant.len() - 1
        });
        let wants_to_end = client.sent.len() >= SHELVES || !client.sent.is_empty() && self.chance.one_in(3);
        if wants_to_end {
            let is_whole = client.is_whole();
            let failed = client.sent.values().any(|sent| *sent == Sent::Failed);
            if is_whole {
                let commit = !self.chance.one_in(3);
                return self.ask(n, Ask::End(commit));
            }
            if failed || self.chance.one_in(15) {
                self.ask(n, Ask::End(false));
            }
            return;
        }
        let shelf = self.chance.below(SHELVES);
        if client.sent.contains_key(&shelf) {
            return;
        }
        if !client.second && !client.added[shelf] {
            return self.ask(n, Ask::Add(shelf));
        }
        let sequence = client.next_sequence[shelf];
        client.next_sequence[shelf] += 1;
        client.sent.insert(shelf, Sent::UnderWay);
        let flight = Flight::of_batch(n, client.life, client.second, client.id, who, shelf, sequence, meant);
        if self.chance.one_in(4) {
            self.flights.push(flight.clone());
        }
        self.flights.push(flight);
    }

    fn ask(&mut self, n: usize, ask: Ask) {
        let client = &mut self.clients[n];
        let who = client.who.unwrap_or(NOBODY);
        let (version, request): (i16, Request) = match &ask {
            Ask::Init => (5, init_request(client.id, who, TIMEOUT_MS)),
            Ask::Add(shelf) => (3, add_request(client.id, who, false, &[(TOPIC, &[*shelf as i32])])),
            Ask::End(commit) => (if client.second { 5 } else { 4 }, end_request(client.id, who, *commit)),
        };
        let token = self.coordinator.ask(version, request);
        self.clients[n].asked = Some((token, ask));
    }

    pub fn listen(&mut self, n: usize) {
        let client = &mut self.clients[n];
        let Some((token, ask)) = client.asked.clone() else { return };
        let Some(answer) = self.coordinator.answer(token) else { return };
        client.asked = None;
        let (error, producer) = match answer {
            Err(()) => (ErrorCode::NETWORK_EXCEPTION, NOBODY),
            Ok(Reply::InitProducerId(reply)) => {
                (reply.error_code, Producer { id: reply.producer_id, epoch: reply.producer_epoch })
            }
            Ok(Reply::AddPartitions(reply)) => {
                (reply.topic_results[0].results_by_partition[0].partition_error_code, NOBODY)
            }
            Ok(Reply::End(reply)) => {
                (reply.error_code, Producer { id: reply.producer_id, epoch: reply.producer_epoch })
            }
            Ok(reply) => panic!("{reply:?}"),
        };
        match (error, ask) {
            (ErrorCode::NONE, Ask::Init) => {
                (client.who, client.bumps, client.next_sequence) = (Some(producer), false, [0; SHELVES]);
            }
            (ErrorCode::NONE, Ask::Add(shelf)) => client.added[shelf] = true,
            (ErrorCode::NONE, Ask::End(commit)) => {
                if let Some(meant) = client.meant {
                    self.meant[meant].told = Some(commit);
                }
                // By the first protocol, what is still under way is fenced by an epoch of his own.
                client.bumps = !client.second && !client.is_whole();
                if client.second {
                    (client.who, client.next_sequence) = (Some(producer), [0; SHELVES]);
                }
                client.forget_transaction();
            }
            (
                ErrorCode::CONCURRENT_TRANSACTIONS
                | ErrorCode::COORDINATOR_NOT_AVAILABLE
                | ErrorCode::NETWORK_EXCEPTION,
                ask,
            ) => client.repeats = Some(ask),
            _ => client.die(),
        }
    }

    /// What has become of a batch that a client sent.
    pub fn heard(&mut self, n: usize, life: usize, meant: usize, shelf: usize, sent: Sent, offset: i64) {
        let client = &mut self.clients[n];
        if client.life != life {
            return;
        }
        if let Some(before) = client.sent.get_mut(&shelf)
            && *before == Sent::UnderWay
        {
            *before = sent;
            if sent == Sent::Acknowledged {
                self.meant[meant].acknowledged.push((shelf, offset));
            }
        }
    }
}
