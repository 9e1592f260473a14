//! Consumer groups of other languages' clients: members join, leave and die, come back without a rebalance, subscribe by
//! pattern, go on where they committed, and reset. The members live in processes of their own (members.rs).
//!
//! With OTTLA_TEST_STOCK set to anything, the same is asked of stock Kafka.

use std::collections::BTreeSet;
use std::process::Command;

use ottla::wire::batch::{BatchBuilder, Compression};
use ottla::wire::error::ErrorCode;

use crate::languages::Target;
use crate::members::{Host, Member, State, until};
use crate::remote::Remote;

/// What makes groups quick, and lets one see within seconds that a member is gone.
const SETTINGS: [&str; 6] = [
    "group.initial.rebalance.delay.ms=100",
    "group.consumer.min.session.timeout.ms=6000",
    "group.consumer.session.timeout.ms=12000",
    "group.consumer.min.heartbeat.interval.ms=100",
    "group.consumer.heartbeat.interval.ms=500",
    // A disk that others use too stands still for longer than clients are patient.
    "offsets.commit.timeout.ms=60000",
];
/// The same, for the classic protocol.
const SHORT: (&str, &str) = ("session", "12000");
const LONG: (&str, &str) = ("session", "60000");
const EARLIEST: (&str, &str) = ("reset", "earliest");

/// A protocol, and an assignor of it.
pub type Kind = (&'static str, &'static str);

pub const RANGE: Kind = ("classic", "range");
pub const ROUND_ROBIN: Kind = ("classic", "roundrobin");
pub const STICKY: Kind = ("classic", "sticky");
pub const COOPERATIVE: Kind = ("classic", "cooperative-sticky");
pub const SERVER_UNIFORM: Kind = ("consumer", "uniform");
pub const SERVER_RANGE: Kind = ("consumer", "range");

/// A client of some language.
pub struct Client<'a> {
    pub name: &'static str,
    /// What starts a process of members.
    pub host: &'a (dyn Fn() -> Command + Sync),
    pub needs: &'static str,
    pub kinds: &'static [Kind],
    /// Those of them in which a static member keeps its place.
    pub statics: &'static [Kind],
    /// Whether a pattern finds topics that come later.
    pub looks_again: bool,
}

/// A group under test.
struct Group<'a> {
    address: &'a str,
    kind: Kind,
    name: String,
    /// The topic, or what its topics' names begin with.
    topic: String,
    looks_again: bool,
}

/// Tries a client with each of its kinds at once, each in groups of its own.
pub fn check(client: &Client<'_>) {
    let target = Target::with(&SETTINGS);
    let start = || Host::start((client.host)(), &target.address, client.needs);
    let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let (first, second) = (start(), start());
    let group = |what: &str, kind: Kind| {
        let name = format!("{}-{what}-{}-{}-{since}", client.name, kind.0, kind.1);
        let (topic, looks_again) = (name.clone(), client.looks_again);
        Group { address: &target.address, kind, name, topic, looks_again }
    };
    let groups = |what: &str, kinds: &[Kind]| kinds.iter().map(|kind| group(what, *kind)).collect::<Vec<_>>();
    let (shared, patterns) = (groups("shared", client.kinds), groups("pattern", client.kinds));
    let statics = groups("static", client.statics);
    let (mut sharers, mut lasting) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let looking: Vec<_> = patterns.iter().map(|group| scope.spawn(|| pattern(group, &first))).collect();
        let sharing: Vec<_> =
            shared.iter().map(|group| scope.spawn(|| share(group, &first, &second))).collect();
        let staying: Vec<_> =
            statics.iter().map(|group| scope.spawn(|| stay(group, &first, &second))).collect();
        looking.into_iter().for_each(|thread| thread.join().unwrap());
        sharers.extend(sharing.into_iter().map(|thread| thread.join().unwrap()));
        lasting.extend(staying.into_iter().map(|thread| thread.join().unwrap()));
    });
    // Some of their members die.
    second.kill();
    let third = start();
    std::thread::scope(|scope| {
        for (group, (one, read)) in shared.iter().zip(sharers) {
            let first = &first;
            scope.spawn(move || {
                inherit(group, one, read);
                go_on(group, first);
                reset(group, first);
            });
        }
        for (group, (one, two)) in statics.iter().zip(lasting) {
            let third = &third;
            scope.spawn(move || return_unnoticed(group, one, &two, third));
        }
    });
}

