//! The disk punishes shortcuts, and nobody else: small programs on the seam, over many seeds.

use std::future::Future;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use super::{Shared, shared};
use crate::limits::BLOCK;
use crate::reactor::sim::{CrashKind, IoKind, NodeId, Options, View, World};
use crate::reactor::{Chunk, ChunkSlice, Class, File, Reactor, Share};

const SECOND: Duration = Duration::from_secs(1);
const SIZE: u64 = BLOCK as u64;
const BLOCKS: u64 = 32;
/// Seeds that a correct program must survive.
const SEEDS: u64 = 300;
/// Seeds within which a shortcut must be punished.
const SHORT: u64 = 60;

/// What a program was told to be durable: the round that block holds.
type Promised = Shared<Vec<(u64, u8)>>;
type Task = Pin<Box<dyn Future<Output = ()>>>;

fn block(reactor: &Reactor, fill: u8, blocks: usize) -> ChunkSlice {
    let mut chunk = reactor.pool().try_chunk(Share::Tail, blocks * BLOCK).expect("the pool has room");
    chunk.append(&vec![fill; blocks * BLOCK]);
    chunk.freeze()
}

async fn chunk(reactor: &Reactor, len: usize) -> Chunk {
    reactor.pool().chunk(Share::Reads, len).await
}

fn open(name: &'static str, reactor: &Reactor) -> impl Future<Output = File> + use<> {
    let disk = reactor.disk();
    async move { disk.open(Path::new(name), true).await.expect("it opens") }
}

/// A file of written, durable blocks, and a clean one to flush by.
async fn prepare(reactor: Reactor) {
    let (log, clean) = (open("log", &reactor).await, open("clean", &reactor).await);
    log.write_at(block(&reactor, 0, BLOCKS as usize), 0).await.expect("it writes");
    log.flush().await.expect("it flushes");
    clean.flush().await.expect("it flushes");
    reactor.disk().sync_dir(Path::new("/")).await.expect("it syncs");
}

/// Runs a program, pulls the plug in the midst of it, and tells whether a promise was broken.
fn loses(seed: u64, options: Options, program: fn(Reactor, Promised) -> Task) -> bool {
    let world = World::new(seed, options);
    let node = world.add_node();
    let reactor = world.boot(node, 1).remove(0);
    world.run(&reactor, SECOND, prepare(reactor.clone()));
    let promised = Promised::default();
    reactor.spawn(Class::Request, program(reactor.clone(), promised.clone()));
    world.run_for(Duration::from_micros(world.rng().range(500..20_000)));
    world.crash(node, CrashKind::Power);
    let log = world.disk(node).content(Path::new("log"), View::Current).unwrap_or_default();
    let mut latest = std::collections::BTreeMap::new();
    latest.extend(promised.take());
    latest.into_iter().any(|(at, fill)| {
        let block = log.get((at * SIZE) as usize..((at + 1) * SIZE) as usize);
        // A later, unpromised round may have reached the block, wholly or in part.
        block.is_none_or(|block| block.iter().any(|byte| *byte < fill))
    })
}

fn count_losses(seeds: u64, options: impl Fn() -> Options, program: fn(Reactor, Promised) -> Task) -> u64 {
    (0..seeds).filter(|seed| loses(*seed, options(), program)).count() as u64
}

fn one_flush(one_flush: bool) -> Options {
    let mut options = Options::default();
    options.disk.one_flush = one_flush;
    options
}

fn expect_ok<T>(result: std::io::Result<T>) -> T {
    result.expect("the disk is sound")
}

/// Rounds of writes to blocks in place, with what the step makes of one write and one promise.
macro_rules! rounds {
    (|$reactor:ident, $log:ident, $at:ident, $fill:ident, $promise:ident| $step:block) => {
        |$reactor: Reactor, promised: Promised| -> Task {
            Box::pin(async move {
                let $log = open("log", &$reactor).await;
                for round in 1..200u8 {
                    let ($at, $fill) = (u64::from(round) % BLOCKS, round);
                    let $promise = || promised.borrow_mut().push(($at, $fill));
                    $step
                }
            })
        }
    };
}

