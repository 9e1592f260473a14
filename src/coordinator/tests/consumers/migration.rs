//! Groups with members of both protocols.

use bytes::Bytes;

use super::*;
use crate::coordinator::Token;
use crate::coordinator::settings::Migration;
use crate::wire::codec::Writer;

const SESSION: i32 = 10_000;

/// What a member of the classic protocol says: its topics, and what it has of topic `t`.
fn metadata(topics: &[&str], owned: &[i32]) -> Bytes {
    let mut w = Writer::new();
    w.put_i16(1);
    let owned = ConsumerProtocolSubscriptionTopicPartition { topic: "t".into(), partitions: owned.to_vec() };
    let subscription = ConsumerProtocolSubscription {
        topics: topics.iter().map(|name| name.to_string()).collect(),
        owned_partitions: vec![owned],
        ..Default::default()
    };
    subscription.encode(&mut w, 1).unwrap();
    w.into_bytes()
}

fn assignment(partitions: &[i32]) -> Bytes {
    let mut w = Writer::new();
    w.put_i16(1);
    let given =
        ConsumerProtocolAssignmentTopicPartition { topic: "t".into(), partitions: partitions.to_vec() };
    let assigned_partitions = if partitions.is_empty() { Vec::new() } else { vec![given] };
    ConsumerProtocolAssignment { assigned_partitions, ..Default::default() }.encode(&mut w, 1).unwrap();
    w.into_bytes()
}

impl Bench {
    fn classic_join(&mut self, id: &str, instance: Option<&str>, owned: &[i32]) -> Token {
        let request = JoinGroupRequest {
            group_id: "g".into(),
            session_timeout_ms: SESSION,
            rebalance_timeout_ms: REBALANCE,
            member_id: id.into(),
            group_instance_id: instance.map(str::to_string),
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol { name: "p".into(), metadata: metadata(&["t"], owned) }],
            ..Default::default()
        };
        let chance = self.chance();
        self.ask(9, Request::Join(request, chance))
    }

    fn classic_sync(&mut self, id: &str, generation_id: i32, given: &[(&str, &[i32])]) -> (ErrorCode, Bytes) {
        let assignments = given.iter().map(|(id, partitions)| SyncGroupRequestAssignment {
            member_id: id.to_string(),
            assignment: assignment(partitions),
        });
        let request = SyncGroupRequest {
            group_id: "g".into(),
            generation_id,
            member_id: id.into(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("p".into()),
            assignments: assignments.collect(),
            ..Default::default()
        };
        let token = self.ask(5, Request::Sync(request));
        self.synced(token)
    }

    /// A stable classic group with one member that has everything; its id.
    fn classic_group(&mut self, instance: Option<&str>) -> String {
        let token = self.classic_join("", instance, &[]);
        let id = match instance {
            Some(_) => None,
            None => Some(self.joined(token).member_id),
        };
        let token = match &id {
            Some(id) => self.classic_join(id, None, &[]),
            None => token,
        };
        self.pass(3000);
        let joined = self.joined(token);
        assert_eq!((joined.error_code, joined.generation_id), (ErrorCode::NONE, 1));
        let id = joined.member_id;
        let synced = self.classic_sync(&id, 1, &[(&id, &[0, 1])]);
        assert_eq!(synced, (ErrorCode::NONE, assignment(&[0, 1])));
        id
    }
}

#[test]
fn a_classic_group_becomes_one_of_the_new_protocol_and_back() {
    let mut bench = bench(2);
    let classic = bench.classic_group(None);
    let joined = bench.heartbeat(join("new", &["t"]));
    assert_eq!((joined.error_code, joined.member_epoch, told(&joined)), (ErrorCode::NONE, 2, gives(&[])));
    bench.check_durable();
    let described = bench.described();
    let types: Vec<i8> = described.members.iter().map(|member| member.member_type).collect();
    assert_eq!(types.iter().map(|kind| i32::from(*kind)).sum::<i32>(), 1, "{types:?}");
    // The classic member is asked to join again, gives up, joins again.
    assert_eq!(bench.beat(&classic, 1, None), ErrorCode::REBALANCE_IN_PROGRESS);
    let token = bench.classic_join(&classic, None, &[0, 1]);
    assert_eq!(bench.joined(token).generation_id, 1);
    assert_eq!(bench.classic_sync(&classic, 1, &[]), (ErrorCode::NONE, assignment(&[0])));
    assert_eq!(bench.beat(&classic, 1, None), ErrorCode::REBALANCE_IN_PROGRESS);
    let token = bench.classic_join(&classic, None, &[0]);
    let again = bench.joined(token);
    assert_eq!((again.generation_id, again.leader.as_str(), again.members.len()), (2, "", 0));
    assert_eq!(bench.classic_sync(&classic, 2, &[]), (ErrorCode::NONE, assignment(&[0])));
    assert_eq!(bench.beat(&classic, 2, None), ErrorCode::NONE);
    assert_eq!(told(&bench.heartbeat(beat("new", 2))), gives(&[1]));
    bench.restart();
    assert_eq!(bench.beat(&classic, 2, None), ErrorCode::NONE);
    // The last of the new protocol goes.
    assert_eq!(bench.heartbeat(beat("new", -1)).error_code, ErrorCode::NONE);
    bench.check_durable();
    assert_eq!(bench.state(), State::PreparingRebalance);
    assert_eq!(bench.beat(&classic, 2, None), ErrorCode::REBALANCE_IN_PROGRESS);
    let token = bench.classic_join(&classic, None, &[0]);
    let alone = bench.joined(token);
    assert_eq!((alone.generation_id, alone.leader.as_str()), (3, classic.as_str()));
    bench.check_durable();
    bench.restart();
    assert_eq!(bench.machine().group("g").unwrap().state_name(), "Stable");
}

