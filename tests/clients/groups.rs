//! Groups of both protocols: who gets which partitions, and where he goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::support::{Broker, PATIENCE, Target, broker, send, values, wait};

/// Counts the rebalances that a member goes through.
#[derive(Default, Clone)]
struct Rebalances(Arc<AtomicUsize>);

impl ClientContext for Rebalances {}

impl ConsumerContext for Rebalances {
    fn post_rebalance(&self, _: &BaseConsumer<Rebalances>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Assign(_)) {
            self.0.fetch_add(1, Relaxed);
        }
    }
}

/// What makes a member speak the protocol of KIP-848.
const CONSUMER: (&str, &str) = ("group.protocol", "consumer");

/// A member of a group, and what it got.
struct Member {
    consumer: BaseConsumer<Rebalances>,
    rebalances: Rebalances,
    /// The values, by partition.
    read: BTreeMap<i32, Vec<String>>,
}

impl Member {
    fn new(broker: &Target, group: &str, topic: &str, settings: &[(&str, &str)]) -> Member {
        let mut config = broker.config();
        config.set("group.id", group).set("auto.offset.reset", "earliest").set("fetch.wait.max.ms", "50");
        config.set("enable.auto.commit", "false");
        if !settings.contains(&CONSUMER) {
            config.set("session.timeout.ms", "6000");
        }
        config.set("topic.metadata.refresh.interval.ms", "500");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        let rebalances = Rebalances::default();
        let consumer: BaseConsumer<Rebalances> = config.create_with_context(rebalances.clone()).unwrap();
        consumer.subscribe(&[topic]).unwrap();
        Member { consumer, rebalances, read: BTreeMap::new() }
    }

    fn poll(&mut self) {
        if let Some(message) = self.consumer.poll(Duration::from_millis(20)) {
            let message = match message {
                Ok(message) => message,
                // A broker that comes back is waited for.
                Err(error) if lost(&error) => return,
                Err(error) => panic!("{error}"),
            };
            let value = String::from_utf8(message.payload().unwrap().to_vec()).unwrap();
            self.read.entry(message.partition()).or_default().push(value);
        }
    }

    fn assigned(&self) -> BTreeSet<i32> {
        self.consumer.assignment().unwrap().elements().iter().map(|part| part.partition()).collect()
    }

    fn count(&self) -> usize {
        self.read.values().map(Vec::len).sum()
    }

    /// What of it is read next is committed.
    fn commit(&self) {
        self.consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    }
}

fn lost(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure};
    matches!(error.rdkafka_error_code(), Some(BrokerTransportFailure | AllBrokersDown))
}

/// Polls the members until something holds.
#[track_caller]
fn until(members: &mut [&mut Member], what: &str, holds: impl Fn(&[&mut Member]) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds(members) {
        let have: Vec<_> = members.iter().map(|member| (member.assigned(), member.count())).collect();
        assert!(Instant::now() < deadline, "{what}: {have:?}");
        members.iter_mut().for_each(|member| member.poll());
    }
}

/// Whether each of so many partitions has one owner among the members, and each member so many.
fn shared(members: &[&mut Member], each: &[usize]) -> bool {
    let owned: Vec<BTreeSet<i32>> = members.iter().map(|member| member.assigned()).collect();
    let all: BTreeSet<i32> = owned.iter().flatten().copied().collect();
    let total: usize = each.iter().sum();
    let mut counts: Vec<usize> = owned.iter().map(BTreeSet::len).collect();
    counts.sort_unstable();
    all.len() == total && counts == each
}

fn fill(broker: &Target, topic: &str, partitions: i32, each: usize) {
    let writer = broker.writer(&[]);
    for partition in 0..partitions {
        for value in values("record", each) {
            writer.send(send(topic, partition, &value));
        }
    }
    writer.offsets();
}

