//! What the consumers of the model hear, and what of it must hold.

use super::*;

impl World {
    /// Whoever was answered learns of it.
    pub(super) fn hear(&mut self) {
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

    pub(super) fn heard_error(&mut self, at: usize, error: ErrorCode) {
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

    pub(super) fn heard_join(&mut self, at: usize, reply: JoinGroupResponse) {
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

    pub(super) fn heard_sync(&mut self, at: usize, reply: SyncGroupResponse) {
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

    pub(super) fn heard_commit(&mut self, commit: &Commit, reply: &OffsetCommitResponse) -> ErrorCode {
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

    pub(super) fn heard_fetch(
        &mut self,
        at: usize,
        floor: &BTreeMap<i32, i64>,
        reply: OffsetFetchResponseGroup,
    ) {
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
    pub(super) fn was_deleted_after(&self, group: usize, partition: i32, offset: i64) -> bool {
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
}
