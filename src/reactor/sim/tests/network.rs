//! Streams, cuts and crashes.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::{SECOND, Shared, shared};
use crate::reactor::sim::{CrashKind, NodeId, Options, World};
use crate::reactor::{Class, Reactor, Receiver, Sender};

/// A world with a node that listens on port 9092 and a client node, both idle.
struct Pair {
    world: World,
    node: NodeId,
    server: Reactor,
    client: Reactor,
    client_node: NodeId,
    address: SocketAddr,
}

fn pair(seed: u64, options: Options) -> Pair {
    let world = World::new(seed, options);
    let (node, client_node) = (world.add_node(), world.add_node());
    let server = world.boot(node, 1).remove(0);
    let client = world.boot(client_node, 1).remove(0);
    let address = world.address(node, 9092);
    Pair { world, node, server, client, client_node, address }
}

/// Serves one connection with what `serve` does.
fn serve<F: Future<Output = ()> + 'static>(
    pair: &Pair,
    serve: impl FnOnce(Reactor, Receiver, Sender) -> F + 'static,
) {
    let (server, port) = (pair.server.clone(), pair.address.port());
    let listener = server.listen(SocketAddr::from(([0, 0, 0, 0], port))).expect("the port is free");
    pair.server.spawn(Class::Request, async move {
        let accepted = listener.accept().await.expect("a connection comes");
        let (receiver, sender) = server.adopt(accepted).expect("it is there");
        serve(server, receiver, sender).await;
    });
}

async fn receive_all(receiver: &mut Receiver) -> (Vec<u8>, io::Result<()>) {
    let (mut all, mut buffer) = (Vec::new(), [0; 1000]);
    loop {
        match receiver.receive(&mut buffer).await {
            Ok(0) => return (all, Ok(())),
            Ok(len) => all.extend_from_slice(&buffer[..len]),
            Err(error) => return (all, Err(error)),
        }
    }
}

fn numbers(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 7 % 251) as u8).collect()
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn bytes_come_in_order_and_whole_in_pieces_of_any_size() {
    let mut sizes = BTreeSet::new();
    for seed in 0..50 {
        let mut options = Options::drawn(seed);
        options.network.fragment = 300_000;
        let pair = pair(seed, options);
        let seen = shared::<Vec<usize>>();
        let out = seen.clone();
        serve(&pair, |_, mut receiver, mut sender| async move {
            let mut buffer = vec![0; 5000];
            while let Ok(len @ 1..) = receiver.receive(&mut buffer).await {
                out.borrow_mut().push(len);
                sender.send(vec![Bytes::copy_from_slice(&buffer[..len])]).await.expect("it sends");
            }
        });
        let (client, address) = (pair.client.clone(), pair.address);
        let done = pair.world.run(&pair.client, 600 * SECOND, async move {
            let (mut receiver, mut sender) = client.connect(address).await.expect("it connects");
            assert_eq!(receiver.peer(), address);
            let data = numbers(40_000);
            let slices = data.chunks(997).map(Bytes::copy_from_slice).collect();
            client.spawn(Class::Request, async move { sender.send(slices).await.expect("it sends") });
            let mut all = Vec::new();
            let mut buffer = [0; 777];
            while all.len() < data.len() {
                let len = receiver.receive(&mut buffer).await.expect("it receives");
                assert!(len > 0);
                all.extend_from_slice(&buffer[..len]);
            }
            all == data
        });
        assert!(done, "seed {seed}");
        sizes.extend(seen.take());
    }
    assert!(sizes.len() > 100 && sizes.contains(&1), "pieces of many sizes: {}", sizes.len());
}

