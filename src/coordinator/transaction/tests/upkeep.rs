//! Timeouts, expiry, and what tools are told.

use super::desk::*;
use crate::coordinator::transaction::*;
use crate::wire::error::ErrorCode;

const T: &[(&str, &[i32])] = &[("t", &[0, 1])];

#[test]
fn what_runs_out_of_time_is_aborted_and_its_producer_fenced() {
    for settings in [Settings::default(), first_protocol()] {
        let mut desk = Desk::new(settings);
        let first = desk.init_as("x", producer(-1, -1), 25_000).unwrap();
        let other = desk.init_as("y", producer(-1, -1), 900_000).unwrap();
        desk.pass(6000);
        desk.add("x", first, T);
        desk.add("y", other, T);
        desk.pass(24_000); // it is looked every ten seconds, and at 30 s it has run for 24
        assert_eq!(desk.status("x"), Status::Ongoing);
        desk.pass(10_000);
        assert_eq!((desk.status("x"), desk.status("y")), (Status::PrepareAbort, Status::Ongoing));
        assert_eq!(desk.markers[0].producer, producer(first.id, 1));
        assert_eq!(desk.end("x", first, true), ErrorCode::PRODUCER_FENCED);
        desk.mark();
        assert_eq!(desk.status("x"), Status::CompleteAbort);
        assert_eq!(desk.add("x", first, T), ErrorCode::PRODUCER_FENCED);
        // After a restart, time has gone on.
        desk.restart(1);
        desk.pass(900_000);
        assert_eq!(desk.status("y"), Status::PrepareAbort);
        assert_eq!(desk.durable(), desk.replayed());
    }
}

#[test]
fn ids_that_nobody_uses_are_forgotten() {
    let hour = 3_600_000;
    let mut desk = Desk::new(Settings { id_expiration_ms: 3 * hour as i64, ..Settings::default() });
    let old = desk.init("old").unwrap();
    desk.pass(hour);
    let open = desk.init("open").unwrap();
    desk.pass(hour);
    desk.pass(hour - 1);
    assert!(desk.runtime.machine().transaction("old").is_some());
    desk.add("open", open, T);
    desk.end2("open", open, true).unwrap();
    desk.pass(1);
    assert!(desk.runtime.machine().transaction("old").is_none());
    let tombstone = desk.log.last().unwrap();
    assert_eq!((&*tombstone.id, &tombstone.value), ("old", &None));
    desk.pass(10 * hour);
    assert_eq!(desk.status("open"), Status::PrepareCommit, "what is not complete stays");
    assert_eq!(desk.durable(), desk.replayed());
    assert_eq!(desk.add("old", old, T), ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    assert_eq!(desk.init_as("old", old, TIMEOUT_MS), Ok(producer(FIRST_ID + 2, 0)), "with another id");
}

fn listed(desk: &mut Desk, request: ListTransactionsRequest) -> Vec<String> {
    let Reply::List(reply) = desk.ask(2, Request::List(request)) else { panic!() };
    assert_eq!(reply.error_code, ErrorCode::NONE);
    reply.transaction_states.into_iter().map(|state| state.transactional_id).collect()
}

#[test]
fn lists_go_by_state_producer_age_and_name() {
    let mut desk = Desk::new(Settings::default());
    for id in ["app-1", "app-2", "job"] {
        let producer = desk.init(id).unwrap();
        if id != "job" {
            desk.add(id, producer, T);
        }
        desk.pass(1000);
    }
    let all = ListTransactionsRequest { duration_filter: -1, ..Default::default() };
    assert_eq!(listed(&mut desk, all.clone()), ["app-1", "app-2", "job"]);
    let states = |states: &[&str]| ListTransactionsRequest {
        state_filters: states.iter().map(|state| state.to_string()).collect(),
        ..all.clone()
    };
    assert_eq!(listed(&mut desk, states(&["Ongoing"])), ["app-1", "app-2"]);
    assert_eq!(listed(&mut desk, states(&["Empty", "Nonsense"])), ["job"]);
    assert!(listed(&mut desk, states(&["Nonsense"])).is_empty());
    let ids = ListTransactionsRequest { producer_id_filters: vec![FIRST_ID + 1], ..all.clone() };
    assert_eq!(listed(&mut desk, ids), ["app-2"]);
    let age = ListTransactionsRequest { duration_filter: 2000, ..all.clone() };
    assert_eq!(
        listed(&mut desk, age),
        ["app-1", "job"],
        "one that never began is older than all, as in Kafka"
    );
    let pattern = |pattern: &str| ListTransactionsRequest {
        transactional_id_pattern: Some(pattern.into()),
        ..all.clone()
    };
    assert_eq!(listed(&mut desk, pattern("app-.*")), ["app-1", "app-2"]);
    assert!(listed(&mut desk, pattern("app")).is_empty(), "the whole name");
    assert_eq!(listed(&mut desk, pattern("app-1|job")), ["app-1", "job"]);
    assert_eq!(listed(&mut desk, pattern("")).len(), 3);
    for bad in ["(", ")(", "a)|(b"] {
        let Reply::List(reply) = desk.ask(2, Request::List(pattern(bad))) else { panic!() };
        assert_eq!(reply.error_code, ErrorCode::INVALID_REGULAR_EXPRESSION, "{bad}");
    }
    let Reply::List(reply) = desk.ask(0, Request::List(states(&["Nonsense"]))) else { panic!() };
    assert_eq!(reply.unknown_state_filters, ["Nonsense"]);
}

#[test]
fn a_transaction_is_described() {
    let mut desk = Desk::new(Settings::default());
    let first = desk.init("x").unwrap();
    desk.add("x", first, &[("t", &[2, 0]), ("a", &[1])]);
    let ids = vec!["x".to_string(), "y".into(), String::new()];
    let Reply::Describe(states) = desk.ask(0, Request::Describe(ids)) else { panic!() };
    let topics: Vec<(&str, &[i32])> =
        states[0].topics.iter().map(|topic| (topic.topic.as_str(), &topic.partitions[..])).collect();
    assert_eq!(topics, [("a", &[1][..]), ("t", &[0, 2])]);
    let state = &states[0];
    assert_eq!((state.transaction_state.as_str(), state.transaction_timeout_ms), ("Ongoing", TIMEOUT_MS));
    assert_eq!((state.producer_id, state.producer_epoch), (first.id, 0));
    assert_eq!(state.transaction_start_time_ms, desk.now.wall);
    let errors: Vec<ErrorCode> = states.iter().map(|state| state.error_code).collect();
    assert_eq!(errors, [ErrorCode::NONE, ErrorCode::TRANSACTIONAL_ID_NOT_FOUND, ErrorCode::INVALID_REQUEST]);
}

#[test]
fn nobody_is_served_while_the_log_is_read() {
    let machine = Transactions::new(Settings::default(), 0, Box::new(|| Ok(1)));
    let mut runtime = crate::coordinator::Runtime::new(machine, 5000);
    let caller = Caller { token: crate::coordinator::Token(1), version: 5 };
    let now = crate::coordinator::Now { tick: 0, wall: 0 };
    runtime.event(now, Event::Request(caller, init_request("x", producer(-1, -1), 1000)));
    let replies = runtime.replies();
    assert!(matches!(&replies[..], [(_, Reply::InitProducerId(reply))]
        if reply.error_code == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
}
