//! What is asked of a broker besides the load.

use std::time::{Duration, Instant};

use ottla::command::client::Connection;
use ottla::wire::error::ErrorCode;
use ottla::wire::schema::{
    CreatableTopic, CreateTopicsRequest, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};

/// The topic.
pub const TOPIC: &str = "wide";
const PATIENCE: Duration = Duration::from_secs(300);

/// Makes the topic in one request.
pub fn create(address: &str, partitions: i32) {
    let mut connection = Connection::open(address, PATIENCE).expect("it serves");
    let topic = CreatableTopic {
        name: TOPIC.into(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: PATIENCE.as_millis() as i32,
        ..Default::default()
    };
    let answer = connection.call(&request).expect("an answer");
    assert_eq!(answer.topics[0].error_code, ErrorCode::NONE, "{:?}", answer.topics[0].error_message);
}

/// Waits until each partition says where it ends.
pub fn wait_for(address: &str, partitions: i32) {
    let deadline = Instant::now() + PATIENCE;
    while !answer(address, partitions) {
        assert!(Instant::now() < deadline, "{address}: {partitions} partitions do not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn answer(address: &str, partitions: i32) -> bool {
    let Ok(mut connection) = Connection::open(address, PATIENCE) else { return false };
    let latest =
        |index| ListOffsetsPartition { partition_index: index, current_leader_epoch: -1, timestamp: -1 };
    let topic = ListOffsetsTopic { name: TOPIC.into(), partitions: (0..partitions).map(latest).collect() };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let Ok(answer) = connection.call(&request) else { return false };
    answer.topics.iter().flat_map(|topic| &topic.partitions).all(|partition| partition.error_code.is_none())
}
