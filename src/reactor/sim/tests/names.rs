//! Directories, whole small files, locks.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::reactor::sim::{CrashKind, Options, View, World};
use crate::reactor::{Class, Reactor};

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

#[test]
fn a_lock_is_held_until_the_process_ends() {
    let (world, node, reactor) = booted(1, Options::default());
    let lock = |reactor: &Reactor| {
        let disk = reactor.disk();
        world.run(reactor, SECOND, async move { disk.lock(Path::new("lock")).await })
    };
    expect_ok(lock(&reactor));
    assert_eq!(lock(&reactor).expect_err("it is taken").kind(), ErrorKind::ResourceBusy);
    world.crash(node, CrashKind::Process);
    let reactor = world.boot(node, 1).remove(0);
    expect_ok(lock(&reactor));
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
