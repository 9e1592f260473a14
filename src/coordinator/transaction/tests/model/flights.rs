//! What is under way: batches, and markers. It comes when it likes, and in any order.

use super::clients::Sent;
use super::shelf::NOW;
use super::{SHELVES, TOPIC, World};
use crate::coordinator::records::Producer;
use crate::coordinator::runtime::Token;
use crate::coordinator::transaction::tests::desk::add_request;
use crate::coordinator::transaction::*;
use crate::partition::markers::Marker;
use crate::partition::verification::Verified;
use crate::partition::{Admission, Origin};
use crate::wire::batch::{Batch, BatchBuilder};
use crate::wire::error::ErrorCode;

#[derive(Clone, Debug)]
pub struct Sending {
    client: usize,
    life: usize,
    second: bool,
    id: &'static str,
    who: Producer,
    shelf: usize,
    meant: usize,
    bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
pub enum Stage {
    /// On its way.
    Arrives,
    /// The coordinator is asked.
    Asks(Token, Verified),
    /// It is about to be appended.
    Appends(Verified),
    /// It waits to be durable, in this life of the partition, up to this offset.
    Waits(i32, i64, i64),
}

#[derive(Clone, Debug)]
pub enum Flight {
    Batch(Sending, Stage),
    Markers(Markers, Vec<usize>, Vec<(Name, i32, Written)>, Option<(usize, i32, i64)>),
}

impl Flight {
    #[expect(clippy::too_many_arguments, reason = "it is what a batch is made of")]
    pub fn of_batch(
        client: usize,
        life: usize,
        second: bool,
        id: &'static str,
        who: Producer,
        shelf: usize,
        sequence: i32,
        meant: usize,
    ) -> Flight {
        let mut builder = BatchBuilder::new().producer(who.id, who.epoch, sequence).transactional();
        builder.append(NOW, Some(b"k"), Some(&meant.to_be_bytes()), &[]);
        let bytes = builder.build().unwrap();
        let sending = Sending { client, life, second, id, who, shelf, meant, bytes };
        Flight::Batch(sending, Stage::Arrives)
    }

    pub fn of_markers(markers: Markers) -> Flight {
        let left = markers.partitions.iter().map(|(_, partition)| partition as usize).collect();
        Flight::Markers(markers, left, Vec::new(), None)
    }
}

impl World {
    /// Something that is under way gets further.
    pub fn fly(&mut self) {
        if self.flights.is_empty() {
            return;
        }
        let at = self.chance.below(self.flights.len());
        let flight = self.flights.swap_remove(at);
        let flight = match flight {
            Flight::Batch(sending, stage) => self.send(sending, stage),
            Flight::Markers(markers, left, answers, waits) => self.mark(markers, left, answers, waits),
        };
        self.flights.extend(flight);
        for shelf in 0..SHELVES {
            self.shelves[shelf].check(&self.meant);
        }
    }

    fn send(&mut self, sending: Sending, stage: Stage) -> Option<Flight> {
        let shelf = &mut self.shelves[sending.shelf];
        let stage = match stage {
            Stage::Arrives => {
                let header = Batch::first(&sending.bytes).unwrap().header();
                match shelf.partition.verification(&header, sending.second, NOW) {
                    None => Stage::Appends(Verified::No),
                    Some(guard) => {
                        let topics = [(TOPIC, &[sending.shelf as i32][..])];
                        let request = add_request(sending.id, sending.who, !sending.second, &topics);
                        Stage::Asks(self.coordinator.ask(4, request), Verified::By(guard))
                    }
                }
            }
            Stage::Asks(token, verified) => match self.coordinator.answer(token) {
                None => Stage::Asks(token, verified),
                Some(Ok(Reply::AddPartitions(reply))) => {
                    match reply.topic_results[0].results_by_partition[0].partition_error_code {
                        ErrorCode::NONE => Stage::Appends(verified),
                        ErrorCode::CONCURRENT_TRANSACTIONS | ErrorCode::COORDINATOR_NOT_AVAILABLE => {
                            Stage::Arrives
                        }
                        _ => return self.settled(sending, Sent::Failed, -1),
                    }
                }
                Some(_) => Stage::Arrives,
            },
            Stage::Appends(verified) => {
                match shelf.partition.admit_from(&sending.bytes, NOW, Origin::Client, verified) {
                    Err(_) => return self.settled(sending, Sent::Failed, -1),
                    Ok(Admission::Duplicate(before)) => {
                        Stage::Waits(shelf.epoch, before.base_offset, before.end_offset)
                    }
                    Ok(Admission::Append(admitted)) => {
                        let appended = shelf.append(&admitted, &sending.bytes, None, Some(sending.meant));
                        Stage::Waits(shelf.epoch, appended.base_offset, appended.end_offset)
                    }
                }
            }
            Stage::Waits(epoch, base, end) => {
                if shelf.epoch != epoch {
                    return self.settled(sending, Sent::Failed, -1);
                }
                if shelf.partition.high_watermark() >= end {
                    return self.settled(sending, Sent::Acknowledged, base);
                }
                Stage::Waits(epoch, base, end)
            }
        };
        Some(Flight::Batch(sending, stage))
    }

    fn settled(&mut self, sending: Sending, sent: Sent, offset: i64) -> Option<Flight> {
        let Sending { client, life, meant, shelf, .. } = sending;
        self.heard(client, life, meant, shelf, sent, offset);
        None
    }

    fn mark(
        &mut self,
        markers: Markers,
        mut left: Vec<usize>,
        mut answers: Vec<(Name, i32, Written)>,
        mut waits: Option<(usize, i32, i64)>,
    ) -> Option<Flight> {
        let mut answer =
            |shelf: usize, error| answers.push((TOPIC.into(), shelf as i32, Written::Answer(error)));
        if let Some((at, epoch, end)) = waits {
            let shelf = &self.shelves[at];
            if shelf.epoch != epoch {
                answer(at, ErrorCode::NOT_LEADER_OR_FOLLOWER);
            } else if self.chance.one_in(12) {
                answer(at, ErrorCode::REQUEST_TIMED_OUT);
            } else if shelf.partition.high_watermark() >= end {
                answer(at, ErrorCode::NONE);
            } else {
                return Some(Flight::Markers(markers, left, answers, waits));
            }
            waits = None;
        } else if let Some(at) = left.pop() {
            let marker = Marker {
                producer_id: markers.producer.id,
                producer_epoch: markers.producer.epoch,
                commit: markers.commit,
                coordinator_epoch: markers.coordinator_epoch,
            };
            let shelf = &mut self.shelves[at];
            match shelf.partition.admit_marker(marker, markers.transaction_version, NOW) {
                Err(reject) => answer(at, reject.error),
                Ok((admitted, bytes)) => {
                    let appended = shelf.append(&admitted, &bytes, Some(marker), None);
                    waits = Some((at, shelf.epoch, appended.end_offset));
                }
            }
        } else {
            self.coordinator.tell(markers.told(Outcome::Partitions(answers)));
            return None;
        }
        Some(Flight::Markers(markers, left, answers, waits))
    }
}