impl Group<'_> {
    fn join<'h>(&self, host: &'h Host, name: &str, more: &[(&str, &str)]) -> Member<'h> {
        let (protocol, assignor) = self.kind;
        let mut settings =
            vec![("group", self.name.as_str()), ("protocol", protocol), ("assignor", assignor)];
        settings.extend(more);
        for (key, value) in [("topics", self.topic.as_str()), SHORT, EARLIEST] {
            if !settings.iter().any(|(set, _)| *set == key) {
                settings.push((key, value));
            }
        }
        host.join(&format!("{}-{name}", self.name), &settings)
    }

    fn create(&self, topic: &str, partitions: i32) {
        Remote::open(self.address).create(topic, partitions, &[]);
    }

    /// Appends so many records to each partition of a topic; their values tell them apart.
    fn fill(&self, topic: &str, partitions: i32, each: usize) {
        let mut remote = Remote::open(self.address);
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
        for partition in 0..partitions {
            let (end, _) = remote.offset(topic, partition, -1).unwrap();
            let mut batch = BatchBuilder::new().compression(Compression::None);
            for at in 0..each {
                let value = format!("{partition}-{}", end as usize + at);
                batch.append(now, None, Some(value.as_bytes()), &[]);
            }
            let answer = remote.produce(topic, partition, &batch.build().unwrap());
            assert_eq!(answer.error_code, ErrorCode::NONE, "{answer:?}");
        }
    }
}

/// Whether the members own so many partitions each, and no partition has two owners.
fn owned(states: &[State], each: &[usize]) -> bool {
    let all: BTreeSet<_> = states.iter().flat_map(|state| &state.owned).collect();
    let mut counts: Vec<usize> = states.iter().map(|state| state.owned.len()).collect();
    counts.sort_unstable();
    all.len() == each.iter().sum::<usize>() && counts == each
}

fn count(states: &[State]) -> usize {
    states.iter().map(|state| state.read.len()).sum()
}

/// Checks that nothing was read twice, and that there are so many.
#[track_caller]
fn once(group: &Group<'_>, states: &[State], wanted: usize) {
    let read: Vec<_> = states.iter().flat_map(|state| &state.read).collect();
    let different: BTreeSet<_> = read.iter().collect();
    assert_eq!((read.len(), different.len()), (wanted, wanted), "{}: {read:?}", group.name);
    for (topic, partition, offset, value) in read {
        assert_eq!(*value, format!("{partition}-{offset}"), "{}: {topic}", group.name);
    }
}

/// Members come and go; what was committed is read by nobody again. Leaves a member in each process, which share the
/// six partitions, and gives the first and what all have read.
fn share<'h>(group: &Group<'_>, first: &'h Host, second: &Host) -> (Member<'h>, Vec<State>) {
    group.create(&group.topic, 6);
    group.fill(&group.topic, 6, 10);
    let one = group.join(first, "one", &[]);
    until(&[&one], "all of it", |all| owned(all, &[6]) && count(all) >= 60);
    one.commit();
    let two = group.join(first, "two", &[]);
    until(&[&one, &two], "three each", |all| owned(all, &[3, 3]));
    let three = group.join(second, "three", &[]);
    until(&[&one, &two, &three], "two each", |all| owned(all, &[2, 2, 2]));
    group.fill(&group.topic, 6, 5);
    until(&[&one, &two, &three], "what came meanwhile", |all| count(all) >= 90);
    [&one, &two, &three].into_iter().for_each(Member::commit);

    let two = two.leave();
    until(&[&one, &three], "three each again", |all| owned(all, &[3, 3]));
    group.fill(&group.topic, 6, 1);
    until(&[&one, &three], "what came after", |all| count(all) + two.read.len() >= 96);
    [&one, &three].into_iter().for_each(Member::commit);
    let read = vec![two, three.state()];
    once(group, &[&read[..], &[one.state()]].concat(), 96);
    (one, read)
}

/// Its neighbour has died.
fn inherit(group: &Group<'_>, one: Member<'_>, mut read: Vec<State>) {
    until(&[&one], "all partitions", |all| owned(all, &[6]));
    group.fill(&group.topic, 6, 1);
    until(&[&one], "what came after", |all| count(all) + count(&read) >= 102);
    one.commit();
    read.push(one.leave());
    once(group, &read, 102);
}

/// Who comes back goes on where the group is.
fn go_on(group: &Group<'_>, host: &Host) {
    group.fill(&group.topic, 6, 1);
    let back = group.join(host, "back", &[]);
    until(&[&back], "what it has not read", |all| owned(all, &[6]) && count(all) >= 6);
    once(group, &[back.state()], 6);
    back.commit();
    back.commit_at(&group.topic, 0, 3);
    back.leave();
    let again = group.join(host, "again", &[]);
    until(&[&again], "what lies behind the offset", |all| owned(all, &[6]) && count(all) >= 15);
    once(group, &[again.state()], 15);
    // There is no such offset.
    again.commit_at(&group.topic, 0, 9999);
    again.leave();
}

