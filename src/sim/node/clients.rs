//! The clients of a life.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::{Existence, KnownTopic, Run};
use crate::reactor::Class;
use crate::reactor::sim::IoKind;
use crate::sim::batches::{make_batch, read_batches};
use crate::sim::client::Client;
use crate::sim::known::Entry;
use crate::wire::codec::Records;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

/// Versions of Produce: with names, and with ids.
pub(super) const PRODUCE: [i16; 3] = [9, 12, 13];
/// Versions of Fetch: with names, and with ids.
const FETCH: [i16; 3] = [11, 12, 16];

/// A batch that waits for its acknowledgement: topic, partition, entry.
type Sent = (String, i32, Entry);

impl Run {
    /// Clients for the rest of this life.
    pub(super) fn work(self: &Rc<Run>) {
        let life = self.life.get();
        for _ in 0..1 + self.draw(3) {
            let run = self.clone();
            self.clients.spawn(Class::Request, async move { drop(run.produce(life).await) });
        }
        for producer in self.idempotent.borrow().iter().filter(|_| self.draw(4) > 0) {
            let (run, producer) = (self.clone(), producer.clone());
            self.clients.spawn(Class::Request, async move { drop(run.produce_once(life, producer).await) });
        }
        if self.draw(2) == 0 {
            let run = self.clone();
            self.clients.spawn(Class::Request, async move {
                if let Ok(producer) = run.begin_producer(life).await {
                    drop(run.produce_once(life, producer).await);
                }
            });
        }
        for _ in 0..1 + self.draw(2) {
            let run = self.clone();
            self.clients.spawn(Class::Request, async move { drop(run.consume(life).await) });
        }
        for committer in self.committers.borrow().iter().filter(|_| self.draw(4) > 0) {
            let (run, committer) = (self.clone(), committer.clone());
            self.clients
                .spawn(Class::Request, async move { drop(run.commit_offsets(life, committer).await) });
        }
        for _ in 0..self.draw(3) {
            let run = self.clone();
            self.clients.spawn(Class::Request, async move {
                if let Ok(committer) = run.begin_committer(life).await {
                    drop(run.commit_offsets(life, committer).await);
                }
            });
        }
        let run = self.clone();
        self.clients.spawn(Class::Request, async move { drop(run.administer(life).await) });
    }

    /// Connects in this life; an error if it is over.
    pub(super) async fn connect(&self, life: u64) -> io::Result<Client> {
        let client = Client::connect(&self.clients, self.address).await?;
        self.still(life).map(|()| client)
    }

    /// Clients end with the life that they were made in, at the latest when they would act again: what they do
    /// while the next start is looked at would be neither before nor after it.
    pub(super) fn still(&self, life: u64) -> io::Result<()> {
        if self.life.get() == life { Ok(()) } else { Err(io::ErrorKind::ConnectionAborted.into()) }
    }

    pub(super) async fn pause(&self, most: Duration) {
        let span = self.draw(most.as_micros() as u64);
        self.clients.sleep(Duration::from_micros(span)).await;
    }

    /// A topic that is there, once there is one.
    pub(super) async fn some_topic(&self, life: u64) -> io::Result<(String, KnownTopic)> {
        loop {
            self.still(life)?;
            let there: Vec<_> = self.topics.borrow().iter().map(|(n, t)| (n.clone(), t.clone())).collect();
            let there: Vec<_> = there.into_iter().filter(|(_, t)| t.exists == Existence::Yes).collect();
            if !there.is_empty() {
                return Ok(self.rng.borrow_mut().pick(&there).clone());
            }
            self.clients.sleep(Duration::from_millis(5)).await;
        }
    }

