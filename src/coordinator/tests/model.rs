//! Random histories from seeds: consumers that join, commit, crash and come back, a log that refuses batches, and
//! coordinators that start again from what the log says.
//!
//! `OTTLA_SEEDS=10000 cargo test --lib coordinator::tests::model` runs that many; `OTTLA_SEED=17` replays one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::bench::Bench;
use super::durable::Durable;
use crate::coordinator::group::State;
use crate::coordinator::records::{Form, Producer, Record};
use crate::coordinator::{Event, Reply, Request, Settings, Token};
use crate::wire::codec::Writer;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

const TOPIC: &str = "t";
const PARTITIONS: i32 = 5;
const SESSION_MS: i32 = 6000;
const REBALANCE_MS: i32 = 8000;

/// A small generator: the same numbers for the same seed, everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What a consumer is at.
#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Out,
    Joined(Vec<SyncGroupRequestAssignment>),
    Stable,
}

/// What a consumer waits for.
#[derive(Clone, Debug, PartialEq)]
enum Asked {
    Join,
    Sync,
    Heartbeat,
    Commit(Commit),
    Fetch { floor: BTreeMap<i32, i64> },
    Leave,
}

#[derive(Clone, Debug, PartialEq)]
struct Commit {
    group: usize,
    generation: i32,
    member_id: String,
    partition: i32,
    offset: i64,
    /// It must be refused: the committer knows less than others have been told.
    is_stale: Option<&'static str>,
}

/// A consumer.
#[derive(Clone, Debug)]
struct Client {
    group: usize,
    instance: Option<String>,
    version: i16,
    member_id: String,
    generation: i32,
    phase: Phase,
    asked: Option<(Token, Asked)>,
    assigned: Vec<i32>,
    is_up: bool,
    heard: u64,
}

/// A member that was thought to be dead, with what it knew.
#[derive(Clone, Debug)]
struct Zombie {
    group: usize,
    instance: Option<String>,
    member_id: String,
    generation: i32,
}

/// Whose partition: a static member is the same under each of its ids.
type Owners = BTreeMap<(usize, usize, i32), BTreeMap<i32, String>>;

struct World {
    bench: Bench,
    chance: Chance,
    clients: Vec<Client>,
    zombies: Vec<Zombie>,
    /// Of those whose client waits no more.
    orphans: BTreeMap<Token, Asked>,
    /// The highest generation that anybody was told, by group; forgotten with the coordinator.
    told: BTreeMap<usize, i32>,
    /// Old ids of static members whose new id was told; forgotten with the coordinator.
    fenced: BTreeSet<String>,
    owners: Owners,
    next_offset: i64,
    /// The highest offset whose commit was acknowledged, and the place of the log at that time.
    acknowledged: BTreeMap<(usize, i32), (i64, usize)>,
    open: BTreeSet<i64>,
    next_producer: i64,
    calm: bool,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    commits: usize,
    stale: usize,
    refused: usize,
    restarts: usize,
    synced: usize,
    replaced: usize,
    converged: usize,
}

fn group_name(group: usize) -> String {
    format!("group-{group}")
}

fn subscription() -> Bytes {
    let mut w = Writer::new();
    w.put_i16(0);
    let topics = ConsumerProtocolSubscription { topics: vec![TOPIC.into()], ..Default::default() };
    topics.encode(&mut w, 0).unwrap();
    w.into_bytes()
}

impl World {
    fn new(seed: u64) -> World {
        let mut chance = Chance(seed);
        let settings = Settings {
            initial_rebalance_delay_ms: 500 * chance.below(3) as i32,
            offsets_retention_ms: 40_000,
            retention_check_interval_ms: 15_000,
            max_size: if chance.one_in(8) { 3 } else { 100 },
            ..Settings::default()
        };
        let groups = 1 + chance.below(2);
        let clients = (0..2 + chance.below(5))
            .map(|n| Client {
                group: chance.below(groups),
                instance: chance.one_in(2).then(|| format!("instance-{n}")),
                version: [0, 3, 4, 5, 7, 9][chance.below(6)],
                member_id: String::new(),
                generation: -1,
                phase: Phase::Out,
                asked: None,
                assigned: Vec::new(),
                is_up: true,
                heard: 0,
            })
            .map(|client| Client {
                // Old versions have no static members.
                version: if client.instance.is_some() { client.version.max(5) } else { client.version },
                ..client
            })
            .collect();
        let mut bench = Bench::new(settings);
        bench.prompt = false;
        World {
            bench,
            chance,
            clients,
            zombies: Vec::new(),
            orphans: BTreeMap::new(),
            told: BTreeMap::new(),
            fenced: BTreeSet::new(),
            owners: Owners::new(),
            next_offset: 0,
            acknowledged: BTreeMap::new(),
            open: BTreeSet::new(),
            next_producer: 1,
            calm: false,
            counts: Counts::default(),
        }
    }

