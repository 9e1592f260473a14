//! Disks that fail under a broker with several log directories: the partitions of the one that fails stop, with a word
//! for the operator that he can act on; all others go on; and once it is mended, nothing that was acknowledged is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::broker::Broker;
use super::check::{self, Moment};
use super::disk::{Disk, Fault};
use super::load::churn::{create, until_done};
use super::load::ledger::{Ledger, Place};
use super::load::writers::{Keys, Writer, producer};
use super::load::{Chance, Fail, PATIENCE, setting, wait_on};
use super::mounted::{Kind, Mounted};
use super::turn;
use super::work::{Rule, Topic};

/// The log directories, and the topics that lie in each. The first is an ordinary folder, and has the metadata log.
const NAMES: [&str; 3] = ["plain", "ext4", "xfs"];
const PLAIN: usize = 0;
const EXT4: usize = 1;
const XFS: usize = 2;
const PARTITIONS: i32 = 2;

/// Librdkafka's consumers ask who coordinates their group, and so have this topic made. It lies on a disk that does not
/// fail.
const GROUPS: &str = "__consumer_offsets";

/// A broker with several disks.
struct Jbod {
    broker: Broker,
    dirs: Vec<PathBuf>,
    /// By directory; the first has none of its own.
    disks: Vec<Option<Mounted>>,
    ledger: Ledger,
    topics: Vec<Topic>,
    chance: Chance,
}

impl Jbod {
    fn new() -> Jbod {
        let seed = setting("OTTLA_DISKS_SEED", std::process::id().into());
        println!("OTTLA_DISKS_SEED={seed} chooses the same moments again");
        let (broker, dirs) = Broker::with_dirs(&NAMES);
        let (disks, ledger) = (vec![None, None, None], Ledger::default());
        let mut jbod = Jbod { broker, dirs, disks, ledger, topics: Vec::new(), chance: Chance::new(seed) };
        for (n, kind) in [(EXT4, Kind::Ext4), (XFS, Kind::Xfs)] {
            jbod.put(n, Mounted::new(kind));
        }
        jbod.start();
        create(&jbod.broker.address, GROUPS, 1, &[]);
        jbod.broker.ottla(&["logdirs", "move", GROUPS, "--to", &jbod.dirs[PLAIN].display().to_string()]);
        for (n, name) in NAMES.into_iter().enumerate() {
            let settings = [("retention.ms", "-1"), ("segment.bytes", "1048576")];
            create(&jbod.broker.address, name, PARTITIONS, &settings);
            let number = jbod.ledger.topic(name, PARTITIONS);
            assert_eq!(number, n);
            jbod.topics.push(Topic {
                number,
                name: name.to_owned(),
                partitions: PARTITIONS,
                rule: Rule::All,
            });
            jbod.broker.ottla(&["logdirs", "move", name, "--to", &jbod.dirs[n].display().to_string()]);
        }
        jbod
    }

    /// Puts a file system where a log directory is to be.
    fn put(&mut self, n: usize, mounted: Mounted) {
        let data = mounted.point().join("data");
        if !data.exists() {
            std::fs::create_dir(&data).unwrap();
            std::fs::File::open(mounted.point()).unwrap().sync_all().unwrap();
        }
        let _ = std::fs::remove_file(&self.dirs[n]);
        symlink(&data, &self.dirs[n]).unwrap();
        self.disks[n] = Some(mounted);
    }

    fn start(&mut self) {
        self.broker.begin();
        self.broker.wait();
    }

    fn disk(&self, n: usize) -> &Disk {
        &self.mounted(n).disk
    }

    fn mounted(&self, n: usize) -> &Mounted {
        self.disks[n].as_ref().expect("it has a disk of its own")
    }

    /// Ends the broker, mends a disk, and starts the broker again.
    fn mend(&mut self, n: usize) {
        match self.chance.below(2) {
            0 => self.broker.kill(),
            _ => self.broker.stop(),
        }
        let mounted = self.disks[n].take().expect("it has a disk of its own");
        let mended = mounted.mended(&mut self.chance);
        self.put(n, mended);
        let said = self.broker.log().len();
        self.start();
        check::nothing_refused(&self.broker.log()[said..]);
    }