#[test]
fn the_last_static_member_of_the_new_protocol_comes_back_with_the_classic_one() {
    let mut bench = bench(2);
    bench.heartbeat(fixed("i", join("new", &["t"])));
    let token = bench.classic_join("", Some("i"), &[]);
    let joined = bench.joined(token);
    assert_eq!((joined.error_code, joined.generation_id), (ErrorCode::NONE, 1));
    assert_eq!(bench.state(), State::Stable);
    let (error, given) = bench.classic_sync(&joined.member_id, 1, &[]);
    assert_eq!((error, given), (ErrorCode::NONE, assignment(&[0, 1])));
    bench.check_durable();
    // And with the new one again: it takes over from itself.
    let back = bench.heartbeat(fixed("i", join("newer", &["t"])));
    assert_eq!((back.error_code, told(&back)), (ErrorCode::NONE, gives(&[0, 1])));
    assert_eq!(bench.described().members.len(), 1);
    bench.check_durable();
}

#[test]
fn the_policy_says_whether_groups_change() {
    for (policy, up, down) in [
        (Migration::Disabled, false, false),
        (Migration::Upgrade, true, false),
        (Migration::Downgrade, false, true),
        (Migration::Bidirectional, true, true),
    ] {
        let mut bench = Bench::new(Settings { consumer_migration: policy, ..Settings::default() });
        bench.topic("t", 2);
        bench.classic_group(None);
        let upgraded = bench.heartbeat(join("new", &["t"])).error_code;
        assert_eq!(upgraded, if up { ErrorCode::NONE } else { ErrorCode::GROUP_ID_NOT_FOUND }, "{policy:?}");
        bench.check_durable();
        let mut bench = Bench::new(Settings { consumer_migration: policy, ..Settings::default() });
        bench.topic("t", 2);
        bench.heartbeat(join("new", &["t"]));
        let token = bench.classic_join("old", None, &[]);
        assert_eq!(bench.joined(token).error_code, ErrorCode::NONE);
        bench.heartbeat(beat("new", -1));
        assert_eq!(bench.machine().group("g").unwrap().consumer().is_none(), down, "{policy:?}");
        bench.check_durable();
    }
}

#[test]
fn classic_members_have_so_long_to_join_and_to_fetch() {
    let mut bench = bench(2);
    bench.heartbeat(join("new", &["t"]));
    let token = bench.classic_join("old", None, &[]);
    assert_eq!(bench.joined(token).generation_id, 2);
    let stay = |bench: &mut Bench, epoch: i32| {
        bench.heartbeat(beat("new", 1));
        bench.beat("old", epoch, None)
    };
    // It does not fetch its assignment.
    for _ in 0..5 {
        bench.pass(3900);
        stay(&mut bench, 2);
    }
    assert_eq!(bench.described().members.len(), 2);
    bench.pass(600);
    assert_eq!(bench.described().members.len(), 1);
    let token = bench.classic_join("old", None, &[]);
    let generation = bench.joined(token).generation_id;
    assert_eq!(bench.classic_sync("old", generation, &[]).0, ErrorCode::NONE);
    bench.topic("t", 3);
    bench.owning("new", 1, &[0]);
    assert_eq!(bench.beat("old", generation, None), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(bench.classic_sync("old", generation, &[]).0, ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(bench.classic_sync("old", 1, &[]).0, ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(bench.beat("new", 1, None), ErrorCode::UNKNOWN_MEMBER_ID);
    let left = bench.leave(5, &[("new", None), ("old", None)]);
    let errors: Vec<ErrorCode> = left.members.iter().map(|member| member.error_code).collect();
    assert_eq!(errors, [ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::NONE]);
    assert_eq!(bench.described().members.len(), 1);
    bench.check_durable();
}

#[test]
fn an_upgrade_that_the_log_refuses_leaves_the_classic_group() {
    let mut bench = bench(2);
    let classic = bench.classic_group(None);
    bench.prompt = false;
    let chance = bench.chance();
    let token = bench.ask(1, Request::ConsumerHeartbeat(join("new", &["t"]), chance));
    bench.refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    let reply = response!(bench.reply(token), ConsumerHeartbeat);
    assert_eq!(reply.error_code, ErrorCode::NOT_COORDINATOR);
    bench.prompt = true;
    bench.check_durable();
    let group = bench.machine().group("g").unwrap();
    assert!(group.consumer().is_none() && group.classic().is_some_and(|group| group.len() == 1));
    // Its generation is not one that was given to the group that is not.
    let token = bench.classic_join(&classic, None, &[0, 1]);
    bench.pass(REBALANCE as u64);
    assert!(bench.joined(token).generation_id > 2);
}
