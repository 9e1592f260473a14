//! Consumers who commit offsets: what was told committed, or was read as such, never goes back.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::{Existence, Run};
use crate::sim::client::Client;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

/// How long to wait before asking again who coordinates, or one who is reading his log.
const AGAIN: Duration = Duration::from_millis(5);
/// So many groups share the committers, so that the log's partitions have several groups and groups several offsets.
const GROUPS: usize = 3;

/// One who commits offsets of one partition, whatever becomes of the node.
pub struct Committer {
    group: String,
    topic: String,
    partition: i32,
    /// What was asked for last.
    asked: i64,
    /// What is known to be committed, -1 for nothing.
    told: i64,
}

/// Known to all lives.
pub type Shared = Rc<RefCell<Committer>>;

impl Run {
    /// A new one.
    pub(super) async fn begin_committer(&self, life: u64) -> io::Result<Shared> {
        let (topic, known) = self.some_topic(life).await?;
        let mut committers = self.committers.borrow_mut();
        let partition = self.draw(known.partitions as u64) as i32;
        let group = format!("g{}", committers.len() % GROUPS);
        let is_taken = |other: &Shared| {
            let other = other.borrow();
            (&other.group, &other.topic, other.partition) == (&group, &topic, partition)
        };
        if committers.iter().any(is_taken) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let committer = Committer { group, topic, partition, asked: -1, told: -1 };
        let committer = Rc::new(RefCell::new(committer));
        committers.push(committer.clone());
        Ok(committer)
    }

    /// Has one commit until this life is over, or his topic.
    pub(super) async fn commit_offsets(self: Rc<Run>, life: u64, committer: Shared) -> io::Result<()> {
        loop {
            let mut client = self.connect(life).await?;
            let group = committer.borrow().group.clone();
            self.find_coordinator(life, &mut client, &group).await?;
            while self.draw(30) > 0 {
                self.still(life)?;
                match self.draw(4) {
                    0 => drop(self.read_back(&mut client, &committer).await?),
                    _ => self.commit(&mut client, &committer).await?,
                }
                self.pause(Duration::from_millis(6)).await;
            }
        }
    }

    async fn find_coordinator(&self, life: u64, client: &mut Client, group: &str) -> io::Result<()> {
        let request =
            FindCoordinatorRequest { coordinator_keys: vec![group.to_owned()], ..Default::default() };
        while client.ask(&request, 4).await?.coordinators[0].error_code.is_error() {
            self.still(life)?;
            self.clients.sleep(AGAIN).await;
        }
        Ok(())
    }

    async fn commit(&self, client: &mut Client, committer: &Shared) -> io::Result<()> {
        let (request, offset) = {
            let mut committer = committer.borrow_mut();
            committer.asked += 1 + self.draw(10) as i64;
            let partition = OffsetCommitRequestPartition {
                partition_index: committer.partition,
                committed_offset: committer.asked,
                committed_leader_epoch: -1,
                committed_metadata: Some("x".repeat(self.draw(100) as usize)),
            };
            let topic = OffsetCommitRequestTopic {
                name: committer.topic.clone(),
                partitions: vec![partition],
                ..Default::default()
            };
            let group_id = committer.group.clone();
            let request = OffsetCommitRequest { group_id, topics: vec![topic], ..Default::default() };
            (request, committer.asked)
        };
        let response = client.ask(&request, 9).await?;
        match response.topics[0].partitions[0].error_code {
            ErrorCode::NONE => {
                committer.borrow_mut().told = offset;
                self.report.borrow_mut().commits += 1;
                Ok(())
            }
            // His topic is gone.
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Err(io::ErrorKind::NotFound.into()),
            // What is asked for next is more: whether this one is committed does not matter.
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::NOT_COORDINATOR
            | ErrorCode::COORDINATOR_NOT_AVAILABLE => {
                self.clients.sleep(AGAIN).await;
                Ok(())
            }
            error => panic!("seed {}: a commit is answered with {error}", self.seed()),
        }
    }

    /// Reads what is committed; none where nobody can say at the moment.
    async fn read_back(&self, client: &mut Client, committer: &Shared) -> io::Result<Option<i64>> {
        let (group_id, name, partition) = {
            let committer = committer.borrow();
            (committer.group.clone(), committer.topic.clone(), committer.partition)
        };
        let topic =
            OffsetFetchRequestTopics { name, partition_indexes: vec![partition], ..Default::default() };
        let group = OffsetFetchRequestGroup { group_id, topics: Some(vec![topic]), ..Default::default() };
        let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
        let mut response = client.ask(&request, 8).await?;
        let group = response.groups.remove(0);
        if group.error_code.is_error() {
            return Ok(None);
        }
        let found = group.topics[0].partitions[0].committed_offset;
        let mut committer = committer.borrow_mut();
        let is_gone = self.topics.borrow()[&committer.topic].exists != Existence::Yes;
        assert!(
            is_gone || (committer.told..=committer.asked).contains(&found),
            "seed {}: {} has {found} of {}-{}, and was told {}, asked for {}",
            self.seed(),
            committer.group,
            committer.topic,
            committer.partition,
            committer.told,
            committer.asked
        );
        // Who reads it may act on it: it must not go back either.
        committer.told = found;
        Ok(Some(found))
    }

    /// Reads what all of them have committed. Nobody else asks the node meanwhile.
    pub(super) async fn look_at_commits(&self, client: &mut Client) -> io::Result<()> {
        let committers = self.committers.borrow().clone();
        for committer in committers {
            let topic = committer.borrow().topic.clone();
            if self.topics.borrow()[&topic].exists != Existence::Yes || committer.borrow().asked < 0 {
                continue;
            }
            let group = committer.borrow().group.clone();
            self.find_coordinator(self.life.get(), client, &group).await?;
            while self.read_back(client, &committer).await?.is_none() {
                self.clients.sleep(AGAIN).await;
            }
        }
        Ok(())
    }
}
