//! What the node has when it has just started, held against what is known.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use super::{Existence, Run};
use crate::broker::coordinator::is_internal;
use crate::sim::batches::read_batches;
use crate::sim::client::Client;
use crate::wire::codec::Records;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

/// How long to wait before asking again for a partition that is being recovered.
const AGAIN: Duration = Duration::from_millis(5);

impl Run {
    /// Looks at every topic and partition. Nobody else asks the node meanwhile.
    pub(super) async fn look_at_all(&self) {
        let looked = self.try_look_at_all().await;
        looked.unwrap_or_else(|error| panic!("seed {}: the node is there: {error}", self.seed()));
    }

    async fn try_look_at_all(&self) -> io::Result<()> {
        let mut client = Client::connect(&self.clients, self.address).await?;
        let request = MetadataRequest { topics: None, ..Default::default() };
        let response = client.ask(&request, 12).await?;
        let found: BTreeMap<String, MetadataResponseTopic> = response
            .topics
            .into_iter()
            .map(|topic| (topic.name.clone().unwrap_or_default(), topic))
            .collect();
        self.check_topics(&found);
        for (name, topic) in found.iter().filter(|(name, _)| !is_internal(name)) {
            for partition in &topic.partitions {
                self.look_at(&mut client, name, topic.topic_id, partition.partition_index).await?;
            }
        }
        self.look_at_commits(&mut client).await
    }

    fn check_topics(&self, found: &BTreeMap<String, MetadataResponseTopic>) {
        let seed = self.seed();
        let mut topics = self.topics.borrow_mut();
        for (name, known) in topics.iter_mut() {
            let there = found.get(name);
            match known.exists {
                Existence::Yes => assert!(there.is_some(), "seed {seed}: {name} was created, and is gone"),
                Existence::No => assert!(there.is_none(), "seed {seed}: {name} was deleted, and is there"),
                Existence::Perhaps => {}
            }
            let Some(there) = there else {
                known.exists = Existence::No;
                continue;
            };
            let count = there.partitions.len() as i32;
            assert!(
                (known.partitions..=known.asked).contains(&count),
                "seed {seed}: {name} has {count} partitions, not {} to {}",
                known.partitions,
                known.asked
            );
            assert!(
                known.id.is_zero() || known.id == there.topic_id,
                "seed {seed}: {name} is another topic now"
            );
            (known.exists, known.id) = (Existence::Yes, there.topic_id);
            (known.partitions, known.asked) = (count, count);
        }
        let stranger = found.keys().find(|name| !topics.contains_key(*name) && !is_internal(name));
        assert_eq!(stranger, None, "seed {seed}: nobody created it");
    }

    async fn look_at(&self, client: &mut Client, name: &str, id: Uuid, partition: i32) -> io::Result<()> {
        let (start, end) = (
            self.offset(client, name, partition, -2).await?,
            self.offset(client, name, partition, -1).await?,
        );
        let (mut offset, mut found) = (start, BTreeMap::new());
        while offset < end {
            let asked = FetchPartition {
                partition,
                fetch_offset: offset,
                partition_max_bytes: 1 + self.draw(200_000) as i32,
                ..Default::default()
            };
            let request = FetchRequest {
                max_bytes: 10 << 20,
                session_epoch: -1,
                topics: vec![FetchTopic { topic: name.to_owned(), topic_id: id, partitions: vec![asked] }],
                ..FetchRequest::default()
            };
            let response = client.ask(&request, 16).await?;
            let data = &response.responses[0].partitions[0];
            // It is just arriving in another log directory.
            if data.error_code == ErrorCode::NOT_LEADER_OR_FOLLOWER {
                self.clients.sleep(AGAIN).await;
                continue;
            }
            assert_eq!(
                data.error_code,
                ErrorCode::NONE,
                "seed {}: {name}-{partition} at {offset}",
                self.seed()
            );
            let records = data.records.as_ref().map(Records::to_bytes).unwrap_or_default();
            let batches = read_batches(&records, offset, data.high_watermark);
            assert!(
                !batches.is_empty(),
                "seed {}: {name}-{partition} gives nothing at {offset}",
                self.seed()
            );
            for (at, entry) in batches {
                offset = at + i64::from(entry.records);
                found.insert(at, entry);
            }
        }
        let place = format!("seed {}, {name}-{partition}", self.seed());
        let mut known = self.known.borrow_mut();
        let news = known.entry((name.to_owned(), partition)).or_default().check(start, found, &place);
        self.report.borrow_mut().unacknowledged_found += news.unacknowledged;
        Ok(())
    }

    /// The earliest (-2) or latest (-1) offset, once the partition is recovered.
    async fn offset(
        &self,
        client: &mut Client,
        name: &str,
        partition: i32,
        timestamp: i64,
    ) -> io::Result<i64> {
        loop {
            let asked =
                ListOffsetsPartition { partition_index: partition, current_leader_epoch: -1, timestamp };
            let topic = ListOffsetsTopic { name: name.to_owned(), partitions: vec![asked] };
            let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
            let response = client.ask(&request, 7).await?;
            let answer = &response.topics[0].partitions[0];
            match answer.error_code {
                ErrorCode::NONE => return Ok(answer.offset),
                ErrorCode::NOT_LEADER_OR_FOLLOWER => self.clients.sleep(AGAIN).await,
                error => panic!("seed {}: {name}-{partition}: {error}", self.seed()),
            }
        }
    }
}
