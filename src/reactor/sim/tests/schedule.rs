//! Tasks, time, crashes, and the trace.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{SECOND, shared};
use crate::reactor::bus::mesh;
use crate::reactor::sim::{CrashKind, NodeId, Options, World};
use crate::reactor::{Class, CoreMain, CoreSpec, Nanos, Reactor};

fn main_of<F: Future<Output = ()> + 'static>(main: impl FnOnce(Reactor) -> F + Send + 'static) -> CoreMain {
    Box::new(move |reactor| Box::pin(main(reactor)))
}

#[test]
fn time_stands_while_a_task_is_ready_and_jumps_when_none_is() {
    let world = World::new(1, Options::calm());
    let client = world.add_client();
    let seen = shared::<Vec<Nanos>>();
    let (reactor, out) = (client.clone(), seen.clone());
    client.spawn(Class::Request, async move {
        for _ in 0..1000 {
            reactor.yield_now().await;
        }
        out.borrow_mut().push(reactor.now());
        reactor.sleep(3600 * SECOND).await;
        out.borrow_mut().push(reactor.now());
    });
    let start = client.now();
    assert!(world.run_until_idle(7200 * SECOND));
    let seen = seen.borrow();
    assert_eq!(seen[0], start);
    assert!(seen[1].since(start) >= 3600 * SECOND && seen[1].since(start) < 3601 * SECOND);
}

#[test]
fn the_order_of_ready_tasks_is_the_seeds() {
    let order = |seed| {
        let world = World::new(seed, Options::calm());
        let client = world.add_client();
        let seen = shared::<Vec<u32>>();
        for task in 0..20 {
            let out = seen.clone();
            client.spawn(Class::Request, async move { out.borrow_mut().push(task) });
        }
        world.run_until_idle(SECOND);
        seen.take()
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
    let mut sorted = order(3);
    sorted.sort_unstable();
    assert_eq!(sorted, (0..20).collect::<Vec<_>>());
}

#[test]
fn a_crash_drops_the_tasks_of_the_node_and_of_no_other() {
    struct Guard(super::Shared<Vec<&'static str>>, &'static str);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.borrow_mut().push(self.1);
        }
    }
    let world = World::new(1, Options::calm());
    let (a, b) = (world.add_client(), world.add_client());
    let seen = shared::<Vec<&'static str>>();
    for (reactor, name) in [(&a, "a"), (&b, "b")] {
        let (r, guard, out) = (reactor.clone(), Guard(seen.clone(), name), seen.clone());
        reactor.spawn(Class::Request, async move {
            let _guard = guard;
            r.sleep(SECOND).await;
            out.borrow_mut().push("woke");
        });
    }
    world.run_for(SECOND / 2);
    let Reactor::Sim(core) = &a else { unreachable!() };
    world.crash(core.node(), CrashKind::Process);
    assert_eq!(*seen.borrow(), ["a"]);
    a.spawn(Class::Request, async { panic!("a dead core runs nothing") });
    world.run_for(SECOND);
    assert_eq!(*seen.borrow(), ["a", "woke", "b"]);
}

#[test]
fn a_node_ends_when_its_mains_do_and_may_start_again() {
    let world = World::new(1, Options::calm());
    let node = world.add_node();
    let mains = || {
        let main = || main_of(|reactor: Reactor| async move { reactor.stop_requested().await });
        vec![(CoreSpec::default(), main()), (CoreSpec::default(), main())]
    };
    for _ in 0..3 {
        world.start(node, mains());
        world.run_for(SECOND);
        assert!(world.is_running(node));
        world.request_stop(node);
        world.run_for(SECOND);
        assert!(!world.is_running(node));
    }
    world.start(node, mains());
    assert!(catch_unwind(AssertUnwindSafe(|| world.start(node, mains()))).is_err());
}

