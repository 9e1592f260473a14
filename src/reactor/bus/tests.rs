use std::sync::atomic::AtomicU64;
use std::task::{RawWaker, RawWakerVTable, Wake};
use std::thread::{self, Thread};

use super::*;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread, which sleeps while nobody wakes it: a lost wake is a test that never ends.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(out) => return out,
            Poll::Pending => thread::park(),
        }
    }
}

fn poll_once<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn every_message_arrives_in_order_from_every_core() {
    const EACH: u64 = 30_000;
    let cores = 4;
    let ends = mesh::<(usize, u64)>(cores);
    thread::scope(|scope| {
        for end in ends {
            scope.spawn(move || {
                let me = end.core();
                let send = async {
                    for i in 0..EACH {
                        for to in 0..cores {
                            end.send(to, (me, i)).await;
                        }
                    }
                };
                let receive = async {
                    let mut next = vec![0; cores];
                    for _ in 0..EACH * cores as u64 {
                        let (from, (told, i)) = end.receive().await;
                        assert_eq!(from, told);
                        assert_eq!(i, next[from], "in order from core {from}");
                        next[from] += 1;
                    }
                };
                block_on(both(send, receive));
                end
            });
        }
    });
}

async fn both(a: impl Future<Output = ()>, b: impl Future<Output = ()>) {
    let (mut a, mut b) = (std::pin::pin!(a), std::pin::pin!(b));
    let (mut a_done, mut b_done) = (false, false);
    poll_fn(|cx| {
        a_done = a_done || a.as_mut().poll(cx).is_ready();
        b_done = b_done || b.as_mut().poll(cx).is_ready();
        if a_done && b_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn a_round_trip_between_sleeping_threads_never_sticks() {
    let mut ends = mesh::<u64>(2);
    let (b, a) = (ends.pop().unwrap(), ends.pop().unwrap());
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..5_000 {
                let (from, i) = block_on(b.receive());
                block_on(b.send(from, i + 1));
            }
        });
        for i in 0..5_000 {
            block_on(a.send(1, i));
            assert_eq!(block_on(a.receive()), (1, i + 1));
        }
    });
}

#[test]
fn past_the_credits_senders_wait_in_line() {
    let mut ends = mesh::<usize>(2);
    let (b, a) = (ends.pop().unwrap(), ends.pop().unwrap());
    for i in 0..BUS_CREDITS {
        a.try_send(1, i).unwrap();
    }
    assert_eq!(a.try_send(1, 7), Err(7));
    let mut waiting: Vec<_> = (0..3).map(|i| Box::pin(a.send(1, BUS_CREDITS + i))).collect();
    for send in &mut waiting {
        assert!(poll_once(send.as_mut()).is_pending());
    }
    // Places are told of in batches.
    for i in 0..CREDIT_BATCH {
        assert_eq!(b.try_receive(), Some((0, i)));
    }
    assert_eq!(a.try_send(1, 8), Err(8), "who comes later does not pass those who wait");
    assert!(poll_once(waiting[2].as_mut()).is_pending(), "nor do those who wait pass each other");
    drop(waiting.remove(1));
    assert!(poll_once(waiting[0].as_mut()).is_ready());
    drop(waiting.remove(0));
    assert!(poll_once(waiting[0].as_mut()).is_ready());
    drop(waiting);
    a.try_send(1, 9).unwrap();
    for i in (CREDIT_BATCH..BUS_CREDITS).chain([BUS_CREDITS, BUS_CREDITS + 2, 9]) {
        assert_eq!(b.try_receive(), Some((0, i)));
    }
    assert_eq!(b.try_receive(), None);
}

