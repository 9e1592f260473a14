//! Idempotent producers: they outlive the node's deaths, lose their connections, and send again what they have no answer
//! to. Each batch must be in its log once, at the offset that was told, and no number left out.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::Run;
use crate::sim::batches::make_idempotent_batch;
use crate::sim::client::Client;
use crate::sim::known::{Entry, IDEMPOTENT};
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

/// How many batches a producer may have without an answer.
const AHEAD: u64 = 5;

/// A producer of one partition, whatever becomes of the node.
pub struct Producer {
    /// Who he is, in the entries.
    number: u32,
    topic: (String, Uuid),
    partition: i32,
    id: i64,
    epoch: i16,
    next_sequence: i32,
    /// All that he ever sent.
    history: Vec<Sent>,
}

struct Sent {
    entry: Entry,
    batch: Bytes,
    /// What he was told.
    offset: Option<i64>,
}

/// Known to all lives.
pub type Shared = Rc<RefCell<Producer>>;

impl Producer {
    /// From where on he sends when he has a new connection: what has no answer, and perhaps what has.
    fn again(&self, draw: impl FnOnce(u64) -> u64) -> usize {
        let earliest = self.history.len().saturating_sub(AHEAD as usize);
        let unanswered = self.history.iter().position(|sent| sent.offset.is_none());
        let unanswered = unanswered.unwrap_or(self.history.len());
        earliest + draw((unanswered - earliest + 1) as u64) as usize
    }
}

impl Run {
    /// A new producer, who gets his id from the node.
    pub(super) async fn begin_producer(&self, life: u64) -> io::Result<Shared> {
        let mut client = self.connect(life).await?;
        let (name, topic) = self.some_topic(life).await?;
        let (id, epoch) = self.ask_for_id(&mut client).await?.ok_or(io::ErrorKind::ConnectionAborted)?;
        let producer = Producer {
            number: IDEMPOTENT + self.next_producer.replace(self.next_producer.get() + 1),
            topic: (name, topic.id),
            partition: self.draw(topic.partitions as u64) as i32,
            id,
            epoch,
            next_sequence: 0,
            history: Vec::new(),
        };
        let producer = Rc::new(RefCell::new(producer));
        self.idempotent.borrow_mut().push(producer.clone());
        Ok(producer)
    }

    /// Has a producer send until this life is over, or his topic.
    pub(super) async fn produce_once(self: Rc<Run>, life: u64, producer: Shared) -> io::Result<()> {
        loop {
            let mut client = self.connect(life).await?;
            self.send_in_order(life, &mut client, &producer).await?;
            self.pause(Duration::from_millis(5)).await;
        }
    }

    /// Sends over one connection until that is to be lost, with all the answers that are under way.
    async fn send_in_order(&self, life: u64, client: &mut Client, producer: &Shared) -> io::Result<()> {
        let version = *self.rng.borrow_mut().pick(&super::clients::PRODUCE);
        let depth = 1 + self.draw(AHEAD) as usize;
        let mut next = producer.borrow().again(|below| self.draw(below));
        let mut in_flight = VecDeque::new();
        while self.draw(20) > 0 {
            self.still(life)?;
            if next == producer.borrow().history.len() {
                self.make_next(&mut producer.borrow_mut());
            }
            let request = self.request_for(&producer.borrow(), next);
            client.send(&request, version).await?;
            in_flight.push_back(next);
            next += 1;
            while in_flight.len() >= depth {
                let index = in_flight.pop_front().expect("there is one");
                let (_, response) = client.receive::<ProduceResponse>(version).await?;
                self.is_answered(producer, index, &response)?;
            }
            if self.draw(3) == 0 {
                self.pause(Duration::from_millis(8)).await;
            }
        }
        Ok(())
    }

    fn make_next(&self, producer: &mut Producer) {
        let (number, records) = (producer.history.len() as u32, 1 + self.draw(4) as u32);
        let entry = Entry { producer: producer.number, number, records };
        let of = (producer.id, producer.epoch, producer.next_sequence);
        let size = self.draw(500) as usize;
        let batch = make_idempotent_batch(entry, size, self.clients.wall_clock_ms(), of);
        producer.next_sequence += records as i32;
        producer.history.push(Sent { entry, batch, offset: None });
    }

    fn request_for(&self, producer: &Producer, index: usize) -> ProduceRequest {
        let (sent, (name, topic_id)) = (&producer.history[index], producer.topic.clone());
        let mut known = self.known.borrow_mut();
        known.entry((name.clone(), producer.partition)).or_default().sends(sent.entry);
        let data = PartitionProduceData { index: producer.partition, records: Some(sent.batch.clone()) };
        let topic_data = vec![TopicProduceData { name, topic_id, partition_data: vec![data] }];
        ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 60_000, topic_data }
    }

    fn is_answered(&self, producer: &Shared, index: usize, response: &ProduceResponse) -> io::Result<()> {
        let mut producer = producer.borrow_mut();
        let (seed, place) = (self.seed(), (producer.topic.0.clone(), producer.partition));
        let answer = &response.responses[0].partition_responses[0];
        let sent = &mut producer.history[index];
        let entry = sent.entry;
        if answer.error_code != ErrorCode::NONE {
            let of_producers = [
                ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
                ErrorCode::INVALID_PRODUCER_EPOCH,
                ErrorCode::UNKNOWN_PRODUCER_ID,
            ];
            let error = answer.error_code;
            assert!(!of_producers.contains(&error), "seed {seed}: {place:?}: {entry:?} is refused: {error}");
            // His directory has failed, or his topic is gone.
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let at = answer.base_offset;
        let told = self.known.borrow_mut().entry(place.clone()).or_default().is_told(at, entry);
        assert!(told.is_none_or(|told| told == entry), "seed {seed}: {place:?} offset {at} is {told:?}");
        let before = sent.offset.replace(at);
        assert!(
            before.is_none_or(|before| before == at),
            "seed {seed}: {place:?}: {entry:?} was at {before:?} and is at {at}"
        );
        let mut report = self.report.borrow_mut();
        (report.acknowledged, report.repeated) =
            (report.acknowledged + 1, report.repeated + u64::from(before.is_some()));
        Ok(())
    }
}
