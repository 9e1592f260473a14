//! EndTxn by both protocols, and the markers that follow.

use super::desk::*;
use crate::coordinator::records::Producer;
use crate::coordinator::transaction::state::LAST_EPOCH;
use crate::coordinator::transaction::*;
use crate::wire::error::ErrorCode;

const T: &[(&str, &[i32])] = &[("t", &[0, 1])];

fn begun(settings: Settings) -> (Desk, Producer) {
    let mut desk = Desk::new(settings);
    let first = desk.init("x").unwrap();
    assert_eq!(desk.add("x", first, T), ErrorCode::NONE);
    (desk, first)
}

#[test]
fn by_the_first_protocol_the_epoch_stays() {
    for commit in [true, false] {
        let (mut desk, first) = begun(first_protocol());
        assert_eq!(desk.end("x", first, commit), ErrorCode::NONE);
        let [markers] = &desk.markers[..] else { panic!() };
        assert_eq!((markers.commit, markers.producer, markers.transaction_version), (commit, first, 0));
        assert_eq!(desk.end("x", first, commit), ErrorCode::CONCURRENT_TRANSACTIONS);
        assert_eq!(desk.end("x", first, !commit), ErrorCode::CONCURRENT_TRANSACTIONS);
        desk.mark();
        assert_eq!(desk.end("x", first, commit), ErrorCode::NONE, "once more");
        assert_eq!(desk.end("x", first, !commit), ErrorCode::INVALID_TXN_STATE);
        assert_eq!(desk.add("x", first, T), ErrorCode::NONE, "the next one");
        assert_eq!(desk.durable(), desk.replayed());
    }
    let mut desk = Desk::new(first_protocol());
    let first = desk.init("x").unwrap();
    for commit in [true, false] {
        assert_eq!(desk.end("x", first, commit), ErrorCode::INVALID_TXN_STATE);
    }
}

#[test]
fn by_the_second_protocol_each_transaction_has_an_epoch() {
    for commit in [true, false] {
        let (mut desk, first) = begun(Settings::default());
        let second = producer(first.id, 1);
        assert_eq!(desk.end2("x", first, commit), Ok(second));
        let [markers] = &desk.markers[..] else { panic!() };
        assert_eq!((markers.commit, markers.producer, markers.transaction_version), (commit, second, 2));
        for again in [true, false] {
            assert_eq!(desk.end2("x", first, again), Err(ErrorCode::CONCURRENT_TRANSACTIONS));
        }
        desk.mark();
        assert_eq!(desk.end2("x", first, commit), Ok(second), "once more");
        assert_eq!(desk.end2("x", first, !commit), Err(ErrorCode::INVALID_TXN_STATE));
        assert_eq!(desk.end2("x", second, true), Err(ErrorCode::INVALID_TXN_STATE), "nothing to commit");
        assert_eq!(desk.add2("x", first, T), ErrorCode::PRODUCER_FENCED, "the one before");
        // To abort is always possible, and takes an epoch.
        assert_eq!(desk.end2("x", second, false), Ok(producer(first.id, 2)));
        assert_eq!((desk.status("x"), desk.markers.len()), (Status::CompleteAbort, 0));
        assert_eq!(desk.add2("x", producer(first.id, 2), T), ErrorCode::NONE);
        assert_eq!(desk.end2("x", second, commit), Err(ErrorCode::PRODUCER_FENCED));
        assert_eq!(desk.durable(), desk.replayed());
    }
    let mut desk = Desk::new(Settings::default());
    let first = desk.init("x").unwrap();
    assert_eq!(desk.end2("x", first, true), Err(ErrorCode::INVALID_TXN_STATE));
    assert_eq!(desk.end2("x", first, false), Ok(producer(first.id, 1)));
    assert_eq!(desk.end2("x", producer(first.id, 5), false), Err(ErrorCode::PRODUCER_FENCED));
}

