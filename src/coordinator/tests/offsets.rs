//! The rules of committed offsets, one by one.

use super::bench::{Bench, response};
use super::members::dynamic;
use crate::coordinator::records::{Producer, Record};
use crate::coordinator::runtime::Token;
use crate::coordinator::{Request, Settings};
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

const DAY: u64 = 24 * 3600 * 1000;

fn commit_request(
    group: &str,
    id: &str,
    generation: i32,
    instance: Option<&str>,
    offset: i64,
) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: generation,
        member_id: id.into(),
        group_instance_id: instance.map(str::to_string),
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            topic_id: Uuid::ZERO,
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: offset,
                ..Default::default()
            }],
        }],
        ..Default::default()
    }
}

fn committed(bench: &mut Bench, version: i16, request: OffsetCommitRequest) -> ErrorCode {
    let token = bench.ask(version, Request::OffsetCommit(request));
    response!(bench.reply(token), OffsetCommit).topics[0].partitions[0].error_code
}

pub fn commit(
    bench: &mut Bench,
    id: &str,
    generation: i32,
    instance: Option<&str>,
    offset: i64,
) -> ErrorCode {
    committed(bench, 9, commit_request("g", id, generation, instance, offset))
}

pub fn commit_to(bench: &mut Bench, group: &str, offset: i64) -> ErrorCode {
    committed(bench, 9, commit_request(group, "", -1, None, offset))
}

fn fetched(
    bench: &mut Bench,
    request: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let token = bench.ask(9, Request::OffsetFetch(request, require_stable));
    let reply = response!(bench.reply(token), OffsetFetch);
    assert_eq!(reply.error_code, ErrorCode::NONE);
    reply
}

/// Topic, partition and offset of all that a group has committed.
pub fn fetch_all(bench: &mut Bench, group: &str) -> Vec<(String, i32, i64)> {
    let request = OffsetFetchRequestGroup { group_id: group.into(), topics: None, ..Default::default() };
    let topics = fetched(bench, request, false).topics;
    let rows = topics.into_iter().flat_map(|topic| {
        let name = topic.name;
        topic.partitions.into_iter().map(move |p| (name.clone(), p.partition_index, p.committed_offset))
    });
    rows.collect()
}

fn fetch_one(bench: &mut Bench, partition: i32, require_stable: bool) -> OffsetFetchResponsePartitions {
    let topics = vec![OffsetFetchRequestTopics {
        name: "t".into(),
        partition_indexes: vec![partition],
        ..Default::default()
    }];
    let request =
        OffsetFetchRequestGroup { group_id: "g".into(), topics: Some(topics), ..Default::default() };
    fetched(bench, request, require_stable).topics[0].partitions[0].clone()
}