fn members_share_and_hand_over(settings: &[(&str, &str)]) {
    let broker = broker();
    let topic = broker.topic("shared", 6, &[]);
    let group = broker.name("shared");
    fill(&broker, &topic, 6, 10);
    let mut one = Member::new(&broker, &group, &topic, settings);
    until(&mut [&mut one], "all of it", |all| shared(all, &[6]) && all[0].count() == 60);
    one.commit();

    let mut two = Member::new(&broker, &group, &topic, settings);
    until(&mut [&mut one, &mut two], "three each", |all| shared(all, &[3, 3]));
    let mut three = Member::new(&broker, &group, &topic, settings);
    until(&mut [&mut one, &mut two, &mut three], "two each", |all| shared(all, &[2, 2, 2]));
    fill(&broker, &topic, 6, 5);
    until(&mut [&mut one, &mut two, &mut three], "what came meanwhile", |all| {
        all.iter().map(|member| member.count()).sum::<usize>() >= 90
    });
    // What was committed is read by nobody again.
    assert_eq!(one.count() + two.count() + three.count(), 90);
    for member in [&one, &two, &three] {
        member.commit();
    }

    drop(two);
    until(&mut [&mut one, &mut three], "three each again", |all| shared(all, &[3, 3]));
    drop(one);
    until(&mut [&mut three], "all of it again", |all| shared(all, &[6]));
    fill(&broker, &topic, 6, 1);
    let before = three.count();
    until(&mut [&mut three], "the last ones", |all| all[0].count() >= before + 6);
    assert_eq!(three.count(), before + 6);
}

#[test]
fn members_share_the_partitions() {
    members_share_and_hand_over(&[("partition.assignment.strategy", "range")]);
}

#[test]
fn members_share_the_partitions_and_keep_theirs_while_others_come() {
    members_share_and_hand_over(&[("partition.assignment.strategy", "cooperative-sticky")]);
}

#[test]
fn the_broker_shares_the_partitions() {
    members_share_and_hand_over(&[CONSUMER]);
}

#[test]
fn the_broker_shares_the_partitions_in_ranges() {
    members_share_and_hand_over(&[CONSUMER, ("group.remote.assignor", "range")]);
}

#[test]
fn a_group_changes_its_protocol_while_it_works() {
    let broker = broker();
    let topic = broker.topic("upgrade", 4, &[]);
    let group = broker.name("upgrade");
    fill(&broker, &topic, 4, 10);
    let mut classic = Member::new(&broker, &group, &topic, &[]);
    until(&mut [&mut classic], "all of it", |all| shared(all, &[4]) && all[0].count() == 40);
    classic.commit();
    let mut new = Member::new(&broker, &group, &topic, &[CONSUMER]);
    until(&mut [&mut classic, &mut new], "two each, of either protocol", |all| shared(all, &[2, 2]));
    drop(classic);
    until(&mut [&mut new], "all of it", |all| shared(all, &[4]));
    fill(&broker, &topic, 4, 1);
    until(&mut [&mut new], "what came after", |all| all[0].count() >= 4);
    assert_eq!(new.count(), 4, "what was committed is not read again");
}

#[test]
fn who_comes_back_goes_on_where_he_committed() {
    let broker = broker();
    let topic = broker.topic("resume", 1, &[]);
    let group = broker.name("resume");
    fill(&broker, &topic, 1, 100);
    let mut first = Member::new(&broker, &group, &topic, &[]);
    until(&mut [&mut first], "forty", |all| all[0].count() >= 40);
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topic, 0, Offset::Offset(40)).unwrap();
    first.consumer.commit(&offsets, CommitMode::Sync).unwrap();
    // Librdkafka's list keeps partitions of its consumer, which ends when they do.
    drop(offsets);
    drop(first);
    let mut second = Member::new(&broker, &group, &topic, &[]);
    until(&mut [&mut second], "the rest", |all| all[0].count() >= 60);
    assert_eq!(second.read[&0], (40..100).map(|n| format!("record {n}")).collect::<Vec<_>>());

    {
        let committed = second.consumer.committed(PATIENCE).unwrap();
        assert_eq!(committed.find_partition(&topic, 0).unwrap().offset(), Offset::Offset(40));
    }
    second.commit();
    drop(second);
    let deleted = wait(broker.admin().delete_groups(&[&group], &Default::default())).unwrap();
    assert!(deleted[0].is_ok(), "{deleted:?}");
    let mut third = Member::new(&broker, &group, &topic, &[]);
    until(&mut [&mut third], "all of it from the start", |all| all[0].count() >= 100);
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let broker = broker();
    let topic = broker.topic("static", 4, &[]);
    let group = broker.name("static");
    fill(&broker, &topic, 4, 10);
    let lasting = ("session.timeout.ms", "30000");
    let mut one = Member::new(&broker, &group, &topic, &[("group.instance.id", "one"), lasting]);
    let mut two = Member::new(&broker, &group, &topic, &[("group.instance.id", "two"), lasting]);
    until(&mut [&mut one, &mut two], "two each", |all| shared(all, &[2, 2]));
    let (rebalances, partitions) = (one.rebalances.0.load(Relaxed), two.assigned());
    // It leaves without a word, as static members do.
    drop(two);
    let mut again = Member::new(&broker, &group, &topic, &[("group.instance.id", "two"), lasting]);
    until(&mut [&mut one, &mut again], "two each", |all| shared(all, &[2, 2]));
    assert_eq!(again.assigned(), partitions);
    assert_eq!(one.rebalances.0.load(Relaxed), rebalances, "the other one did not notice");
}