    async fn administer(self: Rc<Run>, life: u64) -> io::Result<()> {
        let mut client = self.connect(life).await?;
        loop {
            self.still(life)?;
            let few = self.topics.borrow().values().filter(|t| t.exists == Existence::Yes).count() < 2;
            match self.draw(8) {
                _ if few => self.create_topic(&mut client).await?,
                0 => self.create_topic(&mut client).await?,
                1 => self.delete_topic(&mut client, life).await?,
                2 => self.create_partitions(&mut client, life).await?,
                3..=5 if self.dirs.len() > 1 => self.move_replicas(&mut client, life).await?,
                _ => drop(self.ask_for_id(&mut client).await?),
            }
            self.pause(Duration::from_millis(if few { 4 } else { 60 })).await;
        }
    }

    async fn create_topic(&self, client: &mut Client) -> io::Result<()> {
        let name = format!("t{}", self.topics.borrow().len());
        let partitions = 1 + self.draw(5) as i32;
        let topic = KnownTopic { exists: Existence::Perhaps, id: Uuid::ZERO, partitions, asked: partitions };
        self.topics.borrow_mut().insert(name.clone(), topic);
        let asked = CreatableTopic {
            name: name.clone(),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![asked], timeout_ms: 60_000, ..Default::default() };
        let response = client.ask(&request, 7).await?;
        let made = &response.topics[0];
        if made.error_code == ErrorCode::NONE {
            let mut topics = self.topics.borrow_mut();
            let topic = topics.get_mut(&name).expect("it was just put there");
            (topic.exists, topic.id) = (Existence::Yes, made.topic_id);
            self.report.borrow_mut().topics_created += 1;
        }
        Ok(())
    }

    /// Has a replica go to another log directory, or all of a topic, and does not wait until they have.
    async fn move_replicas(&self, client: &mut Client, life: u64) -> io::Result<()> {
        let (name, topic) = self.some_topic(life).await?;
        let mut partitions: Vec<i32> = (0..topic.partitions).collect();
        if self.draw(2) == 0 {
            partitions = vec![*self.rng.borrow_mut().pick(&partitions)];
        }
        let to = self.rng.borrow_mut().index(self.dirs.len());
        let path = self.dirs[to].display().to_string();
        let asked = AlterReplicaLogDir { path, topics: vec![AlterReplicaLogDirTopic { name, partitions }] };
        let response = client.ask(&AlterReplicaLogDirsRequest { dirs: vec![asked] }, 2).await?;
        let allowed = [
            ErrorCode::NONE,
            ErrorCode::KAFKA_STORAGE_ERROR,
            ErrorCode::REPLICA_NOT_AVAILABLE,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ];
        let answers = response.results[0].partitions.iter().map(|answer| answer.error_code);
        let strange = answers.clone().find(|answer| !allowed.contains(answer));
        assert_eq!(strange, None, "seed {}", self.seed());
        let moves = answers.filter(|answer| answer.is_none()).count() as u64;
        self.report.borrow_mut().moves += moves;
        // A disk fails amid it.
        let is_calm = !self.dirs.iter().any(|dir| self.world.disk_at(self.node, dir).has_trouble());
        if moves > 0 && is_calm && self.draw(4) > 0 {
            self.fail_amid_a_move(to);
        }
        Ok(())
    }

    /// Something of what a move does with folders fails: perhaps the changes of names at its end, or what comes next.
    fn fail_amid_a_move(&self, to: usize) {
        let disk = |n: usize| self.world.disk_at(self.node, &self.dirs[n]);
        match self.draw(4) {
            0 => self.fail_some_disk(IoKind::Metadata, 60),
            1 => disk(to).fail_from_rename("-future", 1 + self.draw(3)),
            _ => {
                let nth = 1 + self.draw(3);
                (0..self.dirs.len())
                    .filter(|n| *n != to)
                    .for_each(|n| disk(n).fail_from_rename("-delete", nth));
            }
        }
    }