#[test]
fn flushed_writes_in_place_are_never_lost() {
    let program = rounds!(|reactor, log, at, fill, promise| {
        expect_ok(log.write_at(block(&reactor, fill, 1), at * SIZE).await);
        expect_ok(log.flush().await);
        promise();
    });
    assert_eq!(count_losses(SEEDS, || one_flush(true), program), 0);
    assert_eq!(count_losses(SEEDS, || one_flush(false), program), 0);
}

#[test]
fn one_flush_of_a_clean_file_covers_writes_in_place_only_where_the_device_says_so() {
    let program = rounds!(|reactor, log, at, fill, promise| {
        let clean = open("clean", &reactor).await;
        expect_ok(log.write_at(block(&reactor, fill, 1), at * SIZE).await);
        expect_ok(clean.flush().await);
        promise();
    });
    assert_eq!(count_losses(SEEDS, || one_flush(true), program), 0);
    assert!(count_losses(SHORT, || one_flush(false), program) > 0);
}

#[test]
fn a_promise_before_the_flush_is_broken() {
    let program = rounds!(|reactor, log, at, fill, promise| {
        expect_ok(log.write_at(block(&reactor, fill, 1), at * SIZE).await);
        promise();
        expect_ok(log.flush().await);
    });
    assert!(count_losses(SHORT, || one_flush(true), program) > 0);
    let through = || {
        let mut options = one_flush(true);
        options.disk.write_cache = false;
        options
    };
    assert_eq!(count_losses(SEEDS, through, program), 0, "without a cache, writes in place need no flush");
}

#[test]
fn a_flush_covers_no_write_whose_end_was_not_seen_before_it() {
    let program = rounds!(|reactor, log, at, fill, promise| {
        let write = log.write_at(block(&reactor, fill, 1), at * SIZE);
        let flush = log.flush();
        expect_ok(write.await);
        expect_ok(flush.await);
        promise();
    });
    assert!(count_losses(SHORT, || one_flush(true), program) > 0);
}

#[test]
fn a_flush_that_does_nothing_is_told_and_punished() {
    let program = rounds!(|reactor, log, at, fill, promise| {
        expect_ok(log.write_at(block(&reactor, fill, 1), at * SIZE).await);
        expect_ok(log.flush().await);
        promise();
    });
    let void = |disk: &mut crate::reactor::sim::DiskOptions| disk.void_flushes = true;
    let losses = (0..SHORT).filter(|seed| {
        let world = World::new(*seed, Options::default());
        let node = world.add_node();
        let reactor = world.boot(node, 1).remove(0);
        world.run(&reactor, SECOND, prepare(reactor.clone()));
        world.disk(node).change(void);
        let promised = Promised::default();
        reactor.spawn(Class::Request, program(reactor.clone(), promised.clone()));
        world.run_for(SECOND / 50);
        world.crash(node, CrashKind::Power);
        let log = world.disk(node).content(Path::new("log"), View::Current).expect("it is there");
        promised.take().into_iter().any(|(at, fill)| log[(at * SIZE) as usize] < fill)
    });
    assert!(losses.count() > 0);
}

/// Appends behind the end of a file of its own, grown by `grow`, and flushed as `flush` says.
fn append_program(grow: u8, own_flush: bool) -> impl Fn(Reactor, Promised) -> Task {
    move |reactor, promised| {
        Box::pin(async move {
            let (log, clean) = (open("log", &reactor).await, open("clean", &reactor).await);
            for (round, at) in (1..100u8).zip(BLOCKS..) {
                match grow {
                    0 => {}
                    1 => expect_ok(log.allocate(at * SIZE, SIZE).await),
                    2 => expect_ok(log.truncate((at + 1) * SIZE).await),
                    _ => {
                        expect_ok(log.allocate(at * SIZE, SIZE).await);
                        expect_ok(log.flush().await);
                    }
                }
                expect_ok(log.write_at(block(&reactor, round, 1), at * SIZE).await);
                expect_ok(if own_flush { log.flush().await } else { clean.flush().await });
                promised.borrow_mut().push((at, round));
            }
        })
    }
}

