use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::reactor::Class;
use crate::reactor::bus::{BusEnd, RemoteWaker, mesh};

#[test]
fn timers_fire_in_order() {
    let order = on_core(async move |r: Reactor| {
        let queue = crate::reactor::sync::Queue::new(10);
        for millis in [30u64, 10, 20] {
            let (r2, queue) = (r.clone(), queue.clone());
            r.spawn(Class::Background, async move {
                r2.sleep(Duration::from_millis(millis)).await;
                queue.push(millis).await.unwrap();
            });
        }
        let mut order = Vec::new();
        for _ in 0..3 {
            order.push(queue.pop().await.unwrap());
        }
        order
    });
    assert_eq!(order, [10, 20, 30]);
}

/// Runs two cores with an end of a bus each.
fn on_two_cores<A: Send + 'static, B: Send + 'static, T: Send + 'static>(
    a: impl AsyncFnOnce(Reactor, BusEnd<T>) -> A + Send + 'static,
    b: impl AsyncFnOnce(Reactor, BusEnd<T>) -> B + Send + 'static,
) -> (A, B) {
    let mut ends = mesh::<T>(2);
    let (end_b, end_a) = (ends.pop().unwrap(), ends.pop().unwrap());
    let ((tell_a, told_a), (tell_b, told_b)) = (mpsc::channel(), mpsc::channel());
    let a: CoreMain = Box::new(move |r| Box::pin(async move { tell_a.send(a(r, end_a).await).unwrap() }));
    let b: CoreMain = Box::new(move |r| Box::pin(async move { tell_b.send(b(r, end_b).await).unwrap() }));
    run(vec![(CoreSpec::default(), a), (CoreSpec::default(), b)]).unwrap();
    (told_a.recv().unwrap(), told_b.recv().unwrap())
}

#[test]
fn two_cores_wake_each_other_from_sleep() {
    let (a, b) = on_two_cores(
        async |r, end| {
            for i in 0..5000u64 {
                end.send(1, i).await;
                assert_eq!(end.receive().await, (1, i + 1));
            }
            (r.core(), r.cores())
        },
        async |r, end| {
            for _ in 0..5000 {
                let (from, i) = end.receive().await;
                end.send(from, i + 1).await;
            }
            (r.core(), r.cores())
        },
    );
    assert_eq!((a, b), ((0, 2), (1, 2)));
}

#[test]
fn a_connection_accepted_on_one_core_is_served_by_another() {
    let ((), served) = on_two_cores(
        async |r: Reactor, end| {
            let listener = r.listen("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.local_address();
            let connecting = r.clone();
            let (done, answered) = crate::reactor::sync::completion();
            r.spawn(Class::Request, async move {
                let (mut receiver, mut sender) = connecting.connect(address).await.unwrap();
                sender.send(vec![bytes::Bytes::from_static(b"hello")]).await.unwrap();
                let mut buffer = [0; 16];
                let len = receiver.receive(&mut buffer).await.unwrap();
                done.complete(buffer[..len].to_vec());
            });
            end.send(1, listener.accept().await.unwrap()).await;
            assert_eq!(answered.await, b"HELLO");
        },
        async |r: Reactor, end| {
            let (from, accepted) = end.receive().await;
            let (mut receiver, mut sender) = r.adopt(accepted).unwrap();
            let mut buffer = [0; 16];
            let len = receiver.receive(&mut buffer).await.unwrap();
            sender.send(vec![buffer[..len].to_ascii_uppercase().into()]).await.unwrap();
            from
        },
    );
    assert_eq!(served, 0);
}

#[test]
fn a_thread_wakes_a_sleeping_core_every_time() {
    let wakers = Arc::new([RemoteWaker::default(), RemoteWaker::default()]);
    let there = wakers.clone();
    let thread = std::thread::spawn(move || {
        for _ in 0..3000 {
            // No executor on this thread: it looks, and lets the core run.
            while poll_now(there[0].wait()).is_pending() {
                std::thread::yield_now();
            }
            there[1].wake();
        }
    });
    on_core(async move |_| {
        for _ in 0..3000 {
            wakers[0].wake();
            wakers[1].wait().await;
        }
    });
    thread.join().unwrap();
}

fn poll_now(future: impl Future<Output = ()>) -> Poll<()> {
    std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_spinning_core_sees_completions_wakes_and_timers() {
    let folder = Folder::new("spin");
    let path = folder.0.join("a.log");
    let spec = CoreSpec { spin_before_park: Duration::from_secs(5), ..CoreSpec::default() };
    let read = on_core_with(spec, async move |r: Reactor| {
        let file = r.disk().open(&path, true).await.unwrap();
        for i in 0..20 {
            file.write_at(filled(&r, 4096, i).await.freeze(), 0).await.unwrap();
            r.sleep(Duration::from_micros(50)).await;
        }
        file.read_at(r.pool().chunk(Share::Reads, 4096).await, 0).await.unwrap()[0]
    });
    assert_eq!(read, 19);
}

#[test]
fn the_end_of_main_drops_the_other_tasks() {
    let dropped = Arc::new(());
    let held = dropped.clone();
    on_core(async move |r: Reactor| {
        let forever = r.clone();
        r.spawn(Class::Background, async move {
            let _held = held;
            loop {
                forever.yield_now().await;
            }
        });
        r.sleep(Duration::from_millis(2)).await;
    });
    assert_eq!(Arc::strong_count(&dropped), 1);
}

#[test]
fn tasks_that_are_always_ready_keep_neither_other_classes_nor_timers_nor_the_disk_waiting() {
    let folder = Folder::new("busy");
    let path = folder.0.join("a.log");
    on_core(async move |r: Reactor| {
        let ran = Rc::new(Cell::new(0u64));
        let (busy, least) = (r.clone(), r.clone());
        r.spawn(Class::Request, async move {
            loop {
                busy.yield_now().await;
            }
        });
        let count = ran.clone();
        r.spawn(Class::Background, async move {
            loop {
                count.set(count.get() + 1);
                least.yield_now().await;
            }
        });
        let file = r.disk().open(&path, true).await.unwrap();
        while ran.get() < 1000 {
            file.write_at(filled(&r, 4096, 1).await.freeze(), 0).await.unwrap();
            r.sleep(Duration::from_micros(100)).await;
        }
    });
}

#[test]
fn a_cpu_that_is_not_there_is_told_and_nothing_runs() {
    let ran = Arc::new(AtomicBool::new(false));
    let mains: Vec<(CoreSpec, CoreMain)> = [None, Some(1023)]
        .into_iter()
        .map(|cpu| {
            let ran = ran.clone();
            let main: CoreMain = Box::new(move |_| {
                ran.store(true, Ordering::SeqCst);
                Box::pin(async {})
            });
            (CoreSpec { cpu, ..CoreSpec::default() }, main)
        })
        .collect();
    let error = run(mains).unwrap_err();
    assert!(error.to_string().contains("core 1 cannot start: it cannot be pinned to CPU 1023"), "{error}");
    assert!(!ran.load(Ordering::SeqCst));
}

#[test]
fn chance_differs_and_clocks_go_on() {
    on_core(async move |r: Reactor| {
        let numbers: std::collections::BTreeSet<u64> = (0..1000).map(|_| r.random()).collect();
        assert_eq!(numbers.len(), 1000);
        let before = (r.now(), r.wall_clock_ms());
        r.sleep(Duration::from_millis(5)).await;
        assert!(r.now().since(before.0) >= Duration::from_millis(5));
        assert!(before.1 > 1_700_000_000_000, "milliseconds since 1970");
    });
}