    /// Has clients write to all directories while something happens. In the end everything that was acknowledged, before,
    /// meanwhile and after, has to be there.
    fn under_load(&mut self, scene: impl FnOnce(&mut Jbod)) {
        let address = self.broker.address.clone();
        let writer = |topic: &Topic, largest, open, burst, settings: &[(&str, &str)]| {
            let journal = self.ledger.journal(largest);
            let settings = [&[("enable.idempotence", "true")], settings].concat();
            Writer {
                producer: producer(&address, journal.clone(), &settings),
                journal,
                topics: vec![(topic.number, topic.name.clone(), topic.partitions)],
                open,
                burst,
                pause: Duration::from_millis(10),
                keys: Keys::OfAThird,
            }
        };
        let single = [("linger.ms", "0"), ("batch.num.messages", "1")];
        let of =
            |topic| [writer(topic, 8_000, 100, 8, &[("linger.ms", "5")]), writer(topic, 50, 3, 3, &single)];
        let writers: Vec<Writer> = self.topics.iter().flat_map(of).collect();
        let stop = AtomicBool::new(false);
        let tell = Tell { jbod: self };
        thread::scope(|scope| {
            let _fail = Fail;
            let threads: Vec<_> = writers.iter().map(|writer| scope.spawn(|| writer.run(&stop))).collect();
            let jbod = &mut *tell.jbod;
            jbod.goes_on(&[PLAIN, EXT4, XFS]);
            scene(jbod);
            jbod.goes_on(&[PLAIN, EXT4, XFS]);
            stop.store(true, Relaxed);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        let jbod = &mut *tell.jbod;
        let found = check::read(&check::reader(&address), &jbod.ledger, &jbod.topics);
        let (before, sent) = (jbod.ledger.noted_before(Instant::now()), jbod.ledger.counts());
        let known = Moment { before, sent, churn: BTreeMap::new(), starts: BTreeMap::new() };
        check::content(&found, &known, &jbod.ledger.records(), &jbod.topics);
    }

    /// How many records were acknowledged in a directory.
    fn acknowledged(&self, n: usize) -> usize {
        self.ledger.acknowledged_in(n)
    }

    /// Waits until producers and consumers of these directories have gone on for a while.
    #[track_caller]
    fn goes_on(&self, dirs: &[usize]) {
        let from = self.ledger.ends();
        self.written_to(dirs);
        self.is_read(dirs, &from);
    }

    /// Waits until more is acknowledged in each of these directories.
    #[track_caller]
    fn written_to(&self, dirs: &[usize]) {
        let before: Vec<usize> = dirs.iter().map(|n| self.acknowledged(*n)).collect();
        let deadline = Instant::now() + PATIENCE;
        for (n, before) in dirs.iter().zip(before) {
            while self.acknowledged(*n) < before + 50 {
                wait_on(deadline, || format!("nothing is acknowledged in {}", NAMES[*n]));
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Reads the partitions of these directories from these offsets, or their beginnings, to where they reach.
    fn is_read(&self, dirs: &[usize], from: &BTreeMap<Place, i64>) {
        let reader = check::reader(&self.broker.address);
        let (mut list, mut left) = (TopicPartitionList::new(), BTreeMap::new());
        for (place, end) in self.ledger.ends().into_iter().filter(|(place, _)| dirs.contains(&place.topic)) {
            let from = from.get(&place).copied().unwrap_or(0);
            list.add_partition_offset(NAMES[place.topic], place.partition, Offset::Offset(from)).unwrap();
            if from < end {
                left.insert(place, end);
            }
        }
        reader.assign(&list).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !left.is_empty() {
            wait_on(deadline, || format!("a consumer does not come to {left:?}"));
            let Some(Ok(message)) = reader.poll(Duration::from_millis(20)) else { continue };
            let topic = NAMES.iter().position(|name| *name == message.topic()).expect("it is assigned");
            let place = Place { topic, partition: message.partition() };
            let value = message.payload().and_then(|value| std::str::from_utf8(value).ok());
            assert!(value.and_then(|value| self.ledger.identify(value)).is_some(), "{place:?}: an alien");
            if left.get(&place).is_some_and(|end| message.offset() + 1 >= *end) {
                left.remove(&place);
            }
        }
    }

    /// The directories whose partitions have no leader.
    fn leaderless(&self) -> BTreeSet<usize> {
        let looker = check::reader(&self.broker.address);
        let metadata = until_done(|| looker.fetch_metadata(None, Duration::from_secs(5)));
        let mut without = BTreeSet::new();
        for topic in metadata.topics().iter().filter(|topic| topic.name() != GROUPS) {
            let n = NAMES.iter().position(|name| *name == topic.name()).expect("there are no others");
            let led = topic.partitions().iter().filter(|partition| partition.leader() >= 0).count();
            assert!(led == 0 || led == PARTITIONS as usize, "{}: {led} are led", topic.name());
            if led == 0 {
                without.insert(n);
            }
        }
        without
    }

    /// Waits until a directory has stopped; looks that everybody is told, that nothing is acknowledged in it any more, and
    /// that the others go on.
    #[track_caller]
    fn stops(&self, n: usize, told: &[&str]) {
        let others: Vec<usize> = (0..NAMES.len()).filter(|other| *other != n).collect();
        let deadline = Instant::now() + PATIENCE;
        while self.leaderless().is_empty() {
            wait_on(deadline, || format!("{} does not stop", NAMES[n]));
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(self.leaderless(), BTreeSet::from([n]));
        self.goes_on(&others);
        let before = self.acknowledged(n);
        self.goes_on(&others);
        assert_eq!(self.acknowledged(n), before, "acknowledged in {} although it has failed", NAMES[n]);
        let shown = String::from_utf8(self.broker.ottla(&["logdirs"])).unwrap();
        for (other, dir) in self.dirs.iter().enumerate() {
            let dir = dir.display().to_string();
            let line = shown.lines().find(|line| line.contains(&dir)).expect("each is shown");
            assert_eq!(line.contains("offline"), n == other, "{shown}");
        }
        self.says(&[told, &[&self.dirs[n].display().to_string(), "is offline from now on"]].concat());
    }

    /// Waits until one line of the broker's log holds all of these.
    #[track_caller]
    fn says(&self, words: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        let is_said = || self.broker.log().lines().any(|line| words.iter().all(|word| line.contains(word)));
        while !is_said() {
            wait_on(deadline, || format!("no line has {words:?}"));
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Says what the broker said, where a test fails.
struct Tell<'a> {
    jbod: &'a mut Jbod,
}

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        if thread::panicking() || std::env::var_os("OTTLA_DISKS_TELL").is_some() {
            println!("the broker said:\n{}", self.jbod.broker.log());
        }
    }
}

#[test]
fn a_disk_that_refuses_writes_takes_its_partitions_and_no_others() {
    let _turn = turn();
    let mut jbod = Jbod::new();
    for n in [EXT4, XFS] {
        jbod.under_load(|jbod| {
            let after = jbod.chance.below(300);
            println!("{}: the disk takes {after} more writes", NAMES[n]);
            jbod.disk(n).fail(Fault::Writes(after));
            jbod.stops(n, &["Input/output error", "start the broker again"]);
            assert!(jbod.disk(n).refused() > 0);
            jbod.mend(n);
        });
    }
    jbod.broker.stop();
}

#[test]
fn a_flush_that_fails_once_is_not_believed_when_it_succeeds() {
    let _turn = turn();
    let mut jbod = Jbod::new();
    for n in [EXT4, XFS] {
        jbod.under_load(|jbod| {
            let after = jbod.chance.below(100);
            println!(
                "{}: the disk takes {after} more flushes, and forgets what the next was to keep",
                NAMES[n]
            );
            jbod.disk(n).fail(Fault::OneFlush(after));
            jbod.stops(n, &["Input/output error", "start the broker again"]);
            jbod.mend(n);
        });
    }
    jbod.broker.stop();
}

#[test]
fn a_disk_that_is_taken_away_takes_its_partitions_and_no_others() {
    let _turn = turn();
    let mut jbod = Jbod::new();
    let n = if jbod.chance.below(2) == 0 { EXT4 } else { XFS };
    println!("{}: everything fails", NAMES[n]);
    jbod.under_load(|jbod| {
        jbod.disk(n).fail(Fault::All);
        jbod.stops(n, &["Input/output error", "start the broker again"]);
        jbod.mend(n);
    });
    println!("{}: it is unmounted", NAMES[n]);
    jbod.under_load(|jbod| {
        jbod.disks[n].as_mut().expect("it is there").tear_off();
        jbod.stops(n, &["Mount its disk again", "start the broker again"]);
        jbod.mend(n);
    });
    let n = if n == EXT4 { XFS } else { EXT4 };
    println!("{}: it gets another name", NAMES[n]);
    jbod.under_load(|jbod| {
        let (dir, aside) = (jbod.dirs[n].clone(), jbod.dirs[n].with_extension("aside"));
        std::fs::rename(&dir, &aside).unwrap();
        jbod.stops(n, &["Mount its disk again", "start the broker again"]);
        jbod.broker.kill();
        std::fs::rename(&aside, &dir).unwrap();
        jbod.start();
    });
    jbod.broker.stop();
}

#[test]
fn what_cannot_be_read_is_not_served_and_all_else_is() {
    let _turn = turn();
    let mut jbod = Jbod::new();
    let n = if jbod.chance.below(2) == 0 { EXT4 } else { XFS };
    jbod.under_load(|jbod| {
        let segment = jbod.dirs[n].join(format!("{}-0/00000000000000000000.log", NAMES[n]));
        let index = segment.with_extension("index");
        let deadline = Instant::now() + PATIENCE;
        while !index.exists() {
            wait_on(deadline, || "no segment is finished".to_owned());
            thread::sleep(Duration::from_millis(20));
        }
        // Nothing that was read or written before is in memory.
        jbod.broker.stop();
        jbod.start();
        let ranges = extents(&segment);
        println!("{}: {ranges:?} cannot be read", NAMES[n]);
        jbod.disk(n).fail(Fault::Reads(ranges));
        let reader = check::reader(&jbod.broker.address);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(NAMES[n], 0, Offset::Offset(0)).unwrap();
        reader.assign(&list).unwrap();
        while jbod.disk(n).refused() == 0 {
            wait_on(deadline, || "nobody reads it".to_owned());
            let read = reader.poll(Duration::from_millis(20));
            assert!(!matches!(read, Some(Ok(_))), "it is served");
        }
        let name = segment.display().to_string();
        jbod.says(&[&name, "Input/output error", "begins at offset 0", "KAFKA_STORAGE_ERROR", "--before"]);
        let lines = jbod.broker.log().lines().filter(|line| line.contains("cannot be read")).count();
        assert_eq!(lines, 1, "it is told once, not at each try");
        let others: Vec<usize> = (0..NAMES.len()).filter(|other| *other != n).collect();
        jbod.goes_on(&others);
        jbod.written_to(&[n]);
        assert_eq!(jbod.leaderless(), BTreeSet::new());
        let read = reader.poll(Duration::from_millis(20));
        assert!(!matches!(read, Some(Ok(_))), "it is served");
        jbod.disk(n).fail(Fault::None);
        jbod.is_read(&[n], &BTreeMap::new());
    });
    jbod.broker.stop();
}

#[test]
fn a_full_disk_takes_no_more_records_and_the_others_do() {
    let _turn = turn();
    let mut jbod = Jbod::new();
    let dir = |jbod: &Jbod, n: usize| jbod.dirs[n].display().to_string();
    jbod.under_load(|jbod| {
        let filler = jbod.mounted(EXT4).point().join("filler");
        fill(&filler, 100 << 20);
        jbod.says(&[&dir(jbod, EXT4), "is full", "KAFKA_STORAGE_ERROR", "grow the disk"]);
        fill(&filler, 0);
        jbod.goes_on(&[PLAIN, XFS]);
        let before = jbod.acknowledged(EXT4);
        jbod.goes_on(&[PLAIN, XFS]);
        assert_eq!(jbod.acknowledged(EXT4), before, "acknowledged although the disk is full");
        assert_eq!(jbod.leaderless(), BTreeSet::new(), "what it holds is served");
        jbod.is_read(&[EXT4], &BTreeMap::new());
        std::fs::remove_file(&filler).unwrap();
        jbod.says(&[&dir(jbod, EXT4), "has room again"]);
    });
    println!("somebody takes all the room at once");
    jbod.under_load(|jbod| {
        let filler = jbod.mounted(XFS).point().join("filler");
        fill(&filler, 0);
        jbod.goes_on(&[PLAIN, EXT4]);
        jbod.broker.kill();
        std::fs::remove_file(&filler).unwrap();
        jbod.start();
    });
    jbod.broker.stop();
}

/// Has a file take all of a file system's room but `left` bytes.
fn fill(path: &Path, left: u64) {
    let filler = std::fs::File::options().create(true).append(true).open(path).unwrap();
    for _ in 0..1_000 {
        let free = free(&filler);
        if free <= left {
            return;
        }
        let from = filler.metadata().unwrap().len();
        for part in [1, 2, 8, 64, 4096] {
            let len = ((free - left) / part).max(1) as i64;
            // SAFETY: a plain system call on an open file.
            if unsafe { libc::fallocate(filler.as_raw_fd(), 0, from as i64, len) } == 0 {
                break;
            }
            if part == 4096 {
                return;
            }
        }
    }
}

fn free(file: &std::fs::File) -> u64 {
    // SAFETY: an all-zero statvfs is valid, and the call fills it.
    unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        assert_eq!(libc::fstatvfs(file.as_raw_fd(), &mut stat), 0);
        stat.f_bavail * stat.f_frsize
    }
}

/// Where on its disk a file lies.
fn extents(path: &Path) -> Vec<std::ops::Range<u64>> {
    const FIEMAP: libc::c_ulong = 0xc020_660b;
    const MOST: usize = 64;
    let file = std::fs::File::open(path).unwrap();
    // struct fiemap of linux/fiemap.h: start, length, flags and count mapped, count asked; then seven words an extent.
    let mut map = vec![0_u64; 4 + 7 * MOST];
    (map[1], map[3]) = (u64::MAX, MOST as u64);
    // SAFETY: the call fills as many extents as there is room for.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), FIEMAP, map.as_mut_ptr()) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    let found = (map[2] >> 32) as usize;
    let extent = |extent: &[u64]| extent[1]..extent[1] + extent[2];
    map[4..].chunks(7).take(found).map(extent).collect()
}
