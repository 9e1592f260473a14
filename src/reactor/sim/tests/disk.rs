//! The disk punishes shortcuts with promises, and nobody else: small programs on the seam, over many seeds.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use super::*;
use crate::reactor::sim::{CrashKind, Options, View};
use crate::reactor::{Class, Reactor};

/// What a program was told to be durable: the round that block holds.
type Promised = Shared<Vec<(u64, u8)>>;
type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Runs a program, pulls the plug in the midst of it, and tells whether a promise was broken.
fn loses(seed: u64, options: Options, program: fn(Reactor, Promised) -> Task) -> bool {
    let (world, node, reactor) = booted(seed, options);
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
fn a_write_that_ends_during_a_flush_may_be_covered_or_not() {
    let program = rounds!(|reactor, log, at, fill, promise| {
        let write = log.write_at(block(&reactor, fill, 1), at * SIZE);
        let flush = log.flush();
        expect_ok(write.await);
        promise();
        expect_ok(flush.await);
        reactor.sleep(SECOND).await;
    });
    let mut options = Options::calm();
    options.disk.transfer = crate::reactor::sim::Delay::micros(1, 2);
    options.disk.flush = crate::reactor::sim::Delay::micros(100, 200);
    let lost = count_losses(SHORT, || options.clone(), program);
    assert!(lost > 0 && lost < SHORT, "{lost}");
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
        let (world, node, reactor) = booted(*seed, Options::default());
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

/// A log that is appended to, and after each crash cut behind its last good block and appended to again.
#[test]
fn a_careful_log_survives_many_crashes_of_both_kinds() {
    let mut returned = 0;
    for seed in 0..SEEDS / 3 {
        let (world, node, mut reactor) = booted(seed, Options::drawn(seed));
        let mut rng = world.rng();
        let promised = shared::<Vec<u8>>();
        for life in 1..8u8 {
            let (r, out, is_cut) = (reactor.clone(), promised.clone(), shared::<bool>());
            let cut = is_cut.clone();
            reactor.spawn(Class::Request, async move {
                let log = open("log", &r).await;
                let mut end = out.borrow().len() as u64;
                expect_ok(log.truncate(end * SIZE).await);
                expect_ok(log.flush().await);
                *cut.borrow_mut() = true;
                loop {
                    expect_ok(log.write_at(block(&r, life, 2), end * SIZE).await);
                    expect_ok(log.flush().await);
                    out.borrow_mut().extend([life, life]);
                    end += 2;
                }
            });
            world.run_for(Duration::from_micros(rng.range(100..30_000)));
            world.crash(node, if rng.coin() { CrashKind::Power } else { CrashKind::Process });
            let log = world.disk(node).content(Path::new("log"), View::Current).expect("it is there");
            let promised = promised.borrow();
            for (at, fill) in promised.iter().enumerate() {
                let block = &log[at * BLOCK..(at + 1) * BLOCK];
                assert!(block.iter().all(|byte| byte == fill), "seed {seed}, life {life}, block {at}");
            }
            // What was durably cut off never comes back.
            let behind = &log[promised.len() * BLOCK..];
            let new = behind.iter().all(|byte| *byte == 0 || *byte == life);
            assert!(new || !*is_cut.borrow(), "seed {seed}, life {life}");
            returned += u32::from(!new);
            reactor = world.boot(node, 1).remove(0);
        }
    }
    assert!(returned > 0, "unless the crash came before that");
}