#[test]
fn a_sender_that_leaves_the_line_wakes_the_next() {
    static WOKEN: AtomicU64 = AtomicU64::new(0);
    let ends = mesh::<usize>(2);
    for i in 0..BUS_CREDITS {
        ends[0].try_send(1, i).unwrap();
    }
    let mut first = Box::pin(ends[0].send(1, 1));
    let mut second = Box::pin(ends[0].send(1, 2));
    assert!(poll_once(first.as_mut()).is_pending());
    let waker = intruding(0, Box::new(|| {}), &WOKEN);
    assert!(second.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(first);
    assert_eq!(WOKEN.load(Ordering::Relaxed), 1);
}

#[test]
fn the_sources_take_turns() {
    let ends = mesh::<u8>(3);
    for i in 0..3 {
        ends[0].try_send(2, i).unwrap();
        ends[1].try_send(2, i).unwrap();
    }
    let order: Vec<usize> = std::iter::from_fn(|| ends[2].try_receive()).map(|(from, _)| from).collect();
    assert_eq!(order, [0, 1, 0, 1, 0, 1]);
}

#[test]
fn what_was_not_received_is_dropped_once() {
    let message = Arc::new(());
    let ends = mesh::<Arc<()>>(2);
    for _ in 0..5 {
        ends[0].try_send(1, message.clone()).unwrap();
    }
    drop(ends[1].try_receive());
    drop(ends[1].try_receive());
    assert_eq!(Arc::strong_count(&message), 4);
    drop(ends);
    assert_eq!(Arc::strong_count(&message), 1);
}

struct Intruder {
    clones: AtomicU64,
    at: u64,
    act: Box<dyn Fn()>,
    woken: &'static AtomicU64,
}

/// A waker that acts when it is cloned for the `at`-th time, which is while a task registers it: what another core
/// may do at the worst moment.
fn intruding(at: u64, act: Box<dyn Fn()>, woken: &'static AtomicU64) -> Waker {
    fn intruder(data: *const ()) -> &'static Intruder {
        // SAFETY: made below, and leaked.
        unsafe { &*data.cast::<Intruder>() }
    }
    fn clone(data: *const ()) -> RawWaker {
        let intruder = intruder(data);
        if intruder.clones.fetch_add(1, Ordering::Relaxed) + 1 == intruder.at {
            (intruder.act)();
        }
        RawWaker::new(data, &TABLE)
    }
    fn wake(data: *const ()) {
        intruder(data).woken.fetch_add(1, Ordering::Relaxed);
    }
    fn drop(_: *const ()) {}
    static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, drop);
    let data: *const Intruder = Box::leak(Box::new(Intruder { clones: AtomicU64::new(0), at, act, woken }));
    // SAFETY: the table's functions only read the leaked data, on this thread.
    unsafe { Waker::from_raw(RawWaker::new(data.cast(), &TABLE)) }
}

#[test]
fn a_message_sent_while_the_receiver_registers_is_not_slept_on() {
    static WOKEN: AtomicU64 = AtomicU64::new(0);
    let mut ends = mesh::<u8>(2);
    let (b, a) = (ends.pop().unwrap(), ends.pop().unwrap());
    let send = move || a.try_send(1, 5).unwrap();
    let waker = intruding(1, Box::new(send), &WOKEN);
    let mut receive = std::pin::pin!(b.receive());
    let polled = receive.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(
        polled == Poll::Ready((0, 5)) || WOKEN.load(Ordering::Relaxed) > 0,
        "neither taken nor woken for"
    );
}

#[test]
fn a_place_that_becomes_free_while_the_sender_registers_is_not_slept_on() {
    static WOKEN: AtomicU64 = AtomicU64::new(0);
    let mut ends = mesh::<usize>(2);
    let (b, a) = (ends.pop().unwrap(), ends.pop().unwrap());
    for i in 0..BUS_CREDITS {
        a.try_send(1, i).unwrap();
    }
    let take_all = move || while b.try_receive().is_some() {};
    // The first clone is for the line of senders.
    let waker = intruding(2, Box::new(take_all), &WOKEN);
    let mut send = std::pin::pin!(a.send(1, 9));
    let polled = send.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_ready() || WOKEN.load(Ordering::Relaxed) > 0, "neither sent nor woken for");
}

#[test]
fn a_remote_wake_is_never_lost() {
    let wakers = [RemoteWaker::default(), RemoteWaker::default()];
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..8_000 {
                block_on(wakers[0].wait());
                wakers[1].wake();
            }
        });
        for _ in 0..8_000 {
            wakers[0].wake();
            block_on(wakers[1].wait());
        }
    });
}

#[test]
fn a_wake_before_the_wait_ends_it() {
    let waker = RemoteWaker::default();
    waker.wake();
    waker.wake();
    assert!(poll_once(std::pin::pin!(waker.wait())).is_ready());
    assert!(poll_once(std::pin::pin!(waker.wait())).is_pending());
}
