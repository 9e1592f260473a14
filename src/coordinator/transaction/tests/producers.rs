//! InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn: who may go on with a transactional id.

use super::desk::*;
use crate::coordinator::transaction::state::LAST_EPOCH;
use crate::coordinator::transaction::*;
use crate::wire::error::ErrorCode;

const T: &[(&str, &[i32])] = &[("t", &[0, 1])];

#[test]
fn a_new_producer_is_given_an_id_and_the_next_one_fences_it() {
    let mut desk = Desk::new(Settings::default());
    assert_eq!(desk.init("x"), Ok(producer(FIRST_ID, 0)));
    assert_eq!(desk.init("x"), Ok(producer(FIRST_ID, 1)));
    assert_eq!(desk.add("x", producer(FIRST_ID, 0), T), ErrorCode::PRODUCER_FENCED);
    assert_eq!(desk.end("x", producer(FIRST_ID, 0), true), ErrorCode::PRODUCER_FENCED);
    assert_eq!(desk.init("y"), Ok(producer(FIRST_ID + 1, 0)));
}

#[test]
fn requests_that_cannot_be_are_refused() {
    let mut desk = Desk::new(Settings::default());
    let none = producer(-1, -1);
    assert_eq!(desk.init(""), Err(ErrorCode::INVALID_REQUEST));
    assert_eq!(desk.init_as("x", producer(5, -1), 1000), Err(ErrorCode::INVALID_REQUEST));
    assert_eq!(desk.init_as("x", producer(-1, 5), 1000), Err(ErrorCode::INVALID_REQUEST));
    for timeout_ms in [0, -1, 900_001] {
        let error = ErrorCode::INVALID_TRANSACTION_TIMEOUT;
        assert_eq!(desk.init_as("x", none, timeout_ms), Err(error), "{timeout_ms}");
    }
    assert!(desk.init_as("x", none, 900_000).is_ok());
    let unknown = ErrorCode::INVALID_PRODUCER_ID_MAPPING;
    assert_eq!(desk.add("nobody", producer(1, 0), T), unknown);
    assert_eq!(desk.add("x", producer(1, 0), T), unknown);
    assert_eq!(desk.end("nobody", producer(1, 0), true), unknown);
    assert_eq!(desk.end2("x", producer(1, 0), true), Err(unknown));
    assert_eq!(desk.add("", producer(1, 0), T), ErrorCode::INVALID_REQUEST);
    assert_eq!(desk.end("", producer(1, 0), true), ErrorCode::INVALID_REQUEST);
    assert_eq!(desk.end2("", producer(1, 0), true), Err(ErrorCode::INVALID_REQUEST));
}

#[test]
fn old_clients_are_told_of_fencing_in_words_they_know() {
    let mut desk = Desk::new(Settings::default());
    desk.init("x").unwrap();
    desk.init("x").unwrap();
    let old = producer(FIRST_ID, 0);
    let reply = desk.ask(3, init_request("x", producer(FIRST_ID, 7), TIMEOUT_MS));
    assert!(
        matches!(reply, Reply::InitProducerId(reply) if reply.error_code == ErrorCode::INVALID_PRODUCER_EPOCH)
    );
    let reply = desk.ask(1, end_request("x", old, true));
    assert!(matches!(reply, Reply::End(reply) if reply.error_code == ErrorCode::INVALID_PRODUCER_EPOCH));
    let Reply::AddPartitions(reply) = desk.ask(1, add_request("x", old, false, T)) else { panic!() };
    let error = reply.topic_results[0].results_by_partition[0].partition_error_code;
    assert_eq!(error, ErrorCode::INVALID_PRODUCER_EPOCH);
}

#[test]
fn a_producer_goes_on_after_an_error_and_may_repeat_that_he_does() {
    let mut desk = Desk::new(Settings::default());
    let first = desk.init("x").unwrap();
    let second = desk.init_as("x", first, TIMEOUT_MS).unwrap();
    assert_eq!(second, producer(FIRST_ID, 1));
    assert_eq!(desk.init_as("x", first, TIMEOUT_MS), Ok(second), "he has not heard it");
    assert_eq!(desk.init_as("x", second, TIMEOUT_MS), Ok(producer(FIRST_ID, 2)));
    assert_eq!(desk.init_as("x", first, TIMEOUT_MS), Err(ErrorCode::PRODUCER_FENCED));
    assert_eq!(desk.init_as("x", producer(77, 2), TIMEOUT_MS), Err(ErrorCode::PRODUCER_FENCED));
    // Somebody else has begun: nothing to repeat.
    assert_eq!(desk.init("x"), Ok(producer(FIRST_ID, 3)));
    assert_eq!(desk.init_as("x", producer(FIRST_ID, 2), TIMEOUT_MS), Err(ErrorCode::PRODUCER_FENCED));
    // A transactional id that was forgotten is anybody's.
    assert_eq!(desk.init_as("y", producer(5, 5), TIMEOUT_MS), Ok(producer(FIRST_ID + 1, 0)));
}