#[test]
fn growing_a_file_needs_a_flush_of_its_own() {
    let own: [fn(Reactor, Promised) -> Task; 4] = [
        |r, p| append_program(0, true)(r, p),
        |r, p| append_program(1, true)(r, p),
        |r, p| append_program(2, true)(r, p),
        |r, p| append_program(3, true)(r, p),
    ];
    for program in own {
        assert_eq!(count_losses(SEEDS / 2, || one_flush(true), program), 0);
    }
    // An unwritten extent is not enough, though it and the size be durable: its conversion is not.
    let clean: [fn(Reactor, Promised) -> Task; 4] = [
        |r, p| append_program(0, false)(r, p),
        |r, p| append_program(1, false)(r, p),
        |r, p| append_program(2, false)(r, p),
        |r, p| append_program(3, false)(r, p),
    ];
    for program in clean {
        assert!(count_losses(SHORT, || one_flush(true), program) > 0);
    }
}

#[test]
fn growth_by_written_durable_blocks_may_be_flushed_by_another_file() {
    let program = |reactor: Reactor, promised: Promised| -> Task {
        Box::pin(async move {
            let (log, clean) = (open("log", &reactor).await, open("clean", &reactor).await);
            for (round, at) in (1..100u8).zip(BLOCKS..) {
                if (at - BLOCKS).is_multiple_of(8) {
                    expect_ok(log.write_at(block(&reactor, 0, 8), at * SIZE).await);
                    expect_ok(log.flush().await);
                }
                expect_ok(log.write_at(block(&reactor, round, 1), at * SIZE).await);
                expect_ok(clean.flush().await);
                promised.borrow_mut().push((at, round));
            }
        })
    };
    assert_eq!(count_losses(SEEDS, || one_flush(true), program), 0);
}

#[test]
fn a_flush_keeps_its_word_though_the_block_is_rewritten_many_times_meanwhile() {
    let program = |reactor: Reactor, promised: Promised| -> Task {
        Box::pin(async move {
            let log = open("log", &reactor).await;
            let mut flush = None;
            for round in 1..200u8 {
                expect_ok(log.write_at(block(&reactor, round, 1), 0).await);
                if round % 25 == 5 {
                    flush = Some((round, log.flush()));
                }
                if let (24, Some((covered, flush))) = (round % 25, flush.take_if(|_| round % 25 == 24)) {
                    expect_ok(flush.await);
                    promised.borrow_mut().push((0, covered));
                }
            }
        })
    };
    let slow = || {
        let mut options = one_flush(true);
        options.disk.flush = crate::reactor::sim::Delay::micros(2_000, 4_000);
        options
    };
    assert_eq!(count_losses(SEEDS, slow, program), 0);
}

#[test]
fn extents_may_survive_without_the_data_that_a_flush_of_another_file_left_behind() {
    let zeros = (0..SHORT).filter(|seed| {
        let (world, node, reactor) = booted(*seed, one_flush(true));
        let r = reactor.clone();
        world.run(&reactor, SECOND, async move {
            let (log, clean) = (open("log", &r).await, open("clean", &r).await);
            expect_ok(log.write_at(block(&r, 1, 1), BLOCKS * SIZE).await);
            expect_ok(clean.flush().await);
        });
        world.crash(node, CrashKind::Power);
        let log = world.disk(node).content(Path::new("log"), View::Current).expect("it is there");
        log.get((BLOCKS * SIZE) as usize..).is_some_and(|grown| !grown.is_empty() && grown[0] == 0)
    });
    assert!(zeros.count() > 0);
}

#[test]
fn after_a_failed_flush_the_next_one_lies() {
    let broken = (0..SHORT).filter(|seed| {
        let world = World::new(*seed, Options::default());
        let node = world.add_node();
        let reactor = world.boot(node, 1).remove(0);
        world.run(&reactor, SECOND, prepare(reactor.clone()));
        world.disk(node).fail_nth(IoKind::Flush, 1);
        let r = reactor.clone();
        world.run(&reactor, SECOND, async move {
            let log = open("log", &r).await;
            expect_ok(log.write_at(block(&r, 1, 1), 0).await);
            let error = log.flush().await.expect_err("it was made to fail");
            assert!(error.to_string().contains("flush of /log failed"), "{error}");
            expect_ok(log.flush().await);
        });
        world.crash(node, CrashKind::Power);
        let log = world.disk(node).content(Path::new("log"), View::Current).expect("it is there");
        log[..BLOCK].iter().any(|byte| *byte != 1)
    });
    assert!(broken.count() > 0);
}

