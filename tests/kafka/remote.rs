//! A broker spoken to frame by frame: what it answers, to the byte.

use std::time::{Duration, Instant};

use ottla::command::client::Connection;
use ottla::wire::batch::{Batch, batches};
use ottla::wire::error::ErrorCode;
use ottla::wire::schema::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, FetchPartition, FetchRequest, FetchTopic,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResource, IncrementalAlterableConfig,
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic, MetadataRequest, MetadataRequestTopic,
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};
use ottla::wire::uuid::Uuid;

/// How long anything may take before the test counts as hanging.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A broker, Ottla or stock Kafka.
pub struct Remote(pub Connection);

impl Remote {
    pub fn open(address: &str) -> Remote {
        Remote(Connection::open(address, PATIENCE).unwrap())
    }

    /// Makes a topic, and waits until it is served.
    pub fn create(&mut self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let setting = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).to_owned()),
        };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: settings.iter().map(setting).collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
        let created = self.0.call(&request).unwrap();
        assert_eq!(created.topics[0].error_code, ErrorCode::NONE, "{created:?}");
        (0..partitions).for_each(|partition| self.wait_for(name, partition));
    }

    /// Waits until a partition is served.
    pub fn wait_for(&mut self, name: &str, partition: i32) {
        let deadline = Instant::now() + PATIENCE;
        while self.offset(name, partition, -1).is_err() {
            assert!(Instant::now() < deadline, "{name}-{partition} is not served");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Changes a setting of a topic.
    pub fn set(&mut self, topic: &str, name: &str, value: &str) {
        self.alter(2, topic, name, value);
    }

    /// Changes a setting of a group.
    pub fn set_group(&mut self, group: &str, name: &str, value: &str) {
        self.alter(32, group, name, value);
    }

    fn alter(&mut self, resource_type: i8, resource_name: &str, name: &str, value: &str) {
        let config =
            IncrementalAlterableConfig { name: name.into(), config_operation: 0, value: Some(value.into()) };
        let resource = IncrementalAlterConfigsResource {
            resource_type,
            resource_name: resource_name.into(),
            configs: vec![config],
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        let answer = self.0.call(&request).unwrap();
        assert_eq!(answer.responses[0].error_code, ErrorCode::NONE, "{answer:?}");
    }

    /// A topic's id.
    pub fn id(&mut self, name: &str) -> Uuid {
        let topic = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
        let answer = self.0.call(&request).unwrap();
        assert_eq!(answer.topics[0].error_code, ErrorCode::NONE, "{answer:?}");
        answer.topics[0].topic_id
    }

    /// The offset and the timestamp that a time, or -1, -2, -3 for the end, the start, the largest time, leads to.
    pub fn offset(&mut self, name: &str, partition: i32, time: i64) -> Result<(i64, i64), ErrorCode> {
        let part = ListOffsetsPartition { partition_index: partition, timestamp: time, ..Default::default() };
        let topic = ListOffsetsTopic { name: name.into(), partitions: vec![part] };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let answer = self.0.call(&request).unwrap();
        let part = &answer.topics[0].partitions[0];
        if part.error_code.is_error() { Err(part.error_code) } else { Ok((part.offset, part.timestamp)) }
    }

    /// All batches of a partition, as they come over the wire.
    pub fn fetch_all(&mut self, name: &str, partition: i32) -> Vec<u8> {
        let topic_id = self.id(name);
        let (mut offset, _) = self.offset(name, partition, -2).unwrap();
        let mut all = Vec::new();
        loop {
            let part = FetchPartition {
                partition,
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            };
            let topic = FetchTopic { topic: name.into(), topic_id, partitions: vec![part] };
            let request = FetchRequest { max_bytes: 4 << 20, topics: vec![topic], ..Default::default() };
            let answer = self.0.call(&request).unwrap();
            let part = &answer.responses[0].partitions[0];
            assert_eq!(part.error_code, ErrorCode::NONE, "{name}-{partition} at {offset}");
            let bytes = part.records.as_ref().map(|records| records.to_bytes()).unwrap_or_default();
            let before = offset;
            for batch in batches(&bytes).map_while(Result::ok) {
                batch.check().unwrap();
                all.extend_from_slice(batch.bytes());
                offset = batch.last_offset() + 1;
            }
            if offset == before {
                // Where the last records were compacted away, the end lies behind the last batch.
                assert!(bytes.is_empty() && offset <= part.high_watermark, "{name}-{partition} at {offset}");
                return all;
            }
        }
    }

    /// Appends a batch as it is.
    pub fn produce(&mut self, name: &str, partition: i32, records: &[u8]) -> PartitionProduceResponse {
        assert!(Batch::first(records).is_ok());
        let data = PartitionProduceData { index: partition, records: Some(records.to_vec().into()) };
        let topic_id = self.id(name);
        let topic = TopicProduceData { name: name.into(), topic_id, partition_data: vec![data] };
        let request =
            ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
        self.0.call(&request).unwrap().responses.remove(0).partition_responses.remove(0)
    }
}
