use bytes::Bytes;

use super::*;
use crate::reactor::Class;

#[test]
fn a_connection_carries_bytes_both_ways_and_ends() {
    let echoed = on_core(async move |r: Reactor| {
        let listener = r.listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_address();
        let server = r.clone();
        r.spawn(Class::Request, async move {
            let accepted = listener.accept().await.unwrap();
            let (mut receiver, mut sender) = server.adopt(accepted).unwrap();
            let mut buffer = vec![0; 64 << 10];
            loop {
                let len = receiver.receive(&mut buffer).await.unwrap();
                if len == 0 {
                    break;
                }
                sender.send(vec![Bytes::copy_from_slice(&buffer[..len])]).await.unwrap();
            }
        });
        let (mut receiver, mut sender) = r.connect(address).await.unwrap();
        let message: Vec<u8> = (0..8_000_000u32).map(|i| (i / 251) as u8).collect();
        let slices: Vec<Bytes> = message.chunks(999).map(Bytes::copy_from_slice).collect();
        let (done, ended) = crate::reactor::sync::completion();
        r.spawn(Class::Fetch, async move {
            let sent = sender.send(slices).await;
            done.complete(sent.map(|()| sender));
        });
        let mut got = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        while got.len() < message.len() {
            let len = receiver.receive(&mut buffer).await.unwrap();
            got.extend_from_slice(&buffer[..len]);
        }
        let sender = ended.await.unwrap();
        sender.shut_down();
        let end = receiver.receive(&mut buffer).await;
        (got == message, matches!(end, Ok(0) | Err(_)))
    });
    assert_eq!(echoed, (true, true));
}

/// A connection to itself: the two ends, both on this core.
async fn pair(r: &Reactor) -> [(crate::reactor::Receiver, crate::reactor::Sender); 2] {
    let listener = r.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let there = r.connect(listener.local_address()).await.unwrap();
    let here = r.adopt(listener.accept().await.unwrap()).unwrap();
    [here, there]
}

/// More than the buffers of a connection hold, so that a send of it cannot end before it is read.
const TOO_MUCH: usize = 64 << 20;

async fn poll_once<F: Future + ?Sized>(mut future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx))).await
}

#[test]
fn a_receive_that_is_dropped_loses_nothing() {
    let got = on_core(async move |r: Reactor| {
        let [(mut receiver, _keep), (_keep_too, mut sender)] = pair(&r).await;
        let mut got = Vec::new();
        let mut buffer = [0; 16];
        for i in 0..50u8 {
            {
                let mut dropped = Box::pin(receiver.receive(&mut buffer));
                assert!(poll_once(dropped.as_mut()).await.is_pending());
                sender.send(vec![Bytes::copy_from_slice(&[i])]).await.unwrap();
                // Long enough for the readiness to come while nobody asks.
                for _ in 0..i % 5 {
                    r.sleep(std::time::Duration::from_millis(1)).await;
                }
            }
            let len = receiver.receive(&mut buffer).await.unwrap();
            got.extend_from_slice(&buffer[..len]);
        }
        got
    });
    assert_eq!(got, (0..50).collect::<Vec<u8>>());
}

#[test]
fn a_send_that_is_dropped_goes_on_and_the_next_follows_it() {
    let right = on_core(async move |r: Reactor| {
        let [(mut receiver, _keep), (_keep_too, mut sender)] = pair(&r).await;
        {
            let first = vec![Bytes::from(vec![1; TOO_MUCH])];
            let mut send = Box::pin(sender.send(first));
            assert!(poll_once(send.as_mut()).await.is_pending());
        }
        r.spawn(Class::Request, async move {
            sender.send(vec![Bytes::from_static(&[2; 10])]).await.unwrap();
            sender.shut_down();
        });
        let mut buffer = vec![0; 1 << 20];
        let (mut ones, mut twos, mut right) = (0, 0, true);
        loop {
            let len = receiver.receive(&mut buffer).await.unwrap();
            if len == 0 {
                break;
            }
            for byte in &buffer[..len] {
                match byte {
                    1 => ones += 1,
                    _ => twos += 1,
                }
                right &= *byte == 2 || twos == 0;
            }
        }
        right && ones == TOO_MUCH && twos == 10
    });
    assert!(right);
}