#[test]
fn a_panic_names_seed_node_core_and_time() {
    let world = World::new(4711, Options::calm());
    let client = world.add_client();
    let reactor = client.clone();
    client.spawn(Class::Request, async move {
        reactor.sleep(SECOND).await;
        panic!("as planned");
    });
    let panic = catch_unwind(AssertUnwindSafe(|| world.run_for(2 * SECOND))).expect_err("it panics");
    let text = panic.downcast_ref::<String>().expect("a text");
    for part in ["seed 4711", "node 0", "core 0", "as planned", "schedule.rs"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn tasks_that_wake_one_another_for_ever_are_found() {
    let mut options = Options::calm();
    options.schedule.busy_limit = 1000;
    let world = World::new(1, options);
    let client = world.add_client();
    let reactor = client.clone();
    client.spawn(Class::Request, async move {
        loop {
            reactor.yield_now().await;
        }
    });
    let panic = catch_unwind(AssertUnwindSafe(|| world.run_for(SECOND))).expect_err("it panics");
    assert!(panic.downcast_ref::<String>().expect("a text").contains("time does not move"));
}

#[test]
fn cores_of_a_node_talk_over_the_bus() {
    for seed in 0..50 {
        let world = World::new(seed, Options::drawn(seed));
        let cores = world.boot(world.add_node(), 3);
        let sum = shared::<Vec<(usize, u64)>>();
        for (end, reactor) in mesh::<u64>(3).into_iter().zip(&cores) {
            let out = sum.clone();
            reactor.spawn(Class::Request, async move {
                if end.core() > 0 {
                    for number in 0..2000 {
                        end.send(0, number).await;
                    }
                    return;
                }
                loop {
                    let received = end.receive().await;
                    out.borrow_mut().push(received);
                }
            });
        }
        assert!(world.run_until(60 * SECOND, || sum.borrow().len() == 4000));
        for core in 1..3 {
            let sum = sum.borrow();
            let numbers = sum.iter().filter(|(from, _)| *from == core).map(|(_, number)| *number);
            assert!(numbers.eq(0..2000), "seed {seed}: in order");
        }
    }
}

#[test]
fn clocks_differ_from_node_to_node_and_jump_when_told() {
    let mut options = Options::calm();
    options.clock_skew = 60 * SECOND;
    let world = World::new(5, options);
    let (a, b) = (world.add_client(), world.add_client());
    assert_ne!(a.now(), b.now());
    assert_ne!(a.wall_clock_ms(), b.wall_clock_ms());
    assert!((a.wall_clock_ms() - b.wall_clock_ms()).abs() <= 120_000);
    let (monotonic, wall) = (a.now(), a.wall_clock_ms());
    let Reactor::Sim(core) = &a else { unreachable!() };
    world.jump_wall_clock(core.node(), -5000);
    world.run_for(SECOND);
    assert_eq!(a.wall_clock_ms(), wall - 4000);
    assert_eq!(a.now().since(monotonic), SECOND);
}

#[test]
fn pauses_and_neglect_let_one_core_fall_behind_another() {
    let gap = |options: Options| {
        let world = World::new(3, options);
        let cores = world.boot(world.add_node(), 2);
        let steps = shared::<[u64; 2]>();
        for (index, reactor) in cores.iter().enumerate() {
            let (r, out) = (reactor.clone(), steps.clone());
            reactor.spawn(Class::Request, async move {
                for _ in 0..5000 {
                    r.yield_now().await;
                    out.borrow_mut()[index] += 1;
                }
            });
        }
        let mut gap = 0;
        world.run_until(SECOND, || {
            let [a, b] = *steps.borrow();
            gap = gap.max(a.abs_diff(b));
            a.min(b) == 5000
        });
        gap
    };
    let calm = gap(Options::calm());
    let mut neglectful = Options::calm();
    neglectful.schedule.starve = true;
    let mut paused = Options::calm();
    paused.schedule.pause = 2000;
    assert!(calm < 400 && gap(neglectful) > 2 * calm && gap(paused) > 2 * calm, "{calm}");
}

#[test]
fn a_call_that_comes_later_may_crash_a_node_from_within() {
    let world = World::new(1, Options::calm());
    let node = world.add_node();
    let reactor = world.boot(node, 1).remove(0);
    let (handle, done) = ((*world).clone(), shared::<bool>());
    let out = done.clone();
    world.after(SECOND, |world| world.crash(NodeId(0), CrashKind::Process));
    assert!(world.run_until(2 * SECOND, || !world.is_running(node)));
    world.boot(node, 1)[0].spawn(Class::Request, async move {
        handle.crash(node, CrashKind::Power);
        *out.borrow_mut() = true;
        std::future::pending::<()>().await;
    });
    world.run_for(SECOND);
    assert!(*done.borrow() && !world.is_running(node));
    drop(reactor);
}
