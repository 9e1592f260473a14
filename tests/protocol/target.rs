//! The broker under attack, and how much memory it may take.

use std::time::Duration;

use ottla::command::client::Connection;
use ottla::limits::{ANSWER_MEMORY, QUEUED_BYTES, READ_AHEAD_BUSY, REQUEST_MEMORY_MIN};
use ottla::wire::error::ErrorCode;
use ottla::wire::schema::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, ListOffsetsPartition, ListOffsetsRequest,
    ListOffsetsTopic, MetadataRequest, MetadataRequestTopic,
};
use ottla::wire::uuid::Uuid;

use crate::broker::{Broker, Folder, free_address};

/// How long anything may take before the test counts as hanging.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The memory of the cores' pools together.
const POOLS: u64 = 64 << 20;
/// What one connection may hold besides what is counted: what it has read ahead, one small request and its answer,
/// its tasks.
const CONNECTION: u64 = READ_AHEAD_BUSY as u64 + (16 << 10);
/// The allocator's own needs, and a debug build's.
const SLACK: u64 = 32 << 20;

/// A broker to attack.
pub struct Target {
    pub address: String,
    own: Option<Broker>,
}

impl Target {
    /// A broker of the test's own with little memory; or the one of OTTLA_TEST_BOOTSTRAP.
    pub fn start() -> Target {
        if let Ok(address) = std::env::var("OTTLA_TEST_BOOTSTRAP") {
            return Target { address, own: None };
        }
        let folder = Folder::new();
        let (config, profile) = (folder.0.join("server.properties"), folder.0.join("little.toml"));
        std::fs::write(&config, "auto.create.topics.enable=false\n").unwrap();
        let keys = "ring_depth = 256\ngrowth_min = \"16KiB\"\ngrowth_max = \"1MiB\"\n";
        std::fs::write(&profile, format!("memory = {POOLS}\n[core]\n{keys}")).unwrap();
        let address = free_address();
        let path = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
        let arguments = ["--config", &path(config), "--profile", &path(profile), "--listen", &address];
        let arguments = arguments.map(str::to_owned).to_vec();
        let mut broker = Broker::with(folder, address.clone(), arguments);
        broker.begin();
        broker.wait();
        Target { address, own: Some(broker) }
    }

    /// Whether it is the test's own.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// What the broker has said.
    pub fn log(&self) -> String {
        self.own.as_ref().map(Broker::log).unwrap_or_default()
    }

    /// A good client.
    pub fn client(&self) -> Connection {
        Connection::open(&self.address, PATIENCE).unwrap()
    }

    /// Makes a topic with a name that nobody else has.
    pub fn topic(&self, name: &str, partitions: i32) -> Topic {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let name = format!("{name}-{}-{since}", std::process::id());
        let large =
            CreatableTopicConfig { name: "max.message.bytes".into(), value: Some((8 << 20).to_string()) };
        let wanted = CreatableTopic {
            name: name.clone(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: vec![large],
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![wanted], timeout_ms: 30_000, ..Default::default() };
        let mut client = self.client();
        let created = client.call(&request).unwrap();
        assert_eq!(created.topics[0].error_code, ErrorCode::NONE, "{created:?}");
        let asked = MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
        loop {
            let answer = client.call(&request).unwrap();
            let topic = &answer.topics[0];
            let ready = topic.error_code.is_none()
                && topic.partitions.len() == partitions as usize
                && topic.partitions.iter().all(|part| part.error_code.is_none());
            if ready {
                let topic = Topic { name, id: topic.topic_id };
                (0..partitions).for_each(|partition| wait_for_leader(&mut client, &topic, partition));
                return topic;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Begins to look at the broker's memory.
    pub fn watch_memory(&self) -> Watch<'_> {
        let before = self.own.as_ref().map(|broker| {
            let pid = broker.pid();
            // The peak is counted from here on.
            std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
            status(pid, "VmRSS:")
        });
        Watch { target: self, before: before.unwrap_or(0) }
    }
}

/// Waits until a new partition is served.
fn wait_for_leader(client: &mut Connection, topic: &Topic, partition: i32) {
    let wanted = ListOffsetsPartition { partition_index: partition, timestamp: -1, ..Default::default() };
    let wanted = ListOffsetsTopic { name: topic.name.clone(), partitions: vec![wanted] };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![wanted], ..Default::default() };
    while client.call(&request).unwrap().topics[0].partitions[0].error_code.is_error() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A topic.
#[derive(Clone)]
pub struct Topic {
    pub name: String,
    pub id: Uuid,
}

/// The broker's memory from a moment on.
pub struct Watch<'a> {
    target: &'a Target,
    /// What it took at that moment.
    pub before: u64,
}

impl Watch<'_> {
    /// The broker's memory has stayed within its bounds, while so many connections were open.
    #[track_caller]
    pub fn check(&self, connections: u64) {
        let Some(broker) = &self.target.own else { return };
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(2) as u64;
        // What is read into, appended to and read from lies in the pools. Beside them lie requests that were read,
        // with their answers (an answer that is begun may pass its share, and is there once more as it is sent), and the small requests that wait for their
        // turn.
        let requests = ((POOLS / cores / 2) as usize).max(REQUEST_MEMORY_MIN);
        let requests = cores * (requests + 2 * ANSWER_MEMORY.0 + QUEUED_BYTES) as u64;
        let most = self.before + POOLS + requests + connections * CONNECTION + SLACK;
        let (peak, now) = (status(broker.pid(), "VmHWM:"), status(broker.pid(), "VmRSS:"));
        let mib = |bytes: u64| bytes >> 20;
        println!(
            "MiB: {} before, {} at most, {} after, {} allowed",
            mib(self.before),
            mib(peak),
            mib(now),
            mib(most)
        );
        assert!(peak <= most, "the broker took {} MiB, {} are allowed", mib(peak), mib(most));
    }
}

/// A line of a process's status, in bytes.
fn status(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