#[test]
fn epochs_that_are_used_up_lead_to_another_id() {
    let mut desk = Desk::new(Settings::default());
    let mut last = desk.init("x").unwrap();
    while last.epoch < LAST_EPOCH {
        last = desk.init_as("x", last, TIMEOUT_MS).unwrap();
    }
    assert_eq!(last, producer(FIRST_ID, LAST_EPOCH));
    assert_eq!(desk.init_as("x", producer(FIRST_ID, 3), TIMEOUT_MS), Err(ErrorCode::PRODUCER_FENCED));
    let next = desk.init_as("x", last, TIMEOUT_MS).unwrap();
    assert_eq!(next, producer(FIRST_ID + 1, 0));
    assert_eq!(desk.init_as("x", last, TIMEOUT_MS), Ok(next), "he has not heard it");
    assert_eq!(desk.durable(), desk.replayed());
}

#[test]
fn an_open_transaction_is_aborted_first() {
    for settings in [Settings::default(), first_protocol()] {
        let mut desk = Desk::new(settings);
        let first = desk.init("x").unwrap();
        assert_eq!(desk.add("x", first, T), ErrorCode::NONE);
        assert_eq!(desk.init("x"), Err(ErrorCode::CONCURRENT_TRANSACTIONS));
        let [markers] = &desk.markers[..] else { panic!("{:?}", desk.markers) };
        assert_eq!(
            (markers.commit, markers.producer, markers.partitions.len()),
            (false, producer(FIRST_ID, 1), 2)
        );
        assert_eq!(desk.status("x"), Status::PrepareAbort);
        assert_eq!(desk.end("x", first, true), ErrorCode::PRODUCER_FENCED);
        assert_eq!(desk.init("x"), Err(ErrorCode::CONCURRENT_TRANSACTIONS));
        desk.mark();
        assert_eq!(desk.status("x"), Status::CompleteAbort);
        assert_eq!(desk.init("x"), Ok(producer(FIRST_ID, 2)), "an epoch that nobody else was told of");
        assert_eq!(desk.durable(), desk.replayed());
    }
}

#[test]
fn partitions_are_added_once_and_verified() {
    let mut desk = Desk::new(Settings::default());
    let first = desk.init("x").unwrap();
    desk.pass(10);
    assert_eq!(desk.add("x", first, T), ErrorCode::NONE);
    let began = desk.now.wall;
    let records = desk.log.len();
    desk.pass(10);
    assert_eq!(desk.add("x", first, &[("t", &[1])]), ErrorCode::NONE);
    assert_eq!(desk.log.len(), records, "nothing new");
    assert_eq!(desk.add("x", first, &[("u", &[4])]), ErrorCode::NONE);
    let known = desk.transaction("x");
    assert_eq!((known.partitions.len(), known.started, known.updated), (3, began, began + 10));
    let (ok, not) = (ErrorCode::NONE, ErrorCode::TRANSACTION_ABORTABLE);
    assert_eq!(desk.verify("x", first, &[("t", &[0, 2]), ("u", &[4])]), [ok, not, ok]);
    assert_eq!(desk.verify("x", producer(FIRST_ID, 1), T)[0], ErrorCode::PRODUCER_FENCED);
    assert_eq!(desk.verify("x", producer(9, 0), T)[0], ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    assert_eq!(desk.verify("z", first, T)[0], ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    assert_eq!(desk.verify("", first, T)[0], ErrorCode::INVALID_REQUEST);
    assert_eq!(desk.end("x", first, true), ErrorCode::NONE);
    assert_eq!(desk.verify("x", first, T)[0], ErrorCode::CONCURRENT_TRANSACTIONS);
    assert_eq!(desk.add("x", first, T), ErrorCode::CONCURRENT_TRANSACTIONS);
    desk.mark();
    assert_eq!(desk.verify("x", first, T)[0], not);
}

#[test]
fn offsets_are_added_as_their_partition() {
    let mut desk = Desk::new(Settings::default());
    let first = desk.init("x").unwrap();
    let request = AddOffsetsToTxnRequest {
        transactional_id: "x".into(),
        producer_id: first.id,
        producer_epoch: first.epoch,
        group_id: "g".into(),
    };
    let reply = desk.ask(3, Request::AddOffsets(request, 17));
    assert_eq!(reply, Reply::AddOffsets(AddOffsetsToTxnResponse::default()));
    assert!(desk.transaction("x").partitions.contains("__consumer_offsets", 17));
}

#[test]
fn what_the_log_refuses_has_not_happened() {
    let mut desk = Desk::new(Settings::default());
    let first = desk.init("x").unwrap();
    let before = desk.durable();
    let token = desk.put(5, init_request("x", producer(-1, -1), TIMEOUT_MS));
    let other = desk.put(5, init_request("y", producer(-1, -1), TIMEOUT_MS));
    desk.refuse(ErrorCode::NOT_ENOUGH_REPLICAS);
    for token in [token, other] {
        let Some(Reply::InitProducerId(reply)) = desk.reply(token) else { panic!() };
        assert_eq!((reply.error_code, reply.producer_id), (ErrorCode::COORDINATOR_NOT_AVAILABLE, -1));
    }
    assert_eq!(desk.durable(), before);
    assert_eq!(desk.add("x", first, T), ErrorCode::NONE, "he was not fenced");
}
