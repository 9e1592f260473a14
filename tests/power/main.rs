//! Power cuts under a real broker on real file systems. (And disks that fail: see `failing.rs`.)
//!
//! A file system (ext4, XFS) lies on a loop device over a file that FUSE serves from memory. So the test sees every
//! write and every flush that the kernel sends to the disk. A broker works on it, under load. At chosen moments the disk
//! is frozen: what was flushed stays, and of what was written but not flushed a seed chooses which sectors stay, in any
//! order, torn writes among them. What a disk would hold then becomes another disk: it is mounted, so that
//! the file system replays its journal, and a broker starts on it. That one must hold everything that was acknowledged
//! before the moment, nothing that was not sent before it, no offset twice, no topic that was gone; and it must serve on. Some
//! of these brokers lose their power too, while they recover or after they have served.
//!
//! Short by itself; `OTTLA_CUTS=200` says how many cuts there are on each file system, `OTTLA_CUTS_SEED` chooses the
//! moments and what stays. (What the kernel and the broker do in the meantime follows from no seed, so a seed that found
//! something may have to be tried a few times.)
//!
//! It takes root, FUSE, loop devices, and the programs that tests/setup.sh installs. As root:
//!
//! ```text
//! OTTLA_CUTS=200 cargo test --test power -- --nocapture
//! ```
//!
//! # What it was seen to catch
//!
//! Each with the bug put into the broker, and within 40 cuts: no flush at all; a flush that is sent before the writes are
//! seen finished; one through a directory (on XFS, where it reaches no disk; on ext4 it does); one flush for all where
//! blocks lie past the file's end or were never written, where they were only allocated, where the growth of the file
//! was not flushed, and where ext4 journals data; stable ends that lead; files replaced without a flush of their own;
//! a mount without barriers.
//!
//! # What cannot be shown here
//!
//! - That a write with FUA flushes nothing but itself. A loop device has no FUA: the kernel sends a write and a flush in
//!   its place, and a flush covers everything.
//! - Directories that are not synced, of new segments, new and deleted topics, retention and compaction: these file
//!   systems have one journal, in order, and whatever is flushed later takes all names before along. The disk of the
//!   simulator loses any of them.
//! - Recovery that does not write again and flush what it serves: after a cut all that is found is durable, and after a
//!   kill the other flushes of a start come first, and are of the whole disk.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the test mounts file systems, and runs brokers and clients as processes and threads"
)]

#[path = "../support/mod.rs"]
mod broker;
mod check;
mod disk;
mod failing;
mod fuse;
mod mounted;
mod work;

#[path = "../support/load/mod.rs"]
mod load;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use broker::{Broker, Folder, free_address};
use check::{Found, Moment, Target, all_topics};
use disk::{Disk, Frozen, Image};
use load::churn::Churn;
use load::ledger::Ledger;
use load::{Chance, Fail, PATIENCE, setting};
use mounted::{Kind, Mounted};
use work::{Pace, Topic};

/// How many moments are chosen in one life of a broker.
const MOMENTS: u64 = 6;
/// How many lives in a row work on what the last left.
const LIVES: u64 = 3;

#[test]
fn what_was_acknowledged_outlives_power_cuts_on_ext4() {
    power_cuts(Kind::Ext4);
}

#[test]
fn what_was_acknowledged_outlives_power_cuts_on_xfs() {
    power_cuts(Kind::Xfs);
}

/// One test at a time, where there is all that it takes.
fn turn() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(|failed| failed.into_inner());
    mounted::demand();
    load::begin();
    turn
}

fn power_cuts(kind: Kind) {
    let _turn = turn();
    let seed = setting("OTTLA_CUTS_SEED", std::process::id().into());
    let wanted = setting("OTTLA_CUTS", 10);
    println!("{kind:?}: OTTLA_CUTS_SEED={seed} chooses the same moments again");
    let mut run = Run { kind, chance: Chance::new(seed), cuts: 0, wanted, ledger: Ledger::default() };
    let mut place = None;
    let mut life = 0;
    while run.cuts < wanted {
        if life % LIVES == 0 {
            (place, run.ledger) = (None, Ledger::default());
        }
        place = Some(run.life(life, place));
        life += 1;
    }
    println!("{kind:?}: {} cuts in {life} lives, nothing lost", run.cuts);
}

/// A broker on a disk.
struct Node {
    broker: Broker,
    mounted: Mounted,
}

