//! The log directories of brokers: which replica lies in which, and those that fail.

use super::brokers::{Position, partitions_after};
use super::image::{NO_LEADER, Partition};
use super::{Answer, Broker, Controller};
use crate::wire::metadata_record::MetadataRecord;
use crate::wire::schema::{BrokerRegistrationChangeRecord, PartitionChangeRecord};
use crate::wire::uuid::Uuid;

/// Where a broker's replica of a partition lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The topic.
    pub topic: Uuid,
    /// The partition's number.
    pub partition: i32,
    /// The id of the log directory.
    pub directory: Uuid,
}

impl Broker {
    /// Whether one of its log directories works. What was never said to lie anywhere lies in one that does.
    pub fn has_directory(&self, directory: Uuid) -> bool {
        directory.is_reserved() || self.log_dirs.is_empty() || self.log_dirs.contains(&directory)
    }
}

impl Controller {
    /// A broker tells in which of its log directories its replicas lie. Partitions that are gone meanwhile are passed
    /// over.
    pub fn assign_directories(&self, broker: i32, assignments: &[Assignment]) -> Answer<()> {
        let record = |assigned: &Assignment| -> Option<MetadataRecord> {
            let partition = self.image().partition(assigned.topic, assigned.partition)?;
            let at = partition.replicas.iter().position(|replica| *replica == broker)?;
            let mut directories = directories(partition);
            directories[at] = assigned.directory;
            let change = PartitionChangeRecord {
                topic_id: assigned.topic,
                partition_id: assigned.partition,
                directories: Some(directories),
                ..Default::default()
            };
            Some(change.into())
        };
        Answer { reply: (), records: assignments.iter().filter_map(record).collect() }
    }

    /// A log directory of a broker has failed: nothing is placed in it any more, and what it led from there has no
    /// leader. At most `limit` records at a time, for the partitions behind `after`; the reply is where to go on, none at
    /// the end.
    pub fn directory_failed(
        &self,
        broker: i32,
        directory: Uuid,
        after: Option<Position>,
        limit: usize,
    ) -> Answer<Option<Position>> {
        let image = self.image();
        let mut records: Vec<MetadataRecord> = Vec::new();
        if let Some(registered) = image.broker(broker).filter(|b| b.log_dirs.contains(&directory)) {
            let left = registered.log_dirs.iter().copied().filter(|dir| *dir != directory);
            let change = BrokerRegistrationChangeRecord {
                broker_id: broker,
                broker_epoch: registered.epoch,
                log_dirs: left.collect(),
                ..Default::default()
            };
            records.push(change.into());
        }
        for (topic, number, partition) in partitions_after(image, after) {
            if partition.leader != broker || partition.directory_on(broker) != Some(directory) {
                continue;
            }
            let change = PartitionChangeRecord {
                topic_id: topic,
                partition_id: number,
                leader: NO_LEADER,
                ..Default::default()
            };
            records.push(change.into());
            if records.len() >= limit {
                return Answer { reply: Some((topic, number)), records };
            }
        }
        Answer { reply: None, records }
    }
}

/// The directories of all of a partition's replicas.
fn directories(partition: &Partition) -> Vec<Uuid> {
    (0..partition.replicas.len()).map(|at| partition.directory_of(at)).collect()
}

#[cfg(test)]
mod tests {
    use crate::controller::testing::*;
    use crate::wire::schema::{CreatePartitionsRequest, CreatePartitionsTopic};

    use super::*;

    fn dir(n: u8) -> Uuid {
        Uuid([n; 16])
    }

    /// A broker with two directories, and a topic of so many partitions.
    fn with_two_directories(partitions: i32) -> (Controller, Uuid) {
        let mut broker = registration(1, None, &[1, 1]);
        broker.log_dirs = vec![dir(1), dir(2)];
        let mut controller = cluster_of(&[broker]);
        let created = create(&mut controller, vec![topic("t", partitions, 1)]);
        (controller, created[0].topic_id)
    }