fn in_transaction(bench: &mut Bench, producer: i64, partition: i32, offset: i64) -> Token {
    let request = TxnOffsetCommitRequest {
        transactional_id: "x".into(),
        group_id: "g".into(),
        producer_id: producer,
        producer_epoch: 0,
        generation_id: -1,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![TxnOffsetCommitRequestPartition {
                partition_index: partition,
                committed_offset: offset,
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    bench.ask(3, Request::TxnOffsetCommit(request))
}

fn transactional(bench: &mut Bench, producer: i64, partition: i32, offset: i64) -> ErrorCode {
    let token = in_transaction(bench, producer, partition, offset);
    response!(bench.reply(token), TxnOffsetCommit).topics[0].partitions[0].error_code
}

fn end(bench: &mut Bench, id: i64, commit: bool) {
    let producer = Producer { id, epoch: 0 };
    let token = bench
        .ask(0, Request::EndTransaction { producer, coordinator_epoch: 0, transaction_version: 0, commit });
    assert_eq!(response!(bench.reply(token), EndTransaction), ErrorCode::NONE);
    bench.check_durable();
}

#[test]
fn who_is_no_member_commits_to_a_group_without_members_only() {
    let mut bench = Bench::new(Settings::default());
    assert_eq!(commit(&mut bench, "", -1, None, 5), ErrorCode::NONE);
    let one = fetch_one(&mut bench, 0, false);
    assert_eq!(
        (one.committed_offset, one.committed_leader_epoch, one.metadata.as_deref()),
        (5, -1, Some(""))
    );
    let none = fetch_one(&mut bench, 1, true);
    assert_eq!(
        (none.committed_offset, none.metadata.as_deref(), none.error_code),
        (-1, Some(""), ErrorCode::NONE)
    );
    let ids = bench.stable(1);
    assert_eq!(commit(&mut bench, "", -1, None, 6), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(commit(&mut bench, &ids[0], -1, None, 6), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(transactional(&mut bench, 1, 1, 6), ErrorCode::NONE);
}

#[test]
fn a_commit_names_its_generation() {
    let mut bench = Bench::new(Settings::default());
    assert_eq!(committed(&mut bench, 8, commit_request("g", "m", 1, None, 5)), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(committed(&mut bench, 9, commit_request("g", "m", 1, None, 5)), ErrorCode::GROUP_ID_NOT_FOUND);
    let ids = bench.stable(2);
    for (id, generation, instance, error) in [
        (&*ids[0], 1, None, ErrorCode::NONE),
        (&ids[0], 0, None, ErrorCode::ILLEGAL_GENERATION),
        (&ids[0], 2, None, ErrorCode::ILLEGAL_GENERATION),
        ("who", 1, None, ErrorCode::UNKNOWN_MEMBER_ID),
        (&ids[0], 1, Some("i"), ErrorCode::UNKNOWN_MEMBER_ID),
    ] {
        assert_eq!(commit(&mut bench, id, generation, instance, 5), error, "{id} {generation}");
    }
    // While all join again, a member may still commit; when they have, it has to fetch its assignment first.
    let tokens = [bench.join(&dynamic(&ids[0]))];
    assert_eq!(commit(&mut bench, &ids[1], 1, None, 6), ErrorCode::NONE);
    let last = bench.join(&dynamic(&ids[1]));
    for token in tokens.into_iter().chain([last]) {
        assert_eq!(bench.joined(token).generation_id, 2);
    }
    assert_eq!(commit(&mut bench, &ids[1], 1, None, 7), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(commit(&mut bench, &ids[1], 2, None, 7), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(fetch_one(&mut bench, 0, false).committed_offset, 6);
}

#[test]
fn long_text_is_refused_for_its_partition_alone() {
    let mut bench = Bench::new(Settings { offset_metadata_max: 4, ..Settings::default() });
    let mut request = commit_request("g", "", -1, None, 5);
    let text = |text: &str| Some(text.to_string());
    request.topics[0].partitions = [text("four"), text("fives"), text("éééé"), text("ééééé"), None]
        .into_iter()
        .enumerate()
        .map(|(n, committed_metadata)| OffsetCommitRequestPartition {
            partition_index: n as i32,
            committed_metadata,
            ..Default::default()
        })
        .collect();
    let token = bench.ask(8, Request::OffsetCommit(request));
    let reply = response!(bench.reply(token), OffsetCommit);
    let errors: Vec<ErrorCode> = reply.topics[0].partitions.iter().map(|p| p.error_code).collect();
    let (none, large) = (ErrorCode::NONE, ErrorCode::OFFSET_METADATA_TOO_LARGE);
    assert_eq!(errors, [none, large, none, large, none]);
    assert_eq!(fetch_one(&mut bench, 2, false).metadata.as_deref(), Some("éééé"));
    assert_eq!(fetch_all(&mut bench, "g").len(), 3);
}

#[test]
fn an_offset_of_another_topic_of_this_name_is_not_told() {
    let mut bench = Bench::new(Settings::default());
    let mut request = commit_request("g", "", -1, None, 5);
    request.topics[0].topic_id = Uuid([1; 16]);
    let token = bench.ask(10, Request::OffsetCommit(request));
    assert_eq!(response!(bench.reply(token), OffsetCommit).topics[0].topic_id, Uuid([1; 16]));
    for (id, offset) in [(Uuid::ZERO, 5), (Uuid([1; 16]), 5), (Uuid([2; 16]), -1)] {
        let topics =
            vec![OffsetFetchRequestTopics { name: "t".into(), topic_id: id, partition_indexes: vec![0] }];
        let request =
            OffsetFetchRequestGroup { group_id: "g".into(), topics: Some(topics), ..Default::default() };
        let reply = fetched(&mut bench, request, false);
        assert_eq!((reply.topics[0].topic_id, reply.topics[0].partitions[0].committed_offset), (id, offset));
    }
    bench.check_durable();
}

#[test]
fn a_transaction_counts_when_it_is_committed() {
    let mut bench = Bench::new(Settings::default());
    commit(&mut bench, "", -1, None, 1);
    assert_eq!(transactional(&mut bench, 7, 0, 10), ErrorCode::NONE);
    assert_eq!(transactional(&mut bench, 7, 0, 11), ErrorCode::NONE);
    assert_eq!(transactional(&mut bench, 8, 1, 20), ErrorCode::NONE);
    assert_eq!(fetch_one(&mut bench, 0, false).committed_offset, 1);
    let unstable = fetch_one(&mut bench, 0, true);
    assert_eq!((unstable.committed_offset, unstable.error_code), (-1, ErrorCode::UNSTABLE_OFFSET_COMMIT));
    assert_eq!(fetch_one(&mut bench, 1, true).error_code, ErrorCode::UNSTABLE_OFFSET_COMMIT);
    end(&mut bench, 7, true);
    assert_eq!(fetch_one(&mut bench, 0, true).committed_offset, 11);
    end(&mut bench, 8, false);
    assert_eq!(fetch_one(&mut bench, 1, true).committed_offset, -1);
    end(&mut bench, 8, true);
    assert_eq!(fetch_one(&mut bench, 1, true).committed_offset, -1);
    assert_eq!(bench.machine().pending().open(), 0);
}

#[test]
fn the_later_record_counts_whenever_a_transaction_ends() {
    let mut bench = Bench::new(Settings::default());
    transactional(&mut bench, 7, 0, 10);
    transactional(&mut bench, 8, 0, 20);
    end(&mut bench, 8, true);
    end(&mut bench, 7, true);
    assert_eq!(fetch_one(&mut bench, 0, true).committed_offset, 20);
    transactional(&mut bench, 7, 0, 30);
    commit(&mut bench, "", -1, None, 25);
    assert_eq!(fetch_one(&mut bench, 0, true).error_code, ErrorCode::UNSTABLE_OFFSET_COMMIT);
    end(&mut bench, 7, true);
    assert_eq!(fetch_one(&mut bench, 0, true).committed_offset, 25);
    bench.restart();
    assert_eq!(fetch_one(&mut bench, 0, true).committed_offset, 25);
}

#[test]
fn the_end_of_a_transaction_that_is_refused_has_not_been() {
    let mut bench = Bench::new(Settings::default());
    commit(&mut bench, "", -1, None, 1);
    transactional(&mut bench, 7, 0, 10);
    transactional(&mut bench, 8, 0, 5);
    bench.prompt = false;
    let producer = Producer { id: 8, epoch: 0 };
    bench.ask(
        0,
        Request::EndTransaction { producer, coordinator_epoch: 0, transaction_version: 0, commit: true },
    );
    bench.check_durable();
    in_transaction(&mut bench, 7, 0, 12);
    bench.refuse(ErrorCode::NOT_ENOUGH_REPLICAS);
    bench.check_durable();
    bench.prompt = true;
    end(&mut bench, 7, true);
    assert_eq!(fetch_one(&mut bench, 0, false).committed_offset, 10);
    end(&mut bench, 8, true);
    assert_eq!(fetch_one(&mut bench, 0, false).committed_offset, 5);
}

#[test]
fn offsets_are_deleted_unless_their_topic_is_consumed() {
    let mut bench = Bench::new(Settings::default());
    let delete = |bench: &mut Bench| {
        let request = OffsetDeleteRequest {
            group_id: "g".into(),
            topics: vec![OffsetDeleteRequestTopic {
                name: "t".into(),
                partitions: [0, 1, 2]
                    .map(|partition_index| OffsetDeleteRequestPartition { partition_index })
                    .into(),
            }],
        };
        let token = bench.ask(0, Request::OffsetDelete(request));
        response!(bench.reply(token), OffsetDelete)
    };
    assert_eq!(delete(&mut bench).error_code, ErrorCode::GROUP_ID_NOT_FOUND);
    commit(&mut bench, "", -1, None, 1);
    transactional(&mut bench, 7, 1, 10);
    let reply = delete(&mut bench);
    assert!(reply.topics[0].partitions.iter().all(|p| p.error_code.is_none()));
    let tombstones = bench.log.iter().filter(|(_, record)| matches!(record, Record::Offset(_, None)));
    assert_eq!(tombstones.count(), 2, "of what was committed and of what was about to be");
    end(&mut bench, 7, true);
    assert_eq!(fetch_all(&mut bench, "g"), []);
    // The members do not say in Kafka's way what they consume: it may be anything.
    bench.stable(1);
    let reply = delete(&mut bench);
    assert!(reply.topics[0].partitions.iter().all(|p| p.error_code == ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC));
}

#[test]
fn offsets_of_who_is_no_member_expire_each_for_itself() {
    let mut bench = Bench::new(Settings::default());
    let mut request = commit_request("g", "", -1, None, 1);
    request.retention_time_ms = DAY as i64;
    request.topics[0].partitions[0].partition_index = 9;
    committed(&mut bench, 2, request);
    bench.pass(3_600_000);
    commit(&mut bench, "", -1, None, 1);
    transactional(&mut bench, 7, 5, 10);
    bench.pass(DAY);
    assert_eq!(fetch_all(&mut bench, "g"), [("t".into(), 0, 1)]);
    bench.check_durable();
    bench.pass(5 * DAY);
    transactional(&mut bench, 8, 0, 10);
    bench.pass(3 * DAY);
    // A transaction is about to commit another.
    assert_eq!(fetch_all(&mut bench, "g"), [("t".into(), 0, 1)]);
    end(&mut bench, 8, false);
    end(&mut bench, 7, false);
    bench.pass(DAY);
    assert!(bench.machine().group("g").is_none());
}

#[test]
fn replies_wait_and_vanish_with_what_they_saw() {
    let mut bench = Bench::new(Settings::default());
    commit(&mut bench, "", -1, None, 1);
    bench.prompt = false;
    let writes = bench.ask(9, Request::OffsetCommit(commit_request("g", "", -1, None, 2)));
    let request = OffsetFetchRequestGroup { group_id: "g".into(), topics: None, ..Default::default() };
    let reads = bench.ask(9, Request::OffsetFetch(request, false));
    let lists = bench.ask(5, Request::List(ListGroupsRequest::default().into()));
    assert!(![writes, reads, lists].iter().any(|token| bench.is_answered(*token)));
    bench.refuse(ErrorCode::NOT_ENOUGH_REPLICAS);
    let error = ErrorCode::COORDINATOR_NOT_AVAILABLE;
    assert_eq!(response!(bench.reply(writes), OffsetCommit).topics[0].partitions[0].error_code, error);
    assert_eq!(response!(bench.reply(reads), OffsetFetch).error_code, ErrorCode::NOT_COORDINATOR);
    assert_eq!(response!(bench.reply(lists), List).error_code, error);
    bench.prompt = true;
    assert_eq!(fetch_all(&mut bench, "g"), [("t".into(), 0, 1)]);
}

#[test]
fn while_loading_everybody_is_told_so_but_heartbeats() {
    let mut bench = Bench::new(Settings::default());
    bench.runtime =
        crate::coordinator::Runtime::new(crate::coordinator::Groups::new(Settings::default()), 5000);
    let loading = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
    assert_eq!(commit(&mut bench, "", -1, None, 1), loading);
    assert_eq!(bench.beat("m", 1, None), ErrorCode::NONE);
    let token = bench.join(&dynamic(""));
    assert_eq!(bench.joined(token).error_code, loading);
    let token = bench.sync("m", 1, &[]);
    assert_eq!(bench.synced(token).0, loading);
}