    fn committed_log(&self) -> &[(Form, Record)] {
        &self.bench.log[..self.bench.high_watermark]
    }

    fn ask(&mut self, at: usize, version: i16, request: Request, asked: Asked) {
        let token = self.bench.ask(version, request);
        self.clients[at].asked = Some((token, asked));
        self.hear();
    }

    fn chance_bytes(&mut self) -> [u8; 16] {
        (u128::from(self.chance.next()) << 64 | u128::from(self.chance.next())).to_be_bytes()
    }

    /// A consumer does what it would do next.
    fn act(&mut self, at: usize) {
        let client = self.clients[at].clone();
        if !client.is_up || client.asked.is_some() {
            return;
        }
        let group_id = group_name(client.group);
        match client.phase {
            Phase::Out => {
                let protocols = ["range", "sticky"]
                    .map(|name| JoinGroupRequestProtocol { name: name.into(), metadata: subscription() });
                let request = JoinGroupRequest {
                    group_id,
                    session_timeout_ms: SESSION_MS,
                    rebalance_timeout_ms: REBALANCE_MS,
                    member_id: client.member_id.clone(),
                    group_instance_id: client.instance.clone(),
                    protocol_type: "consumer".into(),
                    protocols: protocols.into(),
                    reason: None,
                };
                let chance = self.chance_bytes();
                self.ask(at, client.version, Request::Join(request, chance), Asked::Join);
            }
            Phase::Joined(assignments) => {
                let request = SyncGroupRequest {
                    group_id,
                    generation_id: client.generation,
                    member_id: client.member_id,
                    group_instance_id: client.instance,
                    assignments,
                    ..Default::default()
                };
                self.ask(at, 5, Request::Sync(request), Asked::Sync);
            }
            Phase::Stable => self.act_stable(at),
        }
    }

    fn act_stable(&mut self, at: usize) {
        let client = self.clients[at].clone();
        let group_id = group_name(client.group);
        match self.chance.below(4) {
            0 if !client.assigned.is_empty() => {
                let partition = client.assigned[self.chance.below(client.assigned.len())];
                let zombie = Zombie {
                    group: client.group,
                    instance: client.instance,
                    member_id: client.member_id,
                    generation: client.generation,
                };
                let (request, commit) = self.commit(&zombie, partition);
                self.ask(at, 8, request, Asked::Commit(commit));
            }
            1 => {
                let topics = vec![OffsetFetchRequestTopics {
                    name: TOPIC.into(),
                    partition_indexes: (0..PARTITIONS).collect(),
                    ..Default::default()
                }];
                let request =
                    OffsetFetchRequestGroup { group_id, topics: Some(topics), ..Default::default() };
                let floor = (0..PARTITIONS)
                    .filter_map(|p| Some((p, self.acknowledged.get(&(client.group, p))?.0)))
                    .collect();
                self.ask(at, 8, Request::OffsetFetch(request, false), Asked::Fetch { floor });
            }
            _ => {
                let request = HeartbeatRequest {
                    group_id,
                    generation_id: client.generation,
                    member_id: client.member_id,
                    group_instance_id: client.instance,
                };
                self.ask(at, 4, Request::Heartbeat(request), Asked::Heartbeat);
            }
        }
    }