    async fn delete_topic(&self, client: &mut Client, life: u64) -> io::Result<()> {
        let (name, _) = self.some_topic(life).await?;
        let set = |exists| {
            self.topics.borrow_mut().get_mut(&name).expect("topics are not forgotten").exists = exists
        };
        set(Existence::Perhaps);
        let doomed = DeleteTopicState { name: Some(name.clone()), topic_id: Uuid::ZERO };
        let request = DeleteTopicsRequest { topics: vec![doomed], timeout_ms: 60_000, ..Default::default() };
        let response = client.ask(&request, 6).await?;
        if response.responses[0].error_code == ErrorCode::NONE {
            set(Existence::No);
            self.report.borrow_mut().topics_deleted += 1;
        }
        Ok(())
    }

    async fn create_partitions(&self, client: &mut Client, life: u64) -> io::Result<()> {
        let (name, known) = self.some_topic(life).await?;
        let count = known.asked + 1 + self.draw(2) as i32;
        self.topics.borrow_mut().get_mut(&name).expect("topics are not forgotten").asked = count;
        let asked = CreatePartitionsTopic { name: name.clone(), count, assignments: None };
        let request =
            CreatePartitionsRequest { topics: vec![asked], timeout_ms: 60_000, validate_only: false };
        let response = client.ask(&request, 3).await?;
        if response.results[0].error_code == ErrorCode::NONE {
            self.topics.borrow_mut().get_mut(&name).expect("topics are not forgotten").partitions = count;
        }
        Ok(())
    }

    /// A producer id and its epoch, if the node gives one.
    pub(super) async fn ask_for_id(&self, client: &mut Client) -> io::Result<Option<(i64, i16)>> {
        let request = InitProducerIdRequest { producer_id: -1, producer_epoch: -1, ..Default::default() };
        let response = client.ask(&request, 5).await?;
        if response.error_code == ErrorCode::NONE {
            let is_new = self.producer_ids.borrow_mut().insert(response.producer_id);
            assert!(is_new, "seed {}: the producer id {} was given twice", self.seed(), response.producer_id);
            self.report.borrow_mut().producer_ids += 1;
            return Ok(Some((response.producer_id, response.producer_epoch)));
        }
        Ok(None)
    }

    async fn produce(self: Rc<Run>, life: u64) -> io::Result<()> {
        let producer = self.next_producer.replace(self.next_producer.get() + 1);
        let acks = *self.rng.borrow_mut().pick(&[-1, -1, -1, 1, 0]);
        let version = *self.rng.borrow_mut().pick(&PRODUCE);
        let (depth, large) = (1 + self.draw(5) as usize, self.draw(4) == 0);
        let mut client = self.connect(life).await?;
        let mut in_flight = VecDeque::new();
        let mut number = 0;
        loop {
            self.still(life)?;
            let (request, sent) = self.make_request(life, producer, &mut number, acks, large).await?;
            client.send(&request, version).await?;
            if acks != 0 {
                in_flight.push_back(sent);
            }
            while in_flight.len() >= depth {
                let sent = in_flight.pop_front().expect("there is one");
                self.acknowledged(&mut client, version, sent).await?;
            }
            if self.draw(3) == 0 {
                self.pause(Duration::from_millis(8)).await;
            }
        }
    }

    async fn make_request(
        &self,
        life: u64,
        producer: u32,
        number: &mut u32,
        acks: i16,
        large: bool,
    ) -> io::Result<(ProduceRequest, Vec<Sent>)> {
        let (name, topic) = self.some_topic(life).await?;
        let mut partitions: Vec<i32> = (0..topic.partitions).collect();
        self.rng.borrow_mut().shuffle(&mut partitions);
        partitions.truncate(1 + self.draw(4) as usize);
        let (mut sent, mut data) = (Vec::new(), Vec::new());
        for index in partitions {
            let entry = Entry { producer, number: *number, records: 1 + self.draw(4) as u32 };
            *number += 1;
            let size = if large { self.draw(8_000) } else { self.draw(500) };
            self.known.borrow_mut().entry((name.clone(), index)).or_default().sends(entry);
            let records = Some(make_batch(entry, size as usize, self.clients.wall_clock_ms()));
            data.push(PartitionProduceData { index, records });
            sent.push((name.clone(), index, entry));
        }
        let topic_data = vec![TopicProduceData { name, topic_id: topic.id, partition_data: data }];
        Ok((ProduceRequest { transactional_id: None, acks, timeout_ms: 60_000, topic_data }, sent))
    }

