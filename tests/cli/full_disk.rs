//! A disk that fills up under a broker: a file system of 600 MB in a file. Mounting it takes root.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ottla::command::client::Connection;
use ottla::wire::batch::{BatchBuilder, batches};
use ottla::wire::error::ErrorCode;
use ottla::wire::schema::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, FetchPartition, FetchRequest, FetchTopic,
    MetadataRequest, MetadataRequestTopic, PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla::wire::uuid::Uuid;

use crate::serve::{Serve, serve};
use crate::support::{Folder, run};

/// How long anything may take before the test counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

/// A small file system of its own.
struct SmallDisk {
    mount: PathBuf,
    // Dropped after the file system was unmounted.
    folder: Folder,
}

impl SmallDisk {
    fn new(size: u64) -> SmallDisk {
        // SAFETY: a plain system call.
        let is_root = unsafe { libc::geteuid() } == 0;
        assert!(
            is_root,
            "this test mounts a file system, which takes root: run\n  sudo -E \"$(command -v cargo)\" test --test cli full_disk"
        );
        let folder = Folder::new();
        let (image, mount) = (folder.0.join("image"), folder.0.join("mount"));
        File::create(&image).unwrap().set_len(size).unwrap();
        std::fs::create_dir(&mount).unwrap();
        succeed(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image));
        succeed(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mount));
        SmallDisk { mount, folder }
    }

    fn free(&self) -> u64 {
        let path = std::ffi::CString::new(self.mount.to_str().unwrap()).unwrap();
        // SAFETY: an all-zero statvfs is valid, and the call fills it.
        unsafe {
            let mut stat: libc::statvfs = std::mem::zeroed();
            assert_eq!(libc::statvfs(path.as_ptr(), &mut stat), 0);
            stat.f_bavail * stat.f_frsize
        }
    }

    /// Has a file take all but `left` bytes.
    fn fill_up_to(&self, left: u64) {
        let filler = File::options().create(true).append(true).open(self.filler()).unwrap();
        // The last blocks may not lie together, so that less is asked for each time it is refused.
        let mut step = self.free().saturating_sub(left);
        while step >= 4096 && self.free() > left + 4096 {
            let size = filler.metadata().unwrap().len();
            // SAFETY: a system call on a descriptor of our own.
            let refused = unsafe {
                libc::fallocate(std::os::fd::AsRawFd::as_raw_fd(&filler), 0, size as i64, step as i64) != 0
            };
            if refused {
                step /= 2;
            }
            step = step.min(self.free().saturating_sub(left));
        }
    }

    fn filler(&self) -> PathBuf {
        self.mount.join("filler")
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn data(&self) -> PathBuf {
        self.mount.join("data")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, so that it goes even where a process that is about to end still holds it.
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}

#[track_caller]
fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// A client that writes and reads one partition.
struct Client {
    connection: Connection,
    topic: String,
    id: Uuid,
    /// The numbers of the records that were acknowledged, in order.
    acknowledged: Vec<u64>,
    next: u64,
}

impl Client {
    /// Makes the topic. What is deleted of it leaves the disk at once.
    fn new(address: &str, topic: &str) -> Client {
        let mut connection = Connection::open(address, PATIENCE).unwrap();
        let soon = CreatableTopicConfig { name: "file.delete.delay.ms".into(), value: Some("1".into()) };
        let wanted = CreatableTopic {
            name: topic.to_string(),
            num_partitions: 1,
            replication_factor: 1,
            configs: vec![soon],
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![wanted], timeout_ms: 30_000, ..Default::default() };
        let created = connection.call(&request).unwrap();
        assert_eq!(created.topics[0].error_code, ErrorCode::NONE, "{created:?}");
        Client::of(connection, topic)
    }

    fn of(mut connection: Connection, topic: &str) -> Client {
        let asked = MetadataRequestTopic { name: Some(topic.to_string()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
        let id = connection.call(&request).unwrap().topics[0].topic_id;
        Client { connection, topic: topic.to_string(), id, acknowledged: Vec::new(), next: 0 }
    }

    /// Writes a record of this size, once.
    fn write(&mut self, size: usize) -> ErrorCode {
        let mut value = vec![b'v'; size.max(8)];
        value[..8].copy_from_slice(&self.next.to_be_bytes());
        let mut builder = BatchBuilder::new();
        builder.append(0, None, Some(&value), &[]);
        let data = PartitionProduceData { index: 0, records: Some(builder.build().unwrap().into()) };
        let topic = TopicProduceData { name: String::new(), topic_id: self.id, partition_data: vec![data] };
        let request =
            ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 30_000, topic_data: vec![topic] };
        let answer = self.connection.call(&request).unwrap();
        let error = answer.responses[0].partition_responses[0].error_code;
        if error.is_none() {
            self.acknowledged.push(self.next);
        }
        self.next += 1;
        error
    }

    /// Writes until the answer is this one.
    fn write_until(&mut self, wanted: ErrorCode) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let error = self.write(100);
            if error == wanted {
                return;
            }
            assert!([ErrorCode::NONE, ErrorCode::KAFKA_STORAGE_ERROR].contains(&error), "{error:?}");
            assert!(Instant::now() < deadline, "{wanted:?} does not come");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Reads all there is, and holds it against what was acknowledged.
    fn check(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let (mut found, mut offset) = (Vec::new(), 0);
        loop {
            let partition =
                FetchPartition { fetch_offset: offset, partition_max_bytes: 4 << 20, ..Default::default() };
            let topic =
                FetchTopic { topic: self.topic.clone(), topic_id: self.id, partitions: vec![partition] };
            let request = FetchRequest { max_bytes: 4 << 20, topics: vec![topic], ..Default::default() };
            let answer = self.connection.call(&request).unwrap();
            let part = &answer.responses[0].partitions[0];
            // While the log is being recovered.
            if part.error_code == ErrorCode::NOT_LEADER_OR_FOLLOWER && Instant::now() < deadline {
                continue;
            }
            assert_eq!(part.error_code, ErrorCode::NONE);
            let records = part.records.as_ref().map(|records| records.to_bytes()).unwrap_or_default();
            if records.is_empty() {
                assert_eq!(offset, part.high_watermark);
                break;
            }
            for batch in batches(&records).flatten() {
                batch.check().unwrap();
                let set = batch.open(4 << 20).unwrap();
                let value = set.iter().next().unwrap().unwrap().value.unwrap();
                found.push(u64::from_be_bytes(value[..8].try_into().unwrap()));
                offset = batch.last_offset() + 1;
            }
        }
        assert!(self.acknowledged == found, "acknowledged {:?}, found {found:?}", self.acknowledged);
    }
}

#[track_caller]
fn says(broker: &Serve, words: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    while let Some(missing) = words.iter().find(|word| !broker.log().contains(**word)) {
        assert!(Instant::now() < deadline, "no '{missing}' in: {}", broker.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn topic(address: &str, arguments: &[&str]) -> crate::support::Outcome {
    run(&[&["-b", address, "--request-timeout-ms", "10000", "topic"], arguments].concat(), b"")
}

#[test]
fn a_full_disk_takes_no_records_loses_none_and_recovers() {
    let disk = SmallDisk::new(600 * MIB);
    let mut broker = Serve::begin(&disk.folder, &mut serve(&disk.data()));
    let address = broker.ready();
    let mut kept = Client::new(&address, "kept");
    let mut large = Client::new(&address, "large");
    (0..50).for_each(|_| assert_eq!(kept.write(1000), ErrorCode::NONE));
    (0..100).for_each(|_| assert_eq!(large.write(1_000_000), ErrorCode::NONE));

    // Less than the reserve is left: no more records, but all else goes on.
    disk.fill_up_to(100 * MIB);
    kept.write_until(ErrorCode::KAFKA_STORAGE_ERROR);
    says(&broker, &["is full", "KAFKA_STORAGE_ERROR", "grow the disk"]);
    kept.check();
    let err = topic(&address, &["create", "new"]).fails(1);
    assert!(err.contains("KAFKA_STORAGE_ERROR") && err.contains("the disk is full"), "{err}");
    // Nothing at all is left.
    disk.fill_up_to(0);
    kept.check();
    topic(&address, &["delete", "large", "--yes"]).ok();
    let deadline = Instant::now() + PATIENCE;
    while disk.free() < 90 * MIB {
        assert!(Instant::now() < deadline, "the deleted topic's files stay: {}", broker.log());
        std::thread::sleep(Duration::from_millis(20));
    }

    disk.make_room();
    kept.write_until(ErrorCode::NONE);
    says(&broker, &["has room again"]);
    topic(&address, &["create", "new"]).ok();
    kept.check();

    // It is killed on a full disk, and begun again on it.
    disk.fill_up_to(0);
    kept.write_until(ErrorCode::KAFKA_STORAGE_ERROR);
    broker.signal(libc::SIGKILL);
    broker.ended();
    let said = begin_on_full_disk(&disk);
    assert!(said.contains("is full") && said.contains("make room"), "{said}");
    disk.make_room();
    disk.fill_up_to(100 * MIB);
    let mut broker = Serve::begin(&disk.folder, &mut serve(&disk.data()));
    let address = broker.ready();
    says(&broker, &["is full", "KAFKA_STORAGE_ERROR"]);
    let acknowledged = std::mem::take(&mut kept.acknowledged);
    let mut kept = Client::of(Connection::open(&address, PATIENCE).unwrap(), "kept");
    (kept.acknowledged, kept.next) = (acknowledged, 1_000_000);
    kept.check();
    kept.write_until(ErrorCode::KAFKA_STORAGE_ERROR);
    disk.make_room();
    kept.write_until(ErrorCode::NONE);
    kept.check();
    broker.stop().ok();
    assert!(Path::exists(&disk.data().join(".kafka_cleanshutdown")));
}

/// Begins a broker where not a block is free; gives what it says.
fn begin_on_full_disk(disk: &SmallDisk) -> String {
    let ended = Serve::begin(&disk.folder, &mut serve(&disk.data())).ended();
    ended.fails(1)
}
