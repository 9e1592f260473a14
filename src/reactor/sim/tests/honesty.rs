//! The same seed gives the same trace, to the byte, in any two processes.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;

use super::{SECOND, shared};
use crate::limits::BLOCK;
use crate::reactor::sim::{CrashKind, Options, World};
use crate::reactor::{Class, CoreMain, CoreSpec, Reactor, Share};

const SEED: &str = "OTTLA_SIM_TEST_SEED";
const BEGIN: &str = "=== trace begins";
const END: &str = "=== trace ends";

/// A little of everything: two cores that write, flush and answer, a client, a cut, crashes of both kinds.
fn workload(seed: u64) -> (String, u64) {
    let mut options = Options::drawn(seed);
    options.trace_lines = 1 << 20;
    options.disk.write_error = 1000;
    options.network.reset = 1000;
    options.disk.flip_at_power_loss = 500_000;
    options.disk.forbid_overlaps = false;
    let world = World::new(seed, options);
    let node = world.add_node();
    let client = world.add_client();
    let address = world.address(node, 9092);
    let answered = shared::<u32>();
    let (r, out) = (client.clone(), answered.clone());
    client.spawn(Class::Request, async move {
        loop {
            let Ok((mut receiver, mut sender)) = r.connect(address).await else { continue };
            loop {
                let word = Bytes::copy_from_slice(&r.random().to_le_bytes());
                if sender.send(vec![word]).await.is_err() {
                    break;
                }
                if !matches!(receiver.receive(&mut [0; 8]).await, Ok(1..)) {
                    break;
                }
                *out.borrow_mut() += 1;
            }
        }
    });
    for life in 0..4 {
        let mains = (0..2).map(|_| {
            let main: CoreMain = Box::new(move |reactor| Box::pin(serve(reactor, address)));
            (CoreSpec::default(), main)
        });
        world.start(node, mains.collect());
        let Reactor::Sim(core) = &client else { unreachable!() };
        world.run_for(SECOND / 100);
        world.cut(core.node(), node);
        world.run_for(SECOND / 100);
        world.heal_all();
        world.run_for(SECOND / 2);
        world.crash(node, if life % 2 == 0 { CrashKind::Power } else { CrashKind::Process });
    }
    let answered = *answered.borrow();
    assert!(answered > 0, "seed {seed} does something");
    (world.trace_text(), world.trace_hash())
}

async fn serve(reactor: Reactor, address: std::net::SocketAddr) {
    let name = format!("log-{}", reactor.core());
    let Ok(file) = reactor.disk().open(Path::new(&name), true).await else { return };
    if reactor.core() == 1 {
        for round in 0.. {
            let mut chunk = reactor.pool().chunk(Share::Tail, BLOCK).await;
            chunk.append(&reactor.random().to_le_bytes());
            chunk.pad_to(BLOCK);
            let _ = file.write_at(chunk.freeze(), round * BLOCK as u64).await;
            let _ = reactor.disk().list(Path::new("/")).await;
        }
    }
    let Ok(listener) = reactor.listen(address) else { return };
    loop {
        let Ok(accepted) = listener.accept().await else { return };
        let Ok((mut receiver, mut sender)) = reactor.adopt(accepted) else { continue };
        let (r, file) = (reactor.clone(), file.clone());
        reactor.spawn(Class::Request, async move {
            let mut buffer = [0; 100];
            while let Ok(len @ 1..) = receiver.receive(&mut buffer).await {
                let mut chunk = r.pool().chunk(Share::Tail, BLOCK).await;
                chunk.append(&buffer[..len]);
                chunk.pad_to(BLOCK);
                let written = file.write_at(chunk.freeze(), 0).await;
                let flushed = file.flush().await;
                if written.and(flushed).is_err() {
                    return;
                }
                let answer = Bytes::copy_from_slice(&r.wall_clock_ms().to_le_bytes());
                if sender.send(vec![answer]).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Not a test of its own: the other half of the one below, in a process of its own.
#[test]
fn child_of_two_processes() {
    let Ok(seed) = std::env::var(SEED) else { return };
    let (text, _) = workload(seed.parse().expect("a number"));
    println!("{BEGIN}\n{text}{END}");
}

fn trace_of_a_process(seed: u64) -> String {
    let name = "reactor::sim::tests::honesty::child_of_two_processes";
    let test = std::env::current_exe().expect("this test has a file");
    let run = Command::new(test).args(["--exact", name, "--nocapture"]).env(SEED, seed.to_string()).output();
    let output = run.expect("it starts");
    let text = String::from_utf8(output.stdout).expect("text");
    let begin = text.find(BEGIN).unwrap_or_else(|| panic!("{text}{:?}", output.stderr)) + BEGIN.len();
    text[begin..text.find(END).expect("an end")].to_owned()
}

#[test]
fn one_seed_gives_one_trace_in_two_processes_to_the_byte() {
    for seed in 1..4 {
        let (first, second) = (trace_of_a_process(seed), trace_of_a_process(seed));
        assert!(first.lines().count() > 1000, "there is something to compare");
        for (number, (a, b)) in first.lines().zip(second.lines()).enumerate() {
            assert_eq!(a, b, "seed {seed}: the traces part at line {number}");
        }
        assert_eq!(first, second);
        assert_ne!(first, trace_of_a_process(seed + 100));
    }
}

#[test]
fn one_seed_gives_one_hash_in_one_process_though_addresses_differ() {
    for seed in 0..20 {
        let first = workload(seed);
        // Shifts what the allocator gives out next.
        let _ballast: Vec<Vec<u8>> = (1..100).map(|size| vec![0; size * 100]).collect();
        assert_eq!(first.1, workload(seed).1, "seed {seed}");
    }
}