/// Where there is no offset to go on from, the setting decides.
fn reset(group: &Group<'_>, host: &Host) {
    let lost = group.join(host, "lost", &[]);
    until(&[&lost], "the partition from its start", |all| owned(all, &[6]) && count(all) >= 18);
    once(group, &[lost.state()], 18);
    lost.leave();
    let other = format!("{}-latest", group.name);
    let new = group.join(host, "new", &[("group", &other), ("reset", "latest")]);
    until(&[&new], "all partitions", |all| owned(all, &[6]));
    while new.state().read.is_empty() {
        group.fill(&group.topic, 6, 1);
        std::thread::sleep(std::time::Duration::from_millis(200));
        until(&[&new], "no failure", |_| true);
    }
    let first = new.state().read.iter().map(|(_, _, offset, _)| *offset).min();
    assert!(first >= Some(18), "{}: what was there before is read from {first:?}", group.name);
    new.leave();
}

/// Two static members, of which one is gone, without a word or only for now.
fn stay<'h>(group: &Group<'_>, first: &'h Host, second: &Host) -> (Member<'h>, [State; 2]) {
    group.create(&group.topic, 4);
    let modern = group.kind.0 == "consumer";
    if modern {
        Remote::open(group.address).set_group(&group.name, "consumer.session.timeout.ms", "60000");
    }
    let one = group.join(first, "one", &[("instance", "one"), LONG]);
    let two = group.join(second, "two", &[("instance", "two"), LONG]);
    until(&[&one, &two], "two each", |all| owned(all, &[2, 2]));
    group.fill(&group.topic, 4, 5);
    until(&[&one, &two], "all of it", |all| count(all) >= 20);
    [&one, &two].into_iter().for_each(Member::commit);
    let states = settled(&one, &two);
    // In the new protocol nobody takes the place of a member that has not said so.
    if modern {
        two.leave();
    }
    (one, states)
}

/// Both, when the rounds are over in which a cooperative assignor brings them to what they have.
fn settled(one: &Member<'_>, two: &Member<'_>) -> [State; 2] {
    let rounds = |states: &[State; 2]| [states[0].rebalances, states[1].rebalances];
    let mut states = [one.state(), two.state()];
    for _ in 0..30 {
        std::thread::sleep(std::time::Duration::from_secs(2));
        let before = std::mem::replace(&mut states, [one.state(), two.state()]);
        if rounds(&before) == rounds(&states) {
            return states;
        }
    }
    panic!("they have new assignments again and again: {:?}", rounds(&states));
}

/// The one comes back, and the other does not notice.
fn return_unnoticed(group: &Group<'_>, one: Member<'_>, before: &[State; 2], third: &Host) {
    let two = group.join(third, "two", &[("instance", "two"), LONG]);
    until(&[&one, &two], "two each", |all| owned(all, &[2, 2]));
    group.fill(&group.topic, 4, 1);
    until(&[&one, &two], "what came after", |all| count(all) + before[1].read.len() >= 24);
    assert_eq!(two.state().owned, before[1].owned, "{}: the partitions are its own", group.name);
    let (was, is) = (&before[0], one.state());
    assert_eq!((&is.owned, is.rebalances), (&was.owned, was.rebalances), "{}: it noticed", group.name);
    once(group, &[before[1].clone(), one.state(), two.state()], 24);
    [one, two].into_iter().for_each(|member| _ = member.leave());
}

/// Topics that fit a pattern are found, others are not.
fn pattern(group: &Group<'_>, host: &Host) {
    let topic = |name: &str, partitions| {
        let topic = format!("{}.{name}", group.topic);
        group.create(&topic, partitions);
        group.fill(&topic, partitions, 5);
    };
    topic("first", 2);
    topic("Other", 1);
    if !group.looks_again {
        topic("second", 1);
    }
    let pattern = format!("^{}\\.[a-z]+$", group.topic);
    let member = group.join(host, "one", &[("pattern", &pattern)]);
    if group.looks_again {
        until(&[&member], "the first topic", |all| owned(all, &[2]) && count(all) >= 10);
        member.commit();
        topic("second", 1);
    }
    until(&[&member], "the second topic", |all| owned(all, &[3]) && count(all) >= 15);
    once(group, &[member.state()], 15);
    member.leave();
}