impl Node {
    /// Begins a broker.
    fn begin(mounted: Mounted) -> Node {
        let data = mounted.point().join("data");
        if !data.exists() {
            std::fs::create_dir_all(&data).unwrap();
            std::fs::File::open(mounted.point()).unwrap().sync_all().unwrap();
        }
        let (folder, address) = (Folder::new(), free_address());
        std::os::unix::fs::symlink(&data, folder.0.join("data")).unwrap();
        let config = folder.0.join("server.properties");
        std::fs::write(&config, work::PROPERTIES).unwrap();
        let arguments = ["--config", &config.to_string_lossy(), "--listen", &address].map(str::to_owned);
        let mut node = Node { broker: Broker::with(folder, address, arguments.to_vec()), mounted };
        node.broker.begin();
        node
    }

    fn begin_on(kind: Kind, image: Image) -> Node {
        Node::begin(Mounted::of(kind, image))
    }

    fn address(&self) -> String {
        self.broker.address.clone()
    }

    /// Ends the broker, and gives the file system.
    fn end(self) -> Mounted {
        let Node { mut broker, mounted } = self;
        broker.kill();
        mounted
    }
}

/// Waits for a moment in which a cut may hurt, if it comes soon.
fn await_moment(disk: &Disk, chance: &mut Chance) {
    let (way, acknowledged) = (chance.below(3), Ledger::acknowledgements());
    let hurts = || match way {
        0 => true,
        1 => disk.is_loose(),
        _ => Ledger::acknowledgements() != acknowledged,
    };
    let until = Instant::now() + Duration::from_millis(100);
    while !hurts() && Instant::now() < until {
        thread::sleep(Duration::from_micros(10));
    }
}

/// Says what the broker said, where a test fails.
fn told<T>(node: &Node, call: impl FnOnce() -> T) -> T {
    struct Tell<'a>(&'a Node);
    impl Drop for Tell<'_> {
        fn drop(&mut self) {
            if thread::panicking() {
                println!("the broker said:\n{}", self.0.broker.log());
            }
        }
    }
    let _tell = Tell(node);
    call()
}

struct Run {
    kind: Kind,
    chance: Chance,
    cuts: u64,
    wanted: u64,
    ledger: Ledger,
}

impl Run {
    /// A broker works, and loses its power in several moments, of which each is tried. Gives a broker that goes on after
    /// the last of them.
    fn life(&mut self, number: u64, place: Option<(Node, Vec<Topic>)>) -> (Node, Vec<Topic>) {
        let (node, topics) = place.unwrap_or_else(|| {
            let mut node = Node::begin(Mounted::new(self.kind));
            node.broker.wait();
            let topics = work::topics(&node.address(), &self.ledger);
            (node, topics)
        });
        let pace = Pace::ALL[self.chance.below(Pace::ALL.len() as u64) as usize];
        let moments = self.work(&node, &topics, pace);
        let counts = node.mounted.disk.counts();
        println!(
            "{:?}, life {number}, {pace:?}: {} writes, {} flushes, up to {} writes under way beside a flush",
            self.kind, counts.writes, counts.flushes, counts.beside_a_flush
        );
        assert!(counts.flushes > 0, "no flush reaches the disk");
        drop(node.end());
        let mut last = None;
        for (moment, frozen) in moments {
            last = Some(self.cut(&topics, &moment, frozen, last));
            if self.cuts >= self.wanted {
                break;
            }
        }
        let (node, found) = last.expect("there was a moment");
        let lies =
            found.values().flatten().filter_map(|(offset, who)| who.map(|who| (who, *offset))).collect();
        self.ledger.go_on_from(&lies);
        (node, topics)
    }

    /// Lets clients work, and freezes the disk at some moments and once all is acknowledged.
    fn work(&mut self, node: &Node, topics: &[Topic], pace: Pace) -> Vec<(Moment, Frozen)> {
        let (address, ledger, chance) = (node.address(), &self.ledger, &mut self.chance);
        let writers = work::writers(&address, ledger, topics, pace);
        let churn = Churn::new(&address, ledger, chance.below(1 << 40));
        let stop = AtomicBool::new(false);
        let freeze = |chance: &mut Chance| {
            let (churn, (frozen, now)) = churn.moment(|| {
                await_moment(&node.mounted.disk, chance);
                node.mounted.disk.freeze()
            });
            let (sent, before) = (ledger.counts(), ledger.noted_before(now));
            (Moment { before, sent, churn, starts: check::starts(&address, topics) }, frozen)
        };
        told(node, || {
            thread::scope(|scope| {
                let _fail = Fail;
                let mut threads: Vec<_> =
                    writers.iter().map(|writer| scope.spawn(|| writer.run(&stop))).collect();
                if matches!(pace, Pace::Busy | Pace::Streams) {
                    threads.push(scope.spawn(|| churn.run(&stop)));
                }
                let mut moments = Vec::new();
                for _ in 1..MOMENTS {
                    thread::sleep(chance.millis(20..900));
                    moments.push(freeze(chance));
                    assert!(!threads.iter().any(|thread| thread.is_finished()), "a client has ended");
                }
                stop.store(true, Relaxed);
                threads.into_iter().for_each(|thread| thread.join().unwrap());
                moments.push(freeze(chance));
                moments
            })
        })
    }

