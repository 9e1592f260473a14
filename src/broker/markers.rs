//! Markers: the ends of transactions, written into the partitions of this broker.
//!
//! [`write()`] is the way of a transaction coordinator, [`write_each`] that of whoever names partitions by their topics.
//! A marker counts as written once it is durable, as an acknowledged record does.

use std::rc::Rc;

use super::api::places::{Questions, place};
use super::call::Responder;
use super::coordinator::GROUPS_TOPIC;
use super::coordinator::groups::GroupCall;
use super::core::Core;
use super::messages::{By, MarkerPart, ProduceCall, ProducePart, ShardReply, ShardRequest};
use super::shard::Shard;
use crate::coordinator::names::Name;
use crate::coordinator::records::Producer;
use crate::coordinator::transaction::{Markers, Written};
use crate::coordinator::{Caller, Reply, Request, Token};
use crate::partition::markers::Marker;
use crate::reactor::sync::{Completion, completion};
use crate::reactor::{Class, Nanos};
use crate::wire::error::ErrorCode;

/// The end of a transaction in a partition that is named by its topic.
#[derive(Clone, Copy, Debug)]
pub struct ToMark<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The end.
    pub marker: Marker,
    /// The version of the protocol of transactions; 0 where nobody says.
    pub transaction_version: i16,
}

/// Writes the markers of a coordinator. When this ends, nothing of them is under way any more.
pub async fn write(core: &Core, markers: &Markers) -> Vec<(Name, i32, Written)> {
    let marker = Marker {
        producer_id: markers.producer.id,
        producer_epoch: markers.producer.epoch,
        commit: markers.commit,
        coordinator_epoch: markers.coordinator_epoch,
    };
    let wanted: Vec<_> = markers.partitions.iter().collect();
    let to_mark = wanted.iter().map(|(topic, partition)| ToMark {
        topic,
        partition: *partition,
        marker,
        transaction_version: markers.transaction_version,
    });
    let written = write_each(core, to_mark).await;
    let all = wanted.into_iter().zip(written);
    all.map(|((topic, partition), written)| (topic.clone(), partition, written)).collect()
}

/// Writes markers, and says of each what became of it, in their order.
pub async fn write_each<'a>(core: &Core, all: impl Iterator<Item = ToMark<'a>>) -> Vec<Written> {
    let mut questions = Questions::default();
    {
        let image = core.image();
        for ToMark { topic, partition, marker, transaction_version } in all {
            let topic = image.topic_named(topic).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            questions.push(match topic.and_then(|topic| place(core, topic, partition)) {
                Ok(place) => Ok((place, MarkerPart { id: place.id, marker, transaction_version })),
                Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => Err(Written::Gone),
                Err(error) => Err(Written::Answer(error)),
            });
        }
    }
    let read = |reply| match reply {
        ShardReply::WriteMarkers(errors) => Some(errors.into_iter().map(Written::Answer).collect()),
        _ => None,
    };
    questions.ask(core, ShardRequest::WriteMarkers, read).await.collect()
}

/// What is waited for until a marker has its answer.
enum Ends {
    /// With the next of those that are appended.
    Appended,
    /// When the coordinator of groups has written it.
    Group(Completion<ShardReply>),
}

impl Shard {
    /// Appends markers, in order, and answers when all are durable.
    pub(super) fn write_markers(self: &Rc<Shard>, parts: Vec<MarkerPart>, responder: Responder) {
        let (mut ends, mut appends) = (Vec::with_capacity(parts.len()), Vec::new());
        for part in parts {
            ends.push(match self.is_of_groups(&part) {
                false => {
                    let by = By::Marker(part.marker, part.transaction_version);
                    appends.push(ProducePart { by, ..ProducePart::new(part.id, Default::default()) });
                    Ends::Appended
                }
                true => self.end_group_transaction(&part),
            });
        }
        let (completer, appended) = completion();
        let call = ProduceCall { acks: -1, deadline: Nanos(u64::MAX), parts: appends };
        self.produce(call, Responder::Local(completer));
        self.reactor.spawn(Class::Request, async move {
            let ShardReply::Produce(replies) = appended.await else {
                unreachable!("a produce is answered as one")
            };
            let mut replies = replies.into_iter();
            let mut errors = Vec::with_capacity(ends.len());
            for end in ends {
                errors.push(match end {
                    Ends::Appended => replies.next().expect("a produce answers each part").error,
                    Ends::Group(answer) => match answer.await {
                        ShardReply::Group(reply) => match *reply {
                            Reply::EndTransaction(error) => error,
                            _ => unreachable!("a coordinator answers what it was asked"),
                        },
                        _ => unreachable!("a coordinator is answered for as one"),
                    },
                });
            }
            responder.answer(ShardReply::WriteMarkers(errors));
        });
    }

    fn is_of_groups(&self, part: &MarkerPart) -> bool {
        self.replica(part.id).is_some_and(|replica| &*replica.topic == GROUPS_TOPIC)
    }

    /// The coordinator of groups has to know which of its offsets count from here on: the marker is its to write.
    fn end_group_transaction(&self, part: &MarkerPart) -> Ends {
        let MarkerPart { id, marker, transaction_version } = *part;
        let request = Request::EndTransaction {
            producer: Producer { id: marker.producer_id, epoch: marker.producer_epoch },
            coordinator_epoch: marker.coordinator_epoch,
            transaction_version,
            commit: marker.commit,
        };
        let caller =
            Caller { token: Token(0), version: 0, client_id: String::new(), client_host: String::new() };
        let (completer, answer) = completion();
        self.ask_groups(GroupCall { id, caller, request }, Responder::Local(completer));
        Ends::Group(answer)
    }
}