#[test]
fn a_receiver_that_does_not_read_holds_its_sender_back() {
    let mut options = Options::calm();
    options.network.buffer = 10_000;
    let pair = pair(1, options);
    serve(&pair, |server, mut receiver, sender| async move {
        let _sender = sender;
        server.sleep(10 * SECOND).await;
        assert_eq!(receive_all(&mut receiver).await.0.len(), 50_000);
    });
    let (client, address) = (pair.client.clone(), pair.address);
    let sent = shared::<usize>();
    let out = sent.clone();
    pair.client.spawn(Class::Request, async move {
        let (_receiver, mut sender) = client.connect(address).await.expect("it connects");
        for part in numbers(50_000).chunks(1000) {
            sender.send(vec![Bytes::copy_from_slice(part)]).await.expect("it sends");
            *out.borrow_mut() += part.len();
        }
    });
    pair.world.run_for(9 * SECOND);
    assert_eq!(*sent.borrow(), 10_000);
    assert!(pair.world.run_until_idle(60 * SECOND));
    assert_eq!(*sent.borrow(), 50_000);
}

#[test]
fn what_a_dropped_send_was_given_still_goes_out_and_first() {
    let mut options = Options::calm();
    options.network.buffer = 1000;
    let pair = pair(1, options);
    let got = shared::<Vec<u8>>();
    let out = got.clone();
    serve(&pair, |server, mut receiver, sender| async move {
        server.sleep(SECOND).await;
        *out.borrow_mut() = receive_all(&mut receiver).await.0;
        drop(sender);
    });
    let (client, address) = (pair.client.clone(), pair.address);
    pair.world.run(&pair.client, 60 * SECOND, async move {
        let (_receiver, mut sender) = client.connect(address).await.expect("it connects");
        let data = numbers(5000);
        {
            let mut send = pin!(sender.send(vec![Bytes::from(data[..4000].to_vec())]));
            let mut context = Context::from_waker(Waker::noop());
            assert!(send.as_mut().poll(&mut context).is_pending());
        }
        sender.send(vec![Bytes::from(data[4000..].to_vec())]).await.expect("it sends");
    });
    pair.world.run_for(SECOND);
    assert!(*got.borrow() == numbers(5000));
}

#[test]
fn addresses_are_refused_taken_and_free_again() {
    let pair = pair(1, Options::calm());
    let (client, address) = (pair.client.clone(), pair.address);
    let connect = |client: &Reactor, address| {
        let client = client.clone();
        async move { client.connect(address).await.map(|_| ()) }
    };
    let result = pair.world.run(&client, SECOND, connect(&client, address));
    assert_eq!(kind(result), Some(ErrorKind::ConnectionRefused));
    let listener = pair.server.listen(address).expect("the port is free");
    assert_eq!(kind(pair.server.listen(address)), Some(ErrorKind::AddrInUse));
    assert_eq!(kind(pair.client.listen(address)), Some(ErrorKind::AddrNotAvailable));
    pair.client.listen(SocketAddr::from(([0, 0, 0, 0], 9092))).expect("another node has its own ports");
    pair.world.run(&client, SECOND, connect(&client, address)).expect("it connects");
    drop(listener);
    let any = pair.server.listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("some port is free");
    assert_ne!(any.local_address().port(), 0);
    pair.world.run(&pair.server, SECOND, connect(&pair.server, any.local_address())).expect("loopback");
    let outside = SocketAddr::new(address.ip(), any.local_address().port());
    let result = pair.world.run(&client, SECOND, connect(&client, outside));
    assert_eq!(kind(result), Some(ErrorKind::ConnectionRefused), "loopback is not reached from outside");
    let _held = pair.server.listen(address).expect("the port is free again");
    pair.world.crash(pair.node, CrashKind::Process);
    let server = pair.world.boot(pair.node, 1).remove(0);
    server.listen(address).expect("a crash frees it");
}

#[test]
fn what_is_sent_over_a_cut_link_waits_and_comes_when_it_heals() {
    let pair = pair(1, Options::calm());
    let got = shared::<Vec<u8>>();
    let out = got.clone();
    serve(&pair, |_, mut receiver, _sender| async move {
        let mut buffer = [0; 100];
        while let Ok(len @ 1..) = receiver.receive(&mut buffer).await {
            out.borrow_mut().extend_from_slice(&buffer[..len]);
        }
    });
    let (client, address) = (pair.client.clone(), pair.address);
    let (_receiver, mut sender) = pair
        .world
        .run(&pair.client, SECOND, async move { client.connect(address).await.expect("it connects") });
    // The other direction alone does not matter to what goes this way.
    pair.world.cut_one_way(pair.node, pair.client_node);
    let mut send = |text: &'static str| now_or_never(sender.send(vec![Bytes::from_static(text.as_bytes())]));
    send("a");
    pair.world.run_for(SECOND);
    assert_eq!(*got.borrow(), b"a");
    pair.world.cut(pair.node, pair.client_node);
    send("b");
    pair.world.run_for(10 * SECOND);
    assert_eq!(*got.borrow(), b"a");
    send("c");
    pair.world.heal(pair.client_node, pair.node);
    pair.world.run_for(10 * SECOND);
    assert_eq!(*got.borrow(), b"abc");
}

