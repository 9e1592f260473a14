//! What the consumers do, and what they hear.

use bytes::Bytes;

use super::*;
use crate::coordinator::{Reply, Request};
use crate::wire::codec::{Reader, Writer};
use crate::wire::schema::*;

impl World {
    fn ask(&mut self, at: usize, version: i16, request: Request, asked: Asked) {
        let token = self.bench.ask(version, request);
        self.clients[at].asked = Some((token, asked));
        self.hear();
    }

    fn fresh(&mut self) -> String {
        self.next_id += 1;
        format!("m{:04}", self.next_id)
    }

    /// A consumer does what it would do next.
    pub(super) fn act(&mut self, at: usize) {
        let client = &self.clients[at];
        if !client.is_up || client.asked.is_some() {
            return;
        }
        let can_commit = client.epoch > 0 && !client.has.is_empty();
        if can_commit && self.chance.one_in(6) {
            let client = &self.clients[at];
            let all: Vec<_> = client.has.iter().copied().collect();
            let (id, epoch, instance) = (client.id.clone(), client.epoch, client.instance.clone());
            let partition = all[self.chance.below(all.len())];
            let request = commit(&id, epoch, instance, partition.1);
            return self.ask(at, 9, request, Asked::Commit { partition, epoch, id });
        }
        match self.clients[at].classic {
            true => self.act_classic(at),
            false => self.act_new(at),
        }
    }

    fn act_new(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if let Some(given) = client.given.clone() {
            // It gives up first, and tells so, before it takes.
            client.had.extend(client.has.iter().copied());
            if client.has.is_subset(&given) {
                client.has = given;
                client.given = None;
            } else if self.chance.one_in(2) {
                client.has = client.has.intersection(&given).copied().collect();
            }
        }
        if self.clients[at].id.is_empty() {
            self.clients[at].id = self.fresh();
        }
        let full = self.clients[at].tell_all || self.clients[at].epoch == 0 || self.chance.one_in(5);
        let tells = full || self.chance.one_in(2);
        let client = &mut self.clients[at];
        if full {
            client.given = None;
        }
        let request = ConsumerGroupHeartbeatRequest {
            group_id: GROUP.into(),
            member_id: client.id.clone(),
            member_epoch: client.epoch,
            instance_id: client.instance.clone(),
            rebalance_timeout_ms: if full { REBALANCE_MS } else { -1 },
            subscribed_topic_names: full.then(|| client.names.clone()),
            subscribed_topic_regex: full.then(|| client.pattern.clone().unwrap_or_default()),
            topic_partitions: tells.then(|| by_topic(&client.has)),
            ..Default::default()
        };
        self.counts.beats += 1;
        self.ask(at, 1, Request::ConsumerHeartbeat(request, [0; 16]), Asked::Beat { full });
    }

    fn act_classic(&mut self, at: usize) {
        let version = self.bench.topics.version;
        let client = &mut self.clients[at];
        let is_outdated = client.assigned_at != 0 && client.assigned_at != version;
        if client.phase == Phase::Stable && (client.tell_all || is_outdated) {
            client.phase = Phase::Out;
        }
        let (id, epoch) = (client.id.clone(), client.epoch);
        match client.phase.clone() {
            Phase::Out => {
                if !client.cooperative {
                    client.has.clear();
                }
                client.tell_all = false;
                let client = self.clients[at].clone();
                let metadata = self.metadata(&client);
                let request = JoinGroupRequest {
                    group_id: GROUP.into(),
                    session_timeout_ms: SESSION_MS,
                    rebalance_timeout_ms: REBALANCE_MS,
                    member_id: id,
                    group_instance_id: client.instance,
                    protocol_type: "consumer".into(),
                    protocols: vec![JoinGroupRequestProtocol { name: "p".into(), metadata }],
                    reason: None,
                };
                let chance = self.bench.chance();
                self.ask(at, 9, Request::Join(request, chance), Asked::Join);
            }
            Phase::Joined(given) => {
                let assignments = given.into_iter().map(|(member_id, has)| SyncGroupRequestAssignment {
                    member_id,
                    assignment: self.assignment(&has),
                });
                let request = SyncGroupRequest {
                    group_id: GROUP.into(),
                    generation_id: epoch,
                    member_id: id,
                    group_instance_id: self.clients[at].instance.clone(),
                    assignments: assignments.collect(),
                    ..Default::default()
                };
                self.ask(at, 5, Request::Sync(request), Asked::Sync);
            }
            Phase::Stable => {
                let request = HeartbeatRequest {
                    group_id: GROUP.into(),
                    generation_id: epoch,
                    member_id: id,
                    group_instance_id: self.clients[at].instance.clone(),
                };
                self.ask(at, 4, Request::Heartbeat(request), Asked::ClassicBeat);
            }
        }
    }

