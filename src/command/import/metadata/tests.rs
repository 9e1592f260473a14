use super::*;
use crate::wire::batch::BatchMut;
use crate::wire::schema::*;

/// A batch of these records, the first at this offset.
fn batch(offset: i64, records: &[MetadataRecord]) -> Vec<u8> {
    let mut batch = metadata_log::encode(records, 1).to_vec();
    BatchMut::first(&mut batch).unwrap().set_base_offset(offset);
    batch
}

fn file(offset: i64, batches: &[Vec<u8>]) -> MetadataFile {
    MetadataFile { name: format!("file {offset}"), offset, bytes: batches.concat() }
}

fn topic(name: &str, id: u8) -> MetadataRecord {
    TopicRecord { name: name.into(), topic_id: Uuid([id; 16]) }.into()
}

fn names(metadata: &Metadata) -> Vec<String> {
    metadata.image.topics().map(|topic| topic.name.to_string()).collect()
}

#[test]
fn a_snapshot_stands_for_the_records_before_its_end() {
    let snapshot = file(10, &[batch(0, &[topic("old", 1)]), batch(1, &[topic("older", 2)])]);
    // The segment begins before the snapshot's end: the topic that it makes there was deleted meanwhile.
    let segment = file(8, &[batch(8, &[topic("gone", 3), topic("gone-too", 4), topic("new", 5)])]);
    let read_all = read("c", Some(&snapshot), std::slice::from_ref(&segment)).unwrap();
    assert_eq!(names(&read_all), ["new", "old", "older"]);
    let gap = file(11, &[batch(11, &[topic("new", 5)])]);
    let why = read("c", Some(&snapshot), &[gap]).unwrap_err();
    assert!(why.contains("the records from 10 on are nowhere"), "{why}");
    assert!(read("c", None, &[segment]).is_err(), "nothing stands for the records before the segment");
}

#[test]
fn the_last_segment_may_be_torn_and_no_other() {
    let mut torn = file(0, &[batch(0, &[topic("a", 1)]), batch(1, &[topic("b", 2)])]);
    torn.bytes.pop();
    let metadata = read("c", None, std::slice::from_ref(&torn)).unwrap();
    assert_eq!(names(&metadata), ["a"]);
    assert!(metadata.torn.unwrap().contains("position"));
    assert!(read("c", None, &[torn.clone(), file(1, &[])]).is_err());
    torn.bytes.truncate(80);
    torn.bytes.resize(4096, 0);
    assert!(read("c", Some(&torn), &[]).is_err(), "a snapshot is whole, or worth nothing");
    let extended = MetadataFile { bytes: [batch(0, &[topic("a", 1)]), vec![0; 999]].concat(), ..torn };
    assert_eq!(read("c", None, &[extended]).unwrap().torn, None);
}

#[test]
fn a_transaction_counts_when_it_has_ended() {
    let begin = || BeginTransactionRecord::default().into();
    let aborted = [begin(), topic("a", 1), AbortTransactionRecord::default().into(), topic("b", 2)];
    let ended = [begin(), topic("c", 3), EndTransactionRecord {}.into()];
    let open = [begin(), topic("d", 4)];
    let all = [batch(0, &aborted), batch(4, &ended), batch(7, &open)];
    assert_eq!(names(&read("c", None, &[file(0, &all)]).unwrap()), ["b", "c"]);
    let nothing = batch(0, &[AbortTransactionRecord::default().into()]);
    assert!(read("c", None, &[file(0, &[nothing])]).is_err());
}

#[test]
fn what_is_not_served_is_counted() {
    let acl = |id: u8| AccessControlEntryRecord { id: Uuid([id; 16]), ..Default::default() }.into();
    let user = |name: &str| {
        UserScramCredentialRecord { name: name.into(), mechanism: 1, ..Default::default() }.into()
    };
    let quota =
        |key: &str, remove| ClientQuotaRecord { key: key.into(), remove, ..Default::default() }.into();
    let records = [
        acl(1),
        acl(2),
        RemoveAccessControlEntryRecord { id: Uuid([1; 16]) }.into(),
        user("alice"),
        user("bob"),
        RemoveUserScramCredentialRecord { name: "bob".into(), mechanism: 1 }.into(),
        quota("producer_byte_rate", false),
        quota("producer_byte_rate", true),
        quota("consumer_byte_rate", false),
        RegisterControllerRecord { controller_id: 7, ..Default::default() }.into(),
        ZkMigrationStateRecord::default().into(),
    ];
    let unserved = read("c", None, &[file(0, &[batch(0, &records)])]).unwrap().unserved;
    assert_eq!((unserved.acls.len(), unserved.users.len(), unserved.quotas.len()), (1, 1, 1));
    assert!(unserved.users.contains(&("alice".to_owned(), 1)) && unserved.controllers.contains(&7));
}

#[test]
fn a_newer_kafka_is_refused() {
    let level = |feature_level| FeatureLevelRecord { name: VERSION.into(), feature_level }.into();
    let with = |level| read("c", None, &[file(0, &[batch(0, &[level])])]);
    assert_eq!(with(level(METADATA_VERSION)).unwrap().version(), METADATA_VERSION);
    assert!(with(level(METADATA_VERSION + 1)).unwrap_err().contains("run the Ottla that knows it"));
}