/// A send that has room is done at its first turn.
fn now_or_never(send: impl Future<Output = io::Result<()>>) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(pin!(send).poll(&mut context), Poll::Ready(Ok(()))));
}

#[test]
fn a_cut_that_lasts_ends_in_a_time_out() {
    let pair = pair(1, Options::calm());
    serve(&pair, |server, receiver, sender| async move {
        server.sleep(1000 * SECOND).await;
        drop((receiver, sender));
    });
    let (client, address) = (pair.client.clone(), pair.address);
    let connected = shared::<bool>();
    let (out, result) = (connected.clone(), shared::<Option<ErrorKind>>());
    let failure = result.clone();
    pair.client.spawn(Class::Request, async move {
        let (mut receiver, mut sender) = client.connect(address).await.expect("it connects");
        *out.borrow_mut() = true;
        client.sleep(SECOND).await;
        sender.send(vec![Bytes::from_static(b"x")]).await.expect("there is room");
        *failure.borrow_mut() = kind(receiver.receive(&mut [0; 10]).await);
    });
    assert!(pair.world.run_until(SECOND, || *connected.borrow()));
    pair.world.cut(pair.node, pair.client_node);
    let client = pair.client.clone();
    let refused = pair
        .world
        .run(&pair.client, 120 * SECOND, async move { kind(client.connect(address).await.map(|_| ())) });
    assert_eq!(refused, Some(ErrorKind::TimedOut));
    pair.world.run_for(120 * SECOND);
    assert_eq!(*result.borrow(), Some(ErrorKind::TimedOut));
}

#[test]
fn a_way_back_that_is_cut_leaves_a_connection_with_nobody_at_its_other_end() {
    let pair = pair(1, Options::calm());
    let accepted = shared::<bool>();
    let out = accepted.clone();
    serve(&pair, |server, receiver, sender| async move {
        *out.borrow_mut() = true;
        server.sleep(1000 * SECOND).await;
        drop((receiver, sender));
    });
    pair.world.cut_one_way(pair.node, pair.client_node);
    let (client, address) = (pair.client.clone(), pair.address);
    let connect = async move { kind(client.connect(address).await.map(|_| ())) };
    assert_eq!(pair.world.run(&pair.client, 120 * SECOND, connect), Some(ErrorKind::TimedOut));
    assert!(*accepted.borrow());
}

/// Connects, lets `harm` happen, sends, and gives what the client's end then tells.
fn after_harm(seed: u64, harm: fn(&Pair)) -> (Option<ErrorKind>, Option<usize>) {
    let pair = pair(seed, Options::calm());
    serve(&pair, |server, receiver, sender| async move {
        server.sleep(1000 * SECOND).await;
        drop((receiver, sender));
    });
    let (client, address) = (pair.client.clone(), pair.address);
    let (mut receiver, mut sender) = pair
        .world
        .run(&pair.client, SECOND, async move { client.connect(address).await.expect("it connects") });
    pair.world.run_for(SECOND);
    harm(&pair);
    let received: Shared<Option<io::Result<usize>>> = shared();
    let out = received.clone();
    pair.client.spawn(Class::Request, async move {
        let result = receiver.receive(&mut [0; 10]).await;
        *out.borrow_mut() = Some(result);
    });
    pair.world.run_for(5 * SECOND);
    let client = pair.client.clone();
    let sent = pair.world.run(&pair.client, 500 * SECOND, async move {
        for _ in 0..5 {
            if let Err(error) = sender.send(vec![Bytes::from_static(b"x")]).await {
                return Some(error.kind());
            }
            client.sleep(2 * SECOND).await;
        }
        None
    });
    let received = received.take().map(|result| result.unwrap_or(usize::MAX));
    (sent, received)
}