    fn names_of(&self, has: &Has) -> BTreeMap<String, Vec<i32>> {
        let mut names: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in has {
            let known = self.bench.topics.known.iter().find(|(_, (id, _))| id == topic);
            if let Some((name, _)) = known {
                names.entry(name.clone()).or_default().push(*partition);
            }
        }
        names
    }

    fn metadata(&self, client: &Client) -> Bytes {
        let owned = if client.cooperative { self.names_of(&client.has) } else { BTreeMap::new() };
        let owned = owned
            .into_iter()
            .map(|(topic, partitions)| ConsumerProtocolSubscriptionTopicPartition { topic, partitions });
        let subscription = ConsumerProtocolSubscription {
            topics: client.names.clone(),
            owned_partitions: owned.collect(),
            ..Default::default()
        };
        let mut w = Writer::new();
        w.put_i16(1);
        subscription.encode(&mut w, 1).unwrap();
        w.into_bytes()
    }

    fn assignment(&self, has: &Has) -> Bytes {
        let topics = self.names_of(has).into_iter();
        let topics =
            topics.map(|(topic, partitions)| ConsumerProtocolAssignmentTopicPartition { topic, partitions });
        let assignment =
            ConsumerProtocolAssignment { assigned_partitions: topics.collect(), ..Default::default() };
        let mut w = Writer::new();
        w.put_i16(1);
        assignment.encode(&mut w, 1).unwrap();
        w.into_bytes()
    }

    fn partitions_of(&self, name: &str, partitions: &[i32]) -> Has {
        let Some((id, _)) = self.bench.topics.known.get(name) else { return Has::new() };
        partitions.iter().map(|partition| (*id, *partition)).collect()
    }

    /// The leader of a classic group gives every partition to one subscriber, but for those that another one has not
    /// given up.
    fn lead(&self, members: &[JoinGroupResponseMember]) -> Vec<(String, Has)> {
        let mut given: BTreeMap<String, Has> = BTreeMap::new();
        let mut claims: BTreeMap<(Uuid, i32), String> = BTreeMap::new();
        let mut subscribers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for member in members {
            given.insert(member.member_id.clone(), Has::new());
            let mut r = Reader::new(member.metadata.clone());
            let version = r.i16().unwrap();
            let read = ConsumerProtocolSubscription::decode(&mut r, version).unwrap();
            for owned in &read.owned_partitions {
                for partition in self.partitions_of(&owned.topic, &owned.partitions) {
                    claims.insert(partition, member.member_id.clone());
                }
            }
            for name in read.topics {
                subscribers.entry(name).or_default().push(member.member_id.clone());
            }
        }
        for (name, ids) in &subscribers {
            let Some((topic, all)) = self.bench.topics.known.get(name) else { continue };
            for partition in 0..*all {
                let id = &ids[partition as usize % ids.len()];
                if claims.get(&(*topic, partition)).is_none_or(|claimed| claimed == id) {
                    given.get_mut(id).unwrap().insert((*topic, partition));
                }
            }
        }
        given.into_iter().collect()
    }

    /// Whoever was answered learns of it.
    pub(super) fn hear(&mut self) {
        for (token, reply) in std::mem::take(&mut self.bench.replies) {
            if let Some(asked) = self.orphans.remove(&token) {
                if let (Asked::Commit { partition, epoch, id }, Reply::OffsetCommit(reply)) = (asked, reply) {
                    self.heard_commit(partition, epoch, &id, &reply);
                }
                continue;
            }
            let mut clients = self.clients.iter();
            let at = clients.position(|client| client.asked.as_ref().is_some_and(|(t, _)| *t == token));
            let Some(at) = at else { continue };
            let (_, asked) = self.clients[at].asked.take().unwrap();
            match (asked, reply) {
                (Asked::Beat { full }, Reply::ConsumerHeartbeat(reply)) => self.heard_beat(at, full, reply),
                (Asked::Leave, Reply::ConsumerHeartbeat(_)) | (Asked::ClassicLeave, Reply::Leave(_)) => {
                    self.start_over(at);
                }
                (Asked::Join, Reply::Join(reply)) => self.heard_join(at, reply),
                (Asked::Sync, Reply::Sync(reply)) => self.heard_sync(at, reply),
                (Asked::ClassicBeat, Reply::Heartbeat(reply)) => self.heard_error(at, reply.error_code),
                (Asked::Commit { partition, epoch, id }, Reply::OffsetCommit(reply)) => {
                    self.heard_commit(partition, epoch, &id, &reply);
                }
                (asked, reply) => panic!("{asked:?} was answered with {reply:?}"),
            }
            self.check_shared();
        }
    }

