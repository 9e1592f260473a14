use std::sync::Arc;

use super::deliver::Delivery;
use super::input::Input;
use super::*;
use crate::command::client::fake::{Answer, Fake, Script, TOPIC_ID};
use crate::command::output::Style;
use crate::wire::batch::Batch;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{PartitionProduceResponse, ProduceResponse, TopicProduceResponse};

fn word(code: ErrorCode) -> Answer<ProduceResponse> {
    let partition = PartitionProduceResponse { error_code: code, base_offset: 5, ..Default::default() };
    let topic = TopicProduceResponse {
        topic_id: TOPIC_ID,
        partition_responses: vec![partition],
        ..Default::default()
    };
    Answer::Send(ProduceResponse { responses: vec![topic], ..Default::default() })
}

fn broker(answers: impl IntoIterator<Item = Answer<ProduceResponse>>) -> Fake {
    Fake::start(Script { produce: answers.into_iter().collect(), ..Default::default() })
}

fn delivery(fake: &Fake) -> Delivery {
    let mut args = <Cli as clap::Parser>::parse_from(["produce", "-t", "t"]).args;
    args.no_create = true;
    Delivery::new(
        Client::connect(&fake.global()).unwrap(),
        &args,
        Style { quiet: true, ..Default::default() },
    )
    .unwrap()
}

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: ProduceArgs,
}

fn send(delivery: &mut Delivery, values: std::ops::Range<usize>) {
    for n in values {
        let record =
            Input { key: None, value: Some(n.to_string().into()), headers: Arc::new([]), timestamp: 1000 };
        delivery.add(record).unwrap();
    }
    delivery.flush().unwrap();
}

/// What each request held: the producer's id, the sequence, the values.
fn requests(fake: &Fake) -> Vec<(i64, i32, Vec<String>)> {
    let script = fake.script.lock().unwrap();
    let requests = script.produced.iter().map(|request| {
        let records = request.topic_data[0].partition_data[0].records.clone().unwrap();
        let batch = Batch::first(&records).unwrap();
        batch.check_from_client().unwrap();
        let set = batch.open(1 << 20).unwrap();
        let value = |r: crate::wire::batch::Record<'_>| String::from_utf8(r.value.unwrap().to_vec()).unwrap();
        let values = set.iter().map(|r| value(r.unwrap())).collect();
        (batch.producer_id(), batch.base_sequence(), values)
    });
    requests.collect()
}

fn values(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[test]
fn a_batch_that_may_succeed_later_is_sent_again_as_it_was() {
    let fake = broker([
        word(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        Answer::Close,
        word(ErrorCode::NOT_ENOUGH_REPLICAS),
        word(ErrorCode::NONE),
        word(ErrorCode::NONE),
    ]);
    let mut delivery = delivery(&fake);
    send(&mut delivery, 0..3);
    send(&mut delivery, 3..5);
    delivery.verdict().unwrap();
    let again = (1, 0, values(0..3));
    assert_eq!(requests(&fake), [again.clone(), again.clone(), again.clone(), again, (1, 3, values(3..5))]);
}

#[test]
fn a_batch_that_is_there_already_counts_as_delivered() {
    let fake = broker([Answer::Close, word(ErrorCode::DUPLICATE_SEQUENCE_NUMBER), word(ErrorCode::NONE)]);
    let mut delivery = delivery(&fake);
    send(&mut delivery, 0..3);
    send(&mut delivery, 3..4);
    delivery.verdict().unwrap();
    assert_eq!(requests(&fake)[2], (1, 3, values(3..4)));
}

#[test]
fn a_batch_that_is_too_large_is_halved_in_order() {
    let fake = broker([
        word(ErrorCode::MESSAGE_TOO_LARGE),
        // The first half has to wait for its leader; the second must wait for the first.
        word(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        word(ErrorCode::NONE),
        word(ErrorCode::MESSAGE_TOO_LARGE),
        word(ErrorCode::NONE),
        word(ErrorCode::NONE),
    ]);
    let mut delivery = delivery(&fake);
    send(&mut delivery, 0..8);
    delivery.verdict().unwrap();
    assert_eq!(
        requests(&fake),
        [
            (1, 0, values(0..8)),
            (1, 0, values(0..4)),
            (1, 0, values(0..4)),
            (1, 4, values(4..8)),
            (1, 4, values(4..6)),
            (1, 6, values(6..8)),
        ]
    );
}

#[test]
fn a_refused_batch_is_lost_and_uses_no_sequence() {
    let fake = broker([word(ErrorCode::INVALID_RECORD), word(ErrorCode::NONE)]);
    let mut delivery = delivery(&fake);
    send(&mut delivery, 0..2);
    send(&mut delivery, 2..4);
    assert!(delivery.verdict().is_err());
    assert_eq!(requests(&fake), [(1, 0, values(0..2)), (1, 0, values(2..4))]);
}

#[test]
fn sequences_of_a_batch_that_may_have_been_written_are_not_used_again() {
    // More refusals than fit into the request timeout of one second.
    let refusals = (0..100).map(|_| word(ErrorCode::REQUEST_TIMED_OUT));
    let fake = broker(refusals);
    let mut delivery = delivery(&fake);
    send(&mut delivery, 0..2);
    assert!(delivery.verdict().is_err());
    fake.script.lock().unwrap().produce = [word(ErrorCode::NONE)].into();
    send(&mut delivery, 2..4);
    assert_eq!(requests(&fake).last().unwrap(), &(2, 0, values(2..4)));
}