#[test]
fn names_are_durable_when_their_directory_is_synced_and_not_before() {
    let survives = |seed: u64, sync: bool| {
        let world = World::new(seed, Options::default());
        let node = world.add_node();
        let reactor = world.boot(node, 1).remove(0);
        let r = reactor.clone();
        world.run(&reactor, SECOND, async move {
            let (disk, dir) = (r.disk(), Path::new("topic-0"));
            expect_ok(disk.create_dirs(dir).await);
            let file = expect_ok(disk.open(&dir.join("0.log"), true).await);
            expect_ok(file.write_at(block(&r, 7, 1), 0).await);
            expect_ok(file.flush().await);
            if sync {
                expect_ok(disk.sync_dir(dir).await);
                expect_ok(disk.sync_dir(Path::new("/")).await);
            }
        });
        let before = world.disk(node).files(View::Durable).len();
        assert_eq!(before, usize::from(sync), "what is certain");
        world.crash(node, CrashKind::Power);
        let found = world.disk(node).content(Path::new("topic-0/0.log"), View::Current);
        found.is_ok_and(|content| content == vec![7; BLOCK])
    };
    assert!((0..SEEDS).all(|seed| survives(seed, true)));
    let unsynced = (0..SHORT).filter(|seed| survives(*seed, false)).count();
    assert!(unsynced > 0 && unsynced < SHORT as usize, "it may be there or not: {unsynced}");
}

#[test]
fn a_rename_is_seen_whole_or_not_at_all() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..SHORT {
        let world = World::new(seed, Options::default());
        let node = world.add_node();
        let reactor = world.boot(node, 1).remove(0);
        let r = reactor.clone();
        world.run(&reactor, SECOND, async move {
            let disk = r.disk();
            expect_ok(disk.replace(Path::new("a"), b"old".to_vec()).await);
            expect_ok(disk.replace(Path::new("b"), b"new".to_vec()).await);
            expect_ok(disk.rename(Path::new("b"), Path::new("a")).await);
        });
        world.crash(node, CrashKind::Power);
        let state = ["a", "b"].map(|name| {
            let content = world.disk(node).content(Path::new(name), View::Current);
            content.map_or("none".to_owned(), |bytes| String::from_utf8(bytes).expect("text"))
        });
        seen.insert(state);
    }
    let both = [["new", "none"], ["old", "new"]].map(|state| state.map(str::to_owned));
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), both);
}

#[test]
fn replacing_a_file_leaves_the_old_or_the_new_wherever_the_crash_comes() {
    for kind in [CrashKind::Process, CrashKind::Power] {
        let mut seen = [0; 3];
        for seed in 0..SEEDS {
            let world = World::new(seed, Options::default());
            let node = world.add_node();
            let reactor = world.boot(node, 1).remove(0);
            let last = shared::<u8>();
            let (r, out) = (reactor.clone(), last.clone());
            reactor.spawn(Class::Request, async move {
                for round in 1..100u8 {
                    expect_ok(r.disk().replace(Path::new("/mark"), vec![round; 5000]).await);
                    *out.borrow_mut() = round;
                }
            });
            world.run_for(Duration::from_micros(world.rng().range(100..10_000)));
            world.crash(node, kind);
            let content = world.disk(node).content(Path::new("mark"), View::Current).unwrap_or_default();
            let last = *last.borrow();
            if content.is_empty() {
                assert_eq!(last, 0, "seed {seed}: it was promised");
                seen[0] += 1;
            } else {
                assert_eq!(content, vec![content[0]; 5000], "seed {seed}: torn");
                let ahead = content[0].checked_sub(last).expect("a promise is kept");
                assert!(ahead <= 1, "seed {seed}");
                seen[1 + usize::from(ahead)] += 1;
            }
        }
        assert!(seen.iter().all(|count| *count > 0), "{kind:?}: {seen:?}");
    }
}