#[test]
fn a_killed_process_says_goodbye_and_a_dead_machine_says_nothing() {
    let killed = after_harm(1, |pair| pair.world.crash(pair.node, CrashKind::Process));
    assert_eq!(killed, (Some(ErrorKind::ConnectionReset), Some(0)));
    let dead = after_harm(1, |pair| pair.world.crash(pair.node, CrashKind::Power));
    assert_eq!(dead, (None, None), "bytes go out into the dark");
    let back = after_harm(1, |pair| {
        pair.world.crash(pair.node, CrashKind::Power);
        pair.world.boot(pair.node, 1);
    });
    assert_eq!(back.0, Some(ErrorKind::ConnectionReset), "the machine is back and knows nothing of it");
    let reset = after_harm(1, |pair| pair.world.reset_connections(pair.node, pair.client_node));
    assert_eq!(reset, (Some(ErrorKind::ConnectionReset), Some(usize::MAX)));
}

#[test]
fn both_halves_dropped_close_and_what_was_sent_before_arrives() {
    let pair = pair(1, Options::calm());
    let got = shared::<Vec<(Vec<u8>, bool)>>();
    let out = got.clone();
    serve(&pair, |_, mut receiver, mut sender| async move {
        let (bytes, end) = receive_all(&mut receiver).await;
        out.borrow_mut().push((bytes, end.is_ok()));
        let _ = sender.send(vec![Bytes::from_static(b"late")]).await;
        let end = receiver.receive(&mut [0; 1]).await;
        out.borrow_mut().push((Vec::new(), end.is_ok()));
    });
    let (client, address) = (pair.client.clone(), pair.address);
    pair.world.run(&pair.client, SECOND, async move {
        let (receiver, mut sender) = client.connect(address).await.expect("it connects");
        drop(receiver);
        sender.send(vec![Bytes::from(numbers(5000))]).await.expect("half of it is open");
    });
    pair.world.run_for(SECOND);
    assert_eq!(got.borrow()[0], (numbers(5000), true));
}

#[test]
fn shutting_down_wakes_the_own_receiver_and_ends_the_peers() {
    let pair = pair(1, Options::calm());
    let ended = shared::<u32>();
    let out = ended.clone();
    serve(&pair, |_, mut receiver, _sender| async move {
        assert_eq!(receiver.receive(&mut [0; 1]).await.expect("an end"), 0);
        *out.borrow_mut() += 1;
    });
    let (client, address) = (pair.client.clone(), pair.address);
    let out = ended.clone();
    pair.client.spawn(Class::Request, async move {
        let (mut receiver, mut sender) = client.connect(address).await.expect("it connects");
        let reactor = client.clone();
        client.spawn(Class::Request, async move {
            assert_eq!(receiver.receive(&mut [0; 1]).await.expect("an end"), 0);
            *out.borrow_mut() += 1;
        });
        reactor.sleep(SECOND).await;
        sender.shut_down();
        assert_eq!(kind(sender.send(vec![Bytes::from_static(b"x")]).await), Some(ErrorKind::BrokenPipe));
    });
    pair.world.run_for(5 * SECOND);
    assert_eq!(*ended.borrow(), 2);
}

#[test]
fn an_accepted_connection_that_nobody_adopts_is_closed() {
    let pair = pair(1, Options::calm());
    let listener = pair.server.listen(pair.address).expect("the port is free");
    pair.server.spawn(Class::Request, async move {
        drop(listener.accept().await.expect("a connection comes"));
        std::future::pending::<()>().await;
    });
    let (client, address) = (pair.client.clone(), pair.address);
    let end = pair.world.run(&pair.client, 5 * SECOND, async move {
        let (mut receiver, _sender) = client.connect(address).await.expect("it connects");
        receiver.receive(&mut [0; 1]).await.expect("an end")
    });
    assert_eq!(end, 0);
}