#[test]
fn topics_that_fit_a_pattern_are_found_when_they_come() {
    let broker = broker();
    let prefix = broker.name("pattern");
    let group = broker.name("pattern");
    let admin = |suffix: &str, partitions| {
        use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
        let name = format!("{prefix}.{suffix}");
        let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        let created = wait(broker.admin().create_topics([&topic], &AdminOptions::new())).unwrap();
        assert!(created[0].is_ok(), "{created:?}");
        name
    };
    let first = admin("first", 2);
    fill(&broker, &first, 2, 5);
    let pattern = format!("^{}\\..*", prefix.replace('.', "\\."));
    let mut member = Member::new(&broker, &group, &pattern, &[]);
    until(&mut [&mut member], "the first topic", |all| all[0].count() >= 10);
    let second = admin("second", 1);
    fill(&broker, &second, 1, 7);
    until(&mut [&mut member], "the second topic", |all| all[0].count() >= 17);
    assert_eq!(member.count(), 17);
}

/// A member in a process of its own, which can be killed.
struct Process(Child);

impl Process {
    fn start(address: &str, group: &str, topic: &str) -> Process {
        let child = Command::new("kcat")
            .args(["-b", address, "-X", "session.timeout.ms=6000", "-G", group, topic])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Process(child.expect("kcat is there (tests/setup.sh installs it)"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn who_dies_loses_his_partitions() {
    let broker = broker();
    let topic = broker.topic("dies", 4, &[]);
    let group = broker.name("dies");
    fill(&broker, &topic, 4, 10);
    let mut one = Member::new(&broker, &group, &topic, &[]);
    let other = Process::start(&broker.address, &group, &topic);
    until(&mut [&mut one], "two, and two for the other", |all| all[0].assigned().len() == 2);
    drop(other);
    until(&mut [&mut one], "all four", |all| all[0].assigned().len() == 4);
    until(&mut [&mut one], "all records", |all| all[0].read.len() == 4 && all[0].count() >= 40);
}

#[test]
fn a_group_outlives_its_broker() {
    let mut process = Broker::start();
    let broker = Target::at(&process.address);
    let topic = broker.topic("outlives", 2, &[]);
    fill(&broker, &topic, 2, 50);
    let mut member = Member::new(&broker, "outlives", &topic, &[]);
    until(&mut [&mut member], "all of it", |all| all[0].count() >= 100);
    member.commit();
    let generation = member.rebalances.0.load(Relaxed);
    process.kill();
    process.begin();
    process.wait();
    fill(&broker, &topic, 2, 5);
    // It is still a member, of the same generation, and its partitions are still its own.
    until(&mut [&mut member], "what came after", |all| all[0].count() >= 110);
    assert_eq!((member.count(), member.rebalances.0.load(Relaxed)), (110, generation));
    member.commit();
    drop(member);
    let mut other = Member::new(&broker, "outlives", &topic, &[]);
    until(&mut [&mut other], "its partitions", |all| all[0].assigned().len() == 2);
    let committed = other.consumer.committed(PATIENCE).unwrap();
    let offsets: Vec<_> = committed.elements().iter().map(|part| part.offset()).collect();
    assert_eq!(offsets, [Offset::Offset(55), Offset::Offset(55)]);
}