#[test]
fn what_an_unflushed_truncation_cut_off_may_come_back() {
    let returns = |seed: u64, flush: bool| {
        let world = World::new(seed, Options::default());
        let node = world.add_node();
        let reactor = world.boot(node, 1).remove(0);
        world.run(&reactor, SECOND, prepare(reactor.clone()));
        let r = reactor.clone();
        world.run(&reactor, SECOND, async move {
            let (log, clean) = (open("log", &r).await, open("clean", &r).await);
            expect_ok(log.write_at(block(&r, 9, 4), 0).await);
            expect_ok(log.flush().await);
            expect_ok(log.truncate(SIZE).await);
            if flush {
                expect_ok(log.flush().await);
            }
            expect_ok(log.allocate(SIZE, 3 * SIZE).await);
            expect_ok(log.write_at(block(&r, 5, 1), SIZE).await);
            expect_ok(clean.flush().await);
            let read = expect_ok(log.read_at(chunk(&r, 4 * BLOCK).await, 0).await);
            let bytes: Vec<u8> = read.iter().step_by(BLOCK).copied().collect();
            assert_eq!(bytes, [9, 5, 0, 0], "cut off and grown again, it reads as zeros");
        });
        world.crash(node, CrashKind::Power);
        let log = world.disk(node).content(Path::new("log"), View::Current).expect("it is there");
        log[BLOCK..].contains(&9)
    };
    assert!((0..SHORT).any(|seed| returns(seed, false)));
    assert!(!(0..SEEDS).any(|seed| returns(seed, true)));
}

/// Runs a program that must be stopped by the twin, and gives its words.
fn flagged(program: fn(Reactor) -> Task) -> String {
    let world = World::new(3, Options::default());
    let node = world.add_node();
    let reactor = world.boot(node, 1).remove(0);
    world.run(&reactor, SECOND, prepare(reactor.clone()));
    reactor.spawn(Class::Request, program(reactor.clone()));
    let panic = catch_unwind(AssertUnwindSafe(|| world.run_for(SECOND))).expect_err("it is flagged");
    panic.downcast_ref::<String>().expect("a text").clone()
}

#[test]
fn overlapping_writes_in_flight_are_flagged() {
    let writes = flagged(|reactor| {
        Box::pin(async move {
            let log = open("log", &reactor).await;
            let first = log.write_at(block(&reactor, 1, 2), 0);
            let second = log.write_at(block(&reactor, 2, 1), SIZE);
            expect_ok(first.await.and(second.await));
        })
    });
    assert!(writes.contains("a write at 4096..8192 of /log overlaps a write at 0..8192"), "{writes}");
    let cut = flagged(|reactor| {
        Box::pin(async move {
            let log = open("log", &reactor).await;
            let first = log.write_at(block(&reactor, 1, 2), 0);
            let second = log.truncate(SIZE);
            expect_ok(first.await.and(second.await));
        })
    });
    assert!(cut.contains("a truncation at 4096.."), "{cut}");
}

#[test]
fn memory_that_changes_in_flight_is_flagged() {
    let text = flagged(|reactor| {
        Box::pin(async move {
            let log = open("log", &reactor).await;
            let mut chunk = chunk(&reactor, BLOCK).await;
            chunk.append(&[1; BLOCK]);
            let write = log.write_at(chunk.slice(0..BLOCK), 0);
            // SAFETY: deliberately against the contract; one thread, and nobody holds a reference just now.
            unsafe { chunk.patch(77, &[2]) };
            expect_ok(write.await);
        })
    });
    assert!(text.contains("the memory of a write at 0 of /log changed"), "{text}");
}

