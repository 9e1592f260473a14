//! The runtime, with a machine that adds numbers.

use std::collections::BTreeMap;

use crate::coordinator::runtime::{Effects, Machine, Now, Runtime, Token, error_of_log};
use crate::limits;
use crate::wire::error::ErrorCode;

/// Values by key; a record sets one.
#[derive(Debug, Default)]
struct Sums {
    values: BTreeMap<u8, i64>,
    alarm: Option<u64>,
    undone: usize,
}

#[derive(Debug, PartialEq)]
enum Event {
    /// Adds to each key, and answers with the sum of the last.
    Add(Token, Vec<(u8, i64)>),
    Get(Token, u8),
    Alarm(u64),
    Alone(Token),
}

#[derive(Debug, PartialEq)]
enum Reply {
    Sum(i64),
    Error(ErrorCode),
}

impl Machine for Sums {
    type Record = (u8, i64);
    type Form = u8;
    type Event = Event;
    type Reply = Reply;
    type Undo = (u8, Option<i64>);

    fn replay(&mut self, _: &u8, (key, value): &(u8, i64)) -> Self::Undo {
        (*key, self.values.insert(*key, *value))
    }

    fn undo(&mut self, (key, before): Self::Undo) {
        match before {
            Some(value) => drop(self.values.insert(key, value)),
            None => drop(self.values.remove(&key)),
        }
    }

    fn undone(&mut self, _: Now, _: ErrorCode, _: &mut Effects<Sums>) {
        self.undone += 1;
    }

    fn begin(&mut self, _: Now, _: &mut Effects<Sums>) -> bool {
        true
    }

