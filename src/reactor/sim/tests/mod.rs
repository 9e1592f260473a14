//! The twin held to its word.

mod disk;
mod faults;
mod honesty;
mod names;
mod network;
mod schedule;

use std::cell::RefCell;
use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::{NodeId, Options, World};
use crate::limits::BLOCK;
use crate::reactor::{Chunk, ChunkSlice, File, Reactor, Share};

const SECOND: Duration = Duration::from_secs(1);
const SIZE: u64 = BLOCK as u64;
const BLOCKS: u64 = 32;
/// Seeds that a correct program must survive.
const SEEDS: u64 = 300;
/// Seeds within which a shortcut must be punished.
const SHORT: u64 = 60;

/// What tasks leave for the test to see.
type Shared<T> = Rc<RefCell<T>>;

fn shared<T: Default>() -> Shared<T> {
    Rc::default()
}

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

fn expect_ok<T>(result: std::io::Result<T>) -> T {
    result.expect("the disk is sound")
}

/// A file of written, durable blocks, and a clean one to flush by.
async fn prepare(reactor: Reactor) {
    let (log, clean) = (open("log", &reactor).await, open("clean", &reactor).await);
    log.write_at(block(&reactor, 0, BLOCKS as usize), 0).await.expect("it writes");
    log.flush().await.expect("it flushes");
    clean.flush().await.expect("it flushes");
    reactor.disk().sync_dir(Path::new("/")).await.expect("it syncs");
}

/// Boots a node on a prepared disk and gives world, node and reactor.
fn booted(seed: u64, options: Options) -> (World, NodeId, Reactor) {
    let world = World::new(seed, options);
    let node = world.add_node();
    let reactor = world.boot(node, 1).remove(0);
    world.run(&reactor, 60 * SECOND, prepare(reactor.clone()));
    (world, node, reactor)
}

fn one_flush(one_flush: bool) -> Options {
    let mut options = Options::default();
    options.disk.one_flush = one_flush;
    options
}
