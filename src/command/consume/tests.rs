use bytes::Bytes;

use super::*;
use crate::command::client::fake::{Answer, Fake, Script, TOPIC_ID};
use crate::wire::batch::{BatchBuilder, Compression, control_key};
use crate::wire::codec::Records;
use crate::wire::schema::{FetchResponse, FetchableTopicResponse, PartitionData};

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: ConsumeArgs,
}

fn batch(offsets: std::ops::Range<i64>) -> Vec<u8> {
    let mut builder = BatchBuilder::new().base_offset(offsets.start).compression(Compression::Gzip);
    for offset in offsets {
        builder.append(1000 + offset, None, Some(offset.to_string().as_bytes()), &[]);
    }
    builder.build().unwrap()
}

fn fetched(code: ErrorCode, records: Vec<u8>, log_start: i64) -> Answer<FetchResponse> {
    let partition = PartitionData {
        error_code: code,
        records: Some(Records::from(Bytes::from(records))),
        log_start_offset: log_start,
        ..Default::default()
    };
    let topic =
        FetchableTopicResponse { topic_id: TOPIC_ID, partitions: vec![partition], ..Default::default() };
    Answer::Send(FetchResponse { responses: vec![topic], ..Default::default() })
}

fn records(records: Vec<u8>) -> Answer<FetchResponse> {
    fetched(ErrorCode::NONE, records, 0)
}

fn broker(end: i64, answers: impl IntoIterator<Item = Answer<FetchResponse>>) -> Fake {
    Fake::start(Script { fetch: answers.into_iter().collect(), offsets: (0, end), ..Default::default() })
}

fn consume(fake: &Fake, more: &[&str]) -> Result<Vec<i64>> {
    let arguments = [&["consume", "-t", "t"], more].concat();
    let args = <Cli as clap::Parser>::parse_from(arguments).args;
    let mut out = Vec::new();
    run_into(&args, &fake.global(), &mut out)?;
    Ok(String::from_utf8(out).unwrap().lines().map(|l| l.parse().unwrap()).collect())
}

fn asked(fake: &Fake) -> Vec<i64> {
    let script = fake.script.lock().unwrap();
    script.fetched.iter().map(|f| f.topics[0].partitions[0].fetch_offset).collect()
}

#[test]
fn each_record_comes_once_whatever_the_answers_are_cut_into() {
    let cut = [batch(0..10), batch(10..20)[..70].to_vec()].concat();
    let fake = broker(
        30,
        [
            records(cut),
            Answer::Close,
            records(batch(10..20)),
            fetched(ErrorCode::NOT_LEADER_OR_FOLLOWER, Vec::new(), 0),
            records(vec![]),
            records([batch(20..25), batch(25..30)].concat()),
        ],
    );
    assert_eq!(consume(&fake, &["-e"]).unwrap(), (0..30).collect::<Vec<_>>());
    assert_eq!(asked(&fake)[..6], [0, 10, 10, 20, 20, 20]);
}

#[test]
fn a_start_within_a_batch_begins_there() {
    let fake = broker(20, [records([batch(0..10), batch(10..20)].concat())]);
    assert_eq!(consume(&fake, &["-e", "-o", "7"]).unwrap(), (7..20).collect::<Vec<_>>());
    let fake = broker(20, [records([batch(0..10), batch(10..20)].concat())]);
    assert_eq!(consume(&fake, &["-o", "7", "-c", "5"]).unwrap(), (7..12).collect::<Vec<_>>());
}

#[test]
fn markers_are_not_shown_and_gaps_are_passed_over() {
    let mut marker = BatchBuilder::new().base_offset(10).control();
    marker.append(1000, Some(&control_key(1)), Some(&[0; 6]), &[]);
    // Offsets 11 to 19 were compacted away.
    let all = [batch(0..10), marker.build().unwrap(), batch(20..22)].concat();
    let fake = broker(22, [records(all)]);
    let wanted: Vec<i64> = (0..10).chain(20..22).collect();
    assert_eq!(consume(&fake, &["-e"]).unwrap(), wanted);
    // A marker at the very end must not keep a consumer waiting.
    let mut marker = BatchBuilder::new().base_offset(10).control();
    marker.append(1000, Some(&control_key(1)), Some(&[0; 6]), &[]);
    let fake = broker(11, [records([batch(0..10), marker.build().unwrap()].concat())]);
    assert_eq!(consume(&fake, &["-e"]).unwrap(), (0..10).collect::<Vec<_>>());
}

#[test]
fn records_that_retention_took_are_left_out() {
    let gone = fetched(ErrorCode::OFFSET_OUT_OF_RANGE, Vec::new(), 20);
    let fake = broker(30, [gone, records(batch(20..30))]);
    assert_eq!(consume(&fake, &["-e", "-o", "3"]).unwrap(), (20..30).collect::<Vec<_>>());
    let fake = broker(30, [fetched(ErrorCode::OFFSET_OUT_OF_RANGE, Vec::new(), 20)]);
    let failure = consume(&fake, &["-o", "31"]).unwrap_err();
    assert!(failure.to_string().contains("offset 31 lies behind the end"), "{failure}");
}

#[test]
fn damage_is_told_and_not_shown() {
    let mut builder = BatchBuilder::new();
    builder.append(1000, None, Some(b"1"), &[]);
    let mut damaged = builder.build().unwrap();
    // The value becomes another digit: nothing but the checksum can tell.
    let value = damaged.len() - 2;
    damaged[value] ^= 2;
    let fake = broker(1, [records(damaged)]);
    let failure = consume(&fake, &["-e"]).unwrap_err();
    let told = failure.to_string();
    assert!(told.contains("t-0, in the batch at offset 0") && told.contains("checksum"), "{told}");
}