#[test]
fn who_was_fenced_does_not_go_on_with_the_epoch_of_another() {
    let mut desk = Desk::new(Settings::default());
    let old = desk.init("x").unwrap();
    let other = desk.init("x").unwrap();
    // The other goes by the first protocol, so that his epoch is one more than that of the old one still.
    desk.add("x", other, T);
    desk.end("x", other, false);
    desk.mark();
    assert_eq!(desk.end2("x", old, false), Err(ErrorCode::PRODUCER_FENCED));
    assert_eq!(desk.end2("x", old, true), Err(ErrorCode::PRODUCER_FENCED));
}

#[test]
fn the_last_epoch_of_all_leads_to_another_id() {
    let mut desk = Desk::new(Settings::default());
    let mut last = desk.init("x").unwrap();
    while last.epoch < LAST_EPOCH {
        last = desk.end2("x", last, false).unwrap();
    }
    assert_eq!(desk.add2("x", last, T), ErrorCode::NONE);
    let next = producer(FIRST_ID + 1, 0);
    assert_eq!(desk.end2("x", last, true), Ok(next));
    assert_eq!(desk.markers[0].producer, producer(FIRST_ID, i16::MAX));
    assert_eq!(desk.end2("x", last, true), Err(ErrorCode::CONCURRENT_TRANSACTIONS));
    assert_eq!(desk.add2("x", next, T), ErrorCode::CONCURRENT_TRANSACTIONS);
    desk.restart(1);
    desk.mark();
    assert_eq!(desk.end2("x", last, true), Ok(next), "once more");
    assert_eq!(desk.end2("x", last, false), Err(ErrorCode::INVALID_TXN_STATE));
    assert_eq!(desk.add2("x", next, T), ErrorCode::NONE);
    assert_eq!(desk.end2("x", last, true), Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING));
    assert_eq!(desk.durable(), desk.replayed());
}

#[test]
fn markers_leave_when_the_outcome_is_committed_and_not_before() {
    let (mut desk, first) = begun(Settings::default());
    let token = desk.put(5, end_request("x", first, true));
    desk.collect();
    assert!(desk.markers.is_empty() && desk.reply(token).is_none());
    desk.refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert!(desk.markers.is_empty(), "what was not decided is not written");
    let Some(Reply::End(reply)) = desk.reply(token) else { panic!() };
    assert_eq!(reply.error_code, ErrorCode::NOT_COORDINATOR);
    let withheld = std::mem::take(&mut desk.withheld);
    assert_eq!(withheld.len(), 1, "each order is answered");
    withheld.into_iter().for_each(|marked| desk.runtime.event(desk.now, Event::Marked(marked)));
    assert_eq!(desk.status("x"), Status::Ongoing);
    assert_eq!(desk.end2("x", first, false), Ok(producer(first.id, 1)), "he may decide otherwise now");
    assert_eq!(desk.markers.len(), 1);
}

