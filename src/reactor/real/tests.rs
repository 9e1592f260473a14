//! The real side under test: cores that really run, in a folder of their own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;

use super::run;
use crate::reactor::{Class, CoreMain, CoreSpec, Reactor, Share};

/// A folder that is removed when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ottla-real-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs `main` on one core and gives back what it returns. Assertions belong outside: on a core they end the
/// process.
fn on_core<T: Send + 'static>(main: impl AsyncFnOnce(Reactor) -> T + Send + 'static) -> T {
    on_core_with(CoreSpec::default(), main)
}

fn on_core_with<T: Send + 'static>(
    spec: CoreSpec,
    main: impl AsyncFnOnce(Reactor) -> T + Send + 'static,
) -> T {
    let (tell, told) = mpsc::channel();
    let main: CoreMain = Box::new(move |reactor| {
        Box::pin(async move {
            tell.send(main(reactor).await).unwrap();
        })
    });
    run(vec![(spec, main)]).unwrap();
    told.recv().unwrap()
}

async fn filled(reactor: &Reactor, len: usize, byte: u8) -> crate::reactor::Chunk {
    let mut chunk = reactor.pool().chunk(Share::Tail, len).await;
    chunk.append(&vec![byte; len]);
    chunk
}

#[test]
fn what_was_written_is_read() {
    let folder = Folder::new("written");
    let path = folder.0.join("a.log");
    let (size, read) = on_core(async move |r: Reactor| -> io::Result<(u64, Vec<u8>)> {
        let file = r.disk().open(&path, true).await?;
        file.write_at(filled(&r, 8192, 7).await.freeze(), 4096).await?;
        file.flush().await?;
        file.truncate(10_000).await?;
        let read = file.read_at(r.pool().chunk(Share::Reads, 1 << 20).await, 4096).await?;
        Ok((file.size().await?, read.to_vec()))
    })
    .unwrap();
    assert_eq!(size, 10_000);
    assert_eq!(read, vec![7; 10_000 - 4096]);
}

#[test]
fn operations_begin_when_called_and_outlive_their_futures() {
    let folder = Folder::new("outlive");
    let path = folder.0.join("a.log");
    let seen = path.clone();
    on_core(async move |r: Reactor| {
        let file = r.disk().open(&path, true).await.unwrap();
        for i in 0..200u64 {
            drop(file.write_at(filled(&r, 4096, i as u8).await.freeze(), i * 4096));
        }
    });
    let bytes = std::fs::read(seen).unwrap();
    assert_eq!(bytes.len(), 200 * 4096);
    assert!(bytes.chunks(4096).enumerate().all(|(i, block)| block.iter().all(|b| *b == i as u8)));
}

#[test]
fn more_operations_than_the_ring_holds_lose_nothing() {
    let folder = Folder::new("full");
    let path = folder.0.join("a.log");
    let spec = CoreSpec { ring_depth: 8, ..CoreSpec::default() };
    let failed = on_core_with(spec, async move |r: Reactor| {
        let file = r.disk().open(&path, true).await.unwrap();
        let mut under_way = Vec::new();
        for i in 0..1000u64 {
            under_way.push(file.write_at(filled(&r, 4096, i as u8).await.freeze(), i * 4096));
        }
        let mut failed = 0;
        for write in under_way {
            failed += usize::from(write.await.is_err());
        }
        let whole = file.read_at(r.pool().chunk(Share::Reads, 4096 * 1000).await, 0).await.unwrap();
        failed + whole.chunks(4096).enumerate().filter(|(i, b)| b.len() != 4096 || b[17] != *i as u8).count()
    });
    assert_eq!(failed, 0);
}

#[test]
fn an_error_says_what_failed_where() {
    let folder = Folder::new("error");
    let path = folder.0.join("no-such-folder/a.log");
    let error = on_core(async move |r: Reactor| r.disk().open(&path, true).await.err().unwrap());
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains("no-such-folder/a.log"), "{error}");
}

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

#[test]
fn a_folder_is_examined_locked_and_listed() {
    let folder = Folder::new("disk");
    let dir = folder.0.clone();
    let (report, second, names, content) = on_core(async move |r: Reactor| {
        let disk = r.disk();
        let report = disk.examine(&dir).await.unwrap();
        disk.lock(&dir.join(".lock")).await.unwrap();
        let second = disk.lock(&dir.join(".lock")).await.unwrap_err();
        disk.create_dirs(&dir.join("b/c")).await.unwrap();
        disk.replace(&dir.join("a"), b"first".to_vec()).await.unwrap();
        disk.replace(&dir.join("a"), b"second".to_vec()).await.unwrap();
        disk.rename(&dir.join("b/c"), &dir.join("d")).await.unwrap();
        disk.remove_dirs(&dir.join("b")).await.unwrap();
        disk.sync_dir(&dir).await.unwrap();
        let names: Vec<String> = disk.list(&dir).await.unwrap().into_iter().map(|e| e.name).collect();
        (report, second, names, disk.read(&dir.join("a")).await.unwrap())
    });
    assert_eq!(names, [".lock", "a", "d"]);
    assert_eq!(content, b"second");
    assert!(report.free > 0 && report.alignment > 0 && !report.file_system.is_empty(), "{report:?}");
    let pid = std::process::id().to_string();
    assert!(second.to_string().contains(&pid), "{second}");
    assert!(second.to_string().contains(Path::new(&folder.0).to_str().unwrap()), "{second}");
}
