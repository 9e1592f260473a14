//! What the consumers of the model do, and those who only look as if they were gone.

use super::*;

impl World {
    pub(super) fn ask(&mut self, at: usize, version: i16, request: Request, asked: Asked) {
        let token = self.bench.ask(version, request);
        self.clients[at].asked = Some((token, asked));
        self.hear();
    }

    pub(super) fn chance_bytes(&mut self) -> [u8; 16] {
        (u128::from(self.chance.next()) << 64 | u128::from(self.chance.next())).to_be_bytes()
    }

    /// A consumer does what it would do next.
    pub(super) fn act(&mut self, at: usize) {
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

    pub(super) fn act_stable(&mut self, at: usize) {
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
    pub(super) fn commit(&mut self, by: &Zombie, partition: i32) -> (Request, Commit) {
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

    /// A consumer dies. Some live on as zombies: their process hangs and will wake up.
    pub(super) fn crash(&mut self, at: usize) {
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

    pub(super) fn zombie_commits(&mut self) {
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

    pub(super) fn leave(&mut self) {
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

    pub(super) fn transaction(&mut self) {
        let group = self.clients[0].group;
        let open: Vec<i64> = self.open.iter().copied().collect();
        if !open.is_empty() && self.chance.one_in(2) {
            let id = open[self.chance.below(open.len())];
            let commit = self.chance.one_in(2);
            let producer = Producer { id, epoch: 0 };
            // A marker that the log refuses is written again.
            self.bench.ask(
                0,
                Request::EndTransaction { producer, coordinator_epoch: 0, transaction_version: 0, commit },
            );
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

    pub(super) fn administer(&mut self) {
        let group_id = group_name(self.clients[0].group);
        let request = match self.chance.below(5) {
            0 => Request::Delete(vec![group_id]),
            1 => {
                let partitions = vec![OffsetDeleteRequestPartition { partition_index: 0 }];
                let topics = vec![OffsetDeleteRequestTopic { name: TOPIC.into(), partitions }];
                Request::OffsetDelete(OffsetDeleteRequest { group_id, topics })
            }
            2 => Request::List(ListGroupsRequest::default().into()),
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
}