    async fn acknowledged(&self, client: &mut Client, version: i16, sent: Vec<Sent>) -> io::Result<()> {
        let (_, response) = client.receive::<ProduceResponse>(version).await?;
        let answers: Vec<_> =
            response.responses.iter().flat_map(|topic| &topic.partition_responses).collect();
        assert_eq!(answers.len(), sent.len(), "seed {}: each batch is answered", self.seed());
        for (topic, partition, entry) in sent {
            let answer = answers.iter().find(|answer| answer.index == partition);
            let answer = answer.unwrap_or_else(|| panic!("seed {}: {partition} is answered", self.seed()));
            if answer.error_code == ErrorCode::NONE {
                let mut known = self.known.borrow_mut();
                known.entry((topic, partition)).or_default().is_told(answer.base_offset, entry);
                self.report.borrow_mut().acknowledged += 1;
            }
        }
        Ok(())
    }

    /// Follows a topic through an incremental session, from its beginning.
    async fn consume(self: Rc<Run>, life: u64) -> io::Result<()> {
        let mut client = self.connect(life).await?;
        let version = *self.rng.borrow_mut().pick(&FETCH);
        let (name, topic) = self.some_topic(life).await?;
        let mut offsets = vec![0; topic.partitions as usize];
        let mut changed: Vec<i32> = (0..topic.partitions).collect();
        let (mut session_id, mut session_epoch) = (0, 0);
        loop {
            self.still(life)?;
            let partitions = changed.drain(..).map(|partition| FetchPartition {
                partition,
                fetch_offset: offsets[partition as usize],
                partition_max_bytes: 1 + self.draw(100_000) as i32,
                ..Default::default()
            });
            let asked =
                FetchTopic { topic: name.clone(), topic_id: topic.id, partitions: partitions.collect() };
            let request = FetchRequest {
                max_wait_ms: self.draw(400) as i32,
                min_bytes: 1 + self.draw(2_000) as i32,
                max_bytes: 1 + self.draw(300_000) as i32,
                session_id,
                session_epoch,
                topics: if asked.partitions.is_empty() { Vec::new() } else { vec![asked] },
                ..FetchRequest::default()
            };
            let response = client.ask(&request, version).await?;
            if response.error_code != ErrorCode::NONE {
                return Ok(());
            }
            (session_id, session_epoch) = (response.session_id, session_epoch + 1);
            for data in response.responses.iter().flat_map(|topic| &topic.partitions) {
                if data.error_code != ErrorCode::NONE {
                    return Ok(());
                }
                let next = self.take(&name, data, offsets[data.partition_index as usize]);
                if next != offsets[data.partition_index as usize] {
                    offsets[data.partition_index as usize] = next;
                    changed.push(data.partition_index);
                }
            }
            if self.draw(4) == 0 {
                self.pause(Duration::from_millis(20)).await;
            }
        }
    }

    /// Notes what a consumer was given; says where it goes on.
    pub(super) fn take(&self, topic: &str, data: &PartitionData, mut offset: i64) -> i64 {
        let bytes = data.records.as_ref().map(Records::to_bytes).unwrap_or_default();
        for (at, entry) in read_batches(&bytes, offset, data.high_watermark) {
            assert!(at <= offset, "seed {}: {topic}: nothing is left out before {at}", self.seed());
            offset = at + i64::from(entry.records);
            let mut known = self.known.borrow_mut();
            let before =
                known.entry((topic.to_owned(), data.partition_index)).or_default().is_told(at, entry);
            assert!(before.is_none_or(|b| b == entry), "seed {}: {topic} offset {at}", self.seed());
            self.report.borrow_mut().consumed += 1;
        }
        offset
    }
}