#[test]
fn dropping_both_halves_closes_though_a_send_is_under_way() {
    let ended = on_core(async move |r: Reactor| {
        let [(mut receiver, _keep), (other_receiver, mut sender)] = pair(&r).await;
        {
            let mut send = Box::pin(sender.send(vec![Bytes::from(vec![1; TOO_MUCH])]));
            assert!(poll_once(send.as_mut()).await.is_pending());
        }
        drop(other_receiver);
        drop(sender);
        let mut buffer = vec![0; 1 << 20];
        loop {
            match receiver.receive(&mut buffer).await {
                Ok(0) | Err(_) => return true,
                Ok(_) => {}
            }
        }
    });
    assert!(ended);
}

#[test]
fn a_core_ends_with_sends_and_receives_under_way() {
    on_core(async move |r: Reactor| {
        let [(mut receiver, _keep), (_keep_too, mut sender)] = pair(&r).await;
        let listener = r.listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut send = Box::pin(sender.send(vec![Bytes::from(vec![1; TOO_MUCH])]));
        assert!(poll_once(send.as_mut()).await.is_pending());
        let [(mut idle, _keep_idle), _other] = pair(&r).await;
        let mut buffer = [0; 10];
        r.spawn(Class::Request, async move {
            drop(idle.receive(&mut [0; 10]).await);
        });
        assert!(poll_once(Box::pin(listener.accept()).as_mut()).await.is_pending());
        drop(poll_once(Box::pin(receiver.receive(&mut buffer)).as_mut()).await);
        r.yield_now().await;
    });
}

#[test]
fn a_port_in_use_is_told_and_free_at_once_when_its_listener_goes() {
    let (error, again) = on_core(async move |r: Reactor| {
        let listener = r.listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_address();
        assert!(poll_once(Box::pin(listener.accept()).as_mut()).await.is_pending());
        r.sleep(std::time::Duration::from_millis(1)).await;
        let error = r.listen(address).err().unwrap();
        drop(listener);
        (error, r.listen(address).map(|l| l.local_address() == address))
    });
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains("another process listens there"), "{error}");
    assert!(again.unwrap());
}

#[test]
fn nobody_there_is_told_with_the_address() {
    let (address, error) = on_core(async move |r: Reactor| {
        let address = r.listen("127.0.0.1:0".parse().unwrap()).unwrap().local_address();
        (address, r.connect(address).await.err().unwrap())
    });
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[test]
fn five_thousand_idle_connections_are_cheap() {
    let limit = super::super::check().unwrap().open_files as usize;
    let count = 5000.min((limit - 300) / 2);
    let (tell_address, address) = mpsc::channel::<std::net::SocketAddr>();
    let (tell_made, made) = mpsc::channel::<usize>();
    let clients = std::thread::spawn(move || {
        let address = address.recv().unwrap();
        let clients: Vec<_> = (0..count).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        // Each one is alive behind all others, and the last byte comes when all have been answered.
        for mut client in &clients {
            std::io::Write::write_all(&mut client, b"x").unwrap();
        }
        for mut client in &clients {
            std::io::Read::read_exact(&mut client, &mut [0]).unwrap();
        }
        tell_made.send(clients.len()).unwrap();
    });
    let (ended, grown) = on_core(async move |r: Reactor| {
        let listener = r.listen("127.0.0.1:0".parse().unwrap()).unwrap();
        tell_address.send(listener.local_address()).unwrap();
        let ended = crate::reactor::sync::Queue::new(count);
        let before = resident_bytes();
        for _ in 0..count {
            let (mut receiver, mut sender) = r.adopt(listener.accept().await.unwrap()).unwrap();
            let ended = ended.clone();
            r.spawn(Class::Request, async move {
                let mut buffer = [0; 16];
                while let Ok(1..) = receiver.receive(&mut buffer).await {
                    sender.send(vec![Bytes::from_static(b"y")]).await.unwrap();
                }
                ended.push(()).await.unwrap();
            });
        }
        let grown = resident_bytes().saturating_sub(before);
        let mut all = 0;
        while all < count {
            ended.pop().await.unwrap();
            all += 1;
        }
        (all, grown)
    });
    clients.join().unwrap();
    assert_eq!((ended, made.recv().unwrap()), (count, count));
    assert!(grown / count < 4096, "{} bytes for each idle connection", grown / count);
}