    #[test]
    fn partitions_are_spread_over_directories_and_move_when_told() {
        let (mut controller, topic) = with_two_directories(10);
        assert_eq!(controller.image().directory_load(dir(1)), 5);
        let moved = Assignment { topic, partition: 0, directory: dir(2) };
        let gone = Assignment { topic, partition: 99, directory: dir(2) };
        let records = controller.assign_directories(1, &[moved, gone]).records;
        assert_eq!(records.len(), 1);
        let before = controller.image().partition(topic, 0).unwrap().directory_on(1).unwrap();
        commit(&mut controller, records);
        let after = controller.image().partition(topic, 0).unwrap();
        assert_eq!((before, after.directory_on(1)), (dir(1), Some(dir(2))));
        assert_eq!(
            (after.leader, after.leader_epoch),
            (1, 0),
            "who leads does not change with the directory"
        );
        assert_eq!(controller.image().directory_load(dir(2)), 6);
    }

    #[test]
    fn new_partitions_pass_over_a_full_directory_as_long_as_there_is_another() {
        let (mut controller, _) = with_two_directories(10);
        controller.set_full([dir(1)].into());
        create(&mut controller, vec![topic("new", 50, 1)]);
        let loads = |controller: &Controller| [1, 2].map(|n| controller.image().directory_load(dir(n)));
        assert_eq!(loads(&controller), [5, 55]);
        let more = CreatePartitionsTopic { name: "new".into(), count: 60, ..Default::default() };
        let request = CreatePartitionsRequest { topics: vec![more], ..Default::default() };
        let records = controller.create_partitions(&request).records;
        commit(&mut controller, records);
        assert_eq!(loads(&controller), [5, 65]);
        controller.set_full([dir(1), dir(2)].into());
        create(&mut controller, vec![topic("as_before", 10, 1)]);
        assert_eq!(loads(&controller), [15, 65], "where there is no other, that one is taken");
    }

    #[test]
    fn what_a_failed_directory_led_has_no_leader_until_it_is_back() {
        let (mut controller, topic) = with_two_directories(10);
        let mut after = None;
        let mut turns = 0;
        loop {
            let answer = controller.directory_failed(1, dir(1), after, 3);
            after = answer.reply;
            commit(&mut controller, answer.records);
            turns += 1;
            if after.is_none() {
                break;
            }
        }
        assert!(turns > 1, "the limit holds");
        assert_eq!(controller.image().broker(1).unwrap().log_dirs, [dir(2)]);
        let led = |controller: &Controller| {
            let partitions = &controller.image().topic(topic).unwrap().partitions;
            partitions.values().filter(|partition| partition.leader == 1).count()
        };
        assert_eq!(led(&controller), 5);
        create(&mut controller, vec![super::super::testing::topic("u", 4, 1)]);
        assert_eq!(controller.image().directory_load(dir(1)), 5, "nothing new is placed there");

        // A start without the directory leaves them without a leader, one with it gives them back.
        for (dirs, leads) in [(vec![dir(2)], 5), (vec![dir(1), dir(2)], 10)] {
            let mut broker = registration(1, None, &[1, 1]);
            broker.log_dirs = dirs;
            let records = controller.register_broker(&broker).records;
            commit(&mut controller, records);
            let records = controller.resume_leadership(1, None, 1000).records;
            commit(&mut controller, records);
            assert_eq!(led(&controller), leads);
        }
    }

    #[test]
    fn a_start_without_a_directory_takes_the_leadership_away() {
        let (mut controller, topic) = with_two_directories(4);
        let mut broker = registration(1, None, &[1, 1]);
        broker.log_dirs = vec![dir(2)];
        let records = controller.register_broker(&broker).records;
        commit(&mut controller, records);
        let records = controller.resume_leadership(1, None, 1000).records;
        commit(&mut controller, records);
        let partitions = &controller.image().topic(topic).unwrap().partitions;
        assert!(partitions.values().all(|p| (p.leader == 1) == (p.directory_on(1) == Some(dir(2)))));
    }
}