    fn handle(&mut self, _: Now, event: Event, effects: &mut Effects<Sums>) {
        match event {
            Event::Add(token, changes) => {
                let mut sums = BTreeMap::new();
                let mut last = 0;
                for (key, change) in changes {
                    let sum = sums.entry(key).or_insert(*self.values.get(&key).unwrap_or(&0));
                    *sum += change;
                    last = *sum;
                    effects.records.push((key, last));
                }
                effects.reply(token, Reply::Sum(last));
            }
            Event::Get(token, key) => effects.reply(token, Reply::Sum(*self.values.get(&key).unwrap_or(&0))),
            Event::Alarm(at) => self.alarm = Some(at),
            Event::Alone(token) => {
                effects.form = 1;
                effects.records.push((0, 0));
                effects.reply(token, Reply::Sum(0));
            }
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        self.alarm
    }

    fn fire(&mut self, now: Now, effects: &mut Effects<Sums>) -> bool {
        let due = self.alarm.take_if(|at| *at <= now.tick).is_some();
        if due {
            effects.records.push((255, now.tick as i64));
        }
        due
    }

    fn close(&mut self, _: ErrorCode, _: &mut Effects<Sums>) {}

    fn refuse(event: Event, error: ErrorCode) -> Option<(Token, Reply)> {
        match event {
            Event::Add(token, _) | Event::Get(token, _) | Event::Alone(token) => {
                Some((token, Reply::Error(error)))
            }
            Event::Alarm(_) => None,
        }
    }

    fn fail(_: Reply, error: ErrorCode) -> Reply {
        Reply::Error(error_of_log(error))
    }

    fn size(_: &(u8, i64)) -> usize {
        limits::COORDINATOR_BATCH_BYTES / 4
    }

    fn may_share(form: &u8) -> bool {
        *form == 0
    }
}

fn at(tick: u64) -> Now {
    Now { tick, wall: 0 }
}

fn active() -> Runtime<Sums> {
    let mut runtime = Runtime::new(Sums::default(), 5000);
    assert!(runtime.loaded(at(0)));
    runtime
}

fn add(runtime: &mut Runtime<Sums>, token: u64, key: u8, change: i64) -> Option<i64> {
    runtime.event(at(0), Event::Add(Token(token), vec![(key, change)]));
    runtime.batches().last().map(|batch| batch.from)
}

fn refused(token: u64, error: ErrorCode) -> (Token, Reply) {
    (Token(token), Reply::Error(error))
}

fn sum(token: u64, sum: i64) -> (Token, Reply) {
    (Token(token), Reply::Sum(sum))
}

#[test]
fn a_reply_waits_for_its_records_and_a_read_for_what_it_saw() {
    let mut runtime = active();
    runtime.event(at(0), Event::Get(Token(1), 7));
    assert_eq!(runtime.replies(), [sum(1, 0)]);
    let from = add(&mut runtime, 2, 7, 5).unwrap();
    runtime.event(at(0), Event::Get(Token(3), 7));
    runtime.appended(from, 100);
    assert_eq!(runtime.replies(), []);
    runtime.committed(100);
    assert_eq!(runtime.replies(), []);
    runtime.committed(101);
    assert_eq!(runtime.replies(), [sum(2, 5), sum(3, 5)]);
    assert_eq!((runtime.in_flight(), runtime.waiting()), (0, 0));
}

#[test]
fn events_between_two_takes_share_a_batch_as_far_as_it_goes() {
    let mut runtime = active();
    for token in 0..6 {
        runtime.event(at(0), Event::Add(Token(token), vec![(1, 1)]));
    }
    runtime.event(at(0), Event::Alone(Token(6)));
    runtime.event(at(0), Event::Alone(Token(7)));
    runtime.event(at(0), Event::Add(Token(8), vec![(1, 1); 5]));
    let batches = runtime.batches();
    let shape: Vec<(i64, usize, u8)> = batches.iter().map(|b| (b.from, b.records.len(), b.form)).collect();
    // The last event has more than a batch holds, and is not torn.
    assert_eq!(shape, [(0, 4, 0), (4, 2, 0), (6, 1, 1), (7, 1, 1), (8, 5, 0)]);
    for (n, batch) in batches.iter().enumerate() {
        runtime.appended(batch.from, 10 * n as i64);
    }
    runtime.committed(4);
    assert_eq!(runtime.replies().len(), 4);
    runtime.committed(45);
    assert_eq!(runtime.replies().len(), 5);
}

#[test]
fn failure_undoes_the_batch_and_all_behind_it_newest_first() {
    let mut runtime = active();
    let first = add(&mut runtime, 1, 7, 5).unwrap();
    let second = add(&mut runtime, 2, 7, 10).unwrap();
    let third = add(&mut runtime, 3, 7, 100).unwrap();
    runtime.event(at(0), Event::Get(Token(4), 7));
    // Not handed out yet, and undone with the others.
    runtime.event(at(0), Event::Add(Token(5), vec![(8, 1)]));
    runtime.appended(first, 0);
    runtime.failed(at(1), second, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    let error = ErrorCode::NOT_COORDINATOR;
    assert_eq!(
        runtime.replies(),
        [refused(2, error), refused(3, error), refused(4, error), refused(5, error)]
    );
    assert_eq!(runtime.machine().values, BTreeMap::from([(7, 5)]));
    assert!(runtime.batches().is_empty());
    // News of what is undone already, after a new batch: its number is another.
    let fourth = add(&mut runtime, 6, 7, 1).unwrap();
    runtime.failed(at(1), third, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    runtime.appended(third, 50);
    assert_eq!(runtime.machine().values, BTreeMap::from([(7, 6)]));
    runtime.appended(fourth, 1);
    runtime.committed(2);
    assert_eq!(runtime.replies(), [sum(1, 5), sum(6, 6)]);
    assert_eq!(runtime.machine().undone, 1);
}

#[test]
fn a_reply_that_saw_only_what_stays_stays_too() {
    let mut runtime = active();
    let first = add(&mut runtime, 1, 7, 5).unwrap();
    runtime.event(at(0), Event::Get(Token(2), 7));
    let second = add(&mut runtime, 3, 7, 1).unwrap();
    runtime.failed(at(1), second, ErrorCode::NOT_ENOUGH_REPLICAS);
    assert_eq!(runtime.replies(), [refused(3, ErrorCode::COORDINATOR_NOT_AVAILABLE)]);
    runtime.appended(first, 0);
    runtime.committed(1);
    assert_eq!(runtime.replies(), [sum(1, 5), sum(2, 5)]);
}

#[test]
fn a_reply_does_not_wait_for_ever_and_its_records_stay() {
    let mut runtime = active();
    let from = add(&mut runtime, 1, 7, 5).unwrap();
    assert_eq!(runtime.next_deadline(), Some(5000));
    runtime.tick(at(4999));
    assert_eq!(runtime.replies(), []);
    runtime.tick(at(5000));
    assert_eq!(runtime.replies(), [refused(1, ErrorCode::COORDINATOR_NOT_AVAILABLE)]);
    runtime.appended(from, 0);
    runtime.committed(1);
    assert_eq!(runtime.replies(), []);
    assert_eq!((runtime.machine().values[&7], runtime.in_flight()), (5, 0));
}

#[test]
fn nobody_is_served_while_loading_or_after_the_end() {
    let mut runtime = Runtime::new(Sums::default(), 5000);
    runtime.event(at(0), Event::Get(Token(1), 7));
    assert_eq!(runtime.replies(), [refused(1, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)]);
    runtime.load(&0, &(7, 3));
    runtime.load(&0, &(7, 4));
    assert!(runtime.loaded(at(0)) && runtime.is_active());
    runtime.event(at(0), Event::Get(Token(2), 7));
    assert_eq!(runtime.replies(), [sum(2, 4)]);
    add(&mut runtime, 3, 7, 1);
    runtime.event(at(0), Event::Get(Token(4), 7));
    runtime.close(ErrorCode::NOT_COORDINATOR);
    runtime.event(at(0), Event::Get(Token(5), 7));
    let error = ErrorCode::NOT_COORDINATOR;
    assert_eq!(runtime.replies(), [refused(3, error), refused(4, error), refused(5, error)]);
    assert_eq!((runtime.next_deadline(), runtime.in_flight()), (None, 0));
}

#[test]
fn a_timer_writes_records_like_an_event() {
    let mut runtime = active();
    runtime.event(at(0), Event::Alarm(30));
    assert_eq!(runtime.next_deadline(), Some(30));
    runtime.tick(at(29));
    assert!(runtime.batches().is_empty());
    runtime.tick(at(31));
    let batches = runtime.batches();
    assert_eq!((batches.len(), &batches[0].records), (1, &vec![(255, 31)]));
}