    /// A commit, and whether it must be refused.
    fn commit(&mut self, by: &Zombie, partition: i32) -> (Request, Commit) {
        self.next_offset += 1;
        // To a group without members anybody commits who names no generation.
        let is_stale = if by.generation < 0 {
            None
        } else if self.fenced.contains(&by.member_id) {
            Some("it is fenced")
        } else if self.told.get(&by.group).is_some_and(|told| *told > by.generation) {
            Some("there is a newer generation")
        } else {
            None
        };
        let commit = Commit {
            group: by.group,
            generation: by.generation,
            member_id: by.member_id.clone(),
            partition,
            offset: self.next_offset,
            is_stale,
        };
        let request = OffsetCommitRequest {
            group_id: group_name(by.group),
            generation_id_or_member_epoch: by.generation,
            member_id: by.member_id.clone(),
            group_instance_id: by.instance.clone(),
            topics: vec![OffsetCommitRequestTopic {
                name: TOPIC.into(),
                topic_id: Uuid::ZERO,
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index: partition,
                    committed_offset: self.next_offset,
                    committed_metadata: Some(format!("{}", self.next_offset)),
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        (Request::OffsetCommit(request), commit)
    }

    /// Whoever was answered learns of it.
    fn hear(&mut self) {
        for (token, reply) in std::mem::take(&mut self.bench.replies) {
            if let Some(asked) = self.orphans.remove(&token) {
                if let (Asked::Commit(commit), Reply::OffsetCommit(reply)) = (asked, reply) {
                    self.heard_commit(&commit, &reply);
                }
                continue;
            }
            let at = self
                .clients
                .iter()
                .position(|client| client.asked.as_ref().is_some_and(|(t, _)| *t == token));
            let Some(at) = at else { continue };
            let (_, asked) = self.clients[at].asked.take().unwrap();
            self.clients[at].heard = self.bench.tick;
            match (asked, reply) {
                (Asked::Join, Reply::Join(reply)) => self.heard_join(at, reply),
                (Asked::Sync, Reply::Sync(reply)) => self.heard_sync(at, reply),
                (Asked::Heartbeat, Reply::Heartbeat(reply)) => self.heard_error(at, reply.error_code),
                (Asked::Commit(commit), Reply::OffsetCommit(reply)) => {
                    let error = self.heard_commit(&commit, &reply);
                    self.heard_error(at, error);
                }
                (Asked::Fetch { floor }, Reply::OffsetFetch(reply)) => self.heard_fetch(at, &floor, reply),
                (Asked::Leave, Reply::Leave(_)) => self.clients[at].is_up = false,
                (asked, reply) => panic!("{asked:?} was answered with {reply:?}"),
            }
        }
    }

    fn heard_error(&mut self, at: usize, error: ErrorCode) {
        let client = &mut self.clients[at];
        match error {
            ErrorCode::NONE
            | ErrorCode::NOT_COORDINATOR
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => {}
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_INSTANCE_ID => {
                client.member_id = String::new();
                client.phase = Phase::Out;
            }
            ErrorCode::ILLEGAL_GENERATION | ErrorCode::REBALANCE_IN_PROGRESS => client.phase = Phase::Out,
            ErrorCode::GROUP_MAX_SIZE_REACHED => {
                client.member_id = String::new();
                client.is_up = false;
            }
            error => panic!("client {at} is told {error}"),
        }
    }

    fn heard_join(&mut self, at: usize, reply: JoinGroupResponse) {
        let group = self.clients[at].group;
        match reply.error_code {
            ErrorCode::MEMBER_ID_REQUIRED => {
                let there = self.committed_log().iter().any(|(_, record)| match record {
                    Record::Group(key, _) => key.group == group_name(group),
                    Record::Offset(key, _) => key.group == group_name(group),
                    Record::Consumer(..) | Record::EndTransaction { .. } => false,
                });
                assert!(there, "a member was told of a group that is not in the log");
                self.clients[at].member_id = reply.member_id;
                return;
            }
            ErrorCode::NONE => {}
            error => return self.heard_error(at, error),
        }
        let told = self.told.entry(group).or_insert(-1);
        assert!(reply.generation_id >= *told, "generation {} after {told}", reply.generation_id);
        *told = reply.generation_id;
        let client = &mut self.clients[at];
        if client.instance.is_some() && client.member_id != reply.member_id {
            // Whoever had the instance before is fenced.
            let instance = client.instance.clone();
            let fenced = self.zombies.iter().filter(|zombie| zombie.instance == instance);
            self.fenced.extend(fenced.map(|zombie| zombie.member_id.clone()));
            self.counts.replaced += 1;
        }
        client.member_id = reply.member_id.clone();
        client.generation = reply.generation_id;
        let leads = reply.leader == reply.member_id && !reply.skip_assignment;
        let mut assignments: Vec<SyncGroupRequestAssignment> = Vec::new();
        if leads {
            let members: Vec<&JoinGroupResponseMember> = reply.members.iter().collect();
            for (n, member) in members.iter().enumerate() {
                let partitions = (0..PARTITIONS).filter(|p| *p as usize % members.len() == n);
                assignments.push(SyncGroupRequestAssignment {
                    member_id: member.member_id.clone(),
                    assignment: partitions.map(|p| p as u8).collect::<Vec<u8>>().into(),
                });
            }
        }
        client.phase = Phase::Joined(assignments);
    }

    fn heard_sync(&mut self, at: usize, reply: SyncGroupResponse) {
        if reply.error_code.is_error() {
            self.clients[at].phase = Phase::Out;
            return self.heard_error(at, reply.error_code);
        }
        let client = &self.clients[at];
        let name = group_name(client.group);
        // Of which life of the group this is, and that it is committed what this member was told.
        let mut life = 0;
        let mut found = None;
        for (_, record) in self.committed_log() {
            let Record::Group(key, value) = record else { continue };
            match value {
                _ if key.group != name => {}
                None => life += 1,
                Some(value) if value.generation == client.generation => {
                    let member = value.members.iter().find(|member| member.member_id == client.member_id);
                    if member.is_some_and(|member| member.assignment == reply.assignment) {
                        found = Some(life);
                    }
                }
                Some(_) => {}
            }
        }
        let life = found.unwrap_or_else(|| {
            panic!("client {at} has an assignment of generation {} that is not committed", client.generation)
        });
        let who = client.instance.clone().unwrap_or_else(|| client.member_id.clone());
        let owners = self.owners.entry((client.group, life, client.generation)).or_default();
        for partition in &reply.assignment {
            let owner = owners.entry(i32::from(*partition)).or_insert_with(|| who.clone());
            assert_eq!(
                *owner, who,
                "partition {partition} has two owners in generation {}",
                client.generation
            );
        }
        let client = &mut self.clients[at];
        client.assigned = reply.assignment.iter().map(|partition| i32::from(*partition)).collect();
        client.phase = Phase::Stable;
        self.counts.synced += 1;
    }

    fn heard_commit(&mut self, commit: &Commit, reply: &OffsetCommitResponse) -> ErrorCode {
        let error = reply.topics[0].partitions[0].error_code;
        if error.is_error() {
            return error;
        }
        if let Some(why) = commit.is_stale {
            panic!("{commit:?} was taken although {why}");
        }
        let offset = commit.offset;
        let place = self.committed_log().iter().position(|(_, record)| {
            matches!(record, Record::Offset(key, Some(value))
                if key.group == group_name(commit.group) && key.partition == commit.partition && value.offset == offset)
        });
        let place = place.unwrap_or_else(|| panic!("{commit:?} was acknowledged and is not committed"));
        let highest = self.acknowledged.entry((commit.group, commit.partition)).or_insert((offset, place));
        if highest.0 <= offset {
            *highest = (offset, place);
        }
        self.counts.commits += 1;
        ErrorCode::NONE
    }

    fn heard_fetch(&mut self, at: usize, floor: &BTreeMap<i32, i64>, reply: OffsetFetchResponseGroup) {
        if reply.error_code.is_error() {
            return self.heard_error(at, reply.error_code);
        }
        let group = self.clients[at].group;
        for partition in &reply.topics[0].partitions {
            let (p, offset) = (partition.partition_index, partition.committed_offset);
            let known = self.committed_log().iter().any(|(_, record)| {
                matches!(record, Record::Offset(key, Some(value))
                    if key.group == group_name(group) && key.partition == p && value.offset == offset)
            });
            assert!(known || offset == -1, "offset {offset} of partition {p} is told and not committed");
            let Some(floor) = floor.get(&p) else { continue };
            if offset < *floor {
                let deleted = self.was_deleted_after(group, p, *floor);
                assert!(deleted, "offset {floor} of partition {p} was acknowledged, and now it is {offset}");
            }
        }
    }

    /// Whether a tombstone follows the record of this offset.
    fn was_deleted_after(&self, group: usize, partition: i32, offset: i64) -> bool {
        let mut deleted = false;
        for (_, record) in &self.bench.log {
            let Record::Offset(key, value) = record else { continue };
            if key.group == group_name(group) && key.partition == partition {
                match value {
                    Some(value) if value.offset == offset => deleted = false,
                    Some(_) => {}
                    None => deleted = true,
                }
            }
        }
        deleted
    }

    /// A consumer dies. Some live on as zombies: their process hangs and will wake up.
    fn crash(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if let Some((token, asked)) = client.asked.take() {
            self.orphans.insert(token, asked);
        }
        if !client.member_id.is_empty() {
            self.zombies.push(Zombie {
                group: client.group,
                instance: client.instance.clone(),
                member_id: std::mem::take(&mut client.member_id),
                generation: client.generation,
            });
        }
        client.phase = Phase::Out;
        client.generation = -1;
        client.assigned.clear();
        client.is_up = true;
    }

    fn zombie_commits(&mut self) {
        if self.zombies.is_empty() {
            return;
        }
        let zombie = self.zombies[self.chance.below(self.zombies.len())].clone();
        let partition = self.chance.below(PARTITIONS as usize) as i32;
        let (request, commit) = self.commit(&zombie, partition);
        self.counts.stale += usize::from(commit.is_stale.is_some());
        let token = self.bench.ask(8, request);
        self.orphans.insert(token, Asked::Commit(commit));
        self.hear();
    }

    fn transaction(&mut self) {
        let group = self.clients[0].group;
        let open: Vec<i64> = self.open.iter().copied().collect();
        if !open.is_empty() && self.chance.one_in(2) {
            let id = open[self.chance.below(open.len())];
            let commit = self.chance.one_in(2);
            let producer = Producer { id, epoch: 0 };
            // A marker that the log refuses is written again.
            self.bench.ask(0, Request::EndTransaction { producer, coordinator_epoch: 0, commit });
            return self.hear();
        }
        let id = match open.first() {
            Some(id) if self.chance.one_in(2) => *id,
            _ => {
                self.next_producer += 1;
                self.next_producer
            }
        };
        self.open.insert(id);
        self.next_offset += 1;
        let request = TxnOffsetCommitRequest {
            transactional_id: "x".into(),
            group_id: group_name(group),
            producer_id: id,
            producer_epoch: 0,
            generation_id: -1,
            topics: vec![TxnOffsetCommitRequestTopic {
                // Another topic: a transaction that commits late takes the offset back, as it should.
                name: "transactional".into(),
                partitions: vec![TxnOffsetCommitRequestPartition {
                    partition_index: self.chance.below(2) as i32,
                    committed_offset: self.next_offset,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        self.bench.ask(3, Request::TxnOffsetCommit(request));
        if self.chance.one_in(3) {
            let zombie = Zombie { group, instance: None, member_id: String::new(), generation: -1 };
            let partition = self.chance.below(2) as i32;
            let (Request::OffsetCommit(mut request), _) = self.commit(&zombie, partition) else { return };
            request.topics[0].name = "transactional".into();
            self.bench.ask(8, Request::OffsetCommit(request));
        }
        self.hear();
    }

    fn administer(&mut self) {
        let group_id = group_name(self.clients[0].group);
        let request = match self.chance.below(5) {
            0 => Request::Delete(vec![group_id]),
            1 => {
                let partitions = vec![OffsetDeleteRequestPartition { partition_index: 0 }];
                let topics = vec![OffsetDeleteRequestTopic { name: TOPIC.into(), partitions }];
                Request::OffsetDelete(OffsetDeleteRequest { group_id, topics })
            }
            2 => Request::List(ListGroupsRequest::default()),
            3 => Request::Describe(vec![group_id]),
            _ => {
                let topics = [TOPIC.to_string(), "transactional".to_string()];
                let topic = topics[self.chance.below(2)].clone();
                return self.bench.tell(Event::TopicsDeleted(BTreeSet::from([topic])));
            }
        };
        self.bench.ask(6, request);
        self.hear();
    }

    /// Another coordinator takes over, from what was committed and perhaps some of what was appended besides.
    fn restart(&mut self) {
        let hw = self.bench.high_watermark;
        let kept = hw + self.chance.below(self.bench.log.len() - hw + 1);
        // A batch is kept whole, which the log's own checks see to; here every batch boundary is as good.
        let kept = if self.bench.log.len() == kept { kept } else { hw };
        self.bench.log.truncate(kept);
        self.bench.restart();
        self.told.clear();
        self.fenced.clear();
        self.orphans.clear();
        for (_, record) in &self.bench.log {
            if let Record::Group(key, Some(value)) = record {
                for group in 0..2 {
                    if key.group == group_name(group) {
                        self.told.insert(group, value.generation);
                    }
                }
            }
            if let Record::Group(key, None) = record {
                self.told.retain(|group, _| group_name(*group) != key.group);
            }
        }
        for client in &mut self.clients {
            client.asked = None;
        }
        self.counts.restarts += 1;
        self.check();
    }

    /// Running has come to what a replay comes to, and what groups are at agrees with what is durable.
    fn check(&mut self) {
        self.bench.check_durable();
        let (whole, compacted) = (Durable::replayed(&self.bench.log), compacted(&self.bench.log));
        assert_eq!(Durable::replayed(&compacted), whole, "compaction has changed what the log says");
        for (name, group) in self.bench.machine().all() {
            let Some(classic) = group.classic() else {
                let members = group.stored().map_or(0, |stored| stored.members.len());
                assert_eq!(members, 0, "{name} has members in its record and none in memory");
                continue;
            };
            if classic.state() == State::Stable {
                let stored = group.stored().unwrap_or_else(|| panic!("{name} is stable without a record"));
                assert_eq!(stored.generation, classic.generation());
                let stored: BTreeMap<_, _> =
                    stored.members.iter().map(|m| (m.member_id.clone(), m.assignment.clone())).collect();
                let live: BTreeMap<_, _> =
                    classic.members().map(|m| (m.id.to_string(), m.assignment.clone())).collect();
                assert_eq!(live, stored, "{name}");
            }
        }
        let mut generations: BTreeMap<&str, i32> = BTreeMap::new();
        for (_, record) in &self.bench.log {
            match record {
                Record::Group(key, Some(value)) => {
                    let before = generations.insert(&key.group, value.generation);
                    assert!(before.is_none_or(|before| before <= value.generation), "a generation went back");
                }
                Record::Group(key, None) => drop(generations.remove(key.group.as_str())),
                _ => {}
            }
        }
        self.forget_deleted_groups();
    }

    /// A group that is made anew counts its generations anew.
    fn forget_deleted_groups(&mut self) {
        let machine = self.bench.runtime.machine();
        self.told.retain(|group, _| {
            machine.group(&group_name(*group)).is_some_and(|group| group.stored().is_some())
        });
    }

    fn pass(&mut self, ms: u64) {
        self.bench.pass(ms);
        self.hear();
    }

    fn step(&mut self) {
        match self.chance.below(100) {
            0..45 => {
                let at = self.chance.below(self.clients.len());
                self.act(at);
            }
            45..60 => {
                self.bench.append();
            }
            60..72 => {
                let hw = self.bench.high_watermark;
                let to = if self.chance.one_in(4) { hw } else { self.bench.log.len() };
                self.bench.commit(to);
                self.hear();
            }
            72..83 => {
                let ms = [5, 50, 400, 1500][self.chance.below(4)];
                self.pass(ms);
            }
            83..84 => {
                let ms = [7000, 30_000][self.chance.below(2)];
                self.pass(ms);
            }
            84..87 => {
                let at = self.chance.below(self.clients.len());
                self.crash(at);
            }
            87..91 => self.zombie_commits(),
            91..93 if !self.bench.queue.is_empty() => {
                let errors = [ErrorCode::NOT_ENOUGH_REPLICAS, ErrorCode::NOT_LEADER_OR_FOLLOWER];
                let error = errors[self.chance.below(2)];
                self.bench.refuse(error);
                self.counts.refused += 1;
                self.hear();
                self.check();
            }
            93..96 => self.transaction(),
            96..97 => self.administer(),
            97..98 => self.restart(),
            98..99 => self.leave(),
            _ => self.check(),
        }
        self.forget_deleted_groups();
    }

    fn leave(&mut self) {
        let at = self.chance.below(self.clients.len());
        let client = self.clients[at].clone();
        if !client.is_up || client.asked.is_some() || client.member_id.is_empty() {
            return;
        }
        let members = vec![MemberIdentity {
            member_id: client.member_id,
            group_instance_id: client.instance,
            reason: None,
        }];
        let request = LeaveGroupRequest { group_id: group_name(client.group), members, ..Default::default() };
        self.ask(at, 5, Request::Leave(request), Asked::Leave);
    }

    fn is_converged(&self, group: usize) -> bool {
        let members: Vec<&Client> = self.clients.iter().filter(|c| c.group == group && c.is_up).collect();
        let mut partitions: Vec<i32> = members.iter().flat_map(|c| c.assigned.clone()).collect();
        partitions.sort_unstable();
        members.iter().all(|c| c.phase == Phase::Stable && c.generation == members[0].generation)
            && (members.is_empty() || partitions == (0..PARTITIONS).collect::<Vec<_>>())
    }

    /// Nothing fails any more: everybody who keeps trying is in, and everything is owned by one.
    fn converge(&mut self) {
        self.calm = true;
        self.zombies.clear();
        self.bench.prompt = true;
        self.bench.drain();
        self.bench.commit(self.bench.log.len());
        self.hear();
        for round in 0.. {
            for at in 0..self.clients.len() {
                self.act(at);
            }
            self.pass(700);
            self.forget_deleted_groups();
            let groups: BTreeSet<usize> = self.clients.iter().map(|client| client.group).collect();
            if round > 20 && groups.iter().all(|group| self.is_converged(*group)) {
                break;
            }
            assert!(round < 200, "no end: {:#?}", self.clients);
        }
        self.check();
        assert_eq!((self.bench.runtime.in_flight(), self.bench.runtime.waiting()), (0, 0));
        self.counts.converged += 1;
    }

    /// Everybody goes: no member, no deadline is left, and in the end no offset.
    fn dissolve(&mut self) {
        for id in std::mem::take(&mut self.open) {
            let producer = Producer { id, epoch: 0 };
            self.bench.ask(0, Request::EndTransaction { producer, coordinator_epoch: 0, commit: false });
        }
        self.bench.pass(150_000);
        let durable = Durable::of(self.bench.machine());
        assert!(durable.groups.is_empty() && durable.offsets.is_empty(), "{durable:#?}");
        assert!(durable.pending.is_empty(), "{durable:#?}");
        assert_eq!(self.bench.machine().timers(), 1, "all but the check for expiry");
    }
}

/// What compaction may leave of a log: before the first open transaction, the last record of each key that was not
/// aborted, and the ends of transactions.
fn compacted(log: &[(Form, Record)]) -> Vec<(Form, Record)> {
    let outcome = |at: usize, id: i64| {
        log[at..].iter().find_map(|(form, record)| match (form, record) {
            (Form::Marker(producer), Record::EndTransaction { commit, .. }) if producer.id == id => {
                Some(*commit)
            }
            _ => None,
        })
    };
    let of = |at: usize| match &log[at].0 {
        Form::Transactional(producer) => outcome(at, producer.id),
        _ => Some(true),
    };
    let stable = (0..log.len()).find(|at| of(*at).is_none()).unwrap_or(log.len());
    let mut last: BTreeMap<Bytes, usize> = BTreeMap::new();
    let key = |at: usize| match &log[at].1 {
        Record::EndTransaction { .. } => None,
        record => Some(record.encode().unwrap().0),
    };
    for at in (0..stable).filter(|at| of(*at) == Some(true)) {
        last.extend(key(at).map(|key| (key, at)));
    }
    let stays = |at: &usize| *at >= stable || key(*at).is_none_or(|key| last.get(&key) == Some(at));
    (0..log.len()).filter(stays).map(|at| log[at].clone()).collect()
}

fn run(seed: u64) -> Counts {
    let mut world = World::new(seed);
    for _ in 0..250 {
        world.step();
    }
    world.converge();
    world.dissolve();
    world.counts
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} takes a number")))
}

#[test]
fn random_histories() {
    if let Some(seed) = number("OTTLA_SEED") {
        println!("{:?}", run(seed));
        return;
    }
    let seeds = number("OTTLA_SEEDS").unwrap_or(300);
    let mut sum = Counts::default();
    for seed in 0..seeds {
        let counts = std::panic::catch_unwind(|| run(seed))
            .unwrap_or_else(|_| panic!("seed {seed} failed: OTTLA_SEED={seed} runs it alone"));
        sum.commits += counts.commits;
        sum.stale += counts.stale;
        sum.refused += counts.refused;
        sum.restarts += counts.restarts;
        sum.synced += counts.synced;
        sum.replaced += counts.replaced;
        sum.converged += counts.converged;
    }
    println!("{seeds} seeds: {sum:?}");
    assert!(sum.commits > 0 && sum.stale > 0 && sum.refused > 0 && sum.restarts > 0 && sum.replaced > 0);
    assert_eq!(sum.converged as u64, seeds);
}