    /// Cuts the power at a moment, and looks at what is there afterwards.
    fn cut(
        &mut self,
        topics: &[Topic],
        moment: &Moment,
        frozen: Frozen,
        last: Option<(Node, Found)>,
    ) -> (Node, Found) {
        if let Some((node, _)) = last {
            let mounted = node.end();
            if self.chance.below(6) == 0 {
                mounted.check();
            }
        }
        let began = Instant::now();
        let mut node = self.start_after(frozen, "at work");
        if self.chance.below(4) == 0 {
            thread::sleep(self.chance.millis(0..300));
            await_moment(&node.mounted.disk, &mut self.chance);
            let (frozen, _) = node.mounted.disk.freeze();
            drop(node.end());
            node = self.start_after(frozen, "while it recovers");
        }
        node.broker.wait();
        let ready = began.elapsed();
        let all = all_topics(topics, &moment.churn);
        let mut found = told(&node, || {
            check::nothing_refused(&node.broker.log());
            let reader = check::reader(&node.address());
            check::topics(&reader, moment, topics);
            let found = check::read(&reader, &self.ledger, &all);
            check::content(&found, moment, &self.ledger.records(), &all);
            found
        });
        let torn = check::torn(&all, &node.broker.log());
        if self.chance.below(if torn.is_empty() { 3 } else { 2 }) == 0 {
            (node, found) = self.cut_again(node, found, moment, &all, torn);
        } else {
            told(&node, || {
                let journal = check::probe(&node.address(), &self.ledger, &check::places(&all), 1, PATIENCE);
                check::probed(&self.ledger, journal, &mut found);
            });
        }
        let count: usize = found.values().map(BTreeMap::len).sum();
        println!("  {count} records; ready after {ready:.1?}, done after {:.1?}", began.elapsed());
        (node, found)
    }

    /// The broker serves what was found, and more, and loses its power again; sometimes as soon as the first record is
    /// acknowledged, which goes where the end of a log was `torn` and might have left something behind.
    fn cut_again(
        &mut self,
        node: Node,
        mut found: Found,
        moment: &Moment,
        all: &[Topic],
        torn: Vec<Target>,
    ) -> (Node, Found) {
        let at_once = self.chance.below(3) > 0;
        let (mut places, mut count) = (check::places(all), 1 + self.chance.below(3));
        if at_once {
            let mut candidates = if torn.is_empty() { places } else { torn };
            places = vec![candidates.swap_remove(self.chance.below(candidates.len() as u64) as usize)];
            count = 1;
        }
        let pause = self.chance.millis(0..20);
        let (mut frozen, journal) = told(&node, || {
            let journal = check::probe(&node.address(), &self.ledger, &places, count, PATIENCE);
            if !at_once {
                thread::sleep(pause);
            }
            let (frozen, _) = node.mounted.disk.freeze();
            check::probed(&self.ledger, journal, &mut found);
            (frozen, journal)
        });
        let mut node = node;
        if self.chance.below(2) == 0 {
            (node, found) = self.kill(node, moment, all, journal);
            (frozen, _) = node.mounted.disk.freeze();
        }
        drop(node.end());
        node = self.start_after(frozen, "after it has served");
        node.broker.wait();
        found = told(&node, || {
            check::nothing_refused(&node.broker.log());
            let again = check::read(&check::reader(&node.address()), &self.ledger, all);
            check::same(&found, &again, all);
            again
        });
        (node, found)
    }

    /// Kills the broker while it writes, and starts it again on the same disk, which forgets nothing yet. What it then
    /// serves has to outlive a cut. `journal` is of what was written since the last one.
    fn kill(&mut self, node: Node, moment: &Moment, all: &[Topic], journal: usize) -> (Node, Found) {
        println!("  killed while it writes");
        let patience = self.chance.millis(0..40);
        let last = check::probe(&node.address(), &self.ledger, &check::places(all), 10, patience);
        let mut node = Node::begin(node.end());
        node.broker.wait();
        let found = told(&node, || {
            check::nothing_refused(&node.broker.log());
            let found = check::read(&check::reader(&node.address()), &self.ledger, all);
            check::content(&found, &moment.with(&self.ledger, &[journal, last]), &self.ledger.records(), all);
            found
        });
        (node, found)
    }

    fn start_after(&mut self, frozen: Frozen, when: &str) -> Node {
        let (image, what) = frozen.cut(self.kind.sector(), &mut self.chance);
        self.cuts += 1;
        println!("{:?}, cut {}, {when}: {what}", self.kind, self.cuts);
        Node::begin_on(self.kind, image)
    }
}