#[test]
fn markers_that_wait_for_others_records_are_not_lost_with_them() {
    let (mut desk, first) = begun(Settings::default());
    desk.end2("x", first, true).unwrap();
    desk.mark_with(|_, _| Written::Answer(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    // The second try waits for a record of somebody else, which is refused.
    desk.put(5, init_request("y", producer(-1, -1), TIMEOUT_MS));
    desk.now.tick += 100;
    desk.runtime.tick(desk.now);
    desk.refuse(ErrorCode::NOT_ENOUGH_REPLICAS);
    assert!(desk.markers.is_empty());
    for marked in std::mem::take(&mut desk.withheld) {
        desk.runtime.event(desk.now, Event::Marked(marked));
    }
    desk.pass(100);
    assert_eq!(desk.markers.len(), 1);
    desk.mark();
    assert_eq!(desk.status("x"), Status::CompleteCommit);
}

#[test]
fn partitions_that_fail_are_tried_again_and_those_that_are_gone_are_not() {
    let mut desk = Desk::new(Settings::default());
    let first = desk.init("x").unwrap();
    desk.add("x", first, &[("t", &[0, 1, 2, 3])]);
    desk.end2("x", first, true).unwrap();
    let number = desk.markers[0].number;
    desk.mark_with(|_, partition| match partition {
        0 => Written::Answer(ErrorCode::NONE),
        1 => Written::Gone,
        2 => Written::Answer(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        _ => Written::Answer(ErrorCode::REQUEST_TIMED_OUT),
    });
    assert_eq!((desk.status("x"), desk.markers.len()), (Status::PrepareCommit, 0));
    let Reply::Describe(states) = desk.ask(0, Request::Describe(vec!["x".into()])) else { panic!() };
    assert_eq!(states[0].topics[0].partitions, [2, 3], "those that are marked are left out");
    desk.pass(100);
    assert_eq!((desk.markers.len(), desk.markers[0].partitions.len()), (1, 2));
    // An answer to the first round again: it counts no more.
    let late = Marked {
        id: "x".into(),
        coordinator_epoch: 0,
        number,
        outcome: Outcome::Partitions(vec![("t".into(), 2, Written::Answer(ErrorCode::NONE))]),
    };
    desk.runtime.event(desk.now, Event::Marked(late));
    desk.mark_with(
        |_, n| if n == 2 { Written::Gone } else { Written::Answer(ErrorCode::KAFKA_STORAGE_ERROR) },
    );
    desk.pass(100);
    assert_eq!(desk.markers[0].partitions.len(), 1);
    desk.mark();
    assert_eq!(desk.status("x"), Status::CompleteCommit);
}

#[test]
fn a_transaction_whose_producer_is_fenced_elsewhere_is_left_alone() {
    for error in [ErrorCode::INVALID_PRODUCER_EPOCH, ErrorCode::TRANSACTION_COORDINATOR_FENCED] {
        let (mut desk, first) = begun(Settings::default());
        desk.end2("x", first, true).unwrap();
        desk.mark_with(|_, _| Written::Answer(error));
        desk.pass(100_000);
        assert_eq!((desk.status("x"), desk.markers.len()), (Status::PrepareCommit, 0));
        desk.restart(1);
        assert_eq!(desk.markers.len(), 1, "until the partition is led anew");
    }
}

#[test]
fn prepared_transactions_are_finished_after_a_restart() {
    let (mut desk, first) = begun(Settings::default());
    desk.end2("x", first, true).unwrap();
    let old = desk.markers.remove(0);
    desk.restart(5);
    let [markers] = &desk.markers[..] else { panic!() };
    assert_eq!(Markers { coordinator_epoch: 0, ..markers.clone() }, old);
    assert_eq!(markers.coordinator_epoch, 5);
    // The answer to the former coordinator's.
    let all = T[0].1.iter().map(|n| ("t".into(), *n, Written::Answer(ErrorCode::NONE))).collect();
    desk.runtime.event(desk.now, Event::Marked(old.told(Outcome::Partitions(all))));
    desk.settle();
    assert_eq!(desk.status("x"), Status::PrepareCommit);
    desk.mark();
    assert_eq!(desk.status("x"), Status::CompleteCommit);
}

#[test]
fn a_completion_that_is_refused_is_tried_again_without_markers() {
    let (mut desk, first) = begun(Settings::default());
    desk.end2("x", first, true).unwrap();
    let markers = desk.markers.remove(0);
    let all = T[0].1.iter().map(|n| ("t".into(), *n, Written::Answer(ErrorCode::NONE))).collect();
    desk.runtime.event(desk.now, Event::Marked(markers.told(Outcome::Partitions(all))));
    desk.refuse(ErrorCode::NOT_ENOUGH_REPLICAS);
    assert_eq!(desk.status("x"), Status::PrepareCommit);
    desk.pass(100);
    assert_eq!((desk.status("x"), desk.markers.len()), (Status::CompleteCommit, 0));
    assert_eq!(desk.durable(), desk.replayed());
}
