//! Groups as others see them.

use std::collections::BTreeSet;

use super::bench::{Bench, response};
use super::offsets::{commit, fetch_all};
use crate::coordinator::{Event, Request, Settings};
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

fn list(bench: &mut Bench, states: &[&str], types: &[&str]) -> Vec<(String, String, String, String)> {
    let strings = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
    let request = ListGroupsRequest { states_filter: strings(states), types_filter: strings(types) };
    let token = bench.ask(5, Request::List(request.into()));
    let reply = response!(bench.reply(token), List);
    assert_eq!(reply.error_code, ErrorCode::NONE);
    reply.groups.into_iter().map(|g| (g.group_id, g.protocol_type, g.group_state, g.group_type)).collect()
}

fn describe(bench: &mut Bench, version: i16, group: &str) -> DescribedGroup {
    let token = bench.ask(version, Request::Describe(vec![group.into()]));
    response!(bench.reply(token), Describe).remove(0)
}

pub fn delete(bench: &mut Bench, group: &str) -> ErrorCode {
    let token = bench.ask(2, Request::Delete(vec![group.into()]));
    response!(bench.reply(token), Delete)[0].error_code
}

fn row(name: &str, protocol_type: &str, state: &str) -> (String, String, String, String) {
    (name.into(), protocol_type.into(), state.into(), "classic".into())
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut bench = Bench::new(Settings::default());
    bench.stable(1);
    let request = OffsetCommitRequest {
        group_id: "simple".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitRequestPartition::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    bench.ask(8, Request::OffsetCommit(request));
    let (stable, simple) = (row("g", "consumer", "Stable"), row("simple", "", "Empty"));
    assert_eq!(list(&mut bench, &[], &[]), [stable.clone(), simple.clone()]);
    assert_eq!(list(&mut bench, &[" sTable "], &[]), std::slice::from_ref(&stable));
    assert_eq!(list(&mut bench, &["Empty", "Stable"], &["Classic"]), [stable, simple]);
    assert_eq!(list(&mut bench, &["Dead"], &[]), []);
    assert_eq!(list(&mut bench, &[], &["consumer"]), []);
    assert_eq!(list(&mut bench, &[], &["what"]), []);
}

#[test]
fn members_are_described_with_metadata_in_a_stable_group_only() {
    let mut bench = Bench::new(Settings::default());
    let ids = bench.stable(1);
    let group = describe(&mut bench, 6, "g");
    assert_eq!((group.group_state.as_str(), group.protocol_data.as_str()), ("Stable", "range"));
    assert_eq!((group.protocol_type.as_str(), group.error_code), ("consumer", ErrorCode::NONE));
    let member = &group.members[0];
    assert_eq!((member.member_id.as_str(), member.client_id.as_str()), (ids[0].as_str(), "client"));
    assert_eq!((&member.member_metadata[..], &member.member_assignment[..]), (&b"m"[..], &b"a"[..]));
    bench.join_new();
    let group = describe(&mut bench, 6, "g");
    assert_eq!((group.group_state.as_str(), group.protocol_data.as_str()), ("PreparingRebalance", ""));
    assert!(group.members[0].member_metadata.is_empty());
}

#[test]
fn a_group_that_is_not_there_is_dead_or_not_found() {
    let mut bench = Bench::new(Settings::default());
    let group = describe(&mut bench, 5, "g");
    assert_eq!((group.group_state.as_str(), group.error_code), ("Dead", ErrorCode::NONE));
    let group = describe(&mut bench, 6, "g");
    assert_eq!((group.group_state.as_str(), group.error_code), ("Dead", ErrorCode::GROUP_ID_NOT_FOUND));
    assert_eq!(group.error_message.as_deref(), Some("Group g not found."));
}

#[test]
fn an_empty_group_is_deleted_with_its_offsets() {
    let mut bench = Bench::new(Settings::default());
    assert_eq!(delete(&mut bench, "g"), ErrorCode::GROUP_ID_NOT_FOUND);
    let ids = bench.stable(1);
    assert_eq!(commit(&mut bench, &ids[0], 1, None, 5), ErrorCode::NONE);
    assert_eq!(delete(&mut bench, "g"), ErrorCode::NON_EMPTY_GROUP);
    bench.leave(3, &[(&ids[0], None)]);
    assert_eq!(delete(&mut bench, "g"), ErrorCode::NONE);
    assert!(bench.machine().group("g").is_none());
    assert_eq!(fetch_all(&mut bench, "g"), []);
    bench.check_durable();
    assert_eq!(delete(&mut bench, "g"), ErrorCode::GROUP_ID_NOT_FOUND);
    bench.restart();
    assert!(bench.machine().group("g").is_none());
}

#[test]
fn a_deletion_that_is_refused_has_not_been() {
    let mut bench = Bench::new(Settings::default());
    let ids = bench.stable(1);
    commit(&mut bench, &ids[0], 1, None, 5);
    bench.leave(3, &[(&ids[0], None)]);
    bench.prompt = false;
    let token = bench.ask(2, Request::Delete(vec!["g".into()]));
    bench.refuse(ErrorCode::KAFKA_STORAGE_ERROR);
    assert_eq!(response!(bench.reply(token), Delete)[0].error_code, ErrorCode::NOT_COORDINATOR);
    bench.check_durable();
    bench.prompt = true;
    assert_eq!(fetch_all(&mut bench, "g"), [("t".into(), 0, 5)]);
}

#[test]
fn a_record_that_says_the_group_is_empty_and_is_refused_brings_its_members_back() {
    let mut bench = Bench::new(Settings::default());
    let ids = bench.stable(1);
    bench.prompt = false;
    bench.leave_quietly(&ids[0]);
    bench.refuse(ErrorCode::NOT_ENOUGH_REPLICAS);
    bench.check_durable();
    bench.prompt = true;
    bench.pass(60_000);
    // As on a restart, it comes back and is silent.
    assert!(bench.machine().group("g").unwrap().is_empty());
    assert!(bench.machine().group("g").unwrap().stored().unwrap().members.is_empty());
    bench.check_durable();
}

impl Bench {
    fn leave_quietly(&mut self, id: &str) {
        let members = vec![MemberIdentity { member_id: id.into(), ..Default::default() }];
        let request = LeaveGroupRequest { group_id: "g".into(), members, ..Default::default() };
        self.ask(5, Request::Leave(request));
    }
}

#[test]
fn groups_without_members_or_offsets_are_deleted_in_time() {
    let mut bench = Bench::new(Settings::default());
    let ids = bench.stable(1);
    commit(&mut bench, &ids[0], 1, None, 5);
    bench.leave(3, &[(&ids[0], None)]);
    bench.pass(6 * 24 * 3600 * 1000);
    assert_eq!(fetch_all(&mut bench, "g"), [("t".into(), 0, 5)]);
    bench.pass(25 * 3600 * 1000);
    assert!(bench.machine().group("g").is_none());
    assert!(matches!(bench.log.last(), Some((_, crate::coordinator::records::Record::Group(_, None)))));
    bench.check_durable();
}

#[test]
fn the_offsets_of_deleted_topics_go_in_turns() {
    let mut bench = Bench::new(Settings::default());
    for group in 0..3000 {
        let topics = ["gone", "stays"].map(|name| OffsetCommitRequestTopic {
            name: name.into(),
            partitions: (0..3)
                .map(|partition_index| OffsetCommitRequestPartition { partition_index, ..Default::default() })
                .collect(),
            ..Default::default()
        });
        let request = OffsetCommitRequest {
            group_id: format!("{group}"),
            generation_id_or_member_epoch: -1,
            topics: topics.into(),
            ..Default::default()
        };
        bench.ask(8, Request::OffsetCommit(request));
    }
    bench.replies.clear();
    let before = bench.log.len();
    bench.tell(Event::TopicsDeleted(BTreeSet::from(["gone".to_string()])));
    bench.tell(Event::TopicsDeleted(BTreeSet::from(["unknown".to_string()])));
    bench.prompt = false;
    bench.runtime.tick(bench.now());
    bench.drain();
    let first: usize = bench.queue.iter().map(|batch| batch.records.len()).sum();
    assert!((1000..=5000).contains(&first), "{first}");
    bench.prompt = true;
    bench.pass(100);
    assert_eq!(bench.log.len() - before, 9000);
    assert_eq!(fetch_all(&mut bench, "77").len(), 3);
    bench.check_durable();
}

/// A log that another broker has written: a group of KIP-848 with a member, and an offset.
fn of_kip_848() -> Bench {
    use crate::coordinator::records::{ConsumerRecord::*, Form, Record};
    let mut bench = Bench::new(Settings::default());
    let member = ConsumerGroupMemberMetadataValue {
        subscribed_topic_names: vec!["t".into()],
        classic_member_metadata: None,
        ..Default::default()
    };
    let current = ConsumerGroupCurrentMemberAssignmentValue { member_epoch: 5, ..Default::default() };
    let records = [
        Member("m".into(), Some(member)),
        Epoch(Some(ConsumerGroupMetadataValue { epoch: 5, metadata_hash: 9 })),
        TargetEpoch(Some(ConsumerGroupTargetAssignmentMetadataValue { assignment_epoch: 5 })),
        Target("m".into(), Some(ConsumerGroupTargetAssignmentMemberValue::default())),
        Current("m".into(), Some(current)),
    ];
    bench.log.extend(records.map(|record| (Form::Plain, Record::Consumer("g".into(), record))));
    bench.restart();
    bench.check_durable();
    bench
}

#[test]
fn a_group_of_kip_848_comes_along_and_its_silent_members_go() {
    let mut bench = of_kip_848();
    let row = |state: &str| [("g".into(), "consumer".into(), state.into(), "consumer".into())];
    assert_eq!(list(&mut bench, &[], &["consumer"]), row("Stable"));
    assert_eq!(list(&mut bench, &[], &["classic"]), []);
    let group = describe(&mut bench, 6, "g");
    assert_eq!(group.error_message.as_deref(), Some("Group g is not a classic group."));
    assert_eq!(delete(&mut bench, "g"), ErrorCode::NON_EMPTY_GROUP);
    for (id, epoch, error) in [
        ("m", 5, ErrorCode::NONE),
        ("m", 4, ErrorCode::STALE_MEMBER_EPOCH),
        ("who", 5, ErrorCode::UNKNOWN_MEMBER_ID),
        ("", -1, ErrorCode::UNKNOWN_MEMBER_ID),
    ] {
        assert_eq!(commit(&mut bench, id, epoch, None, 7), error, "{id} {epoch}");
    }
    let chance = bench.chance();
    let request = JoinGroupRequest { group_id: "g".into(), session_timeout_ms: 10_000, ..Default::default() };
    let token = bench.ask(9, Request::Join(request, chance));
    assert_eq!(bench.joined(token).error_code, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    bench.pass(44_999);
    assert_eq!(list(&mut bench, &["stable"], &[]), row("Stable"));
    bench.prompt = false;
    bench.pass(1);
    bench.refuse(ErrorCode::NOT_ENOUGH_REPLICAS);
    bench.check_durable();
    bench.prompt = true;
    assert_eq!(list(&mut bench, &["stable"], &[]), row("Stable"));
    bench.pass(45_000);
    assert_eq!(list(&mut bench, &[], &[]), row("Empty"));
    assert_eq!(bench.machine().group("g").unwrap().consumer().unwrap().epoch(), 6);
    bench.check_durable();
    assert_eq!(delete(&mut bench, "g"), ErrorCode::NONE);
    assert!(bench.machine().group("g").is_none());
    bench.check_durable();
}

#[test]
fn an_empty_group_of_kip_848_becomes_a_classic_one_and_keeps_its_offsets() {
    let mut bench = of_kip_848();
    assert_eq!(commit(&mut bench, "m", 5, None, 7), ErrorCode::NONE);
    bench.pass(45_000);
    let ids = bench.stable(1);
    assert_eq!(bench.beat(&ids[0], 1, None), ErrorCode::NONE);
    assert!(bench.machine().group("g").unwrap().consumer().is_none());
    assert_eq!(fetch_all(&mut bench, "g"), [("t".into(), 0, 7)]);
    bench.check_durable();
    bench.restart();
    assert_eq!(bench.beat(&ids[0], 1, None), ErrorCode::NONE);
}

#[test]
fn an_empty_name_is_no_group_where_kafka_says_so() {
    let mut bench = Bench::new(Settings::default());
    let invalid = ErrorCode::INVALID_GROUP_ID;
    let chance = bench.chance();
    let request = JoinGroupRequest { session_timeout_ms: 10_000, ..Default::default() };
    let token = bench.ask(9, Request::Join(request, chance));
    assert_eq!(bench.joined(token).error_code, invalid);
    let token = bench.ask(5, Request::Sync(SyncGroupRequest::default()));
    assert_eq!(bench.synced(token).0, invalid);
    let token = bench.ask(4, Request::Heartbeat(HeartbeatRequest::default()));
    assert_eq!(response!(bench.reply(token), Heartbeat).error_code, invalid);
    let token = bench.ask(5, Request::Leave(LeaveGroupRequest::default()));
    assert_eq!(response!(bench.reply(token), Leave).error_code, invalid);
    let token = bench.ask(0, Request::OffsetDelete(OffsetDeleteRequest::default()));
    assert_eq!(response!(bench.reply(token), OffsetDelete).error_code, invalid);
    // And where it does not.
    assert_eq!(super::offsets::commit_to(&mut bench, "", 3), ErrorCode::NONE);
    assert_eq!(fetch_all(&mut bench, ""), [("t".into(), 0, 3)]);
    assert_eq!(delete(&mut bench, ""), ErrorCode::NONE);
}