    fn heard_beat(&mut self, at: usize, full: bool, reply: ConsumerGroupHeartbeatResponse) {
        if reply.error_code.is_error() {
            return self.heard_error(at, reply.error_code);
        }
        let client = &mut self.clients[at];
        if client.epoch > 0 && client.epoch != reply.member_epoch && !client.had.is_empty() {
            // A part of it has not heard, and commits as before.
            let zombie = Zombie { id: client.id.clone(), epoch: client.epoch, has: client.had.clone() };
            self.zombies.push(zombie);
        }
        client.had = client.has.clone();
        client.epoch = reply.member_epoch;
        client.tell_all &= !full;
        let Some(assignment) = reply.assignment else { return };
        let topics = assignment.topic_partitions.iter();
        let given: Has = topics
            .flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic_id, *partition)))
            .collect();
        client.given = Some(given.clone());
        let (id, epoch) = (client.id.clone(), client.epoch);
        self.told(at, &id, epoch, &given);
    }

    fn heard_join(&mut self, at: usize, reply: JoinGroupResponse) {
        let version = self.bench.topics.version;
        match reply.error_code {
            ErrorCode::MEMBER_ID_REQUIRED => return self.clients[at].id = reply.member_id,
            ErrorCode::NONE => {}
            error => return self.heard_error(at, error),
        }
        let leads = reply.leader == reply.member_id && !reply.skip_assignment;
        let given = if leads { self.lead(&reply.members) } else { Vec::new() };
        let client = &mut self.clients[at];
        if client.instance.is_some() && client.id != reply.member_id {
            self.counts.replaced += 1;
        }
        client.assigned_at = if leads { version } else { 0 };
        client.id = reply.member_id;
        client.epoch = reply.generation_id;
        client.phase = Phase::Joined(given);
    }

    fn heard_sync(&mut self, at: usize, reply: SyncGroupResponse) {
        if reply.error_code.is_error() {
            self.clients[at].phase = Phase::Out;
            return self.heard_error(at, reply.error_code);
        }
        let mut given = Has::new();
        if !reply.assignment.is_empty() {
            let mut r = Reader::new(reply.assignment);
            let version = r.i16().unwrap();
            let read = ConsumerProtocolAssignment::decode(&mut r, version).unwrap();
            for topic in &read.assigned_partitions {
                given.extend(self.partitions_of(&topic.topic, &topic.partitions));
            }
        }
        let client = &mut self.clients[at];
        // One that had to give up something joins again, so that others get it.
        let is_all = client.has.is_subset(&given);
        client.phase = if is_all { Phase::Stable } else { Phase::Out };
        client.has = given.clone();
        let (id, epoch) = (client.id.clone(), client.epoch);
        self.told(at, &id, epoch, &given);
    }

    fn heard_error(&mut self, at: usize, error: ErrorCode) {
        let client = &mut self.clients[at];
        match error {
            ErrorCode::NONE | ErrorCode::UNRELEASED_INSTANCE_ID => {}
            ErrorCode::NOT_COORDINATOR
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => {
                client.tell_all = true;
                client.given = None;
            }
            ErrorCode::REBALANCE_IN_PROGRESS => client.phase = Phase::Out,
            ErrorCode::FENCED_MEMBER_EPOCH
            | ErrorCode::UNKNOWN_MEMBER_ID
            | ErrorCode::GROUP_ID_NOT_FOUND
            | ErrorCode::ILLEGAL_GENERATION
            | ErrorCode::FENCED_INSTANCE_ID => {
                self.counts.fenced += 1;
                client.has.clear();
                client.given = None;
                client.epoch = 0;
                client.phase = Phase::Out;
                client.tell_all = true;
                let keeps_id = error == ErrorCode::ILLEGAL_GENERATION || !client.classic;
                if !keeps_id || error == ErrorCode::FENCED_INSTANCE_ID {
                    client.id.clear();
                }
            }
            error => panic!("client {at} is told {error}"),
        }
    }

    fn heard_commit(&mut self, partition: (Uuid, i32), epoch: i32, id: &str, reply: &OffsetCommitResponse) {
        let error = reply.topics[0].partitions[0].error_code;
        if error.is_error() {
            self.counts.stale += 1;
            return;
        }
        let owner = self.clients.iter().find(|client| client.id == id);
        let who = owner.and_then(|client| client.instance.clone()).unwrap_or_else(|| id.into());
        self.taken(partition, epoch, &who);
        self.counts.commits += 1;
    }

    /// Its process is gone; another one begins anew, with the other protocol perhaps.
    fn start_over(&mut self, at: usize) {
        let other_protocol = self.chance.one_in(3);
        let client = &mut self.clients[at];
        client.id.clear();
        client.epoch = 0;
        client.phase = Phase::Out;
        client.assigned_at = 0;
        client.has.clear();
        client.given = None;
        client.tell_all = true;
        if other_protocol {
            client.classic = !client.classic;
            client.pattern = None;
            client.names = NAMES[..3].iter().map(|name| name.to_string()).collect();
        }
    }

    /// A consumer dies, or hangs and will wake up.
    pub(super) fn crash(&mut self) {
        let at = self.chance.below(self.clients.len());
        let client = &mut self.clients[at];
        if let Some((token, asked)) = client.asked.take() {
            self.orphans.insert(token, asked);
        }
        if client.epoch > 0 {
            let zombie = Zombie { id: client.id.clone(), epoch: client.epoch, has: client.has.clone() };
            self.zombies.push(zombie);
        }
        self.start_over(at);
    }

    /// An answer is lost, or comes too late.
    pub(super) fn give_up_waiting(&mut self) {
        let at = self.chance.below(self.clients.len());
        let client = &mut self.clients[at];
        if let Some((token, asked)) = client.asked.take() {
            self.orphans.insert(token, asked);
            client.tell_all = true;
            client.given = None;
            if client.phase != Phase::Stable {
                client.phase = Phase::Out;
            }
        }
    }

    pub(super) fn zombie_commits(&mut self) {
        if self.zombies.is_empty() {
            return;
        }
        let Zombie { id, epoch, has } = self.zombies[self.chance.below(self.zombies.len())].clone();
        let Some(partition) = has.first().copied() else { return };
        let token = self.bench.ask(9, commit(&id, epoch, None, partition.1));
        self.orphans.insert(token, Asked::Commit { partition, epoch, id });
        self.hear();
    }

    pub(super) fn leave(&mut self) {
        let at = self.chance.below(self.clients.len());
        let client = self.clients[at].clone();
        if client.asked.is_some() || client.id.is_empty() || client.epoch == 0 {
            return;
        }
        // It gives up all before it says so.
        self.clients[at].has.clear();
        self.clients[at].given = None;
        if client.classic {
            let member =
                MemberIdentity { member_id: client.id, group_instance_id: client.instance, reason: None };
            let request =
                LeaveGroupRequest { group_id: GROUP.into(), members: vec![member], ..Default::default() };
            return self.ask(at, 5, Request::Leave(request), Asked::ClassicLeave);
        }
        let for_now = client.instance.is_some() && self.chance.one_in(2);
        let request = ConsumerGroupHeartbeatRequest {
            group_id: GROUP.into(),
            member_id: client.id,
            instance_id: client.instance,
            member_epoch: if for_now { -2 } else { -1 },
            ..Default::default()
        };
        self.ask(at, 1, Request::ConsumerHeartbeat(request, [0; 16]), Asked::Leave);
    }
}

fn by_topic(has: &Has) -> Vec<ConsumerGroupHeartbeatTopicPartitions> {
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in has {
        topics.entry(*topic).or_default().push(*partition);
    }
    let topics = topics.into_iter();
    topics
        .map(|(topic_id, partitions)| ConsumerGroupHeartbeatTopicPartitions { topic_id, partitions })
        .collect()
}

fn commit(id: &str, epoch: i32, instance: Option<String>, partition_index: i32) -> Request {
    Request::OffsetCommit(OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: epoch,
        member_id: id.into(),
        group_instance_id: instance,
        topics: vec![OffsetCommitRequestTopic {
            name: "a".into(),
            partitions: vec![OffsetCommitRequestPartition { partition_index, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    })
}