#[test]
fn writes_in_flight_end_in_any_order_and_power_tears_them_at_sectors() {
    let (mut orders, mut torn, mut whole, mut none) = (std::collections::BTreeSet::new(), 0, 0, 0);
    for seed in 0..SHORT {
        let world = World::new(seed, Options::default());
        let node = world.add_node();
        let reactor = world.boot(node, 1).remove(0);
        world.run(&reactor, SECOND, prepare(reactor.clone()));
        let order = shared::<Vec<u64>>();
        for at in 0..3 {
            let (r, out) = (reactor.clone(), order.clone());
            reactor.spawn(Class::Request, async move {
                let log = open("log", &r).await;
                expect_ok(log.write_at(block(&r, 1, 1), at * SIZE).await);
                out.borrow_mut().push(at);
            });
        }
        world.run_for(SECOND);
        orders.insert(order.take());
        world.crash(node, CrashKind::Power);
        let log = world.disk(node).content(Path::new("log"), View::Current).expect("it is there");
        for block in log[..3 * BLOCK].chunks(BLOCK) {
            let sectors: Vec<u8> = block.chunks(512).map(|sector| sector[0]).collect();
            assert!(block.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
            match sectors.iter().filter(|sector| **sector == 1).count() {
                0 => none += 1,
                8 => whole += 1,
                _ => torn += 1,
            }
        }
    }
    assert_eq!(orders.len(), 6, "all orders are seen");
    assert!(torn > 5 && whole > 5 && none > 5, "{torn} {whole} {none}");
}

/// Boots a node on a prepared disk and gives world, node and reactor.
fn booted(seed: u64, options: Options) -> (World, NodeId, Reactor) {
    let world = World::new(seed, options);
    let node = world.add_node();
    let reactor = world.boot(node, 1).remove(0);
    world.run(&reactor, SECOND, prepare(reactor.clone()));
    (world, node, reactor)
}

#[test]
fn a_killed_process_loses_nothing_that_was_written() {
    for seed in 0..SHORT {
        let (world, node, reactor) = booted(seed, Options::default());
        let r = reactor.clone();
        world.run(&reactor, SECOND, async move {
            let log = open("log", &r).await;
            expect_ok(log.write_at(block(&r, 3, 2), (BLOCKS - 1) * SIZE).await);
            expect_ok(r.disk().rename(Path::new("log"), Path::new("other")).await);
        });
        world.crash(node, CrashKind::Process);
        let log = world.disk(node).content(Path::new("other"), View::Current).expect("it is there");
        assert_eq!(log.len() as u64, (BLOCKS + 1) * SIZE);
        assert!(log[((BLOCKS - 1) * SIZE) as usize..].iter().all(|byte| *byte == 3));
    }
}

#[test]
fn a_full_disk_says_so_and_room_comes_back() {
    let (world, node, reactor) = booted(1, Options::default());
    let r = reactor.clone();
    let disk = world.disk(node);
    disk.change(|options| options.capacity = (BLOCKS + 4) * SIZE);
    world.run(&reactor, 10 * SECOND, async move {
        let (disk, path) = (r.disk(), Path::new("big"));
        let code = |result: std::io::Result<()>| result.expect_err("it is full").kind();
        let big = expect_ok(disk.open(path, true).await);
        assert_eq!(expect_ok(disk.free_space(path).await), 4 * SIZE);
        assert_eq!(code(big.allocate(0, 5 * SIZE).await), ErrorKind::StorageFull);
        assert_eq!(code(big.write_at(block(&r, 1, 5), 0).await), ErrorKind::StorageFull);
        expect_ok(big.truncate(0).await);
        expect_ok(big.allocate(0, 4 * SIZE).await);
        expect_ok(big.write_at(block(&r, 1, 4), 0).await);
        assert_eq!(expect_ok(disk.free_space(path).await), 0);
        expect_ok(disk.remove_file(path).await);
        assert_eq!(expect_ok(disk.free_space(path).await), 0, "it is open still");
        drop(big);
        assert_eq!(expect_ok(disk.free_space(path).await), 4 * SIZE);
    });
}

#[test]
fn errors_stalls_and_rot_come_when_they_are_asked_for() {
    let (world, node, reactor) = booted(1, Options::default());
    let disk = world.disk(node);
    let r = reactor.clone();
    disk.fail_nth(IoKind::Write, 2);
    world.run(&reactor, SECOND, async move {
        let log = open("log", &r).await;
        expect_ok(log.write_at(block(&r, 1, 1), 0).await);
        log.write_at(block(&r, 1, 1), SIZE).await.expect_err("the second fails");
        expect_ok(log.write_at(block(&r, 1, 1), SIZE).await);
    });
    let before = world.now();
    disk.stall_until(before + 5 * SECOND);
    let r = reactor.clone();
    world.run(&reactor, 10 * SECOND, async move {
        expect_ok(open("log", &r).await.flush().await);
    });
    assert!(world.now().since(before) >= 5 * SECOND);
    assert!(disk.corrupt(Path::new("log"), 100, 0x40).expect("it is there"));
    disk.make_unreadable(Path::new("log"), SIZE..SIZE + 1).expect("it is there");
    let r = reactor.clone();
    world.run(&reactor, SECOND, async move {
        let log = open("log", &r).await;
        let read = expect_ok(log.read_at(chunk(&r, BLOCK).await, 0).await);
        assert_eq!((read[99], read[100]), (1, 0x41));
        log.read_at(chunk(&r, BLOCK).await, SIZE).await.expect_err("it is unreadable");
        expect_ok(r.disk().lock(Path::new("lock")).await);
        let taken = r.disk().lock(Path::new("lock")).await.expect_err("it is taken");
        assert_eq!(taken.kind(), ErrorKind::ResourceBusy);
    });
    disk.change(|options| options.flip_at_power_loss = 1_000_000);
    world.crash(node, CrashKind::Power);
    assert_eq!(disk.flips().len(), 1);
    let reactor = world.boot(node, 1).remove(0);
    let r = reactor.clone();
    world.run(&reactor, SECOND, async move { expect_ok(r.disk().lock(Path::new("lock")).await) });
}

/// Random operations one after the other, against a plain vector; then a crash of either kind.
#[test]
fn a_file_is_what_a_plain_vector_would_be() {
    for seed in 0..SEEDS {
        let (world, node, reactor) = booted(seed, Options::default());
        let mut rng = world.rng();
        let power = rng.coin();
        let model = shared::<Vec<u8>>();
        let (r, out) = (reactor.clone(), model.clone());
        *model.borrow_mut() = vec![0; (BLOCKS * SIZE) as usize];
        world.run(&reactor, 10 * SECOND, async move {
            let log = open("log", &r).await;
            for round in 1..40u8 {
                let at = rng.below(BLOCKS) * SIZE;
                let blocks = 1 + rng.index(4);
                let mut model = out.take();
                let end = at as usize + blocks * BLOCK;
                match rng.below(4) {
                    0 => {
                        let len = rng.below(BLOCKS * SIZE);
                        expect_ok(log.truncate(len).await);
                        model.resize(len as usize, 0);
                    }
                    1 => {
                        expect_ok(log.allocate(at, (blocks * BLOCK) as u64).await);
                        model.resize(model.len().max(end), 0);
                    }
                    _ => {
                        expect_ok(log.write_at(block(&r, round, blocks), at).await);
                        model.resize(model.len().max(end), 0);
                        model[at as usize..end].fill(round);
                    }
                }
                let read = expect_ok(log.read_at(chunk(&r, 64 * BLOCK).await, 0).await);
                assert!(*read == *model, "seed {seed}, round {round}");
                out.replace(model);
            }
            if power {
                expect_ok(log.flush().await);
            }
        });
        world.crash(node, if power { CrashKind::Power } else { CrashKind::Process });
        let log = world.disk(node).content(Path::new("log"), View::Current).expect("it is there");
        assert!(log == *model.borrow(), "seed {seed} after the crash");
    }
}

#[test]
fn removing_a_tree_can_be_undone_by_a_loss_of_power_until_its_parent_is_synced() {
    let remains = |seed: u64, sync: bool| {
        let (world, node, reactor) = booted(seed, Options::default());
        let r = reactor.clone();
        world.run(&reactor, SECOND, async move {
            let disk = r.disk();
            expect_ok(disk.create_dirs(Path::new("t/u")).await);
            for name in ["t/a", "t/u/b"] {
                expect_ok(disk.replace(Path::new(name), b"content".to_vec()).await);
            }
            expect_ok(disk.sync_dir(Path::new("t")).await);
            expect_ok(disk.sync_dir(Path::new("/")).await);
            expect_ok(disk.remove_dirs(Path::new("t")).await);
            disk.list(Path::new("t")).await.expect_err("it is gone");
            if sync {
                expect_ok(disk.sync_dir(Path::new("/")).await);
            }
        });
        world.crash(node, CrashKind::Power);
        world.disk(node).files(View::Current).iter().filter(|(path, _)| path.starts_with("/t")).count()
    };
    assert!((0..SEEDS).all(|seed| remains(seed, true) == 0));
    let counts: std::collections::BTreeSet<usize> = (0..SHORT).map(|seed| remains(seed, false)).collect();
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
}
